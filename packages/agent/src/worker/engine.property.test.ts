/**
 * The invariant that everything else serves: after any sequence of changes, races and restarts, every installed flow equals
 * a fresh simulation. The judge is a second engine with an empty memory: it adopts a copy of the installed flows and
 * simulates each of them again in a view built from scratch; nothing may change.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTION_SIZE, FLOW_FIRST_KEY, FLOW_VALUE_SIZE, KEY_SIZE, printAction, printKey } from '@weft/flow';
import fc from 'fast-check';
import { BlockBank } from '../testing/block-bank.ts';
import { Harness } from '../testing/harness.ts';
import { MemoryState } from '../testing/memory-datapath.ts';
import { RandomNetwork, randomOf } from '../testing/random-network.ts';

const MAX_FLOWS = 2048;

/** Flows as text: masked key → action without its ids, which differ with every write. Lists are named by their members. */
function flowsOf(state: MemoryState): Map<string, string> {
  const out = new Map<string, string>();
  state.flows.forEach((slot) => {
    const key = state.flows.keys.subarray(slot * KEY_SIZE, (slot + 1) * KEY_SIZE);
    const value = state.flows.values.subarray(slot * FLOW_VALUE_SIZE, (slot + 1) * FLOW_VALUE_SIZE);
    const action = printAction(value.subarray(0, ACTION_SIZE)).replace(/list:(\d+)/, (_, id) => {
      const list = state.lists.get(Number(id));
      return `list(${list?.ports.join()}|${list?.remotes
        .map((r) => `${r.peer}:${r.key}`)
        .sort()
        .join()})`;
    });
    out.set(`${key[KEY_SIZE - 1]} ${printKey(key, key[KEY_SIZE - 1])}`, action);
  });
  return out;
}

/** Carries out what the engine told its datapath to send; what comes to VMs may be answered. */
function carry(net: RandomNetwork, host: Harness): void {
  for (const { frame, action } of host.datapath.executed.splice(0)) net.hear(frame, action);
}

function send(net: RandomNetwork, host: Harness, { ifindex, frame }: { ifindex: number; frame: Uint8Array }): void {
  const flow = host.datapath.inject(ifindex, frame);
  if (flow !== null) net.hear(frame, flow);
}

/** Lets time pass until nothing is about to end by itself: engine and judge see their flows at different times. */
function rest(host: Harness): void {
  const ends = (): boolean => {
    const { table } = host;
    for (let record = table.nextRecord(0); record >= 0; record = table.nextRecord(record + 1)) {
      if (table.expiry(record) < host.now + 5_000) return true;
    }
    return false;
  };
  for (let first = true; first || ends(); first = false) {
    host.now += 1_100;
    host.settle();
  }
}

interface Run {
  readonly flows: number;
  /** Connections that flows could stand on at the end. */
  readonly connections: number;
  readonly changes: string[];
}

/** One run of a seed. `sabotage`: how many of the changes are hidden from the engine (its judge sees them). */
function run(seed: number, steps: number): Run {
  const random = randomOf(seed);
  const net = new RandomNetwork(random);
  let state = new MemoryState(MAX_FLOWS);
  const bank = new BlockBank();
  let host = new Harness(net.world, state, { bank });
  const changes: string[] = [];
  if (random() < 0.6) changes.push(...net.equip());
  host.settle();
  for (let i = 0; i < steps; i++) {
    const dice = random();
    if (dice < 0.55) {
      send(net, host, (random() < 0.4 ? net.answer() : undefined) ?? net.frame());
    } else if (dice < 0.75) changes.push(net.change());
    else if (dice < 0.85) host.deliver();
    else if (dice < 0.87) {
      // kill -9: nothing is flushed, the next process finds what was pinned. The topology may have changed meanwhile.
      changes.push('restart');
      state = state.copy(random() < 0.8);
      host = new Harness(net.world, state, { now: host.now, bank });
      if (random() < 0.5) changes.push(net.change());
    } else {
      host.now += random() < 0.9 ? 10 : 2_000;
      host.turn();
    }
    carry(net, host);
  }
  host.settle();
  rest(host);
  assert.deepEqual(host.complaints, []);
  const found = flowsOf(state);
  const copy = state.copy();
  const judge = new Harness(net.world, copy, { now: host.now, publish: false, bank: null });
  judge.settle();
  assert.equal(judge.engine.status().unverified, 0, 'the judge has simulated every flow');
  assert.equal(host.engine.status().unverified, 0, 'no adopted flow is left unjudged');
  assert.deepEqual(Object.fromEntries(flowsOf(copy)), Object.fromEntries(found), changes.join('\n'));
  return { flows: found.size, connections: host.table.size, changes };
}

test('after any sequence of changes, races and restarts, every installed flow equals a fresh simulation', () => {
  let flows = 0;
  let connections = 0;
  fc.assert(
    fc.property(fc.nat(2 ** 31), (seed) => {
      const end = run(seed, 120);
      flows += end.flows;
      connections += end.connections;
    }),
    { numRuns: Number(process.env.WEFT_PROPERTY_RUNS ?? 300) },
  );
  assert.ok(flows > 300, `only ${flows} flows were compared`);
  assert.ok(connections > 100, `only ${connections} connections were there`);
});

test('a flow that the engine does not know to be stale is found by the judge', () => {
  const random = randomOf(7);
  const net = new RandomNetwork(random);
  const state = new MemoryState(MAX_FLOWS);
  const host = new Harness(net.world, state);
  host.settle();
  for (let i = 0; i < 40; i++) {
    const { ifindex, frame } = net.frame();
    host.datapath.inject(ifindex, frame);
    host.settle();
  }
  const found = flowsOf(state);
  assert.ok(found.size > 3);
  // The change is not delivered to the engine under test.
  net.world.patch('Router', net.router, { adminStateUp: false });
  for (const bridge of net.bridges) net.world.patch('Bridge', bridge, { adminStateUp: false });
  const copy = state.copy();
  new Harness(net.world, copy, { now: host.now, publish: false }).settle();
  assert.notDeepEqual(Object.fromEntries(flowsOf(copy)), Object.fromEntries(found));
  assert.ok(FLOW_FIRST_KEY === ACTION_SIZE);
});
