import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as p from './index.ts';

/* Whatever the bytes: PacketError or a result, and nothing read behind `end`. */

const eth = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02' };
const v4 = { ...eth, src: '10.0.0.1', dst: '10.0.0.2' };
const v6 = { ...eth, src: 'fd00::1', dst: 'fd00::2' };
const options = p.fromHex('020405b4 0101 0402');
const payload = new Uint8Array(40).fill(0x45);

/** IPv6 with hop-by-hop, destination options, routing and fragment headers before UDP. */
const extended = p.ipFrame(v6, p.IPPROTO_HOPOPTS, 40, (buf, at) => {
  buf.set(p.fromHex('3c00010400000000 2b00010400000000 2c00040000000000 110000010000002a 0001000200080000'), at);
});

const SEEDS: readonly Uint8Array[] = [
  p.arpRequest({ senderMac: 1, senderIp: '10.0.0.1', targetIp: '10.0.0.2' }),
  p.tcpFrame({ ...v4, srcPort: 1, dstPort: 2, options, payload, ipOptions: p.fromHex('9404000001010101') }),
  p.tcpFrame({ ...v6, vlan: [5, 6], srcPort: 1, dstPort: 2, options, payload }),
  p.udpFrame({ ...v4, vlan: 5, srcPort: 1, dstPort: 2, payload, dontFragment: false }),
  p.icmpEcho({ ...v4, id: 1, seq: 2, payload }),
  p.icmpEcho({ ...v6, id: 1, seq: 2, payload }),
  p.ndNeighborSolicit({ mac: 1, src: 'fd00::1', target: 'fd00::2' }),
  p.ndNeighborAdvert({ mac: 1, target: 'fd00::2', dst: 'fd00::1', ethDst: 2 }),
  p.icmpError({ ...eth, src: '10.0.0.9', type: 3, code: 1, packet: p.icmpEcho(v4), ip: 14 }),
  p.icmpError({ ...eth, src: 'fd00::9', type: 2, code: 0, packet: p.icmpEcho({ ...v6, payload }), ip: 14 }),
  p.greFrame({ ...v4, key: 5 }, p.icmpEcho(v6)),
  p.vxlanFrame({ ...v6, vni: 5, srcPort: 9 }, p.vxlanFrame({ ...v4, vni: 6, srcPort: 9 }, p.icmpEcho(v4))),
  extended,
];

/** A good frame with some bytes changed and its end cut. */
const mutated = fc
  .record({
    seed: fc.constantFrom(...SEEDS),
    changes: fc.array(fc.tuple(fc.nat(160), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0xff, 0x45, 0x60))), {
      maxLength: 6,
    }),
    cut: fc.oneof(fc.constant(0), fc.nat(120)),
  })
  .map(({ seed, changes, cut }) => {
    const frame = seed.slice(0, Math.max(0, seed.length - cut));
    for (const [at, value] of changes) if (at < frame.length) frame[at] = value;
    return frame;
  });

const anyFrame = fc.oneof(
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 160 }) },
  { weight: 4, arbitrary: mutated },
);

type Reader = (buf: Uint8Array, off: number, end: number) => unknown;

const ip = { ...eth, src: '10.0.0.9' };
const READERS: Readonly<Record<string, Reader>> = {
  eth: p.ethParse,
  vlan: p.vlanParse,
  arp: p.arpParse,
  ipv4: p.ipv4Parse,
  ipv4Option: (buf, off, end) => p.ipv4Check(buf, off, end) > 0 && p.ipv4Option(buf, off, p.IPV4_OPTION_LSRR),
  ipv6: p.ipv6Parse,
  ipv6Walk: (buf, off, end) => {
    const walk = new p.Ipv6Walk();
    return p.ipv6Check(buf, off, end) > 0 && [p.ipv6Walk(buf, off, end, walk), walk];
  },
  icmp: p.icmpParse,
  nd: p.ndParse,
  tcp: p.tcpParse,
  tcpMss: (buf, off, end) => p.tcpCheck(buf, off, end) > 0 && p.tcpMss(buf, off),
  udp: p.udpParse,
  gre: p.greParse,
  vxlan: p.vxlanParse,
  dissect: (buf, off, end) => {
    const layers = new p.Layers();
    p.dissect(buf, off, end, layers);
    return [layers, p.tunnelInner(buf, layers), p.icmpErrorAllowed(buf, layers, 3)];
  },
  dissectIp: (buf, off, end) => {
    const layers = new p.Layers();
    return [p.dissectIp(buf, off, end, layers), layers];
  },
  dissectQuoted: (buf, off, end) => {
    const layers = new p.Layers();
    return [p.dissectIp(buf, off, end, layers, true), layers];
  },
  describe: p.describe,
  describeIp: p.describeIp,
  icmpError4: (buf, off, end) => p.icmpError({ ...ip, type: 3, code: 0, packet: buf, ip: off, end }),
  icmpError6: (buf, off, end) => p.icmpError({ ...ip, src: 'fd00::9', type: 1, code: 0, packet: buf, ip: off, end }),
};

function outcome(run: () => unknown): unknown {
  try {
    return run();
  } catch (e) {
    assert.ok(e instanceof p.PacketError, String(e instanceof Error ? e.stack : e));
    return `${e.code} ${e.layer} ${e.offset}`;
  }
}

for (const [name, read] of Object.entries(READERS)) {
  test(`fuzz: ${name} throws only PacketError and reads nothing behind its end`, () => {
    fc.assert(
      fc.property(
        anyFrame,
        fc.constantFrom(0, 14, 18, 34, 54),
        fc.uint8Array({ minLength: 80, maxLength: 80 }),
        (frame, off, junk) => {
          const alone = outcome(() => read(frame, off, frame.length));
          const longer = new Uint8Array(frame.length + junk.length);
          longer.set(frame);
          longer.set(junk, frame.length);
          assert.deepEqual(
            outcome(() => read(longer, off, frame.length)),
            alone,
          );
        },
      ),
      { numRuns: 400 },
    );
  });
}

test('fuzz: whole-frame functions throw only PacketError', () => {
  fc.assert(
    fc.property(anyFrame, fc.nat(200), (frame, mtu) => {
      outcome(() => p.verifyChecksums(frame));
      outcome(() => p.tcpRst(frame));
      outcome(() => p.vlanPop(frame));
      outcome(() => p.vlanPush(frame, 5));
      outcome(() => p.pcapRead(frame));
      const pieces = outcome(() => p.fragmentFrame(frame, mtu));
      if (Array.isArray(pieces)) assert.ok(pieces.length <= 200);
    }),
    { numRuns: 2000 },
  );
});

test('property: what is checked and parsed is emitted to the same bytes', () => {
  const layers = new p.Layers();
  fc.assert(
    fc.property(mutated, (frame) => {
      if (p.dissect(frame, 0, frame.length, layers) !== 0) return;
      const out = frame.slice();
      if (layers.ethertype === p.ETHERTYPE_IPV4) {
        p.ipv4FillChecksum(frame, layers.l3);
        // The reserved flag bit is the one that a representation does not keep.
        fc.pre((p.ipv4FlagsFragment(frame, layers.l3) & 0x8000) === 0);
        out.fill(0, layers.l3, layers.l3 + p.ipv4HeaderSize(frame, layers.l3));
        p.ipv4Emit(p.ipv4Parse(frame, layers.l3), out, layers.l3);
      } else if (layers.ethertype === p.ETHERTYPE_IPV6) {
        out.fill(0, layers.l3, layers.l3 + 40);
        p.ipv6Emit(p.ipv6Parse(frame, layers.l3), out, layers.l3);
      } else if (layers.ethertype === p.ETHERTYPE_ARP) {
        out.fill(0, layers.l3, layers.l3End);
        p.arpEmit(p.arpParse(frame, layers.l3), out, layers.l3);
      }
      assert.deepEqual(out, frame);
    }),
    { numRuns: 1000 },
  );
});

test('property: frames from builders have right lengths and checksums, for all addresses, tags and sizes', () => {
  const layers = new p.Layers();
  const address = (size: 4 | 16) =>
    fc.uint8Array({ minLength: size, maxLength: size }).map((b) => (size === 4 ? p.ip4FromWire(b, 0) : b));
  const pair = fc.oneof(fc.tuple(address(4), address(4)), fc.tuple(address(16), address(16)));
  const port = fc.nat(0xffff);
  const vlan = fc.oneof(fc.constant(undefined), fc.nat(0xffff), fc.tuple(fc.nat(0xffff), fc.nat(0xffff)));
  fc.assert(
    fc.property(pair, vlan, port, port, fc.uint8Array({ maxLength: 300 }), (pair, vlan, srcPort, dstPort, payload) => {
      const [src, dst] = pair;
      fc.pre(p.ipIsV4(src) === p.ipIsV4(dst) && dstPort !== p.VXLAN_PORT);
      const o = { ...eth, vlan, src, dst, srcPort, dstPort, payload };
      for (const frame of [p.udpFrame(o), p.tcpFrame(o), p.icmpEcho({ ...o, id: srcPort, seq: dstPort })]) {
        assert.equal(p.dissect(frame, 0, frame.length, layers), 0);
        assert.equal(layers.l3End, frame.length);
        assert.deepEqual(frame.subarray(layers.payload), payload);
        assert.deepEqual(p.verifyChecksums(frame), []);
      }
    }),
    { numRuns: 300 },
  );
});
