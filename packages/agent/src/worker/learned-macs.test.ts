import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LearnedMacs } from './learned-macs.ts';

function setup(maxMacsPerPort = 10) {
  const log: string[] = [];
  const macs = new LearnedMacs(
    {
      put: (bridge, vlan, mac, port) => log.push(`put ${bridge}/${vlan} ${mac} ${port}`),
      remove: (bridge, vlan, mac) => log.push(`remove ${bridge}/${vlan} ${mac}`),
      capHit: (reason) => log.push(reason),
    },
    { maxMacsPerPort, macIdleMs: 15 },
  );
  return { macs, log };
}

test('publishes a MAC once, again when it moves, again when another host had taken it', () => {
  const { macs, log } = setup();
  const id = macs.learn(1, 0, 42, 7, 0, 0);
  assert.equal(macs.learn(1, 0, 42, 7, 7, 1), id);
  assert.equal(macs.learn(1, 0, 42, 8, 7, 2), id);
  macs.learn(1, 0, 42, 8, 99, 3);
  assert.deepEqual(log, ['put 1/0 42 7', 'put 1/0 42 8', 'put 1/0 42 8']);
});

test('an entry stays while a flow uses it and macIdleMs longer', () => {
  const { macs, log } = setup();
  const id = macs.learn(1, 0, 42, 7, 0, 0);
  macs.reference(id);
  macs.expire(1_000);
  assert.equal(macs.size, 1);
  macs.release(id, 1_000);
  macs.expire(1_014);
  assert.equal(macs.size, 1);
  macs.expire(1_015);
  assert.equal(macs.size, 0);
  assert.equal(log.at(-1), 'remove 1/0 42');
});

test('a port cannot exceed its cap, nor take another port’s share; dropped entries give room', () => {
  const { macs, log } = setup(2);
  macs.learn(1, 0, 1, 7, 0, 0);
  macs.learn(1, 0, 2, 7, 0, 0);
  assert.equal(macs.learn(1, 0, 3, 7, 0, 0), -1);
  assert.equal(log.at(-1), 'cap_macs');
  assert.notEqual(macs.learn(1, 0, 4, 8, 0, 0), -1);
  macs.dropPort(7);
  assert.equal(macs.size, 1);
  assert.notEqual(macs.learn(1, 0, 3, 7, 0, 0), -1);
});

test('VLANs and bridges are apart', () => {
  const { macs } = setup();
  const ids = [macs.learn(1, 0, 1, 7, 0, 0), macs.learn(1, 5, 1, 7, 0, 0), macs.learn(2, 0, 1, 7, 0, 0)];
  assert.equal(new Set(ids).size, 3);
});
