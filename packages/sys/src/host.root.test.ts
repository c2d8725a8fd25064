import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { getFeatures, getOffloads, setFeature, setOffloads } from './ethtool.ts';
import { acquirePidFile } from './lock.ts';
import { NetlinkSocket } from './netlink.ts';
import { runIn } from './netns.ts';
import { isAlive, killTree, processIdentity, processTree, signalProcess } from './proc.ts';
import { linkAdd } from './rtnetlink/link.ts';
import { peerCredentials } from './socket.ts';
import { sysctlGet, sysctlSet } from './sysctl.ts';
import { needsRoot, useNetns } from './testing.ts';

const skip = needsRoot();

test('a sysctl is that of the named namespace, also for names with dots', { skip }, (t) => {
  const [a, b] = useNetns(t, 'ctl-a', 'ctl-b');
  for (const ns of [a!, b!]) {
    using nl = runIn(ns, () => new NetlinkSocket());
    linkAdd(nl, { kind: 'veth', name: 'p.100', peer: { name: 'q' } });
  }
  const key = ['net', 'ipv4', 'conf', 'p.100', 'forwarding'];
  const before = sysctlGet('net/ipv4/conf/all/forwarding');
  sysctlSet(key, 1, a);
  sysctlSet(key, 0, b);
  assert.deepEqual([sysctlGet(key, a), sysctlGet(key, b)], ['1', '0']);
  sysctlSet('net/ipv6/conf/q/disable_ipv6', 1, b);
  assert.equal(sysctlGet('net/ipv6/conf/q/disable_ipv6', b), '1');
  assert.equal(sysctlGet('net/ipv6/conf/q/disable_ipv6', a), '0');
  assert.equal(sysctlGet('net/ipv4/conf/all/forwarding'), before);
  assert.throws(() => sysctlGet(key), { errnoName: 'ENOENT' });
  assert.throws(() => sysctlSet(key, 'x', a), { errnoName: 'EINVAL' });
  assert.throws(() => sysctlGet('net/../kernel/hostname'), { code: 'WEFT_SYS_ARGUMENT' });
});

test("offloads are switched one by one, and by the kernel's names", { skip }, (t) => {
  const [ns] = useNetns(t, 'ethtool');
  using nl = runIn(ns!, () => new NetlinkSocket());
  linkAdd(nl, { kind: 'veth', name: 'a', peer: { name: 'b' } });
  const before = getOffloads('a', ns);
  assert.deepEqual([before.tx, before.sg, before.tso, before.gso], [true, true, true, true]);
  setOffloads('a', { tx: false, tso: false }, ns);
  const after = getOffloads('a', ns);
  assert.deepEqual([after.tx, after.tso], [false, false]);
  assert.deepEqual(getOffloads('b', ns), before);
  setOffloads('a', { tso: true, tx: true, gro: true }, ns);
  assert.deepEqual([getOffloads('a', ns).tx, getOffloads('a', ns).tso, getOffloads('a', ns).gro], [true, true, true]);
  const name = 'tx-udp-segmentation';
  const feature = () => getFeatures('a', ns).find((f) => f.name === name);
  assert.deepEqual(feature(), { name, active: true, requested: true, changeable: true });
  assert.equal(setFeature('a', name, false, ns), true);
  assert.equal(feature()?.active, false);
  assert.throws(() => setFeature('a', 'no-such-feature', true, ns), { errnoName: 'EOPNOTSUPP' });
  assert.throws(() => getOffloads('none', ns), { errnoName: 'ENODEV' });
});

test('a process tree ends whole, and a wrong start time is never hit', async () => {
  // The shell ignores SIGTERM, so that SIGKILL is needed.
  const child = spawn('sh', ['-c', 'trap "" TERM; sleep 60 & sleep 60 & echo up; wait; wait; sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(child.stdout!, 'data');
  const root = processIdentity(child.pid!)!;
  const exited = once(child, 'exit');
  const impostor = { pid: root.pid, startTime: root.startTime + 1 };
  assert.equal(isAlive(impostor), false);
  assert.equal(signalProcess(impostor, 'SIGKILL'), false);
  assert.deepEqual(await killTree(impostor, 10), []);
  assert.equal(isAlive(root), true);
  const tree = processTree(root);
  assert.equal(tree.length, 3);
  assert.deepEqual(await killTree(root, 50), []);
  await exited;
  assert.deepEqual(tree.filter(isAlive), []);
  assert.equal(signalProcess(root, 'SIGKILL'), false);
});

test('a pid file has one holder, and is free again after release and after death', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'wsys-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const path = join(dir, 'agent.pid');
  const first = acquirePidFile(path);
  assert.equal(readFileSync(path, 'latin1'), `${process.pid}\n`);
  assert.throws(() => acquirePidFile(path), { code: 'WEFT_SYS_LOCKED', message: new RegExp(`process ${process.pid}`) });
  first.release();
  first.release();
  assert.ok(!existsSync(path));
  const script = `const { acquirePidFile } = await import(${JSON.stringify(new URL('./lock.ts', import.meta.url).href)});
    acquirePidFile(${JSON.stringify(path)}); console.log('held'); setInterval(() => {}, 1000);`;
  const other = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(other, 'exit');
  try {
    await once(other.stdout!, 'data');
    assert.throws(() => acquirePidFile(path), { code: 'WEFT_SYS_LOCKED', message: new RegExp(`process ${other.pid}`) });
  } finally {
    other.kill('SIGKILL');
    await exited;
  }
  acquirePidFile(path).release();
});

test('the peer of a Unix socket is known', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'wsys-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const server = createServer();
  t.after(() => server.close());
  server.listen(join(dir, 's'));
  await once(server, 'listening');
  const client = connect(join(dir, 's'));
  const [accepted] = (await once(server, 'connection')) as [import('node:net').Socket & { _handle: { fd: number } }];
  try {
    const uid = process.getuid!();
    assert.deepEqual(peerCredentials(accepted._handle.fd), { pid: process.pid, uid, gid: process.getgid!() });
  } finally {
    client.destroy();
    accepted.destroy();
  }
});
