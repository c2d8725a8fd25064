/** The chains of port security, which the view derives from ports: what holds for all ports, groups, packets and changes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { portSecurityChains, securityInChainId, securityOutChainId } from '@weft/topology';
import fc from 'fast-check';
import { type Simulation, VERDICT_FORWARD, VERDICT_POSTPONE } from '../contract.ts';
import {
  applyChange,
  buildPacket,
  buildScenario,
  type ChangePlan,
  changePlan,
  packetPlan,
  worldPlan,
} from '../testing/generate.ts';
import {
  addSecurity,
  applySecurityChange,
  type SecurityChange,
  type SecurityPlan,
  securityChange,
  securityPlan,
} from '../testing/generate-security.ts';
import { Workbench } from '../testing/workbench.ts';
import type { World } from '../testing/world.ts';
import { newSimulation } from './simulation.ts';

const RUNS = Number(process.env.WEFT_PROPERTY_RUNS ?? 120);
const packets = fc.array(packetPlan, { minLength: 1, maxLength: 12 });
/** Of security mostly, of anything else sometimes. */
const change = fc.oneof(securityChange, securityChange, changePlan);

function effect(bench: Workbench, out: Simulation): string {
  return `${bench.describe(out)} ${Buffer.from(out.verdict === VERDICT_FORWARD ? out.key : []).toString('hex')} ${out.fields} ${out.createdCount}`;
}

/** A scenario with security; its packets, ready to be simulated again and again. */
function secured(plan: Parameters<typeof buildScenario>[0], security: SecurityPlan) {
  const s = buildScenario(plan);
  const groups = addSecurity(s, security);
  return {
    s,
    frames: (plans: Parameters<typeof buildPacket>[1][]) => plans.flatMap((one) => buildPacket(s, one) ?? []),
    change: (one: SecurityChange | ChangePlan) =>
      'kind' in one ? applyChange(s, one) : applySecurityChange(s, groups, one),
  };
}

/** Ids of what no store has. */
function derivedIds(world: World): Set<string> {
  const ports = [...world.objects].filter(([key]) => key.startsWith('Port/')).map(([, value]) => value);
  return new Set(
    ports.flatMap((port) => [
      securityInChainId(String(port.id)),
      securityOutChainId(String(port.id)),
      ...portSecurityChains(port).flatMap(({ chain, rules }) => [chain.id, ...rules.map(({ id }) => id)]),
    ]),
  );
}

function assertNeverAsked(bench: Workbench): void {
  const derived = derivedIds(bench.world);
  const named = [...bench.subscribed, ...bench.view.interests(), ...bench.view.unused(0, () => false)];
  for (const interest of named) assert.ok(!derived.has(interest.slice(interest.lastIndexOf('/') + 1)), interest);
}

describe('chains of port security, for all ports, groups and packets', () => {
  it('decide as the same chains would if they were stored, as filters of the port', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(worldPlan, securityPlan, packets, (plan, security, plans) => {
        const [one, two] = [secured({ ...plan, filters: [] }, security), secured({ ...plan, filters: [] }, security)];
        const stored = two.s.world;
        for (const { port } of two.s.vms) {
          const chains = portSecurityChains(stored.get('Port', port)!);
          for (const { chain, rules } of chains) {
            for (const rule of rules) stored.put('Rule', { ...rule });
            stored.put('Chain', { ...chain });
          }
          if (chains.length === 0) continue;
          stored.patch('Port', port, {
            portSecurityEnabled: false,
            inboundFilterId: securityInChainId(port),
            outboundFilterId: securityOutChainId(port),
          });
        }
        // An address stays a member of the groups that it was a member of.
        for (const [table, entries] of one.s.world.tables) {
          if (table.startsWith('addresses/')) for (const [key, value] of entries) stored.entry(table, key, value);
        }
        const [bench, other] = [new Workbench(one.s.world), new Workbench(stored)];
        for (const { frame, port } of one.frames(plans)) {
          const out = bench.simulate(frame, port);
          seen.add(bench.describe(out).split(' ', 2).join(' '));
          assert.equal(effect(bench, out), effect(other, other.simulate(frame, port)));
        }
        assertNeverAsked(bench);
      }),
      { numRuns: RUNS },
    );
    assert.ok([...seen].some((words) => words.startsWith('forward')));
    assert.ok(seen.has('drop filtered'));
  });

  it('are, after any changes, what a view that starts now would derive', () => {
    fc.assert(
      fc.property(
        worldPlan,
        securityPlan,
        packets,
        fc.array(fc.tuple(change, fc.nat({ max: 3 })), { minLength: 1, maxLength: 6 }),
        (plan, security, plans, changes) => {
          const net = secured(plan, security);
          const bench = new Workbench(net.s.world);
          for (const [one, release] of changes) {
            for (const { frame, port } of net.frames(plans)) bench.simulate(frame, port);
            net.change(one);
            bench.sync();
            if (release === 0) {
              const unused = bench.view.unused(bench.now + 1, () => false);
              for (const interest of unused) bench.subscribed.delete(interest);
              bench.view.forget(unused);
            } else if (release === 1) bench.view.unused(bench.now + 1, () => false);
            const fresh = new Workbench(net.s.world);
            for (const { frame, port } of net.frames(plans)) {
              const words = effect(bench, bench.simulate(frame, port));
              assert.equal(words, effect(fresh, fresh.simulate(frame, port)));
            }
            assertNeverAsked(bench);
          }
        },
      ),
      { numRuns: RUNS },
    );
  });

  it('name every change that alters a verdict by a tag of the flow', () => {
    const altered = new Map<string, number>();
    fc.assert(
      fc.property(
        worldPlan,
        securityPlan,
        packets,
        fc.array(change, { minLength: 1, maxLength: 6 }),
        (plan, security, plans, changes) => {
          const net = secured(plan, security);
          const bench = new Workbench(net.s.world);
          for (const one of changes) {
            const before: { input: ReturnType<Workbench['input']>; effect: string; tags: number[] }[] = [];
            for (const { frame, port } of net.frames(plans)) {
              const input = bench.input(frame, port);
              const out = bench.run(input, newSimulation());
              if (!out.cacheable || out.verdict === VERDICT_POSTPONE) continue;
              before.push({ input, effect: effect(bench, out), tags: [...out.tags.slice(0, out.tagCount)] });
            }
            const what = net.change(one);
            const applied = new Set(bench.sync().tags);
            for (const flow of before) {
              const now = effect(bench, bench.run(flow.input, newSimulation()));
              if (now === flow.effect) continue;
              altered.set(String(what), (altered.get(String(what)) ?? 0) + 1);
              assert.ok(
                flow.tags.some((tag) => applied.has(tag)),
                `${what}: ${flow.effect}\n became ${now}, but no tag says so`,
              );
            }
          }
        },
      ),
      { numRuns: RUNS * 2 },
    );
    for (const what of ['security of a port', 'rules of a security group']) assert.ok(altered.has(what), what);
  });
});
