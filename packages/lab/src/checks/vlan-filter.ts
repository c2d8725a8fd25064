/** Filters see into tagged frames: by their VLAN, and by the IP packet that they carry. */
import { awaitFrame, countFrames, startCapture } from '../capture.ts';
import { nftFault } from '../faults/fault.ts';
import { ethernetFrame, sendFrames } from '../frames.ts';
import { ipPacket, udpDatagram } from '../packets.ts';
import { ownPort, portPath, withFirewall } from './firewall.ts';
import { defineKind } from './kind.ts';

const CLOSED_VLAN = 81;
const OPEN_VLAN = 82;
const UDP = 17;
const IPV4 = 0x0800;
const ETHERTYPE = 0x88bb;

export const vlanFilter = defineKind({
  kind: 'vlan-filter',
  needsApi: true,
  summary:
    'of tagged frames those of a dropped VLAN do not arrive, nor datagrams to a dropped port in another VLAN; the rest does',
  fields: ['from', 'to'],
  read: (fields) => ({ from: fields.vm('from'), to: fields.vm('to') }),

  run(context, { from, to }) {
    const [source, target] = [context.vm(from), context.vm(to)];
    const [{ mac }, { mac: targetMac, device }] = [source.interfaces[0]!, target.interfaces[0]!];
    const port = ownPort(context);
    const odd = (vlan: number) => ethernetFrame(targetMac, mac, vlan, ETHERTYPE, new Uint8Array(64).fill(0x5a));
    const datagram = (vlan: number, tpDst: number) => {
      const ends = { source: context.address(source, 4), target: context.address(target, 4) };
      const payload = udpDatagram(port, tpDst, new Uint8Array(64).fill(0x5a));
      return ethernetFrame(targetMac, mac, vlan, IPV4, ipPacket({ ...ends, protocol: UDP, payload }));
    };
    return withFirewall(context, async (firewall) => {
      const chain = await firewall.chain('vlan', [
        { type: 'drop', vlan: CLOSED_VLAN },
        { type: 'drop', nwProto: UDP, tpDst: { start: port, end: port } },
      ]);
      await firewall.attach(portPath(source), 'inboundFilterId', chain);
      await firewall.live();
      const { captures } = context.plan.paths;
      const capture = await startCapture(captures, target.namespace, device, `vlan and ether src ${mac}`);
      try {
        const frames = [
          odd(CLOSED_VLAN),
          odd(OPEN_VLAN),
          datagram(CLOSED_VLAN, port + 1),
          datagram(OPEN_VLAN, port),
          datagram(OPEN_VLAN, port + 1),
        ];
        sendFrames(source.namespace, source.interfaces[0]!.device, frames);
        // The last one tells that all others are through or lost.
        const last = `vlan ${OPEN_VLAN} and udp dst port ${port + 1}`;
        await awaitFrame(capture, last).catch(() => {});
        await capture.stop();
        const count = (filter: string) => countFrames(capture.file, filter);
        const [closed, open, dropped, passed] = await Promise.all([
          count(`vlan ${CLOSED_VLAN}`),
          count(`vlan ${OPEN_VLAN} and ether proto ${ETHERTYPE}`),
          count(`vlan ${OPEN_VLAN} and udp dst port ${port}`),
          count(last),
        ]);
        const text = (...n: number[]) =>
          `VLAN ${CLOSED_VLAN}: ${n[0]}, VLAN ${OPEN_VLAN}: ${n[1]}, dropped port: ${n[2]}, other port: ${n[3]}`;
        const seen = text(closed!, open!, dropped!, passed!);
        const expected = text(0, 1, 0, 1);
        return { ok: seen === expected, expected, seen };
      } finally {
        await capture.stop();
      }
    });
  },

  sabotage(context, { from }) {
    return nftFault(
      `${from} loses the frames of VLAN ${OPEN_VLAN} that it sends`,
      context.vm(from).namespace,
      // The tag stands in the bytes of a frame that is sent as it is.
      `chain out { type filter hook egress device "eth0" priority 0; @ll,96,32 ${0x8100_0000 + OPEN_VLAN} drop; }`,
      'netdev',
    );
  },
});
