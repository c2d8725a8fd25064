/**
 * The invariant that everything else serves: after any sequence of changes, races and restarts, every installed flow equals
 * a fresh simulation. The judge is a second engine with an empty memory: it adopts a copy of the installed flows and
 * simulates each of them again in a view built from scratch; nothing may change.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTION_SIZE, FLOW_FIRST_KEY, FLOW_VALUE_SIZE, KEY_SIZE, printAction, printKey } from '@weft/flow';
import fc from 'fast-check';
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

/** A copy of the pinned state, as a new process would find it. */
function copyOf(state: MemoryState): MemoryState {
  const copy = new MemoryState(MAX_FLOWS);
  for (const name of ['ports', 'tunnels', 'egress', 'lists'] as const) {
    for (const [k, v] of state[name]) (copy[name] as Map<number, unknown>).set(k, v);
  }
  state.flows.forEach((slot) => {
    const to = copy.flows.add(state.flows.keys, slot * KEY_SIZE);
    copy.flows.values.set(
      state.flows.values.subarray(slot * FLOW_VALUE_SIZE, (slot + 1) * FLOW_VALUE_SIZE),
      to * FLOW_VALUE_SIZE,
    );
  });
  return copy;
}

interface Run {
  readonly flows: number;
  readonly changes: string[];
}

/** One run of a seed. `sabotage`: how many of the changes are hidden from the engine (its judge sees them). */
function run(seed: number, steps: number): Run {
  const random = randomOf(seed);
  const net = new RandomNetwork(random);
  let state = new MemoryState(MAX_FLOWS);
  let host = new Harness(net.world, state);
  const changes: string[] = [];
  host.settle();
  for (let i = 0; i < steps; i++) {
    const dice = random();
    if (dice < 0.55) {
      const { ifindex, frame } = net.frame();
      host.datapath.inject(ifindex, frame);
    } else if (dice < 0.75) changes.push(net.change());
    else if (dice < 0.85) host.deliver();
    else if (dice < 0.87) {
      // kill -9: nothing is flushed, the next process finds what was pinned. The topology may have changed meanwhile.
      changes.push('restart');
      state = copyOf(state);
      host = new Harness(net.world, state, { now: host.now });
      if (random() < 0.5) changes.push(net.change());
    } else {
      host.now += random() < 0.9 ? 10 : 2_000;
      host.turn();
    }
  }
  host.settle();
  assert.deepEqual(host.complaints, []);
  const found = flowsOf(state);
  const copy = copyOf(state);
  const judge = new Harness(net.world, copy, { now: host.now, publish: false });
  judge.settle();
  assert.equal(judge.engine.status().unverified, 0, 'the judge has simulated every flow');
  assert.equal(host.engine.status().unverified, 0, 'no adopted flow is left unjudged');
  assert.deepEqual(Object.fromEntries(flowsOf(copy)), Object.fromEntries(found), changes.join('\n'));
  return { flows: found.size, changes };
}

test('after any sequence of changes, races and restarts, every installed flow equals a fresh simulation', () => {
  let flows = 0;
  fc.assert(
    fc.property(fc.nat(2 ** 31), (seed) => {
      flows += run(seed, 120).flows;
    }),
    { numRuns: Number(process.env.WEFT_PROPERTY_RUNS ?? 300) },
  );
  assert.ok(flows > 300, `only ${flows} flows were compared`);
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
  const copy = copyOf(state);
  new Harness(net.world, copy, { now: host.now, publish: false }).settle();
  assert.notDeepEqual(Object.fromEntries(flowsOf(copy)), Object.fromEntries(found));
  assert.ok(FLOW_FIRST_KEY === ACTION_SIZE);
});
