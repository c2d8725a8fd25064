import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromHex, sumBytes, sumFold, tcpFrame, toHex, udpFrame } from '@weft/packet';
import { VNET_HEADER_SIZE } from '@weft/sys';
import fc from 'fast-check';
import { HEADROOM, Run, Segment, Segmenter, sumWords, swap16, WorkFrame } from './index.ts';

const ETH = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02', srcPort: 5, dstPort: 6 };
const V4 = { ...ETH, src: '10.0.0.1', dst: '10.0.0.2', dontFragment: true };
const V6 = { ...ETH, src: 'fd00::1', dst: 'fd00::2' };
const OPTIONS = new Uint8Array([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
/** Where the merged packet is built, behind its virtio_net_hdr. */
const AT = 64;

function load(frame: Uint8Array): WorkFrame {
  const work = new WorkFrame();
  work.load(frame, 0, frame.length);
  return work;
}

/** Merges as the sender of a port does; null as soon as something cannot be merged. */
function merge(frames: readonly Uint8Array[]): WorkFrame | null {
  const bytes = new Uint8Array(70_000);
  const run = new Run();
  const segment = new Segment();
  let more = true;
  for (const [i, frame] of frames.entries()) {
    const work = load(frame);
    if (!more || !segment.read(work) || !segment.isIntact(work)) return null;
    if (i === 0) {
      if (segment.flags !== 0x10) return null;
      bytes.set(frame, AT);
      run.begin(segment, work, bytes, AT);
    } else {
      if (!run.isOf(0, segment, work.bytes, bytes) || !run.continues(segment, work, bytes)) return null;
      more = run.append(segment, work, bytes);
    }
  }
  run.finish(bytes, new WorkFrame(), AT - VNET_HEADER_SIZE);
  const merged = load(bytes.subarray(AT, AT + run.length));
  merged.readVnetHeader(bytes, AT - VNET_HEADER_SIZE);
  return merged;
}

function cut(whole: WorkFrame, six: boolean): string[] {
  const cutter = new Segmenter();
  const l3 = HEADROOM + 14;
  const count = cutter.begin(whole, l3, l3 + (six ? 40 : 20), !six, 6);
  return Array.from({ length: count }, (_, i) => {
    cutter.build(i);
    return toHex(cutter.out.view());
  });
}

test('a merged packet, cut again, gives the segments that it was made of', () => {
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.uint8Array({ minLength: 1500, maxLength: 3000 }),
      fc.integer({ min: 40, max: 700 }),
      fc.integer({ min: 0, max: 0xffffffff }),
      fc.nat(0xffff),
      fc.boolean(),
      (six, payload, size, seq, id, pushed) => {
        const count = Math.ceil(payload.length / size);
        const frames = Array.from({ length: count }, (_, i) =>
          tcpFrame({
            ...(six ? V6 : { ...V4, id: (id + i) & 0xffff }),
            payload: payload.subarray(i * size, (i + 1) * size),
            options: OPTIONS,
            seq: (seq + i * size) % 2 ** 32,
            flags: pushed && i === count - 1 ? 0x18 : 0x10,
          }),
        );
        const whole = merge(frames);
        assert.ok(whole);
        assert.ok(whole.partial);
        assert.equal(whole.gsoSize, size);
        assert.deepEqual(
          cut(whole, six),
          frames.map((frame) => toHex(frame)),
        );
      },
    ),
  );
});

const BASE = { ...V4, id: 7, payload: new Uint8Array(100).fill(9), options: OPTIONS, seq: 1000, flags: 0x10 };
const NEXT = { ...BASE, id: 8, seq: 1100 };

test('what follows in the stream is merged; the first packet of each test below is the same', () => {
  assert.ok(merge([tcpFrame(BASE), tcpFrame(NEXT)]));
});

const LATER = new Uint8Array([1, 1, 8, 10, 0, 0, 0, 3, 0, 0, 0, 2]);
const refused = {
  'a gap': { ...NEXT, seq: 1101 },
  'a repetition': { ...NEXT, seq: 1000 },
  'another acknowledgement': { ...NEXT, ack: 77 },
  'another window': { ...NEXT, window: 77 },
  'other options': { ...NEXT, options: LATER },
  'longer than the first': { ...NEXT, payload: new Uint8Array(101) },
  'no payload': { ...NEXT, payload: new Uint8Array(0) },
  'an identification that is not the next': { ...NEXT, id: 9 },
  'fragments allowed': { ...NEXT, dontFragment: false },
  'another TTL': { ...NEXT, ttl: 9 },
  'another source MAC': { ...NEXT, ethSrc: '02:00:00:00:00:09' },
  'another destination port': { ...NEXT, dstPort: 7 },
  'another address': { ...NEXT, src: '10.0.0.9' },
  FIN: { ...NEXT, flags: 0x11 },
  RST: { ...NEXT, flags: 0x14 },
  SYN: { ...NEXT, flags: 0x12 },
  ECE: { ...NEXT, flags: 0x50 },
  CWR: { ...NEXT, flags: 0x90 },
  URG: { ...NEXT, flags: 0x30 },
  'a tag': { ...NEXT, vlan: 5 },
};

for (const [what, next] of Object.entries(refused)) {
  test(`not merged: ${what}`, () => assert.equal(merge([tcpFrame(BASE), tcpFrame(next)]), null));
}

test('not merged: another traffic class or ECN mark', () => {
  const marked = tcpFrame(NEXT);
  marked[15] |= 3;
  // A right IP checksum: TOS is the lower half of its first word.
  const sum = sumFold(sumBytes(marked, 14, 20) - ((marked[24] << 8) | marked[25]));
  marked[24] = (~sum & 0xffff) >>> 8;
  marked[25] = ~sum;
  const work = load(marked);
  const segment = new Segment();
  assert.ok(segment.read(work) && segment.isIntact(work));
  assert.equal(merge([tcpFrame(BASE), marked]), null);
});

test('not merged: any damaged byte, wherever it is', () => {
  for (let at = 0; at < tcpFrame(BASE).length; at++) {
    for (const damaged of [0, 1]) {
      const pair = [tcpFrame(BASE), tcpFrame(NEXT)];
      // MACs are under no checksum: there it is the difference that counts.
      pair[damaged][at] ^= 0x20;
      assert.equal(merge(pair), null, `byte ${at} of frame ${damaged}`);
    }
  }
});

test('nothing follows what was pushed or is shorter', () => {
  const third = { ...BASE, id: 9, seq: 1200 };
  assert.ok(merge([BASE, NEXT, third].map(tcpFrame)));
  assert.equal(merge([BASE, { ...NEXT, flags: 0x18 }, third].map(tcpFrame)), null);
  assert.equal(merge([BASE, { ...NEXT, payload: new Uint8Array(50) }, { ...third, seq: 1150 }].map(tcpFrame)), null);
});

test('what is no TCP is none, and neither is anything cut short or padded', () => {
  const segment = new Segment();
  assert.equal(segment.read(load(udpFrame({ ...V4, payload: new Uint8Array(100) }))), false);
  const whole = tcpFrame(BASE);
  assert.equal(segment.read(load(Uint8Array.from([...whole, 0]))), false);
  for (let n = 0; n < whole.length; n++) assert.equal(segment.read(load(whole.subarray(0, n))), false, `${n} bytes`);
  assert.equal(segment.read(load(fromHex('ffffffffffff02000000000108060001'))), false);
});

test('sums by words are sums by bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(20), fc.nat(0xffff), (data, half, sum) => {
      const work = load(data);
      const at = HEADROOM + half * 2;
      const length = Math.max(0, data.length - half * 2);
      const expected = sumFold(sumBytes(work.bytes, at, length, sum));
      assert.equal(swap16(sumWords(work, at, length, swap16(sum))), expected);
    }),
  );
});
