/** A burst that opens a flow: its packets come up while the flow is being decided, and must not overtake one another. */
import { agentCounters, agentRequest } from '../agent-control.ts';
import { sendBurst } from '../bursts.ts';
import { awaitFrame, startCapture } from '../capture.ts';
import { inNetns, tryRun } from '../exec.ts';
import { nftFault } from '../faults/fault.ts';
import { ethernetFrame } from '../frames.ts';
import { gatewayPortId } from '../ids.ts';
import { ipPacket, udpDatagram } from '../packets.ts';
import { readCapture } from '../pcap.ts';
import type { VmPlan } from '../plan.ts';
import { forgetFlows } from '../ports.ts';
import { sleep } from '../wait.ts';
import { type CheckContext, defineKind } from './kind.ts';

const PORT = 5211;
/** Ethernet, IPv4 and UDP. */
const HEADERS = 14 + 20 + 8;

export const burstOrder = defineKind({
  kind: 'burst-order',
  needsApi: true,
  summary: '`count` numbered UDP packets of a new flow, back to back, arrive once each and in order, and make one flow',
  fields: ['from', 'to', 'count', 'rounds'],
  read: (fields) => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    count: fields.integer('count', 10, 1000, 200),
    rounds: fields.integer('rounds', 1, 100, 3),
  }),

  async run(context, { from, to, count, rounds }) {
    const source = context.vm(from);
    const target = context.vm(to);
    const host = context.hostOf(source);
    const burst = await makeBurst(context, source, target, count);
    const filter = `udp dst port ${PORT}`;
    const last = `${filter} and udp[8:4] == ${count - 1}`;
    const found: string[] = [];
    // Topology and neighbours known, the flow not: a burst that has to wait for them is bounded by the waiting room instead.
    await tryRun(
      inNetns(source.namespace, ['ping', '-n', '-c', '2', '-i', '0.1', '-W', '2', context.address(target, 4)]),
    );
    for (let round = 0; round < rounds; round++) {
      await forgetFlows(context.lab, source);
      const capture = await startCapture(context.plan.paths.captures, target.namespace, 'eth0', filter, 256);
      try {
        const before = await agentCounters(context.plan, host);
        sendBurst(source.namespace, 'eth0', burst);
        await awaitFrame(capture, last).catch(() => {});
        // A packet sent twice would come late.
        await sleep(50);
        const frames = await readCapture(await capture.stop());
        const after = await agentCounters(context.plan, host);
        const numbers = frames.map(({ bytes }) => bytes.readUInt32BE(HEADERS));
        const { flows } = await agentRequest<{ flows: { port: string; match: string }[] }>(
          context.plan,
          host,
          'GET',
          '/flows?limit=10000',
        );
        const own = flows.filter(({ port, match }) => port === source.interfaces[0]!.portId && match.includes(',ip,'));
        const refused = budgetDrops(after) - budgetDrops(before);
        const inOrder = numbers.every((number, i) => i === 0 || number > numbers[i - 1]!);
        // Packets may be refused, if that is counted; one that was let in has to arrive.
        const right = inOrder && numbers.length + refused === count && numbers.length > 0 && own.length === 1;
        if (!right) {
          found.push(
            `round ${round + 1}: ${new Set(numbers).size} of ${count} arrived (${numbers.length - new Set(numbers).size} twice, ${refused} refused by budget), ${inOrder ? 'in order' : `out of order near ${firstDisorder(numbers)}`}, ${own.length} flows`,
          );
        }
      } finally {
        await capture.stop();
      }
    }
    return {
      ok: found.length === 0,
      expected: `${rounds} times: ${count} packets once each and in order at ${to}, one flow`,
      seen: found.join('; ') || `${rounds} times as expected`,
    };
  },

  sabotage(context, { from, to }) {
    const address = context.address(context.vm(to), 4);
    return nftFault(
      `${from} loses number 7 of its packets to ${address}, UDP port ${PORT}`,
      context.vm(from).namespace,
      `chain out { type filter hook egress device "eth0" priority 0; ip daddr ${address} udp dport ${PORT} @ll,${8 * HEADERS},32 7 drop; }`,
      'netdev',
    );
  },
});

/** Ready frames towards the VM itself, or towards the router between the two. */
async function makeBurst(context: CheckContext, source: VmPlan, target: VmPlan, count: number): Promise<Uint8Array[]> {
  const [near] = source.interfaces;
  const [far] = target.interfaces;
  const gateway = `/ports/${gatewayPortId(source.tenant, near!.network)}`;
  const targetMac =
    near!.network === far!.network ? far!.mac : (await context.api.get<{ portMac: string }>(gateway)).portMac;
  const addresses = { source: context.address(source, 4), target: context.address(target, 4) };
  return Array.from({ length: count }, (_, i) => {
    const payload = Buffer.alloc(64);
    payload.writeUInt32BE(i);
    const packet = ipPacket({ ...addresses, protocol: 17, payload: udpDatagram(5210, PORT, payload) });
    return ethernetFrame(targetMac, near!.mac, undefined, 0x0800, packet);
  });
}

function budgetDrops(counters: ReadonlyMap<string, number>): number {
  return (counters.get('drops.upcall_budget') ?? 0) + (counters.get('drops.ring_full') ?? 0);
}

function firstDisorder(numbers: readonly number[]): string {
  const at = numbers.findIndex((number, i) => i > 0 && number <= numbers[i - 1]!);
  return numbers.slice(Math.max(0, at - 3), at + 3).join(', ');
}
