/** Example frames, and the outside and inside of tunnel packets. */

import { extractKey, K_ETHER_TYPE, K_IP_PROTO, KEY_SIZE, newFrameLayout, readU16 } from '@weft/flow';
import {
  greFrame,
  ipFormat,
  ipParse,
  setU16,
  tcpFrame,
  u16,
  u32,
  udpFrame,
  VXLAN_PORT,
  vxlanFrame,
} from '@weft/packet';
import { VNET_HEADER_SIZE } from '@weft/sys';
import { completeChecksum, VXLAN_PORT as PORT, Segmenter, WorkFrame } from '../oracle/index.ts';
import type { Arrival } from './wire.ts';

export const VM1 = '02:00:00:00:00:01';
export const VM2 = '02:00:00:00:00:02';
export const VM3 = '02:00:00:00:00:03';

/** Ethernet of a frame from VM 1 to VM 2. */
export const ETH = { ethSrc: VM1, ethDst: VM2 };
export const V4 = { src: '10.0.0.1', dst: '10.0.0.2' };
export const V6 = { src: 'fd00::1', dst: 'fd00::2' };

/** `length` bytes that are not all alike. */
export function payload(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + 3) & 0xff);
}

/** A UDP datagram from VM 1 to VM 2. */
export function udp(changes: Partial<Parameters<typeof udpFrame>[0]> = {}): Uint8Array {
  return udpFrame({ ...ETH, ...V4, srcPort: 1000, dstPort: 2000, payload: payload(32), ...changes });
}

/** A TCP segment from VM 1 to VM 2. */
export function tcp(changes: Partial<Parameters<typeof tcpFrame>[0]> = {}): Uint8Array {
  return tcpFrame({ ...ETH, ...V4, srcPort: 1000, dstPort: 2000, flags: 0x10, payload: payload(32), ...changes });
}

/** A virtio_net_hdr. */
export function vnet(fields: {
  csumStart?: number;
  csumOffset?: number;
  gsoType?: number;
  gsoSize?: number;
  hdrLen?: number;
}): Uint8Array {
  const h = new Uint8Array(VNET_HEADER_SIZE);
  const v = new DataView(h.buffer);
  if (fields.csumStart !== undefined) v.setUint8(0, 1);
  v.setUint8(1, fields.gsoType ?? 0);
  v.setUint16(2, fields.hdrLen ?? 0, true);
  v.setUint16(4, fields.gsoSize ?? 0, true);
  v.setUint16(6, fields.csumStart ?? 0, true);
  v.setUint16(8, fields.csumOffset ?? 0, true);
  return h;
}

/** The frame as a VM's driver hands it over when the card is to complete the checksum: the field holds the pseudo-header's sum. */
export function partial(frame: Uint8Array, l3: number, l4: number, field: number): Uint8Array {
  const out = frame.slice();
  const v6 = out[l3] >>> 4 === 6;
  let sum = out[v6 ? l3 + 6 : l3 + 9] + (out.length - l4);
  const [from, length] = v6 ? [l3 + 8, 32] : [l3 + 12, 8];
  for (let i = 0; i < length; i += 2) sum += u16(out, from + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  setU16(out, l4 + field, sum);
  return out;
}

/** What the arrival is on a real wire: its checksum completed, a super-packet cut into segments. IPv4 ids count from the first one's. */
export function onTheWire(arrival: Arrival): Uint8Array[] {
  const work = new WorkFrame();
  work.load(arrival.frame, 0, arrival.frame.length);
  work.readVnetHeader(arrival.vnetHeader, 0);
  const key = new Uint8Array(KEY_SIZE);
  const layout = newFrameLayout();
  extractKey(arrival.frame, arrival.frame.length, 0, 0, key, 0, layout);
  if (work.gsoSize === 0) {
    completeChecksum(work, key[K_IP_PROTO]);
    return [work.view().slice()];
  }
  const cutter = new Segmenter();
  const ipv4 = readU16(key, K_ETHER_TYPE) === 0x0800;
  const count = cutter.begin(work, work.start + layout.l3, work.start + layout.l4, ipv4, key[K_IP_PROTO]);
  if (count === 0) throw new Error('a super-packet that cannot be cut');
  return Array.from({ length: count }, (_, i) => {
    cutter.build(i);
    return cutter.out.view().slice();
  });
}

export interface Tunnelled {
  readonly src: string;
  readonly dst: string;
  readonly key: number;
  readonly ttl: number;
  readonly tos: number;
  /** IPv4 only. */
  readonly dontFragment: boolean;
  readonly headerOk: boolean;
  readonly sourcePort: number;
  readonly inner: Uint8Array;
}

/** Takes a tunnel packet apart, checking every fixed field of it. */
export function openTunnel(frame: Uint8Array, encap: 'gre' | 'vxlan', port: number = PORT): Tunnelled {
  const v6 = u16(frame, 12) === 0x86dd;
  const ip = 14;
  const l4 = ip + (v6 ? 40 : 20);
  const need = (what: string, got: number, expected: number) => {
    if (got !== expected) throw new Error(`outer ${what}: 0x${got.toString(16)}, expected 0x${expected.toString(16)}`);
  };
  need('version', frame[ip], v6 ? frame[ip] & 0x6f : 0x45);
  need('length', v6 ? u16(frame, ip + 4) + 40 : u16(frame, ip + 2), frame.length - ip);
  need('protocol', frame[v6 ? ip + 6 : ip + 9], encap === 'gre' ? 47 : 17);
  let key: number;
  let sourcePort = 0;
  if (encap === 'gre') {
    need('GRE flags', u32(frame, l4), 0x20006558);
    key = u32(frame, l4 + 4);
  } else {
    sourcePort = u16(frame, l4);
    need('UDP port', u16(frame, l4 + 2), port);
    need('UDP length', u16(frame, l4 + 4), frame.length - l4);
    need('UDP checksum', u16(frame, l4 + 6), 0);
    need('VXLAN flags', u32(frame, l4 + 8), 0x08000000);
    need('VXLAN reserved', frame[l4 + 15] & 0x7f, 0);
    key = ((u32(frame, l4 + 12) >>> 8) | (frame[l4 + 15] << 24)) >>> 0;
  }
  let sum = 0;
  if (!v6) for (let i = 0; i < 20; i += 2) sum += u16(frame, ip + i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return {
    src: v6 ? ipFormat(frame.subarray(ip + 8, ip + 24), 0) : [...frame.subarray(ip + 12, ip + 16)].join('.'),
    dst: v6 ? ipFormat(frame.subarray(ip + 24, ip + 40), 0) : [...frame.subarray(ip + 16, ip + 20)].join('.'),
    key,
    ttl: frame[v6 ? ip + 7 : ip + 8],
    tos: v6 ? (u16(frame, ip) >>> 4) & 0xff : frame[ip + 1],
    dontFragment: v6 || (frame[ip + 6] & 0x40) !== 0,
    headerOk: v6 || sum === 0xffff,
    sourcePort,
    inner: frame.subarray(l4 + (encap === 'gre' ? 8 : 16)),
  };
}

/** A tunnel packet as a peer sends it. `key`: with KEY_FORWARDED if it has been sent on. */
export function tunnelled(
  encap: 'gre' | 'vxlan',
  inner: Uint8Array,
  o: { ethSrc?: string; ethDst: Uint8Array; src: string; dst: string; key: number; tos?: number },
): Uint8Array {
  const outer = { ethSrc: o.ethSrc ?? '02:0e:00:00:00:00', ethDst: o.ethDst, src: o.src, dst: o.dst, tos: o.tos ?? 0 };
  if (encap === 'gre') return greFrame({ ...outer, key: o.key }, inner);
  const frame = vxlanFrame({ ...outer, vni: o.key & 0xffffff, srcPort: 50_000, dstPort: VXLAN_PORT }, inner);
  frame[frame.length - inner.length - 1] = o.key >>> 24;
  return frame;
}

/** Writes an address into a key (16 bytes at `at`). */
export function setAddress(key: Uint8Array, at: number, address: string): void {
  key.set(ipParse(address), at);
}
