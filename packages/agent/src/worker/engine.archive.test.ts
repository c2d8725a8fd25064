/** Hosts that have lost what they knew of connections, and the archives on their disks. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { type FlowStateArchive, openEmbeddedArchive } from '@weft/nsdb/archive';
import { TCP_ACK } from '@weft/packet';
import { Gateways, INNER, LEFT, OUTSIDE, PUBLIC, RIGHT } from '../testing/gateways.ts';
import { RESTORE_MS } from './connections/restorer.ts';

let dir: string;
let archives: FlowStateArchive[];
let net: Gateways;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-archived-'));
  archives = [0, 1, 2, 3].map((i) => openEmbeddedArchive({ dir: join(dir, `${i}`), gatherMs: 5 }));
  net = new Gateways({ archive: (i) => archives[i] });
});

afterEach(async () => {
  for (const archive of archives) await archive.close();
  rmSync(dir, { recursive: true, force: true });
});

/** Lets time pass on the hosts, and what the disks have to do be done meanwhile. */
async function pass(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 5) {
    net.fleet.run(5);
    for (let i = 0; i < 4; i++) await turn();
  }
}

async function written(): Promise<void> {
  await pass(200);
  for (const archive of archives) await archive.flush();
}

/** All hosts lose their memory at once: there is nobody to ask. */
function forgetAll(): void {
  for (const host of [INNER, LEFT, RIGHT]) net.fleet.restart(host, false, false);
  net.fleet.changed();
}

/** Until a host has read the archive of its ports. */
async function restored(host: number): Promise<void> {
  while (net.events(host, 'archive.read').length === 0) {
    await sleep(1);
    net.fleet.run(5);
  }
  await pass(1_000);
}

const outs = (since: number): string[] =>
  net.fleet.deliveries
    .slice(since)
    .filter(({ host }) => host === LEFT || host === RIGHT)
    .map(({ text }) => text);

describe('after a start without memory', () => {
  it('connections go on by the archive of the host that began them, translated as before, and peers learn of them', async () => {
    net.connect(2000, LEFT);
    const before = outs(0).at(-1)!;
    await written();
    forgetAll();
    await restored(INNER);
    assert.equal(net.status(INNER).archiveRestored, net.texts(INNER).length);
    assert.deepEqual(
      net.call(0, net.tcp(0, 2000, TCP_ACK)).map((text) => text.slice(6)),
      [before],
    );
    for (const by of [LEFT, RIGHT]) {
      assert.equal(net.texts(by, 2000).length, 2, `${net.texts(by)}`);
      const back = net.answer(by);
      assert.equal(net.receive(by, back).length, 1);
    }
  });

  it('packets that miss something wait for what is being read', async () => {
    net.connect(2000, LEFT);
    const before = outs(0).at(-1)!;
    await written();
    forgetAll();
    const since = net.fleet.deliveries.length;
    // The disk does not get to do anything.
    net.fleet.run(400);
    net.call(0, net.tcp(0, 2000, TCP_ACK), 300);
    assert.deepEqual(outs(since), [], 'neither by a new translation nor by none');
    // Well before their time is up.
    for (let n = 0; n < 50 && outs(since).length === 0; n++) {
      await sleep(10);
      net.fleet.run(5);
    }
    assert.deepEqual(outs(since), [before]);
  });

  it('but not for ever', async () => {
    net.connect(2000, LEFT);
    await written();
    forgetAll();
    net.fleet.run(RESTORE_MS + 400);
    assert.ok(net.status(INNER).archiveReadsFailed > 0);
    assert.match(net.call(0, net.udp(0, 3000), 200)[0], new RegExp(`^[12]/vm0 udp ${PUBLIC}:\\d+ > ${OUTSIDE}:53$`));
  });

  it('what was cut does not come back', async () => {
    net.connect(2000, LEFT);
    net.connect(2001, LEFT);
    await written();
    assert.equal(net.fleet.hosts[INNER].harness.engine.cutConnections({ address: `${OUTSIDE}:80`, limit: 1 }).cut, 1);
    await written();
    const kept = net.texts(INNER).filter((text) => text.includes('tcp'));
    forgetAll();
    await restored(INNER);
    assert.deepEqual(
      net.texts(INNER).filter((text) => text.includes('tcp')),
      kept,
    );
  });
});

it('a connection in use is archived again long before its archived lifetime ends', async () => {
  net.leave(2000);
  net.receive(LEFT, net.answer(LEFT));
  await written();
  const { offered } = archives[INNER].stats();
  // Idle times of datagrams that are answered: 180 s.
  for (let s = 0; s < 60; s++) {
    net.fleet.run(1_000);
    net.call(0, net.udp(0, 2000), 5);
  }
  await pass(100);
  const again = archives[INNER].stats().offered - offered;
  assert.ok(again >= 2 && again <= 6, `${again} in a minute`);
});

it('with memory nothing is read', async () => {
  net.connect(2000, LEFT);
  await written();
  net.fleet.restart(INNER);
  net.fleet.changed();
  await pass(1_000);
  assert.equal(net.status(INNER).archiveRestored, 0);
  assert.equal(net.texts(INNER, 2000).length, 2);
});
