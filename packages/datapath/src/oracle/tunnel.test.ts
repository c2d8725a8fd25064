import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { extractKey, KEY_SIZE, newFrameLayout } from '@weft/flow';
import {
  dissect,
  fragmentFrame,
  ipParse,
  Layers,
  toHex,
  tunnelInner,
  tunnelKey,
  udpFrame,
  verifyChecksums,
} from '@weft/packet';
import fc from 'fast-check';
import {
  combineEcn,
  ecnOf,
  flowHash,
  HEADROOM,
  OUTER_FOREIGN,
  OUTER_TUNNEL,
  OuterParser,
  type OuterTables,
  setEcn,
  tunnelOverhead,
  WorkFrame,
  writeOuter,
} from './index.ts';

const ETH = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02' };
const inner = udpFrame({ ...ETH, src: '10.0.0.1', dst: '10.0.0.2', srcPort: 1, dstPort: 2, tos: 2 });
const ADDRESSES = {
  v4: { local: ipParse('192.0.2.1'), remote: ipParse('192.0.2.2') },
  v6: { local: ipParse('2001:db8::1'), remote: ipParse('2001:db8::2') },
};

const same = (a: Uint8Array, b: Uint8Array) => toHex(a) === toHex(b);

/** The far end of a tunnel. */
function farEnd(encap: 'gre' | 'vxlan'): OuterTables {
  return {
    encap,
    vxlanPort: 4789,
    isLocal: (a) => same(a, ADDRESSES.v4.remote) || same(a, ADDRESSES.v6.remote),
    peerOf: (a) => (same(a, ADDRESSES.v4.local) || same(a, ADDRESSES.v6.local) ? 5 : 0),
  };
}

/** An encapsulated frame with an Ethernet header in front. */
function encapsulated(encap: 'gre' | 'vxlan', family: 'v4' | 'v6', key: number, ecn = 0): WorkFrame {
  const work = new WorkFrame();
  work.load(inner, 0, inner.length);
  const header = { encap, vxlanPort: 4789, ...ADDRESSES[family], ipv6: family === 'v6', key, ecn, hash: 0x12345 };
  const at = writeOuter(work.bytes, work.start, work.end, header);
  work.start = at - 14;
  work.bytes.fill(0, work.start, at);
  work.bytes[at - 2] = family === 'v6' ? 0x86 : 0x08;
  work.bytes[at - 1] = family === 'v6' ? 0xdd : 0x00;
  return work;
}

describe('outer headers', () => {
  for (const encap of ['gre', 'vxlan'] as const) {
    for (const family of ['v4', 'v6'] as const) {
      test(`${encap} over IP${family}: the packet parser finds the frame and the key`, () => {
        const work = encapsulated(encap, family, 0xabcdef, 2);
        const frame = work.view().slice();
        assert.equal(frame.length, inner.length + tunnelOverhead(encap, family === 'v6'));
        const layers = new Layers();
        assert.equal(dissect(frame, 0, frame.length, layers), 0);
        const at = tunnelInner(frame, layers);
        assert.equal(toHex(frame.subarray(at)), toHex(inner));
        assert.equal(tunnelKey(frame, layers), 0xabcdef);
        assert.deepEqual(verifyChecksums(frame), []);
      });

      test(`${encap} over IP${family}: the far end takes it, and only whole`, () => {
        const parser = new OuterParser();
        const work = encapsulated(encap, family, 77);
        assert.equal(parser.parse(work.bytes, work.start, work.end, farEnd(encap)), OUTER_TUNNEL);
        assert.deepEqual([parser.key, parser.peer, parser.inner, parser.end], [77, 5, HEADROOM, work.end]);
        for (let cut = 1; cut < work.length; cut++) {
          const verdict = parser.parse(work.bytes, work.start, work.end - cut, farEnd(encap));
          assert.notEqual(verdict, OUTER_TUNNEL, `${cut} bytes cut off`);
        }
        assert.equal(
          parser.parse(work.bytes, work.start, work.end, { ...farEnd(encap), isLocal: () => false }),
          OUTER_FOREIGN,
        );
      });
    }
  }

  test('a packet too long for an outer header is refused', () => {
    const work = new WorkFrame();
    work.load(new Uint8Array(65_500), 0, 65_500);
    const header = { encap: 'vxlan', vxlanPort: 4789, ...ADDRESSES.v4, ipv6: false, key: 1, ecn: 0, hash: 0 } as const;
    assert.equal(writeOuter(work.bytes, work.start, work.end, header), -1);
  });

  test('whatever bytes arrive, nothing outside the frame is taken', () => {
    const parser = new OuterParser();
    const edits = fc.array(fc.tuple(fc.integer({ min: 12, max: 90 }), fc.nat(255)), { maxLength: 8 });
    fc.assert(
      fc.property(fc.constantFrom('gre', 'vxlan'), fc.constantFrom('v4', 'v6'), edits, (encap, family, changes) => {
        const work = encapsulated(encap, family, 9);
        const length = work.length;
        for (const [at, value] of changes) if (at < length) work.bytes[work.start + at] = value;
        const verdict = parser.parse(work.bytes, work.start, work.end, farEnd(encap));
        if (verdict !== OUTER_TUNNEL) return;
        assert.ok(parser.inner >= work.start + 14 && parser.end <= work.end && parser.end - parser.inner >= 14);
      }),
      { numRuns: 2000 },
    );
  });
});

test('ECN: RFC 6040 figure 4', () => {
  // Rows: inner Not-ECT, ECT(1), ECT(0), CE; columns: outer Not-ECT, ECT(1), ECT(0), CE.
  const figure = [
    [0, 0, 0, -1],
    [1, 1, 1, 3],
    [2, 1, 2, 3],
    [3, 3, 3, 3],
  ];
  figure.forEach((row, i) => {
    row.forEach((result, o) => {
      assert.equal(combineEcn(i, o), result, `inner ${i}, outer ${o}`);
    });
  });
});

test('writing ECN keeps DSCP and the header checksum', () => {
  for (const [ip, type] of [
    [{ src: '10.0.0.1', dst: '10.0.0.2' }, 0x0800],
    [{ src: 'fd00::1', dst: 'fd00::2' }, 0x86dd],
  ] as const) {
    for (let ecn = 0; ecn < 4; ecn++) {
      const frame = udpFrame({ ...ETH, ...ip, srcPort: 1, dstPort: 2, tos: 0xb9 });
      setEcn(frame, 14, type, ecn);
      assert.equal(ecnOf(frame, 14, type), ecn);
      assert.equal(toHex(frame), toHex(udpFrame({ ...ETH, ...ip, srcPort: 1, dstPort: 2, tos: 0xb8 | ecn })));
    }
  }
});

test('the flow hash: one for all fragments of a packet, many for many flows', () => {
  const hash = (frame: Uint8Array) => {
    const key = new Uint8Array(KEY_SIZE);
    assert.ok(extractKey(frame, frame.length, 1, 0, key, 0, newFrameLayout()));
    return flowHash(key);
  };
  const ip = { ...ETH, src: '10.0.0.1', dst: '10.0.0.2' };
  const big = udpFrame({ ...ip, srcPort: 9, dstPort: 2, payload: new Uint8Array(3000), dontFragment: false });
  assert.equal(new Set(fragmentFrame(big, 1000, 1).map(hash)).size, 1);
  const ports = Array.from({ length: 256 }, (_, i) => hash(udpFrame({ ...ip, srcPort: i, dstPort: 2 })) & 0x3fff);
  assert.ok(new Set(ports).size > 240);
});
