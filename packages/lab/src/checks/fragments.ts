/** Filters and fragments: a rule on ports sees them in first fragments only, a rule on fragments in whichever it names, in any order of arrival. */
import { randomBytes } from 'node:crypto';
import { startCapture } from '../capture.ts';
import { awaitConvergence } from '../convergence.ts';
import { type FaultStep, nftFault, perform } from '../faults/fault.ts';
import { ethernetFrame, sendFrames } from '../frames.ts';
import { labUuid } from '../names.ts';
import { ipPacket, udpDatagram } from '../packets.ts';
import { readCapture } from '../pcap.ts';
import type { VmPlan } from '../plan.ts';
import { waitUntil } from '../wait.ts';
import { type CheckContext, defineKind } from './kind.ts';

const UDP = 17;
const FRAGMENT_HEADER = 44;
const OPEN = 7001;
const CLOSED = 7002;
const PIECE = 512;
const ORDERS = [
  [0, 1, 2],
  [2, 1, 0],
  [1, 0, 2],
] as const;

/** One fragment on its way: piece 0 has the ports. */
interface Fragment {
  readonly frame: Uint8Array;
  readonly port: number;
  readonly piece: number;
}

export const fragments = defineKind({
  kind: 'fragments',
  needsApi: true,
  summary:
    'of fragmented datagrams to a closed port only later fragments arrive, with `nonheader` dropped only first ones of others: in any order',
  fields: ['from', 'to', 'family'],
  read: (fields) => ({ from: fields.vm('from'), to: fields.vm('to'), family: fields.family('family') }),

  async run(context, { from, to, family }) {
    const source = context.vm(from);
    const target = context.vm(to);
    const chainId = labUuid('check', context.checkName);
    const portPath = `/ports/${source.interfaces[0]!.portId}`;
    const before = (await context.api.get<{ inboundFilterId?: string | null }>(portPath)).inboundFilterId ?? null;
    const rule = (body: object): FaultStep => ({ do: 'post', path: `/chains/${chainId}/rules`, body });
    const undo: FaultStep[] = [
      { do: 'patch', path: portPath, fields: { inboundFilterId: before === chainId ? null : before } },
      { do: 'delete', path: `/chains/${chainId}` },
    ];
    const whole = await arrived(context, source, target, family);
    try {
      const chain = { id: chainId, name: context.checkName };
      await perform(context.lab, { do: 'post', path: '/chains', body: chain, orExists: `/chains/${chainId}` });
      await perform(context.lab, rule({ type: 'drop', nwProto: UDP, tpDst: { start: CLOSED, end: CLOSED } }));
      await perform(context.lab, { do: 'patch', path: portPath, fields: { inboundFilterId: chainId } });
      await awaitConvergence(context.api);
      const withPortRule = await arrived(context, source, target, family);
      await perform(context.lab, rule({ type: 'drop', fragmentPolicy: 'nonheader' }));
      await awaitConvergence(context.api);
      const withBoth = await arrived(context, source, target, family);
      const seen = `no rule: ${whole}; ${CLOSED} dropped: ${withPortRule}; nonheader dropped too: ${withBoth}`;
      const n = ORDERS.length;
      const expected = `no rule: ${text(n, 2 * n, n, 2 * n)}; ${CLOSED} dropped: ${text(n, 2 * n, 0, 2 * n)}; nonheader dropped too: ${text(n, 0, 0, 0)}`;
      return { ok: seen === expected, expected, seen };
    } finally {
      for (const step of undo) await perform(context.lab, step);
      await awaitConvergence(context.api);
    }
  },

  sabotage(context, { from, family }) {
    const match = family === 4 ? 'ip frag-off & 0x1fff != 0' : 'ip6 nexthdr 44 frag frag-off != 0';
    return nftFault(
      `${from} loses the later fragments that it sends`,
      context.vm(from).namespace,
      `chain out { type filter hook egress device "eth0" priority 0; ${match} drop; }`,
      'netdev',
    );
  },
});

/** How many first and later fragments per port. */
function text(openFirst: number, openLater: number, closedFirst: number, closedLater: number): string {
  return `${OPEN} ${openFirst}+${openLater}, ${CLOSED} ${closedFirst}+${closedLater}`;
}

/** Sends fragmented datagrams to both ports, in every order, and says what came. */
async function arrived(context: CheckContext, source: VmPlan, target: VmPlan, family: 4 | 6): Promise<string> {
  const { mac } = source.interfaces[0]!;
  const { device } = target.interfaces[0]!;
  const capture = await startCapture(context.plan.paths.captures, target.namespace, device, `ether src ${mac}`);
  try {
    const sent = datagrams(context, source, target, family);
    // One by one: what nobody knows yet waits for its neighbours, and only so many may wait.
    for (const { frame } of sent) {
      sendFrames(source.namespace, source.interfaces[0]!.device, [frame]);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    // A whole datagram closes the train.
    const last = build(context, source, target, family, udpDatagram(OPEN, OPEN, randomBytes(64)), undefined);
    sendFrames(source.namespace, source.interfaces[0]!.device, [last]);
    let frames: Buffer[] = [];
    await waitUntil(async () => {
      frames = (await readCapture(capture.file)).map(({ bytes }) => bytes);
      return frames.some((bytes) => bytes.equals(last));
    }, 3000);
    const count = (port: number, first: boolean) =>
      sent.filter((f) => f.port === port && (f.piece === 0) === first && frames.some((bytes) => bytes.equals(f.frame)))
        .length;
    return text(count(OPEN, true), count(OPEN, false), count(CLOSED, true), count(CLOSED, false));
  } finally {
    await capture.stop();
  }
}

function datagrams(context: CheckContext, source: VmPlan, target: VmPlan, family: 4 | 6): Fragment[] {
  return ORDERS.flatMap((order) =>
    [OPEN, CLOSED].flatMap((port) => {
      const id = randomBytes(2).readUInt16BE();
      const datagram = udpDatagram(port, port, randomBytes(3 * PIECE - 8));
      return order.map((piece) => {
        const data = datagram.subarray(piece * PIECE, (piece + 1) * PIECE);
        const place = { id, offset: (piece * PIECE) / 8, more: piece < 2 };
        return { frame: build(context, source, target, family, data, place), port, piece };
      });
    }),
  );
}

/** A frame with this IP payload; `place`: where it stands in its datagram (offset in 8 bytes), undefined: it is all of it. */
function build(
  context: CheckContext,
  source: VmPlan,
  target: VmPlan,
  family: 4 | 6,
  data: Uint8Array,
  place: { id: number; offset: number; more: boolean } | undefined,
): Uint8Array {
  const [from, to] = [source, target].map((vm) => context.address(vm, family)) as [string, string];
  const ends = { source: from, target: to };
  let packet: Uint8Array;
  if (place === undefined) packet = ipPacket({ ...ends, protocol: UDP, payload: data });
  else if (family === 4) {
    const fragment = place.offset | (place.more ? 0x2000 : 0);
    packet = ipPacket({ ...ends, protocol: UDP, payload: data, id: place.id, fragment });
  } else {
    const header = Buffer.alloc(8);
    header[0] = UDP;
    header.writeUInt16BE((place.offset << 3) | (place.more ? 1 : 0), 2);
    header.writeUInt32BE(place.id, 4);
    packet = ipPacket({ ...ends, protocol: FRAGMENT_HEADER, payload: Buffer.concat([header, data]) });
  }
  const [sourceMac, targetMac] = [source.interfaces[0]!.mac, target.interfaces[0]!.mac];
  return ethernetFrame(targetMac, sourceMac, undefined, family === 4 ? 0x0800 : 0x86dd, packet);
}
