/** Echo requests to kernels of other hosts: namespaces here, over both families. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import type { TunnelSpec } from '@weft/datapath';
import { ipOf } from '@weft/packet';
import { createNetns, deleteNetns, runIn } from '@weft/sys';
import { IcmpPinger } from './pinger.ts';

const NS = `wagent-g${process.pid}`;
const PEER = `wagent-h${process.pid}`;
const root = process.getuid?.() === 0;
const skip = root ? false : 'needs root for network namespaces';

const ip = (ns: string, ...args: string[]): string => execFileSync('ip', ['-n', ns, ...args], { encoding: 'utf8' });
const links = new Map<string, number>();

before(() => {
  if (!root) return;
  createNetns(NS);
  createNetns(PEER);
  for (const n of [0, 1]) {
    ip(NS, 'link', 'add', `a${n}`, 'type', 'veth', 'peer', 'name', `b${n}`);
    ip(NS, 'link', 'set', `b${n}`, 'netns', PEER);
    for (const [ns, name, host] of [
      [NS, `a${n}`, 1],
      [PEER, `b${n}`, 2],
    ] as const) {
      ip(ns, 'addr', 'add', `10.0.${n}.${host}/24`, 'dev', name);
      ip(ns, '-6', 'addr', 'add', `fd00:${n}::${host}/64`, 'dev', name, 'nodad');
      ip(ns, 'link', 'set', name, 'up');
    }
    const [{ ifindex }] = JSON.parse(ip(NS, '-j', 'link', 'show', `a${n}`)) as { ifindex: number }[];
    links.set(`a${n}`, ifindex);
  }
});

after(() => {
  if (!root) return;
  deleteNetns(NS);
  deleteNetns(PEER);
});

function tunnel(local: string, remote: string, ...names: string[]): TunnelSpec {
  const ifindexes = names.map((name) => links.get(name)!);
  const gateways = names.map(() => null);
  return { peer: 1, hostId: 'h', local: ipOf(local), remote: ipOf(remote), ifindexes, gateways, mtu: 1500 };
}

/** Asks until somebody is heard, for at most two seconds. */
async function hear(pinger: IcmpPinger, spec: TunnelSpec): Promise<string[]> {
  const heard: string[] = [];
  for (let i = 0; i < 100 && heard.length === 0; i++) {
    runIn(NS, () => pinger.ping(spec));
    await new Promise((resolve) => setTimeout(resolve, 20));
    pinger.poll((address) => heard.push(address));
  }
  return [...new Set(heard)];
}

test('the kernel of a peer answers, whichever way leads there', { skip }, async () => {
  const pinger = runIn(NS, () => new IcmpPinger());
  try {
    assert.deepEqual(await hear(pinger, tunnel('10.0.0.1', '10.0.0.2', 'a0')), ['10.0.0.2']);
    assert.deepEqual(await hear(pinger, tunnel('fd00:0::1', 'fd00:0::2', 'a0')), ['fd00::2']);
    // Of two ways the first is broken.
    ip(PEER, 'link', 'set', 'b1', 'down');
    assert.deepEqual(await hear(pinger, tunnel('10.0.0.1', '10.0.0.2', 'a1', 'a0')), ['10.0.0.2']);
    ip(PEER, 'link', 'set', 'b1', 'up');
  } finally {
    pinger.close();
  }
});

test('who is not there says nothing, and an interface that has gone is no error', { skip }, async () => {
  const pinger = runIn(NS, () => new IcmpPinger());
  try {
    const heard: string[] = [];
    for (let i = 0; i < 5; i++) {
      runIn(NS, () => pinger.ping(tunnel('10.0.0.1', '10.0.0.77', 'a0')));
      runIn(NS, () => pinger.ping({ ...tunnel('10.0.0.1', '10.0.0.2'), ifindexes: [999_999], gateways: [null] }));
      await new Promise((resolve) => setTimeout(resolve, 20));
      pinger.poll((address) => heard.push(address));
    }
    assert.deepEqual(heard, []);
    // A peer that is there is heard all the same.
    assert.deepEqual(await hear(pinger, tunnel('10.0.0.1', '10.0.0.2', 'a0')), ['10.0.0.2']);
  } finally {
    pinger.close();
  }
});

test('answers to others’ requests are not heard', { skip }, async () => {
  const pinger = runIn(NS, () => new IcmpPinger());
  const other = runIn(NS, () => new IcmpPinger());
  try {
    const heard: string[] = [];
    assert.deepEqual(await hear(other, tunnel('10.0.0.1', '10.0.0.2', 'a0')), ['10.0.0.2']);
    pinger.poll((address) => heard.push(address));
    assert.deepEqual(heard, []);
  } finally {
    pinger.close();
    other.close();
  }
});
