/** Which flows of an earlier process are taken over: those whose first packet is theirs, in a slot that no other has. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { A_COUNTER_SLOT, FLOW_FIRST_KEY, FLOW_VALUE_SIZE, K_ETH_SRC, K_IN_PORT, K_IP_DST, K_IP_TTL } from '@weft/flow';
import { udpFrame } from '@weft/packet';
import { LEFT_MAC, MAC_A, routed } from '@weft/simulator/testing';
import { Harness, LOCAL_HOST } from '../testing/harness.ts';
import { MemoryState } from '../testing/memory-datapath.ts';

const VM0 = 10;
const SLOTS = 64;

/** A host with a flow to a machine, killed; `damage` is done to the flow's value. @returns what the next process makes of it */
function restarted(damage: (value: Uint8Array) => void, senders: readonly string[] = [MAC_A]) {
  const net = routed();
  net.world.patch('Port', net.a, { hostId: LOCAL_HOST, interfaceName: 'vm0' });
  net.world.patch('Port', net.b, { hostId: LOCAL_HOST, interfaceName: 'vm1' });
  const state = new MemoryState(SLOTS);
  const first = new Harness(net.world, state);
  first.settle();
  const frame = { ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10', srcPort: 1, dstPort: 2 };
  for (const ethSrc of senders) first.datapath.inject(VM0, udpFrame({ ...frame, ethSrc, payload: new Uint8Array(4) }));
  first.settle();
  assert.equal(state.flows.size, senders.length);
  let last = -1;
  state.flows.forEach((slot) => {
    last = slot;
  });
  damage(state.flows.values.subarray(last * FLOW_VALUE_SIZE, (last + 1) * FLOW_VALUE_SIZE));
  const second = new Harness(net.world, state, { now: first.now });
  second.turn();
  const taken = { adopted: second.engine.status().flows, left: state.flows.size };
  second.settle();
  assert.deepEqual(second.complaints, []);
  return { ...taken, written: second.engine.status().flowsInstalled };
}

test('a flow is taken over by its first packet', () => {
  assert.deepEqual(
    restarted(() => {}),
    { adopted: 1, left: 1, written: 0 },
  );
});

test('what the flow does not match may differ: a first packet that was being replaced is one of the flow still', () => {
  const taken = restarted((value) => (value[FLOW_FIRST_KEY + K_IP_TTL] ^= 0xff));
  assert.deepEqual(taken, { adopted: 1, left: 1, written: 0 });
});

for (const [name, at] of [
  ['interface', K_IN_PORT],
  ['source MAC', K_ETH_SRC + 5],
  ['target', K_IP_DST + 15],
] as const) {
  test(`a first packet of another ${name} is another flow’s: the flow goes`, () => {
    assert.deepEqual(
      restarted((value) => (value[FLOW_FIRST_KEY + at] ^= 1)),
      { adopted: 0, left: 0, written: 0 },
    );
  });
}

test('a first packet that was never written is none', () => {
  assert.deepEqual(
    restarted((value) => value.fill(0, FLOW_FIRST_KEY)),
    { adopted: 0, left: 0, written: 0 },
  );
});

test('a flow whose slot is beyond the table goes', () => {
  for (const slot of [SLOTS, 2 ** 32 - 1]) {
    const beyond = restarted((value) =>
      new DataView(value.buffer, value.byteOffset).setUint32(A_COUNTER_SLOT, slot, true),
    );
    assert.deepEqual(beyond, { adopted: 0, left: 0, written: 0 });
  }
});

test('of two flows that claim one slot one stays', () => {
  const taken = restarted(
    (value) => new DataView(value.buffer, value.byteOffset).setUint32(A_COUNTER_SLOT, 0, true),
    [MAC_A, '02:00:00:00:00:55'],
  );
  assert.deepEqual([taken.adopted, taken.left], [1, 1]);
});
