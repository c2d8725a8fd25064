/** Frames that devices answer with: they are nobody's flow, and a flood of them reaches also the port that caused it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { A_OUT_PORT, A_OUTPUT, A_OWNER_PORT, OUT_LIST, readU32le } from '@weft/flow';
import { describe, udpFrame } from '@weft/packet';
import { World } from '@weft/simulator/testing';
import { Harness, LOCAL_HOST } from '../testing/harness.ts';
import { MemoryState } from '../testing/memory-datapath.ts';

test('an answer that is flooded, because its MAC is not known yet, goes to the port that asked too', () => {
  const world = new World();
  const bridgeId = world.put('Bridge', {});
  const routerId = world.put('Router', {});
  const portMac = 'ac:ca:ba:00:00:01';
  const inside = world.put('Port', { routerId, portSubnet: ['10.0.0.1/24'], portMac });
  world.link(inside, world.put('Port', { bridgeId }));
  for (const interfaceName of ['vm0', 'vm1']) world.put('Port', { bridgeId, hostId: LOCAL_HOST, interfaceName });
  const state = new MemoryState(64);
  const host = new Harness(world, state);
  host.settle();

  const lost = (index: number): Uint8Array => {
    const ends = { ethSrc: `02:00:00:00:00:1${index}`, ethDst: portMac, src: `10.0.0.1${index}`, dst: '198.51.100.1' };
    return udpFrame({ ...ends, srcPort: 1, dstPort: 2 });
  };
  // By the other one's packet all is fetched that the answer needs.
  host.datapath.inject(11, lost(1));
  host.settle();
  host.datapath.executed.length = 0;
  host.datapath.inject(10, lost(0));
  host.turn();
  const [answer] = host.datapath.executed.filter(({ frame }) => describe(frame).includes('net unreachable'));
  assert.ok(answer, 'the router answers');
  assert.equal(answer.action[A_OUTPUT], OUT_LIST, 'its MAC is learned only when the turn ends');
  const list = state.lists.get(readU32le(answer.action, A_OUT_PORT));
  assert.deepEqual([...list!.ports].sort(), [10, 11]);
  assert.equal(readU32le(answer.action, A_OWNER_PORT), 0, 'the datapath leaves out the port of the action');
});
