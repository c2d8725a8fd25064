/** Every header rewrite, against frames built anew with the other values: checksums are computed there from scratch. */
import assert from 'node:assert/strict';
import {
  K_ETH_DST,
  K_ETH_SRC,
  K_ICMP_ID,
  K_IP_DST,
  K_IP_SRC,
  K_IP_TOS,
  K_TP_DST,
  K_TP_SRC,
  K_VLAN,
  OUT_PORT,
  VLAN_PRESENT,
  writeU16,
} from '@weft/flow';
import { fragmentFrame, icmpEcho, macParse, setU16, u16, verifyChecksums } from '@weft/packet';
import { VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_HDR_GSO_UDP_L4 } from '@weft/sys';
import { type Bench, hex } from './bench.ts';
import { ETH, onTheWire, partial, payload, setAddress, tcp, udp, V4, V6, VM3, vnet } from './frames.ts';
import { group } from './suite.ts';
import type { DriverFactory } from './testbed.ts';

interface Case {
  readonly name: string;
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  readonly rewrite: (key: Uint8Array) => void;
  readonly ttlDec?: number;
}

const NAT4 = { src: '192.0.2.77', dst: '198.51.100.3' };
const NAT6 = { src: '2001:db8::77', dst: '2001:db8:1::3' };

function nat(addresses: { src: string; dst: string }): (key: Uint8Array) => void {
  return (key) => {
    setAddress(key, K_IP_SRC, addresses.src);
    setAddress(key, K_IP_DST, addresses.dst);
  };
}

function ports(src: number, dst: number): (key: Uint8Array) => void {
  return (key) => {
    writeU16(key, K_TP_SRC, src);
    writeU16(key, K_TP_DST, dst);
  };
}

function both(...steps: ((key: Uint8Array) => void)[]): (key: Uint8Array) => void {
  return (key) => {
    for (const step of steps) step(key);
  };
}

function cases(): Case[] {
  const out: Case[] = [];
  const macs = (key: Uint8Array) => {
    key.set(macParse('02:aa:00:00:00:01'), K_ETH_SRC);
    key.set(macParse(VM3), K_ETH_DST);
  };
  const newMacs = { ethSrc: '02:aa:00:00:00:01', ethDst: VM3 };
  for (const [family, from, to] of [
    ['IPv4', V4, NAT4],
    ['IPv6', V6, NAT6],
  ] as const) {
    for (const [l4, make] of [
      ['UDP', udp],
      ['TCP', tcp],
    ] as const) {
      const name = `${l4} over ${family}`;
      out.push(
        { name: `${name}: MACs`, from: make(from), to: make({ ...from, ...newMacs }), rewrite: macs },
        { name: `${name}: addresses`, from: make(from), to: make(to), rewrite: nat(to) },
        {
          name: `${name}: source only`,
          from: make(from),
          to: make({ ...from, src: to.src }),
          rewrite: (k) => setAddress(k, K_IP_SRC, to.src),
        },
        {
          name: `${name}: ports`,
          from: make(from),
          to: make({ ...from, srcPort: 40_001, dstPort: 80 }),
          rewrite: ports(40_001, 80),
        },
        {
          name: `${name}: odd payload, addresses, ports, MACs, TTL, DSCP (ECN kept)`,
          from: make({ ...from, payload: payload(33), tos: 0x02 }),
          to: make({ ...to, ...newMacs, payload: payload(33), srcPort: 1, dstPort: 65_535, ttl: 61, tos: 0xba }),
          rewrite: both(macs, nat(to), ports(1, 65_535), (k) => {
            k[K_IP_TOS] = 0xba;
          }),
          ttlDec: 3,
        },
        { name: `${name}: TTL`, from: make(from), to: make({ ...from, ttl: 63 }), rewrite: () => {}, ttlDec: 1 },
        {
          name: `${name}: DSCP`,
          from: make({ ...from, tos: 3 }),
          to: make({ ...from, tos: 0x2b }),
          rewrite: (k) => {
            k[K_IP_TOS] = 0x2b;
          },
        },
        {
          name: `${name}: swapped addresses and ports`,
          from: make(from),
          to: make({ src: from.dst, dst: from.src, srcPort: 2000, dstPort: 1000 }),
          rewrite: both(nat({ src: from.dst, dst: from.src }), ports(2000, 1000)),
        },
      );
    }
    const echo = { ...ETH, ...from, id: 0x1234, seq: 2, payload: payload(40) };
    out.push(
      {
        name: `echo over ${family}: identifier`,
        from: icmpEcho(echo),
        to: icmpEcho({ ...echo, id: 0xbeef }),
        rewrite: (k) => writeU16(k, K_ICMP_ID, 0xbeef),
      },
      {
        name: `echo over ${family}: identifier and addresses`,
        from: icmpEcho(echo),
        to: icmpEcho({ ...echo, ...to, id: 1 }),
        rewrite: both(nat(to), (k) => writeU16(k, K_ICMP_ID, 1)),
      },
    );
  }
  const noSum = udp();
  const noSumTo = udp({ ...NAT4, srcPort: 5, dstPort: 6 });
  setU16(noSum, 40, 0);
  setU16(noSumTo, 40, 0);
  out.push({ name: 'UDP without checksum', from: noSum, to: noSumTo, rewrite: both(nat(NAT4), ports(5, 6)) });
  const zero = Array.from({ length: 65_535 }, (_, i) => i + 1).find(
    (p) => u16(udp({ ...NAT4, srcPort: p }), 40) === 0xffff,
  )!;
  out.push({
    name: 'UDP whose new checksum is 0: sent as 0xffff',
    from: udp(),
    to: udp({ ...NAT4, srcPort: zero }),
    rewrite: both(nat(NAT4), (k) => writeU16(k, K_TP_SRC, zero)),
  });
  const withOptions = { ipOptions: new Uint8Array([1, 1, 1, 0]) };
  out.push({
    name: 'IPv4 options',
    from: tcp(withOptions),
    to: tcp({ ...withOptions, ...NAT4, srcPort: 9 }),
    rewrite: both(nat(NAT4), (k) => writeU16(k, K_TP_SRC, 9)),
  });
  const vlan = (tci: number) => (k: Uint8Array) => writeU16(k, K_VLAN, tci === 0 ? 0 : tci | VLAN_PRESENT);
  out.push(
    { name: 'VLAN push', from: udp(), to: udp({ vlan: 0x6123 }), rewrite: vlan(0x6123) },
    { name: 'VLAN pop', from: udp({ vlan: 7 }), to: udp(), rewrite: vlan(0) },
    { name: 'VLAN change', from: udp({ vlan: 7 }), to: udp({ vlan: 8 }), rewrite: vlan(8) },
    { name: 'VLAN pop of the outer of two', from: udp({ vlan: [100, 7] }), to: udp({ vlan: 7 }), rewrite: vlan(0) },
    {
      name: 'VLAN push with NAT',
      from: tcp(),
      to: tcp({ ...NAT4, vlan: 3, ttl: 63 }),
      rewrite: both(nat(NAT4), vlan(3)),
      ttlDec: 1,
    },
    {
      name: 'NAT of a tagged packet',
      from: tcp({ ...V6, vlan: 0xa003 }),
      to: tcp({ ...NAT6, vlan: 0xa003 }),
      rewrite: nat(NAT6),
    },
  );
  const lldp = (dst: number) =>
    new Uint8Array([2, 0, 0, 0, 0, dst, ...udp().subarray(6, 12), 0x88, 0xcc, ...payload(50)]);
  out.push({
    name: 'MACs of a frame that is not IP',
    from: lldp(2),
    to: lldp(3),
    rewrite: (k) => k.set(macParse(VM3), K_ETH_DST),
  });
  return out;
}

function runCase(b: Bench, c: Case): void {
  const [p1, p2] = b.testbed.ports;
  b.flow({ port: p1, frame: c.from, rewrite: c.rewrite, ttlDec: c.ttlDec ?? 0, output: OUT_PORT, outPort: p2.ifindex });
  b.testbed.vms[0].send(c.from);
  b.expect(new Map([[b.testbed.vms[1], [c.to]]]));
  b.takeUpcalls(0);
}

/** A frame with a partial checksum (or a super-packet) and what must be on the wire in the end. */
interface OffloadCase {
  readonly name: string;
  readonly from: Uint8Array;
  readonly vnetHeader: Uint8Array;
  readonly to: readonly Uint8Array[];
  readonly rewrite: (key: Uint8Array) => void;
}

export function offloadCases(): OffloadCase[] {
  const out: OffloadCase[] = [];
  for (const [family, l3, from, to, gsoTcp] of [
    ['IPv4', 20, V4, NAT4, VIRTIO_NET_HDR_GSO_TCPV4],
    ['IPv6', 40, V6, NAT6, VIRTIO_NET_HDR_GSO_TCPV6],
  ] as const) {
    const l4 = 14 + l3;
    const rewrite = both(nat(to), ports(7, 8));
    const changed = { ...to, srcPort: 7, dstPort: 8, ttl: 63 };
    out.push(
      {
        name: `TCP over ${family}, partial checksum`,
        from: partial(tcp(from), 14, l4, 16),
        vnetHeader: vnet({ csumStart: l4, csumOffset: 16 }),
        to: [tcp(changed)],
        rewrite,
      },
      {
        name: `UDP over ${family}, partial checksum`,
        from: partial(udp(from), 14, l4, 6),
        vnetHeader: vnet({ csumStart: l4, csumOffset: 6 }),
        to: [udp(changed)],
        rewrite,
      },
    );
    const data = payload(3000);
    const pieces = [data.subarray(0, 1200), data.subarray(1200, 2400), data.subarray(2400)];
    const flags = 0x18; // ACK, PSH: only the last segment keeps PSH
    const v4 = family === 'IPv4';
    out.push(
      {
        name: `TCP super-packet over ${family}`,
        from: partial(tcp({ ...from, payload: data, flags, seq: 0xfffffa00, id: 0xfffe }), 14, l4, 16),
        vnetHeader: vnet({ csumStart: l4, csumOffset: 16, gsoType: gsoTcp, gsoSize: 1200, hdrLen: l4 + 20 }),
        to: pieces.map((p, i) =>
          tcp({
            ...changed,
            payload: p,
            flags: i === 2 ? flags : 0x10,
            seq: (0xfffffa00 + i * 1200) % 0x1_0000_0000,
            ...(v4 ? { id: (0xfffe + i) & 0xffff } : {}),
          }),
        ),
        rewrite,
      },
      {
        name: `UDP super-packet over ${family}`,
        from: partial(udp({ ...from, payload: data }), 14, l4, 6),
        vnetHeader: vnet({
          csumStart: l4,
          csumOffset: 6,
          gsoType: VIRTIO_NET_HDR_GSO_UDP_L4,
          gsoSize: 1200,
          hdrLen: l4 + 8,
        }),
        to: pieces.map((p, i) => udp({ ...changed, payload: p, ...(v4 ? { id: i } : {}) })),
        rewrite,
      },
    );
  }
  return out;
}

export function rewriteTests(factory: DriverFactory): void {
  group('rewrites', factory, { encap: 'vxlan' }, (t) => {
    for (const c of cases()) t(c.name, (b) => runCase(b, c));

    t('fragments: the first has ports and checksum, later ones neither', (b) => {
      const [p1, p2] = b.testbed.ports;
      const whole = udp({ payload: payload(2000), dontFragment: false });
      const natted = udp({ ...NAT4, payload: payload(2000), dontFragment: false, ttl: 63, srcPort: 7, dstPort: 8 });
      const [first, later] = fragmentFrame(whole, 1400, 99);
      const [first2, later2] = fragmentFrame(natted, 1400, 99);
      const rewrite = both(nat(NAT4), ports(7, 8));
      b.flow({ port: p1, frame: first, rewrite, ttlDec: 1, output: OUT_PORT, outPort: p2.ifindex });
      // The key knows the first one's ports, and may change them: there is nothing in the packet to change.
      const key = b.key(later, p1.ifindex);
      key.set(b.key(first, p1.ifindex).subarray(K_TP_SRC, K_TP_SRC + 4), K_TP_SRC);
      b.flow({ port: p1, frame: later, key, rewrite, ttlDec: 1, output: OUT_PORT, outPort: p2.ifindex });
      b.testbed.vms[0].send(first);
      b.testbed.vms[0].send(later);
      b.expect(new Map([[b.testbed.vms[1], [first2, later2]]]));
    });

    t('a first fragment too short for its checksum field is dropped', (b) => {
      const [p1, p2] = b.testbed.ports;
      const whole = tcp({ dontFragment: false });
      const tiny = whole.slice(0, 34 + 8);
      setU16(tiny, 16, 28);
      tiny[20] = 0x20; // more fragments
      setU16(tiny, 24, 0);
      setU16(tiny, 24, ipv4Sum(tiny));
      b.flow({ port: p1, frame: tiny, rewrite: nat(NAT4), output: OUT_PORT, outPort: p2.ifindex });
      b.testbed.vms[0].send(tiny);
      b.expectDrops({ rewrite_failed: 1 });
      b.expect(new Map());
    });

    for (const c of offloadCases()) {
      t(c.name, (b) => {
        const [p1, p2] = b.testbed.ports;
        b.flow({ port: p1, frame: c.from, rewrite: c.rewrite, ttlDec: 1, output: OUT_PORT, outPort: p2.ifindex });
        b.testbed.vms[0].send(c.from, c.vnetHeader);
        const got = receiveSegments(b, c.to.length);
        assert.equal(got.length, c.to.length);
        c.to.forEach((frame, i) => {
          assert.deepEqual(verifyChecksums(got[i]), []);
          assert.equal(hex(got[i]), hex(frame));
        });
        b.takeUpcalls(0);
      });
    }
  });
}

/** Frames at VM 2 as they would be on a wire, however many pieces the driver left for the card to cut. */
function receiveSegments(b: Bench, count: number): Uint8Array[] {
  const got: Uint8Array[] = [];
  b.until(() => {
    for (const a of b.testbed.vms[1].take()) got.push(...onTheWire(a));
    return got.length >= count;
  });
  b.settle();
  for (const a of b.testbed.vms[1].take()) got.push(...onTheWire(a));
  return got;
}

function ipv4Sum(frame: Uint8Array): number {
  let s = 0;
  for (let i = 14; i < 34; i += 2) s += (frame[i] << 8) | frame[i + 1];
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16);
  return ~s & 0xffff;
}
