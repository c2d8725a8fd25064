/** UDP super-datagrams (QUIC, DNS over many answers): whoever cuts them on the way, the datagrams arrive, with right checksums. */
import { resolve } from 'node:path';
import { inNetns, run, runInBackground, tryRun } from '../exec.ts';
import { nftFault } from '../faults/fault.ts';
import type { VmPlan } from '../plan.ts';
import { waitUntil } from '../wait.ts';
import { type CheckContext, defineKind } from './kind.ts';

const PORT = 5213;
const TOOL = resolve(import.meta.dirname, '../tools/udp-gso.ts');
const SEGMENTS = 20;

interface Fields {
  readonly from: string;
  readonly to: string;
  readonly family: 4 | 6;
  readonly count: number;
  readonly size: number;
}

export const gsoUdp = defineKind({
  kind: 'gso-udp',
  summary:
    'UDP datagrams sent as super-datagrams arrive once each and intact, with the offloads of guest and fabric link on or off',
  fields: ['from', 'to', 'family', 'count', 'size'],
  read: (fields): Fields => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    family: fields.family('family'),
    count: fields.integer('count', 1, 100_000, 400),
    size: fields.integer('size', 16, 1400, 1200),
  }),

  async run(context, fields) {
    const source = context.vm(fields.from);
    const host = context.hostOf(source);
    const found: string[] = [];
    const underlay = host.links.map((link) => [host.namespace, link.hostInterface] as const);
    try {
      for (const guest of ['on', 'off']) {
        for (const fabric of ['on', 'off']) {
          await setOffloads(source.namespace, 'eth0', ['tx'], guest);
          for (const [namespace, device] of underlay) {
            await setOffloads(namespace, device, ['tx', 'tso', 'gso'], fabric);
          }
          const fault = await transfer(context, fields);
          if (fault !== '') found.push(`guest's offloads ${guest}, link's ${fabric}: ${fault}`);
        }
      }
    } finally {
      await setOffloads(source.namespace, 'eth0', ['tx', 'tso', 'gso'], 'on');
      for (const [namespace, device] of underlay) {
        await setOffloads(namespace, device, ['tx', 'tso', 'gso'], 'on');
      }
    }
    return {
      ok: found.length === 0,
      expected: `4 × ${fields.count} datagrams of ${fields.size} bytes in super-datagrams of ${SEGMENTS}, once each, no checksum error at ${fields.to}`,
      seen: found.join('; ') || 'all as expected',
    };
  },

  sabotage(context, { from, to, family }) {
    const address = context.address(context.vm(to), family);
    const version = family === 4 ? 'ip' : 'ip6';
    return nftFault(
      `${from} loses some of what it sends to ${address}, UDP port ${PORT}`,
      context.vm(from).namespace,
      `chain out { type filter hook output priority 0; ${version} daddr ${address} udp dport ${PORT} numgen inc mod 5 == 1 drop; }`,
    );
  },
});

/** Empty when all is well. */
async function transfer(context: CheckContext, { from, to, family, count, size }: Fields): Promise<string> {
  const source = context.vm(from);
  const target = context.vm(to);
  const address = context.address(target, family);
  const node = process.execPath;
  const before = await checksumErrors(target, family);
  const receiver = runInBackground(inNetns(target.namespace, [node, TOOL, 'receive', PORT, count].map(String)));
  try {
    await receiver.waitFor('listening');
    const send = [node, TOOL, 'send', address, PORT, count, size, SEGMENTS].map(String);
    const { code, stderr } = await tryRun(inNetns(source.namespace, send));
    if (code !== 0) return `sending failed: ${stderr.trim().split('\n').slice(0, 5).join(' ')}`;
    await waitUntil(() => receiver.output().includes('unique'), 1000);
    // What has not come by now does not come: the receiver reports when asked to end.
    await receiver.stop();
    const report = /\{.*\}/.exec(receiver.output())?.[0];
    if (report === undefined) return `the receiver failed: ${receiver.output()}`;
    const { unique, twice, wrong } = JSON.parse(report) as { unique: number; twice: number; wrong: number };
    const bad = (await checksumErrors(target, family)) - before;
    if (unique === count && twice === 0 && wrong === 0 && bad === 0) return '';
    return `${unique} of ${count} datagrams, ${twice} twice, ${wrong} damaged, ${bad} checksum errors`;
  } finally {
    await receiver.stop();
  }
}

async function setOffloads(namespace: string, device: string, features: string[], state: string): Promise<void> {
  await run(inNetns(namespace, ['ethtool', '-K', device, ...features.flatMap((feature) => [feature, state])]));
}

/** Datagrams that the guest's kernel has refused for their checksum. */
async function checksumErrors(vm: VmPlan, family: 4 | 6): Promise<number> {
  if (family === 6) {
    const text = await run(inNetns(vm.namespace, ['cat', '/proc/net/snmp6']));
    return Number(/^Udp6InCsumErrors\s+(\d+)/m.exec(text)?.[1]);
  }
  const text = await run(inNetns(vm.namespace, ['cat', '/proc/net/snmp']));
  const [names, values] = [...text.matchAll(/^Udp: (.*)$/gm)].map((match) => match[1]!.split(' '));
  return Number(values![names!.indexOf('InCsumErrors')]);
}
