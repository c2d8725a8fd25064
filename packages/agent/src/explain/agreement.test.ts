/**
 * Trace, installed flow and what the datapath was told to do with the packet say the same, for random topologies and packets;
 * and a trace leaves nothing behind.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  A_OUT_PORT,
  A_OUTPUT,
  FLOW_VALUE_SIZE,
  KEY_SIZE,
  OUT_LIST,
  printAction,
  printKey,
  readU32le,
} from '@weft/flow';
import { toHex } from '@weft/packet';
import fc from 'fast-check';
import { AgentError } from '../errors.ts';
import { Harness } from '../testing/harness.ts';
import { MemoryState } from '../testing/memory-datapath.ts';
import { RandomNetwork, randomOf } from '../testing/random-network.ts';
import type { Trace } from './trace.ts';

function actionText(state: MemoryState, action: Uint8Array): string {
  const text = printAction(action);
  if (action[A_OUTPUT] !== OUT_LIST) return text;
  const list = state.lists.get(readU32le(action, A_OUT_PORT));
  const members = [
    ...[...(list?.ports ?? [])].sort((a, b) => a - b).map((port) => `output:${port}`),
    ...(list?.remotes ?? []).map(({ peer, key }) => `tunnel(peer=${peer},key=0x${key.toString(16)})`).sort(),
  ];
  return text.replace(/list:\d+/, `list(${members.join(',')})`);
}

/** All that a trace might have changed. */
function traceless(host: Harness, state: MemoryState): string {
  const {
    flowsInstalled,
    flowsDeleted,
    learnedMacs,
    neighboursPending,
    neighboursPublished,
    waiting,
    upcalls,
    executed,
    connections,
    connectionsCreated,
  } = host.engine.status();
  const counts = {
    flowsInstalled,
    flowsDeleted,
    learnedMacs,
    neighboursPending,
    neighboursPublished,
    waiting,
    upcalls,
    connections,
    connectionsCreated,
  };
  const tables = [...host.world.tables].map(([name, entries]) => [name, [...entries]]);
  return JSON.stringify({
    counts,
    executed,
    lists: [...state.lists.keys()],
    sent: host.datapath.executed.length,
    tables,
  });
}

function trace(host: Harness, interfaceName: string, frame: Uint8Array): Trace {
  let answer: Trace | AgentError | undefined;
  host.engine.trace({ port: interfaceName, frame: toHex(frame) }, (a) => {
    answer = a;
  });
  for (let i = 0; answer === undefined && i < 20; i++) host.settle();
  assert.ok(answer !== undefined, 'the trace is answered');
  if (answer instanceof AgentError) throw answer;
  return answer;
}

/** Copies of the packet that actions send. */
function copies(actions: readonly string[]): number {
  return actions.join().match(/output:|tunnel\(/g)?.length ?? 0;
}

test('trace, installed flow and the frame sent say the same', () => {
  const seen = { forward: 0, drop: 0, postpone: 0, flows: 0, connections: 0 };
  fc.assert(
    fc.property(fc.nat(2 ** 31), (seed) => {
      const random = randomOf(seed);
      const net = new RandomNetwork(random);
      const state = new MemoryState(2048);
      const host = new Harness(net.world, state);
      if (random() < 0.6) net.equip();
      host.settle();
      let heard = 0;
      for (let i = 0; i < 12; i++) {
        for (let n = Math.floor(random() * 3); n > 0; n--) net.change();
        host.settle();
        for (const one of host.datapath.executed.slice(heard)) net.hear(one.frame, one.action);
        heard = host.datapath.executed.length;
        const { ifindex, frame } = (random() < 0.5 ? net.answer() : undefined) ?? net.frame();
        const interfaceName = `vm${ifindex - 10}`;
        const bound = (host.engine.status().ports as { interfaceName: string; live: boolean }[]).some(
          (port) => port.interfaceName === interfaceName && port.live,
        );
        if (!bound) continue;
        const before = traceless(host, state);
        const { turns } = host;
        const already = host.datapath.executed.length;
        const told = trace(host, interfaceName, frame);
        // While data was fetched time went on: flows aged, routers asked again for neighbours of earlier packets.
        if (host.turns === turns) assert.equal(traceless(host, state), before, 'a trace leaves nothing behind');
        const late = host.datapath.executed.slice(already).map((one) => toHex(one.frame));
        assert.ok(!late.includes(toHex(frame)), 'nothing of it is sent');
        const sent = host.datapath.executed.length;
        const hit = host.datapath.inject(ifindex, frame);
        if (hit !== null) {
          assert.equal(told.installed?.agrees, true, 'what is installed agrees with the trace');
          assert.equal(told.flow?.action, actionText(state, hit));
          seen.flows++;
          continue;
        }
        assert.equal(told.installed, null);
        host.turn();
        const actions = host.datapath.executed
          .slice(sent)
          .filter((one) => toHex(one.frame) === toHex(frame))
          .map((one) => actionText(state, one.action));
        seen[told.verdict as 'forward' | 'drop' | 'postpone']++;
        if (told.verdict !== 'forward') assert.deepEqual(actions, []);
        else if (told.flow !== null) assert.deepEqual(actions, [told.flow.action]);
        else assert.equal(copies(actions), told.destinations.length);
        if (told.flow === null) continue;
        const slot = [...installed(state)].find(([match]) => match === told.flow?.match);
        assert.equal(slot?.[1], told.flow.action, JSON.stringify(told.explanation.summary));
        seen.flows++;
      }
      seen.connections += host.engine.status().connectionsCreated as number;
      assert.deepEqual(host.complaints, []);
    }),
    { numRuns: Number(process.env.WEFT_PROPERTY_RUNS ?? 120) },
  );
  assert.ok(seen.forward > 50 && seen.drop > 50 && seen.postpone > 10 && seen.flows > 100, JSON.stringify(seen));
  assert.ok(seen.connections > 50, JSON.stringify(seen));
});

function* installed(state: MemoryState): Generator<[string, string]> {
  const slots: number[] = [];
  state.flows.forEach((slot) => {
    slots.push(slot);
  });
  for (const slot of slots) {
    const key = state.flows.keys.subarray(slot * KEY_SIZE, (slot + 1) * KEY_SIZE);
    const value = state.flows.values.subarray(slot * FLOW_VALUE_SIZE, (slot + 1) * FLOW_VALUE_SIZE);
    yield [printKey(key, key[KEY_SIZE - 1]), actionText(state, value)];
  }
}
