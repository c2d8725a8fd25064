/** What holds for every packet in every topology. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { K_IP_TTL, KEY_SIZE } from '@weft/flow';
import fc from 'fast-check';
import { type Simulation, VERDICT_FORWARD, VERDICT_POSTPONE } from '../contract.ts';
import {
  applyChange,
  buildPacket,
  buildScenario,
  changePlan,
  packetPlan,
  type Scenario,
  worldPlan,
} from '../testing/generate.ts';
import { assertSameFlow, isMatchable, perturbed } from '../testing/perturb.ts';
import { Workbench } from '../testing/workbench.ts';
import { newSimulation } from './simulation.ts';

const RUNS = Number(process.env.WEFT_PROPERTY_RUNS ?? 300);
const packets = fc.array(packetPlan, { minLength: 1, maxLength: 12 });

/** Calls `check` with every packet of the plan that can enter. */
function eachPacket(
  s: Scenario,
  bench: Workbench,
  plans: Parameters<typeof buildPacket>[1][],
  check: (input: ReturnType<Workbench['input']>, out: Simulation) => void,
): void {
  for (const plan of plans) {
    const packet = buildPacket(s, plan);
    if (packet === undefined) continue;
    const input = bench.input(packet.frame, packet.port);
    check(input, bench.run(input, newSimulation()));
  }
}

/** Everything that a flow of this result would do, in words. */
function effect(bench: Workbench, out: Simulation): string {
  return `${bench.describe(out)} ${Buffer.from(out.verdict === VERDICT_FORWARD ? out.key : []).toString('hex')} ${out.shortLived}`;
}

describe('simulator, for all topologies and packets', () => {
  it('ends: few devices, no port twice, TTL falls by the routers passed, deterministic', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(worldPlan, packets, (plan, plans) => {
        const s = buildScenario(plan);
        const bench = new Workbench(s.world);
        eachPacket(s, bench, plans, (input, out) => {
          seen.add(bench.describe(out).replace(/ .*/s, ''));
          assert.ok(out.devices <= 13 * 65);
          const outputs = out.outputs.slice(0, out.outputCount);
          assert.equal(new Set(outputs).size, outputs.length);
          // Only a router, or a loop that was plugged together, sends a packet back.
          if (out.routers === 0 && plan.trunks.length === 0) assert.ok(!outputs.includes(input.port));
          if (out.verdict === VERDICT_FORWARD) {
            // A copy of a flooded frame may have come to a router and ended there.
            if (plan.trunks.length === 0) assert.equal(out.ttlDec, out.routers);
            else assert.ok(out.ttlDec <= out.routers);
            if (!out.divergent) assert.equal(out.key[K_IP_TTL], input.key[K_IP_TTL] - out.ttlDec);
          }
          assert.ok(answersEnd(bench, out), 'answers to answers come to an end');
          const again = bench.run(input, newSimulation());
          assert.equal(effect(bench, again), effect(bench, out));
          assert.deepEqual(again.tags.slice(0, again.tagCount), out.tags.slice(0, out.tagCount));
        });
      }),
      { numRuns: RUNS },
    );
    for (const verdict of ['forward', 'drop', 'postpone']) assert.ok(seen.has(verdict), `${verdict} occurs`);
  });

  it('gives every packet that agrees on the read fields the same verdict, rewrite and tags', () => {
    let compared = 0;
    fc.assert(
      fc.property(
        worldPlan,
        packets,
        fc.uint8Array({ minLength: KEY_SIZE, maxLength: KEY_SIZE }),
        (plan, plans, noise) => {
          const s = buildScenario(plan);
          const bench = new Workbench(s.world);
          // Fields of another packet go deeper into the rules than noise does.
          const packet = buildPacket(s, plans[plans.length - 1]);
          const donor = packet === undefined ? noise : bench.input(packet.frame, packet.port).key;
          eachPacket(s, bench, plans, (input, out) => {
            if (!isMatchable(out)) return;
            compared++;
            const twin = perturbed(input, out, noise, donor);
            assertSameFlow(input, out, twin, bench.run(twin, newSimulation()));
          });
        },
      ),
      { numRuns: RUNS },
    );
    assert.ok(compared > RUNS / 2, 'most packets were compared');
  });

  it('does not depend on the order in which the topology arrived', () => {
    fc.assert(
      fc.property(worldPlan, packets, fc.array(fc.nat(), { minLength: 40, maxLength: 40 }), (plan, plans, order) => {
        const s = buildScenario(plan);
        const bench = new Workbench(s.world);
        const other = new Workbench(s.world);
        const all = s.world.everything();
        const shuffled = all.map((interest, i) => ({ interest, rank: (order[i % 40] * 7919 + i * 104729) % 1009 }));
        shuffled.sort((x, y) => x.rank - y.rank);
        for (const { interest } of shuffled) other.subscribe([interest]);
        eachPacket(s, bench, plans, (input, out) => {
          const twin = other.run({ ...input, port: other.view.handle(bench.view.id(input.port)) }, newSimulation());
          assert.equal(effect(other, twin), effect(bench, out));
        });
      }),
      { numRuns: RUNS },
    );
  });

  it('names every change that alters a verdict by a tag of the flow', () => {
    const altered = new Map<string, number>();
    fc.assert(
      fc.property(worldPlan, packets, fc.array(changePlan, { minLength: 1, maxLength: 6 }), (plan, plans, changes) => {
        const s = buildScenario(plan);
        const bench = new Workbench(s.world);
        for (const change of changes) {
          const before: { input: ReturnType<Workbench['input']>; effect: string; tags: number[] }[] = [];
          eachPacket(s, bench, plans, (input, out) => {
            if (!out.cacheable || out.verdict === VERDICT_POSTPONE) return;
            before.push({ input, effect: effect(bench, out), tags: [...out.tags.slice(0, out.tagCount)] });
          });
          const what = applyChange(s, change);
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
      }),
      { numRuns: RUNS * 2 },
    );
    assert.ok(altered.size >= 5, `many kinds of change altered some verdict: ${[...altered.keys()]}`);
  });
});

/** Sends what devices generated, and what that generates: it must die out at once, an error is never answered by an error. */
function answersEnd(bench: Workbench, out: Simulation): boolean {
  let frames = [...out.generated];
  for (let round = 0; round < 3 && frames.length > 0; round++) {
    frames = frames.flatMap(({ frame, port }) => [...bench.generated(frame, port).generated]);
  }
  return frames.length === 0;
}
