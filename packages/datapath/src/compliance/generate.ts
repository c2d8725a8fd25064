/**
 * Random packets and flows for the differential tests: two drivers get the same bytes and must give the same bytes. A case
 * is data only, so that a failing one can be printed and run again.
 */
import {
  K_ETH_DST,
  K_ETH_SRC,
  K_ICMP_ID,
  K_IP_DST,
  K_IP_PROTO,
  K_IP_SRC,
  K_IP_TOS,
  K_TP_DST,
  K_TP_SRC,
  K_VLAN,
  OUT_DROP,
  OUT_LIST,
  OUT_PORT,
  OUT_TUNNEL,
  OUT_UPCALL,
  VLAN_PRESENT,
  writeU16,
} from '@weft/flow';
import { fragmentFrame, icmpEcho, ipFrame, setU16, tcpFrame, udpFrame } from '@weft/packet';
import fc from 'fast-check';
import { partial, payload, setAddress, tunnelled, vnet } from './frames.ts';

export interface Packet {
  readonly frame: Uint8Array;
  readonly vnetHeader: Uint8Array;
}

export interface FlowCase {
  readonly packet: Packet;
  readonly read: number;
  readonly rewrite: (key: Uint8Array) => void;
  readonly ttlDec: number;
  readonly mtu: number;
  readonly flags: number;
  readonly output: number;
}

const NO_OFFLOAD = new Uint8Array(10);
const PORT = fc.integer({ min: 1, max: 65_535 });
const V4 = fc
  .tuple(fc.constantFrom(10, 192), fc.nat(3), fc.nat(3), fc.integer({ min: 1, max: 250 }))
  .map((b) => b.join('.'));
const V6 = fc.tuple(fc.nat(0xffff), fc.nat(0xffff)).map(([a, b]) => `fd00::${a.toString(16)}:${(b || 1).toString(16)}`);
const MAC = fc.nat(255).map((n) => `02:00:00:00:00:${n.toString(16).padStart(2, '0')}`);
/** Twice as often untagged; never VLAN ids above the legal ones. */
const TAG = fc.option(
  fc.tuple(fc.nat(7), fc.integer({ min: 1, max: 4094 })).map(([pcp, vid]) => (pcp << 13) | vid),
  { freq: 2, nil: undefined },
);

/** Well-formed packets of the protocols that matter, some with offloads left to the card. */
export const packets: fc.Arbitrary<Packet> = fc
  .record({
    six: fc.boolean(),
    v4: fc.tuple(V4, V4),
    v6: fc.tuple(V6, V6),
    macs: fc.tuple(MAC, MAC),
    ports: fc.tuple(PORT, PORT),
    vlan: TAG,
    tos: fc.nat(255),
    ttl: fc.oneof(fc.constantFrom(0, 1, 2, 3), fc.nat(255)),
    size: fc.oneof(fc.nat(40), fc.integer({ min: 0, max: 1300 })),
    flags: fc.constantFrom(0x02, 0x10, 0x18, 0x11, 0x14),
    kind: fc.constantFrom('tcp', 'udp', 'echo', 'tcp-partial', 'udp-partial', 'fragment', 'udp-nosum', 'other', 'l2'),
  })
  .map((p): Packet => {
    const [src, dst] = p.six ? p.v6 : p.v4;
    const ip = { ethSrc: p.macs[0], ethDst: p.macs[1], src, dst, tos: p.tos, ttl: p.ttl, vlan: p.vlan };
    const ports = { srcPort: p.ports[0], dstPort: p.ports[1] };
    const data = payload(p.size);
    const l3 = p.vlan === undefined ? 14 : 18;
    const l4 = l3 + (p.six ? 40 : 20);
    const plain = (frame: Uint8Array) => ({ frame, vnetHeader: NO_OFFLOAD });
    switch (p.kind) {
      case 'tcp':
        return plain(tcpFrame({ ...ip, ...ports, flags: p.flags, payload: data }));
      case 'udp':
        return plain(udpFrame({ ...ip, ...ports, payload: data }));
      case 'echo':
        return plain(icmpEcho({ ...ip, id: ports.srcPort, seq: 1, payload: data, reply: p.flags === 2 }));
      case 'tcp-partial': {
        const frame = tcpFrame({ ...ip, ...ports, flags: p.flags, payload: data });
        return { frame: partial(frame, l3, l4, 16), vnetHeader: vnet({ csumStart: l4, csumOffset: 16 }) };
      }
      case 'udp-partial': {
        const frame = udpFrame({ ...ip, ...ports, payload: data });
        return { frame: partial(frame, l3, l4, 6), vnetHeader: vnet({ csumStart: l4, csumOffset: 6 }) };
      }
      case 'fragment': {
        if (p.six) return plain(udpFrame({ ...ip, ...ports, payload: data }));
        const whole = udpFrame({ ...ip, ...ports, payload: payload(1200), dontFragment: false });
        const pieces = fragmentFrame(whole, 600, 7);
        return plain(pieces[p.flags % pieces.length]);
      }
      case 'udp-nosum': {
        const frame = udpFrame({ ...ip, ...ports, payload: data });
        setU16(frame, l4 + 6, 0);
        return plain(frame);
      }
      case 'other':
        return plain(ipFrame(ip, [50, 132, 89, 41][p.flags % 4], data.length + 8, (b, at) => b.fill(0x5a, at)));
      default: {
        const frame = udpFrame({ ...ip, ...ports, payload: data });
        setU16(frame, l3 - 2, [0x88cc, 0x8847, 0x0806, 0x0026][p.flags % 4]);
        return plain(frame);
      }
    }
  });

/** Bytes changed at random, mostly in the headers, and the end cut off. */
export const brokenPackets: fc.Arbitrary<Packet> = fc
  .tuple(
    packets,
    fc.array(fc.tuple(fc.integer({ min: 12, max: 80 }), fc.nat(255)), { minLength: 1, maxLength: 4 }),
    fc.nat(12),
  )
  .map(([{ frame }, edits, cut]) => {
    const out = frame.slice(0, cut > 6 ? Math.max(14, frame.length - cut + 6) : frame.length);
    for (const [at, value] of edits) if (at < out.length) out[at] = value;
    return { frame: out, vnetHeader: NO_OFFLOAD };
  });

/** Fragments of one datagram in any order, some lost or repeated. Few addresses and identifications: datagrams meet each other's. */
export const fragmentTrains: fc.Arbitrary<readonly Uint8Array[]> = fc
  .record({
    six: fc.boolean(),
    ends: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 2 })),
    kind: fc.constantFrom('udp', 'tcp', 'echo', 'other'),
    ports: fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })),
    id: fc.oneof(fc.nat(3), fc.integer({ min: 0xfffe, max: 0x10001 }), fc.nat(0xffff_ffff)),
    vlan: fc.constantFrom(undefined, undefined, 7),
    mtu: fc.constantFrom(300, 600),
    order: fc.oneof(
      fc.constant<number[]>([0, 1, 2, 3, 4]),
      fc.array(fc.nat(4), { minLength: 1, maxLength: 6 }),
      fc.constant<number[]>([0, 0, 1, 1]),
    ),
  })
  .map((t) => {
    const [from, to] = t.ends.map((n) => (t.six ? `fd00::${n}` : `10.0.0.${n}`));
    const macs = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02' };
    const ip = { ...macs, src: from, dst: to, vlan: t.vlan, dontFragment: false };
    const data = payload(1000);
    const [srcPort, dstPort] = t.ports;
    const whole = {
      udp: () => udpFrame({ ...ip, srcPort, dstPort, payload: data }),
      tcp: () => tcpFrame({ ...ip, srcPort, dstPort, payload: data }),
      echo: () => icmpEcho({ ...ip, id: srcPort, seq: dstPort, payload: data }),
      other: () => ipFrame(ip, 50, data.length, (b, at) => b.set(data, at)),
    }[t.kind]();
    if (!t.six) setU16(whole, (t.vlan === undefined ? 14 : 18) + 4, t.id & 0xffff);
    const pieces = fragmentFrame(whole, t.mtu, t.id);
    return t.order.map((n) => pieces[n % pieces.length]);
  });

/** A flow for its packet: some fields read, some rewritten, some output. What the packet does not have is not rewritten. */
export const flowCases: fc.Arbitrary<FlowCase> = fc
  .record({
    packet: packets,
    read: fc.integer({ min: 0, max: 0x7fff }),
    macs: fc.option(fc.nat(255)),
    nat: fc.option(fc.record({ four: V4, six: V6, source: fc.boolean(), both: fc.boolean() })),
    ports: fc.option(fc.tuple(PORT, PORT)),
    icmpId: fc.option(PORT),
    dscp: fc.option(fc.nat(63)),
    vlan: fc.option(TAG),
    ttlDec: fc.constantFrom(0, 0, 1, 2),
    mtu: fc.constantFrom(0, 0, 0, 200, 600),
    report: fc.boolean(),
    output: fc.constantFrom(OUT_PORT, OUT_PORT, OUT_TUNNEL, OUT_TUNNEL, OUT_LIST, OUT_UPCALL, OUT_DROP),
  })
  .map((c): FlowCase => {
    const tagged = ((c.packet.frame[12] << 8) | c.packet.frame[13]) === 0x8100;
    const l3 = tagged ? 18 : 14;
    const type = (c.packet.frame[l3 - 2] << 8) | c.packet.frame[l3 - 1];
    const isIp = type === 0x0800 || type === 0x86dd;
    const rewrite = (key: Uint8Array) => {
      if (c.macs !== null) {
        key[K_ETH_SRC + 5] = c.macs;
        key[K_ETH_DST + 4] = c.macs;
      }
      if (c.vlan !== null) writeU16(key, K_VLAN, c.vlan === undefined ? 0 : c.vlan | VLAN_PRESENT);
      if (!isIp) return;
      if (c.nat !== null) {
        const address = type === 0x0800 ? c.nat.four : c.nat.six;
        if (c.nat.source || c.nat.both) setAddress(key, K_IP_SRC, address);
        if (!c.nat.source || c.nat.both) setAddress(key, K_IP_DST, address);
      }
      if (c.dscp !== null) key[K_IP_TOS] = (c.dscp << 2) | (key[K_IP_TOS] & 3);
      const proto = key[K_IP_PROTO];
      if (c.ports !== null && (proto === 6 || proto === 17)) {
        writeU16(key, K_TP_SRC, c.ports[0]);
        writeU16(key, K_TP_DST, c.ports[1]);
      }
      if (c.icmpId !== null && (proto === 1 || proto === 58)) writeU16(key, K_ICMP_ID, c.icmpId);
    };
    return {
      packet: c.packet,
      read: c.read,
      rewrite,
      ttlDec: isIp ? c.ttlDec : 0,
      mtu: c.mtu,
      flags: c.report ? 2 : 0,
      output: c.output,
    };
  });

/** Tunnel packets from a peer, most of them with something wrong. */
export function outerPackets(
  encap: 'gre' | 'vxlan',
  o: { src: string; dst: string; ethDst: Uint8Array; keys: readonly number[] },
): fc.Arbitrary<Uint8Array> {
  return fc
    .record({
      inner: packets,
      key: fc.constantFrom(...o.keys, 0x777777),
      tos: fc.constantFrom(0, 1, 2, 3),
      edits: fc.array(fc.tuple(fc.integer({ min: 14, max: 75 }), fc.nat(255)), { maxLength: 2 }),
      trailer: fc.constantFrom(0, 0, 3),
    })
    .map((c) => {
      const frame = tunnelled(encap, c.inner.frame, {
        src: o.src,
        dst: o.dst,
        ethDst: o.ethDst,
        key: c.key,
        tos: c.tos,
      });
      const out = new Uint8Array(frame.length + c.trailer);
      out.set(frame);
      for (const [at, value] of c.edits) out[at] = value;
      return out;
    });
}
