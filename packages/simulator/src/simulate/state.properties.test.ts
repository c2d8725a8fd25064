/** What holds of connections and translations for every packet in every topology. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  DROP_REASONS,
  K_ETH_DST,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_TP_SRC,
  K_VLAN,
  KEY_SIZE,
  readU16,
  TAG_CHAIN,
  TAG_PORT,
  TAG_ROUTER,
  tag,
} from '@weft/flow';
import { FLAG_KEEP, R_RETURN, R_RULE, RECORD_WORDS, stateTag, TUPLE_WORDS } from '@weft/flowstate';
import fc from 'fast-check';
import { type Simulation, type SimulationInput, VERDICT_FORWARD, VERDICT_POSTPONE } from '../contract.ts';
import { settled } from '../testing/edge.ts';
import { buildPacket, buildScenario, packetPlan, type Scenario, worldPlan } from '../testing/generate.ts';
import { addTranslations, natPacketPlan, natPlan, natWorldPlan } from '../testing/generate-nat.ts';
import { isStateful } from '../testing/generate-rules.ts';
import { answerTo, leaving, packetWords, wrongChecksums } from '../testing/leaving.ts';
import { assertSameFlow, isMatchable, perturbed } from '../testing/perturb.ts';
import { Workbench } from '../testing/workbench.ts';
import { newSimulation } from './simulation.ts';

const RUNS = Number(process.env.WEFT_PROPERTY_RUNS ?? 300);
const packets = fc.array(packetPlan, { minLength: 1, maxLength: 12 });
const natPackets = fc.array(natPacketPlan, { minLength: 1, maxLength: 12 });
/** Networks whose only filters are those that `addTranslations` sets, and where everything is known. */
const openWorld = natWorldPlan.map((plan) => ({ ...plan, filters: [], down: [], inactive: [], routes: [] }));

/** Calls `check` with every packet of the plan that can enter. */
function eachPacket(
  s: Scenario,
  bench: Workbench,
  plans: Parameters<typeof buildPacket>[1][],
  check: (input: SimulationInput, out: Simulation) => void,
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
  return `${bench.describe(out)} ${Buffer.from(out.verdict === VERDICT_FORWARD ? out.key : []).toString('hex')}`;
}

/** A whole packet to one receiver, in a way that `answerTo` can answer. */
function isAnswerable({ key }: SimulationInput): boolean {
  const type = readU16(key, 16);
  const proto = key[K_IP_PROTO];
  if (type !== 0x0800 && type !== 0x86dd) return false;
  if (key[K_IP_FRAG] !== 0 || readU16(key, K_VLAN) !== 0 || (key[K_ETH_DST] & 1) !== 0) return false;
  // An answer to oneself is told from the question by nothing.
  if (String(key.slice(K_IP_SRC, K_IP_SRC + 16)) === String(key.slice(K_IP_DST, K_IP_DST + 16))) return false;
  const echo = proto === 1 ? 8 : 128;
  return proto === 6 || proto === 17 || ((proto === 1 || proto === 58) && readU16(key, K_TP_SRC) === echo);
}

/** The ports that a result stands on. */
function portsOf(s: Scenario, bench: Workbench, out: Simulation): string {
  const tags = new Set(out.tags.slice(0, out.tagCount));
  const ports = [...s.world.objects.keys()].filter((key) => key.startsWith('Port/')).map((key) => key.slice(5));
  return ports.filter((id) => tags.has(tag(TAG_PORT, bench.view.handle(id)))).join();
}

/** How many routers a result stands on. */
function routersOf(s: Scenario, bench: Workbench, out: Simulation): number {
  const tags = new Set(out.tags.slice(0, out.tagCount));
  return s.routers.filter((id) => tags.has(tag(TAG_ROUTER, bench.view.handle(id)))).length;
}

describe('state, for all topologies and packets', () => {
  it('the answer to what left comes back to the sender as the answer to what it sent', () => {
    const seen = { answered: 0, translated: 0 };
    fc.assert(
      fc.property(openWorld, natPlan, natPackets, (plan, nats, plans) => {
        const s = buildScenario(plan);
        addTranslations(s, nats);
        const bench = new Workbench(s.world);
        eachPacket(s, bench, plans, (input, out) => {
          if (out.verdict !== VERDICT_FORWARD || out.outputCount !== 1 || !isAnswerable(input)) return;
          if (bench.state.commit(out).some((record) => record < 0)) return;
          const away = leaving(input, out);
          assert.deepEqual(wrongChecksums(away), []);
          const answer = bench.input(answerTo(away), bench.view.id(out.outputs[0]));
          const back = bench.run(answer, newSimulation());
          if (back.verdict !== VERDICT_FORWARD || back.outputCount !== 1 || back.outputs[0] !== input.port) return;
          // Another way back may pass by who could translate.
          if (back.routers !== out.routers || portsOf(s, bench, back) !== portsOf(s, bench, out)) return;
          // On a way that turns back on itself the same rules see different packets.
          if (routersOf(s, bench, out) < out.routers) return;
          const arrived = leaving(answer, back);
          assert.deepEqual(wrongChecksums(arrived), []);
          assert.equal(packetWords(arrived), packetWords(answerTo(input.frame)), packetWords(away));
          assert.equal(back.createdCount, 0, 'an answer begins nothing');
          seen.answered++;
          if (packetWords(away) !== packetWords(input.frame)) seen.translated++;
        });
      }),
      { numRuns: RUNS * 2 },
    );
    assert.ok(seen.answered > RUNS && seen.translated > RUNS / 10, JSON.stringify(seen));
  });

  it('hosts with the same state decide alike', () => {
    let stateful = 0;
    fc.assert(
      fc.property(natWorldPlan, natPlan, natPackets, (plan, nats, plans) => {
        const s = buildScenario(plan);
        addTranslations(s, nats);
        const [here, there] = [1, 2].map((host) => new Workbench(s.world, undefined, host));
        // Numbers differ between hosts.
        for (const id of [...s.world.objects.keys()].reverse()) {
          there.state.number(there.view.handle(id.replace(/^.*\//, '')));
        }
        const decideAlike = (frame: Uint8Array, port: string) => {
          const out = here.run(here.input(frame, port), newSimulation());
          const twin = there.run(there.input(frame, port), newSimulation());
          // What begins gets ports of the host where it begins.
          if (out.createdCount > 0 || out.reason === DROP_REASONS.indexOf('nat_exhausted')) return;
          assert.equal(effect(there, twin), effect(here, out));
          assert.equal(twin.stateCount, out.stateCount);
          assert.equal(twin.missedCount, out.missedCount);
          if (out.stateCount > 0) stateful++;
        };
        for (const plan of plans) {
          const packet = buildPacket(s, plan);
          if (packet === undefined) continue;
          const input = here.input(packet.frame, packet.port);
          const out = here.run(input, newSimulation());
          if (!settled(out)) continue;
          for (const record of here.state.commit(out)) if (record >= 0) here.state.tell(record, there.state);
          decideAlike(packet.frame, packet.port);
          if (out.verdict !== VERDICT_FORWARD || out.outputCount !== 1 || !isAnswerable(input)) continue;
          if (out.createdCount > 0) decideAlike(answerTo(leaving(input, out)), here.view.id(out.outputs[0]));
        }
      }),
      { numRuns: RUNS },
    );
    assert.ok(stateful > RUNS / 4, `only ${stateful} of connections`);
  });

  it('nothing is looked up or begun where no rule asks', () => {
    let without = 0;
    let begun = 0;
    fc.assert(
      fc.property(worldPlan, packets, (plan, plans) => {
        const s = buildScenario(plan);
        const bench = new Workbench(s.world);
        const rules = [...s.world.objects].filter(([key]) => key.startsWith('Rule/')).map(([, value]) => value);
        const asks = rules.some((rule) => isStateful(rule));
        eachPacket(s, bench, plans, (_, out) => {
          begun += out.createdCount;
          if (asks) return;
          without++;
          assert.deepEqual([out.missedCount, out.stateCount, out.createdCount], [0, 0, 0]);
        });
      }),
      { numRuns: RUNS },
    );
    assert.ok(without > RUNS / 2 && begun > RUNS / 50, `${without} packets, ${begun} connections`);
  });

  it('packets that agree on the read fields belong to the same known connections', () => {
    let known = 0;
    fc.assert(
      fc.property(
        natWorldPlan,
        natPlan,
        natPackets,
        fc.uint8Array({ minLength: KEY_SIZE, maxLength: KEY_SIZE }),
        (plan, nats, plans, noise) => {
          const s = buildScenario(plan);
          addTranslations(s, nats);
          const bench = new Workbench(s.world);
          const packet = buildPacket(s, plans[plans.length - 1]);
          const donor = packet === undefined ? noise : bench.input(packet.frame, packet.port).key;
          eachPacket(s, bench, plans, (input, first) => {
            if (settled(first)) bench.state.commit(first);
            const out = bench.run(input, newSimulation());
            if (!isMatchable(out)) return;
            if (out.stateCount > 0) known++;
            const twin = perturbed(input, out, noise, donor);
            assertSameFlow(input, out, twin, bench.run(twin, newSimulation()));
          });
        },
      ),
      { numRuns: RUNS },
    );
    assert.ok(known > RUNS / 4, `only ${known} of connections`);
  });

  it('a connection that comes or goes concerns only flows that hold the tag of one of its tuples', () => {
    let altered = 0;
    fc.assert(
      fc.property(natWorldPlan, natPlan, natPackets, natPackets, (plan, nats, plans, later) => {
        const s = buildScenario(plan);
        addTranslations(s, nats);
        const bench = new Workbench(s.world);
        const { table } = bench.state;
        interface Flow {
          input: SimulationInput;
          effect: string;
          tags: ReadonlySet<number>;
        }
        const flows = (): Flow[] => {
          const made: Flow[] = [];
          const note = (input: SimulationInput, out: Simulation) => {
            // A flow stands when what it began has been entered; those that found nothing left are short-lived.
            if (!out.cacheable || out.createdCount > 0 || out.shortLived > 0 || out.verdict === VERDICT_POSTPONE)
              return;
            made.push({ input, effect: effect(bench, out), tags: new Set(out.tags.slice(0, out.tagCount)) });
          };
          eachPacket(s, bench, plans, (input, out) => {
            note(input, out);
            if (out.verdict !== VERDICT_FORWARD || out.outputCount !== 1 || !isAnswerable(input)) return;
            const answer = bench.input(answerTo(leaving(input, out)), bench.view.id(out.outputs[0]));
            note(answer, bench.run(answer, newSimulation()));
          });
          return made;
        };
        const check = (before: readonly Flow[], tags: readonly number[], what: string) => {
          for (const flow of before) {
            const now = effect(bench, bench.run(flow.input, newSimulation()));
            if (now === flow.effect) continue;
            altered++;
            assert.ok(
              tags.some((one) => flow.tags.has(one)),
              `${what}: ${flow.effect}\n became ${now}, but no tag says so`,
            );
          }
        };
        const tagsOf = (record: number) => {
          const words = table.words.slice(record * RECORD_WORDS, (record + 1) * RECORD_WORDS);
          const back = new Int32Array(TUPLE_WORDS);
          back[0] = words[0];
          for (let i = 1; i < TUPLE_WORDS; i++) back[i] = words[R_RETURN - 1 + i];
          const tags = [stateTag(words, 0), stateTag(back, 0)];
          // The first one of a filter that is to finish without it makes others ask (see `StateView.keeps`).
          if ((table.flags(record) & FLAG_KEEP) !== 0) {
            for (const id of s.world.objects.keys()) {
              const handle = bench.view.handle(id.replace('Chain/', ''));
              if (id.startsWith('Chain/') && bench.state.number(handle) === words[R_RULE])
                tags.push(tag(TAG_CHAIN, handle));
            }
          }
          return tags;
        };
        eachPacket(s, bench, [...plans, ...later], (_, out) => {
          if (!settled(out) || out.createdCount === 0) return;
          const before = flows();
          const made = bench.state.commit(out).filter((record) => record >= 0);
          check(before, made.flatMap(tagsOf), 'begun');
          const [record] = made;
          if (record === undefined || record % 2 === 0) return;
          const standing = flows();
          const tags = tagsOf(record);
          table.remove(record);
          check(standing, tags, 'gone');
        });
      }),
      { numRuns: RUNS },
    );
    assert.ok(altered > RUNS / 15, `only ${altered} verdicts`);
  });
});
