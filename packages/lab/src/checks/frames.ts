/** Frames of any ethertype, tagged or not, arrive once each and unchanged; on the fabric their tag is inside the tunnel. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { awaitFrame, type Capture, countFrames, startCapture } from '../capture.ts';
import { nftFault } from '../faults/fault.ts';
import { ethernetFrame, frameFilter, sendFrames } from '../frames.ts';
import type { CheckContext } from './kind.ts';
import { defineKind } from './kind.ts';

interface Fields {
  readonly from: string;
  readonly to: string;
  readonly ethertype: number;
  readonly vlan: number | undefined;
  readonly count: number;
  readonly size: number;
}

export const frames = defineKind({
  kind: 'frames',
  summary: 'raw frames of an `ethertype`, tagged with `vlan` or not, arrive once each and byte for byte',
  fields: ['from', 'to', 'ethertype', 'vlan', 'count', 'size'],
  read: (fields): Fields => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    ethertype: fields.integer('ethertype', 0x600, 0xffff, 0x88b5),
    vlan: fields.optionalInteger('vlan', 1, 4094),
    count: fields.integer('count', 1, 1000, 20),
    size: fields.integer('size', 46, 1400, 500),
  }),

  async run(context, { from, to, ethertype, vlan, count, size }) {
    const source = context.vm(from);
    const target = context.vm(to);
    const [sourceMac, targetMac] = [source.interfaces[0]!.mac, target.interfaces[0]!.mac];
    const sent = Array.from({ length: count }, (_, i) => {
      const payload = randomBytes(size);
      payload.writeUInt32BE(i);
      return ethernetFrame(targetMac, sourceMac, vlan, ethertype, payload);
    });
    const { captures } = context.plan.paths;
    const filter = frameFilter(targetMac, sourceMac, vlan, ethertype);
    const atTarget = await startCapture(captures, target.namespace, 'eth0', filter);
    const onFabric = await captureFabric(context, from);
    try {
      // The first teaches the way; a burst before that would be cut by the bound on waiting packets.
      sendFrames(source.namespace, 'eth0', sent.slice(0, 1));
      await awaitFrame(atTarget, filter).catch(() => {});
      sendFrames(source.namespace, 'eth0', sent.slice(1));
      await awaitFrame(atTarget, `${filter} and ether[${vlan === undefined ? 14 : 18}:4] == ${count - 1}`).catch(
        () => {},
      );
      const received = await countFrames(await atTarget.stop(), filter);
      const intact = countIntact(await readFile(atTarget.file), sent);
      let tagged = 0;
      for (const capture of onFabric) tagged += await countFrames(await capture.stop(), 'vlan');
      return {
        ok: received === count && intact === count && tagged === 0,
        expected: `${count} frames of type 0x${ethertype.toString(16)}${vlan === undefined ? '' : ` in VLAN ${vlan}`} at ${to}, no tagged frame on the fabric`,
        seen: `${received} frames, ${intact} unchanged, ${tagged} tagged on the fabric`,
      };
    } finally {
      for (const capture of [atTarget, ...onFabric]) await capture.stop();
    }
  },

  sabotage(context, { from, ethertype, vlan }) {
    const match = vlan === undefined ? `ether type 0x${ethertype.toString(16)}` : `vlan id ${vlan}`;
    return nftFault(
      `${from} loses the frames that it sends (${match})`,
      context.vm(from).namespace,
      `chain out { type filter hook egress device "eth0" priority 0; ${match} drop; }`,
      'netdev',
    );
  },
});

async function captureFabric(context: CheckContext, from: string): Promise<Capture[]> {
  const { fabric, paths } = context.plan;
  const { links } = context.hostOf(context.vm(from));
  return Promise.all(links.map((link) => startCapture(paths.captures, fabric, link.fabricInterface, '')));
}

/** How many of the sent frames stand in a capture file byte for byte (the payloads are random: no other bytes are the same). */
function countIntact(file: Buffer, sent: readonly Uint8Array[]): number {
  return sent.filter((frame) => file.includes(Buffer.from(frame))).length;
}
