import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  arpRequest,
  dissect,
  fragmentFrame,
  icmpEcho,
  ipFrame,
  ipParse,
  Layers,
  setU16,
  tcpDstPort,
  tcpFrame,
  tcpSrcPort,
  u16,
  udpFrame,
} from '@weft/packet';
import fc from 'fast-check';
import {
  extractKey,
  FRAG_FIRST,
  FRAG_LATER,
  FRAG_NONE,
  K_ARP_OP,
  K_ETH_DST,
  K_ETH_SRC,
  K_ETHER_TYPE,
  K_ICMP_ID,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_IP_TOS,
  K_IP_TTL,
  K_TP_DST,
  K_TP_SRC,
  K_VLAN,
  KEY_SIZE,
  keyInPort,
  MAX_EXTENSION_HEADERS,
  newFrameLayout,
  readU16,
  VLAN_PRESENT,
} from './index.ts';

const ETH = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02' };
const V4 = { ...ETH, src: '10.0.0.1', dst: '10.0.0.2' };
const V6 = { ...ETH, src: 'fd00::1', dst: 'fd00::2' };

function extract(frame: Uint8Array, vlan = 0, length = frame.length) {
  // Whatever stood there before must not show through.
  const key = new Uint8Array(KEY_SIZE + 20).fill(0xee);
  const layout = newFrameLayout();
  const ok = extractKey(frame, length, 0x01020304, vlan, key, 10, layout);
  assert.ok(key.subarray(0, 10).every((b) => b === 0xee) && key.subarray(KEY_SIZE + 10).every((b) => b === 0xee));
  return { ok, key: key.slice(10, KEY_SIZE + 10), layout };
}

/** An IPv6 packet with extension headers [type, bytes of 8 × n] before a UDP header. */
function withExtensions(headers: readonly [number, Uint8Array][]): Uint8Array {
  const plain = udpFrame({ ...V6, srcPort: 7, dstPort: 8 });
  const extra = headers.reduce((n, [, b]) => n + b.length, 0);
  const frame = new Uint8Array(plain.length + extra);
  frame.set(plain.subarray(0, 54));
  let at = 54;
  headers.forEach(([, bytes], i) => {
    frame.set(bytes, at);
    frame[at] = i + 1 < headers.length ? headers[i + 1][0] : 17;
    at += bytes.length;
  });
  if (headers.length > 0) frame[20] = headers[0][0];
  frame.set(plain.subarray(54), at);
  setU16(frame, 18, frame.length - 54);
  return frame;
}

const hopByHop = new Uint8Array(8);
const long = Uint8Array.from({ length: 24 }, (_, i) => (i === 1 ? 2 : 0));
const ah = Uint8Array.from({ length: 16 }, (_, i) => (i === 1 ? 2 : 0));
const fragmentHeader = (offsetAndFlags: number) =>
  new Uint8Array([0, 0, offsetAndFlags >> 8, offsetAndFlags, 0, 0, 0, 9]);

describe('keys of well-formed frames', () => {
  test('TCP over IPv4', () => {
    const { ok, key, layout } = extract(tcpFrame({ ...V4, srcPort: 1234, dstPort: 80, tos: 0x2d, ttl: 9 }));
    assert.ok(ok);
    assert.equal(keyInPort(key), 0x01020304);
    assert.equal(Buffer.from(key.subarray(K_ETH_SRC, K_ETH_SRC + 12)).toString('hex'), '020000000001020000000002');
    assert.equal(readU16(key, K_ETHER_TYPE), 0x0800);
    assert.equal(readU16(key, K_VLAN), 0);
    assert.deepEqual(key.slice(K_IP_SRC, K_IP_SRC + 16), ipParse('10.0.0.1'));
    assert.deepEqual(key.slice(K_IP_DST, K_IP_DST + 16), ipParse('10.0.0.2'));
    assert.deepEqual([key[K_IP_PROTO], key[K_IP_TOS], key[K_IP_TTL], key[K_IP_FRAG]], [6, 0x2d, 9, FRAG_NONE]);
    assert.deepEqual([readU16(key, K_TP_SRC), readU16(key, K_TP_DST)], [1234, 80]);
    assert.deepEqual({ ...layout }, { l3: 14, l4: 34, l3Length: 40, fragmentId: 0 });
  });

  test('UDP over IPv6, with traffic class', () => {
    const { ok, key, layout } = extract(udpFrame({ ...V6, srcPort: 1, dstPort: 2, tos: 0xb9, ttl: 3 }));
    assert.ok(ok);
    assert.deepEqual(key.slice(K_IP_SRC, K_IP_SRC + 16), ipParse('fd00::1'));
    assert.deepEqual([key[K_IP_PROTO], key[K_IP_TOS], key[K_IP_TTL]], [17, 0xb9, 3]);
    assert.deepEqual({ ...layout }, { l3: 14, l4: 54, l3Length: 48, fragmentId: 0 });
  });

  test('ICMP: type, code, and the identifier of echo only', () => {
    const v4 = extract(icmpEcho({ ...V4, id: 0xabcd, reply: true })).key;
    assert.deepEqual([readU16(v4, K_TP_SRC), readU16(v4, K_TP_DST), readU16(v4, K_ICMP_ID)], [0, 0, 0xabcd]);
    const v6 = extract(icmpEcho({ ...V6, id: 0xabcd })).key;
    assert.deepEqual([readU16(v6, K_TP_SRC), readU16(v6, K_TP_DST), readU16(v6, K_ICMP_ID)], [128, 0, 0xabcd]);
    const error = ipFrame(V4, 1, 8, (b, at) => b.set([3, 4, 0, 0, 0x12, 0x34, 0, 0], at));
    const k = extract(error).key;
    assert.deepEqual([readU16(k, K_TP_SRC), readU16(k, K_TP_DST), readU16(k, K_ICMP_ID)], [3, 4, 0]);
  });

  test('ARP, and ARP of other hardware', () => {
    const frame = arpRequest({ senderMac: ETH.ethSrc, senderIp: '10.0.0.1', targetIp: '10.0.0.2' });
    const { key } = extract(frame);
    assert.equal(key[K_ARP_OP], 1);
    assert.deepEqual(key.slice(K_IP_DST, K_IP_DST + 16), ipParse('10.0.0.2'));
    frame[14] = 9;
    assert.equal(extract(frame).key[K_ARP_OP], 0);
    assert.ok(extract(frame.slice(0, 20)).ok, 'a short one is carried like any ethertype');
  });

  test('a tag in the bytes and a tag beside them give the same key', () => {
    const tagged = extract(udpFrame({ ...V4, srcPort: 1, dstPort: 2, vlan: 0x2064 }));
    const beside = extract(udpFrame({ ...V4, srcPort: 1, dstPort: 2 }), 0x2064 | VLAN_PRESENT);
    assert.equal(readU16(tagged.key, K_VLAN), 0x3064);
    assert.deepEqual(tagged.key, beside.key);
    assert.equal(tagged.layout.l3, 18);
    assert.equal(beside.layout.l3, 14);
  });

  test('priority tag (VLAN 0) is a tag; a second tag is an ethertype', () => {
    assert.equal(readU16(extract(udpFrame({ ...V4, srcPort: 1, dstPort: 2, vlan: 0 })).key, K_VLAN), VLAN_PRESENT);
    const twice = extract(udpFrame({ ...V4, srcPort: 1, dstPort: 2, vlan: [5, 6] })).key;
    assert.equal(readU16(twice, K_ETHER_TYPE), 0x8100);
    assert.equal(twice[K_IP_PROTO], 0);
  });

  test('where the identification of a fragment stands', () => {
    const v4 = fragmentFrame(
      udpFrame({ ...V4, srcPort: 1, dstPort: 2, payload: new Uint8Array(900), dontFragment: false }),
      500,
    );
    assert.deepEqual(
      v4.map((f) => extract(f).layout.fragmentId),
      [18, 18],
    );
    const v6 = (headers: readonly [number, Uint8Array][]) => extract(withExtensions(headers)).layout.fragmentId;
    assert.equal(v6([[44, fragmentHeader(1)]]), 58);
    assert.equal(
      v6([
        [0, long],
        [44, fragmentHeader(8)],
      ]),
      54 + 24 + 4,
    );
    assert.equal(
      v6([
        [44, fragmentHeader(1)],
        [44, fragmentHeader(9)],
      ]),
      66,
      'the last one counts',
    );
    assert.equal(
      v6([
        [44, fragmentHeader(1)],
        [44, fragmentHeader(0)],
      ]),
      58,
      'an atomic one is none',
    );
    assert.equal(v6([[44, fragmentHeader(0)]]), 0);
  });

  test('fragments', () => {
    const frame = udpFrame({ ...V4, srcPort: 1, dstPort: 2, payload: new Uint8Array(3000), dontFragment: false });
    const [first, ...later] = fragmentFrame(frame, 1000, 5).map((f) => extract(f).key);
    assert.deepEqual([first[K_IP_FRAG], readU16(first, K_TP_DST)], [FRAG_FIRST, 2]);
    for (const k of later) assert.deepEqual([k[K_IP_FRAG], readU16(k, K_TP_DST), k[K_IP_PROTO]], [FRAG_LATER, 0, 17]);
    const v6 = (flags: number) => extract(withExtensions([[44, fragmentHeader(flags)]])).key;
    assert.deepEqual([v6(0x0001)[K_IP_FRAG], readU16(v6(1), K_TP_DST)], [FRAG_FIRST, 8]);
    assert.deepEqual([v6(0x0008)[K_IP_FRAG], readU16(v6(8), K_TP_DST)], [FRAG_LATER, 0]);
    assert.equal(v6(0)[K_IP_FRAG], FRAG_NONE, 'an atomic fragment is whole (RFC 6946)');
  });

  test('IPv6 extension headers are walked, eight at most', () => {
    for (const headers of [
      [[0, hopByHop]],
      [
        [0, long],
        [43, hopByHop],
        [60, long],
      ],
      [[51, ah]],
    ] as [number, Uint8Array][][]) {
      const { ok, key, layout } = extract(withExtensions(headers));
      assert.ok(ok);
      assert.deepEqual([key[K_IP_PROTO], readU16(key, K_TP_SRC)], [17, 7]);
      assert.equal(layout.l4, 54 + headers.reduce((n, [, b]) => n + b.length, 0));
    }
    const many = (n: number) => withExtensions(Array.from({ length: n }, () => [60, hopByHop] as [number, Uint8Array]));
    assert.ok(extract(many(MAX_EXTENSION_HEADERS)).ok);
    assert.ok(!extract(many(MAX_EXTENSION_HEADERS + 1)).ok);
  });
});

describe('malformed frames', () => {
  const cases: [string, (f: Uint8Array) => Uint8Array][] = [
    ['no Ethernet header', (f) => f.slice(0, 13)],
    ['IPv4 header cut', (f) => f.slice(0, 33)],
    ['version 5', (f) => edit(f, 14, 0x55)],
    ['header length 16', (f) => edit(f, 14, 0x44)],
    ['header longer than the packet', (f) => edit(f, 14, 0x4f)],
    ['total length beyond the frame', (f) => edit(f, 16, 0xff)],
    ['total length below the header', (f) => edit(edit(f, 16, 0), 17, 19)],
    ['ports cut', (f) => edit(edit(f, 16, 0), 17, 23)],
  ];
  for (const [name, change] of cases) {
    test(name, () => assert.equal(extract(change(udpFrame({ ...V4, srcPort: 1, dstPort: 2 }))).ok, false));
  }
  test('IPv6 with an IPv4-mapped address: it would pass for IPv4 in the key', () => {
    for (const at of [22, 38]) {
      const frame = udpFrame({ ...V6, srcPort: 1, dstPort: 2 });
      frame.fill(0, at, at + 10);
      frame.fill(0xff, at + 10, at + 12);
      assert.equal(extract(frame).ok, false);
    }
  });

  test('IPv6: payload beyond the frame, header cut, extension cut', () => {
    const frame = withExtensions([[0, hopByHop]]);
    assert.equal(extract(edit(frame, 18, 1)).ok, false);
    assert.equal(extract(frame.slice(0, 53)).ok, false);
    const cut = edit(frame, 55, 200); // a header of 1608 bytes
    assert.equal(extract(cut).ok, false);
  });
  test('a tag without the rest', () => assert.equal(extract(new Uint8Array(16).fill(0x81)).ok, true));
  test('a tag cut short', () => {
    const frame = udpFrame({ ...V4, srcPort: 1, dstPort: 2, vlan: 1 });
    assert.equal(extract(frame.slice(0, 17)).ok, false);
  });
});

function edit(frame: Uint8Array, at: number, value: number): Uint8Array {
  const out = frame.slice();
  out[at] = value;
  return out;
}

describe('fuzz', () => {
  const seeds = [
    tcpFrame({ ...V4, srcPort: 1, dstPort: 2 }),
    udpFrame({ ...V6, srcPort: 1, dstPort: 2, vlan: 3 }),
    icmpEcho({ ...V6, id: 4 }),
    withExtensions([
      [0, long],
      [44, fragmentHeader(1)],
      [51, ah],
      [43, hopByHop],
    ]),
    arpRequest({ senderMac: ETH.ethSrc, senderIp: '10.0.0.1', targetIp: '10.0.0.2' }),
  ];
  const mutated = fc
    .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { maxLength: 6 }), fc.nat(20))
    .map(([seed, edits, cut]) => {
      const frame = seed.slice(0, Math.max(0, seed.length - (cut > 10 ? cut - 10 : 0)));
      for (const [at, value] of edits) if (at < frame.length) frame[at] = value;
      return frame;
    });

  test('no byte outside the frame matters, no layout points outside', () => {
    fc.assert(
      fc.property(mutated, fc.uint8Array({ minLength: 64, maxLength: 64 }), (frame, rest) => {
        const exact = extract(frame);
        // The same frame in a larger buffer: only `length` says where it ends.
        const larger = new Uint8Array(frame.length + 64);
        larger.set(frame);
        larger.set(rest, frame.length);
        const within = extract(larger, 0, frame.length);
        assert.equal(within.ok, exact.ok);
        if (!exact.ok) return;
        assert.deepEqual(within.key, exact.key);
        assert.deepEqual(within.layout, exact.layout);
        assert.ok(exact.layout.l3 <= frame.length && exact.layout.l4 <= frame.length);
      }),
      { numRuns: 2000 },
    );
  });

  test('agrees with the packet parser wherever both accept the frame', () => {
    const layers = new Layers();
    let both = 0;
    fc.assert(
      fc.property(mutated, (frame) => {
        const { ok, key, layout } = extract(frame);
        if (!ok || dissect(frame, 0, frame.length, layers) !== 0 || layers.vlans > 1) return;
        both++;
        // Below 1536 the field is a length (IEEE 802.3 §3.2.6), which the parser gives no ethertype.
        const type = readU16(key, K_ETHER_TYPE);
        assert.equal(type < 1536 ? 0 : type, layers.ethertype);
        assert.equal(u16(frame, 12) === 0x8100 || u16(frame, 12) === 0x88a8, readU16(key, K_VLAN) !== 0);
        assert.deepEqual(key.slice(K_ETH_DST, K_ETH_DST + 6), frame.slice(0, 6));
        if (layers.ethertype !== 0x0800 && layers.ethertype !== 0x86dd) return;
        assert.equal(layout.l3, layers.l3);
        assert.equal(key[K_IP_PROTO], layers.protocol);
        assert.equal(key[K_IP_FRAG], layers.fragment);
        if (layers.l4 >= 0) assert.equal(layout.l4, layers.l4);
        if (layers.l4 >= 0 && (layers.protocol === 6 || layers.protocol === 17)) {
          assert.equal(readU16(key, K_TP_SRC), tcpSrcPort(frame, layers.l4));
          assert.equal(readU16(key, K_TP_DST), tcpDstPort(frame, layers.l4));
        }
      }),
      { numRuns: 3000 },
    );
    assert.ok(both > 300, `only ${both} frames were accepted by both`);
  });
});
