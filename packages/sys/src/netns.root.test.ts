import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { WeftSysError } from './errors.ts';
import { close } from './fd.ts';
import { NativeBuffer } from './memory.ts';
import { NetlinkSocket } from './netlink.ts';
import { createNetns, deleteNetns, listNetns, netnsPath, openNetns, runIn, spawnIn } from './netns.ts';
import { linkGet, linkList } from './rtnetlink/link.ts';
import { needsRoot, useNetns } from './testing.ts';

const skip = needsRoot();
const ownNetns = () => readlinkSync('/proc/thread-self/ns/net');

test('a created namespace is listed, has its loopback up and is gone after deletion', { skip }, (t) => {
  const [name] = useNetns(t, 'life');
  assert.ok(listNetns().includes(name!));
  using nl = runIn(name!, () => new NetlinkSocket());
  assert.deepEqual(
    linkList(nl)
      .map((l) => l.name)
      .filter((n) => n === 'lo'),
    ['lo'],
  );
  assert.equal(linkGet(nl, 'lo')?.up, true);
  assert.equal(deleteNetns(name!), true);
  assert.equal(deleteNetns(name!), false);
  assert.ok(!existsSync(netnsPath(name!)));
});

test('creating a name twice is refused and leaves the first alone', { skip }, (t) => {
  const [name] = useNetns(t, 'twice');
  assert.throws(() => createNetns(name!), { code: 'WEFT_SYS_NETNS' });
  assert.doesNotThrow(() => runIn(name!, () => undefined));
});

test('runIn enters, nests, and comes back after a return and after a throw', { skip }, (t) => {
  const [a, b] = useNetns(t, 'in-a', 'in-b');
  const home = ownNetns();
  const seen = runIn(a!, () => {
    const outer = ownNetns();
    const inner = runIn(b!, ownNetns);
    assert.equal(ownNetns(), outer);
    return [outer, inner];
  });
  assert.equal(new Set([home, ...seen]).size, 3);
  assert.equal(ownNetns(), home);
  assert.throws(
    () =>
      runIn(a!, () => {
        throw new Error('inside');
      }),
    /inside/,
  );
  assert.equal(ownNetns(), home);
});

test('runIn refuses promises and unknown names, and comes back', { skip }, (t) => {
  const [name] = useNetns(t, 'promise');
  const home = ownNetns();
  assert.throws(() => runIn(name!, () => Promise.resolve(1)), { code: 'WEFT_SYS_ARGUMENT' });
  assert.throws(() => runIn(`${name}-absent`, () => 1), { code: 'WEFT_SYS_NETNS' });
  assert.equal(ownNetns(), home);
});

test('runIn takes a descriptor, and names cannot leave the directory', { skip }, (t) => {
  const [name] = useNetns(t, 'fd');
  const fd = openNetns(name!);
  try {
    assert.equal(runIn({ fd }, ownNetns), runIn(name!, ownNetns));
  } finally {
    close(fd);
  }
  for (const bad of ['', '.', '..', 'a/b', 'a\0b']) {
    assert.throws(
      () => netnsPath(bad),
      (e) => e instanceof WeftSysError && e.code === 'WEFT_SYS_ARGUMENT',
    );
  }
});

test('spawnIn runs a program in the namespace under its own pid', { skip }, async (t) => {
  const [name] = useNetns(t, 'spawn');
  const child = spawnIn(name!, ['sleep', '30'], { stdio: 'ignore' });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  try {
    const expected = runIn(name!, ownNetns);
    while (readFileSync(`/proc/${child.pid}/comm`, 'utf8').trim() !== 'sleep')
      await new Promise((r) => setTimeout(r, 5));
    assert.equal(readlinkSync(`/proc/${child.pid}/ns/net`), expected);
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
});

test('a worker thread enters a namespace without taking the main thread along', { skip }, async (t) => {
  const [name] = useNetns(t, 'worker');
  using shared = NativeBuffer.alloc(4);
  const home = ownNetns();
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { readlinkSync } = require('node:fs');
    (async () => {
      const { runIn, openPacketSocket, ifNameToIndex, close, NativeBuffer } = await import(workerData.url);
      const own = () => readlinkSync('/proc/thread-self/ns/net');
      const before = own();
      const inside = runIn(workerData.name, () => { close(openPacketSocket({ ifindex: ifNameToIndex('lo') })); return own(); });
      NativeBuffer.borrow(workerData.address, 4).view.setUint32(0, 4711, true);
      parentPort.postMessage({ before, inside, after: own() });
    })();`;
  const worker = new Worker(code, {
    eval: true,
    workerData: { url: new URL('./index.ts', import.meta.url).href, name, address: shared.address },
  });
  const [seen] = (await once(worker, 'message')) as [{ before: string; inside: string; after: string }];
  await worker.terminate();
  assert.deepEqual([seen.before, seen.after, ownNetns()], [home, home, home]);
  assert.equal(seen.inside, runIn(name!, ownNetns));
  assert.equal(shared.view.getUint32(0, true), 4711);
});
