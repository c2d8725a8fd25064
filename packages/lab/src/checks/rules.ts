/** What rules tell: each counts exactly what it matched, and those with a logger leave one line per connection. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { agentRequest } from '../agent-control.ts';
import type { Fault } from '../faults/fault.ts';
import { nftFault } from '../faults/fault.ts';
import { ethernetFrame, sendFrames } from '../frames.ts';
import { ipPacket, udpDatagram } from '../packets.ts';
import { waitUntil } from '../wait.ts';
import { ownPort, portPath, withFirewall } from './firewall.ts';
import { type CheckContext, defineKind } from './kind.ts';

const UDP = 17;
const IPV4 = 0x0800;
const PAYLOAD = 100;
/** Ethernet, IPv4 and UDP headers. */
const HEADERS = 14 + 20 + 8;
const WITHIN_MS = 3_000;

/** As agents answer `GET /rules`. */
interface RuleList {
  readonly chains: readonly {
    readonly id: string;
    readonly rules: readonly { readonly packets: number; readonly bytes: number }[];
  }[];
}

export const ruleCounters = defineKind({
  kind: 'rule-counters',
  needsApi: true,
  summary:
    'rules of all kinds count exactly the packets and bytes that `from` sent, before and after a rule was put before them',
  fields: ['from', 'to'],
  read: (fields) => ({ from: fields.vm('from'), to: fields.vm('to') }),

  run(context, { from, to }) {
    const port = ownPort(context);
    const [dropped, returned, rejected] = [port, port + 1, port + 2];
    const all = { nwProto: UDP, tpDst: { start: port, end: port + 2 } };
    const one = (n: number) => ({ nwProto: UDP, tpDst: { start: n, end: n } });
    return withFirewall(context, async (firewall) => {
      const inner = await firewall.chain('inner', [{ type: 'return', ...one(returned) }]);
      const outer = await firewall.chain('outer', [
        { type: 'continue', ...all },
        { type: 'jump', jumpChainId: inner, ...all },
        { type: 'drop', ...one(dropped) },
        { type: 'reject', ...one(rejected) },
        { type: 'accept', ...one(returned) },
      ]);
      await firewall.attach(portPath(context.vm(from)), 'inboundFilterId', outer);
      await firewall.live();
      sendDatagrams(context, from, to, dropped, 40);
      sendDatagrams(context, from, to, returned, 30);
      sendDatagrams(context, from, to, rejected, 20);
      const before = await counts(context, [outer, inner], '90 90 40 20 30 / 30');
      await firewall.rule(outer, { type: 'continue', ...one(dropped), position: 1 });
      await firewall.live();
      sendDatagrams(context, from, to, dropped, 10);
      const after = await counts(context, [outer, inner], '10 100 100 50 20 30 / 30');
      const seen = `${before}; one rule more: ${after}`;
      const expected = '90 90 40 20 30 / 30; one rule more: 10 100 100 50 20 30 / 30';
      return { ok: seen === expected, expected, seen };
    });
  },

  sabotage: (context, { from }) => loseDatagrams(context, from),
});

export const ruleLog = defineKind({
  kind: 'rule-log',
  needsApi: true,
  summary:
    'of a chain with a logger of drops each dropped connection leaves one line in the rule log of its host, others none, nor any once the logger is switched off',
  fields: ['from', 'to'],
  read: (fields) => ({ from: fields.vm('from'), to: fields.vm('to') }),

  run(context, { from, to }) {
    const port = ownPort(context);
    const one = (n: number) => ({ nwProto: UDP, tpDst: { start: n, end: n } });
    return withFirewall(context, async (firewall) => {
      const { tenant } = context.vm(from);
      const chain = await firewall.chain(
        'chain',
        [
          { type: 'accept', ...one(port + 1) },
          { type: 'drop', ...one(port), metadata: { check: context.checkName } },
        ],
        { tenantId: tenant },
      );
      const resource = await firewall.make('logging_resources', 'resource', {});
      const logger = { event: 'DROP', loggingResourceId: resource };
      await firewall.step({ do: 'post', path: `/chains/${chain}/rule_loggers`, body: logger });
      await firewall.attach(portPath(context.vm(from)), 'inboundFilterId', chain);
      await firewall.live();
      // Of what runs before this one there may be lines.
      const skip = (await logged(context, from, chain)).length;
      sendDatagrams(context, from, to, port, 3, port + 8);
      sendDatagrams(context, from, to, port, 2, port + 9);
      sendDatagrams(context, from, to, port + 1, 1);
      let lines: string[] = [];
      await waitUntil(async () => (lines = (await logged(context, from, chain)).slice(skip)).length >= 2, WITHIN_MS);
      await firewall.step({ do: 'patch', path: `/logging_resources/${resource}`, fields: { enabled: false } });
      await firewall.live();
      sendDatagrams(context, from, to, port, 1, port + 10);
      // Its count tells that the agent has seen it, and so would have written the line.
      await counts(context, [chain], '1 6');
      lines = (await logged(context, from, chain)).slice(skip);
      const address = (name: string) => context.address(context.vm(name), 4);
      const line = (source: number) =>
        `drop by rule 2 of ${tenant}: udp ${address(from)}:${source} > ${address(to)}:${port} (${context.checkName})`;
      const { mode } = await stat(logFile(context, from));
      const seen = [...lines, `mode ${(mode & 0o777).toString(8)}`].join('; ');
      const expected = [line(port + 8), line(port + 9), 'mode 600'].join('; ');
      return { ok: seen === expected, expected, seen };
    });
  },

  sabotage: (context, { from }) => loseDatagrams(context, from),
});

/** Datagrams of PAYLOAD bytes from one VM to another of its network. */
function sendDatagrams(
  context: CheckContext,
  from: string,
  to: string,
  port: number,
  count: number,
  source = port,
): void {
  const [sender, target] = [context.vm(from), context.vm(to)];
  const { mac, device } = sender.interfaces[0]!;
  const packet = ipPacket({
    source: context.address(sender, 4),
    target: context.address(target, 4),
    protocol: UDP,
    payload: udpDatagram(source, port, new Uint8Array(PAYLOAD)),
  });
  const frame = ethernetFrame(target.interfaces[0]!.mac, mac, undefined, IPV4, packet);
  sendFrames(sender.namespace, device, Array(count).fill(frame));
}

/** Packets of each rule, summed over the hosts; waits for `wanted`. Bytes that are not those of so many packets are told. */
async function counts(context: CheckContext, chains: readonly string[], wanted: string): Promise<string> {
  let seen = '';
  await waitUntil(async () => {
    const parts: string[] = [];
    for (const chain of chains) parts.push(await countsOf(context, chain));
    seen = parts.join(' / ');
    return seen === wanted;
  }, WITHIN_MS);
  return seen;
}

async function countsOf({ plan }: CheckContext, chain: string): Promise<string> {
  const sums: { packets: number; bytes: number }[] = [];
  for (const host of plan.hosts) {
    const { chains } = await agentRequest<RuleList>(plan, host, 'GET', `/rules?chain=${chain}`);
    for (const [i, { packets, bytes }] of (chains[0]?.rules ?? []).entries()) {
      sums[i] ??= { packets: 0, bytes: 0 };
      sums[i].packets += packets;
      sums[i].bytes += bytes;
    }
  }
  const size = HEADERS + PAYLOAD;
  return sums
    .map(({ packets, bytes }) => (bytes === packets * size ? `${packets}` : `${packets} (${bytes} bytes)`))
    .join(' ');
}

function logFile(context: CheckContext, from: string): string {
  return join(context.plan.paths.host(context.vm(from).host).stateDir, 'rule.log');
}

/** The lines about a chain in the rule log of `from`'s host, in short. */
async function logged(context: CheckContext, from: string, chain: string): Promise<string[]> {
  const text = await readFile(logFile(context, from), 'utf8').catch(() => '');
  return text
    .split('\n')
    .filter((line) => line.includes(chain))
    .map((line) => JSON.parse(line))
    .map(
      ({ verdict, rule, tenant, protocol, src, dst, srcPort, dstPort }) =>
        `${verdict} by rule ${rule.position} of ${tenant}: ${protocol === UDP ? 'udp' : protocol} ${src}:${srcPort} > ${dst}:${dstPort} (${rule.metadata?.check})`,
    );
}

/** `from` loses the datagrams of this check. */
function loseDatagrams(context: CheckContext, from: string): Fault {
  const port = ownPort(context);
  return nftFault(
    `${from} loses its datagrams to ports ${port} to ${port + 15}`,
    context.vm(from).namespace,
    `chain out { type filter hook egress device "eth0" priority 0; udp dport ${port}-${port + 15} drop; }`,
    'netdev',
  );
}
