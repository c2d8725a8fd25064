import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  checksum,
  checksumApply,
  checksumComplete,
  checksumOf,
  checksumUpdate,
  deltaBytes,
  deltaWord,
  dissect,
  fromHex,
  ipv4ChecksumOk,
  ipv4FillChecksum,
  ipv4SetTos,
  ipv4SetTtl,
  Layers,
  l4Checksum,
  pseudoSum4,
  setU16,
  sumBytes,
  sumFold,
  tcpFrame,
  u16,
  udpChecksumApply,
  udpFrame,
  verifyChecksums,
} from './index.ts';

/** The definition, word by word: one's complement of the one's complement sum. */
function reference(data: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) {
    sum += data[i] * 256 + (data[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

const data = fc.uint8Array({ minLength: 1, maxLength: 200 });

test('RFC 1071 §3: its numerical example', () => {
  const bytes = fromHex('0001 f203 f4f5 f6f7');
  assert.equal(sumFold(sumBytes(bytes, 0, 8)), 0xddf2);
  assert.equal(checksum(bytes, 0, 8), 0x220d);
});

test('RFC 1624 §4: its example, where the older equation gives 0xffff', () => {
  assert.equal(checksumUpdate(0xdd2f, 0x5555, 0x3285), 0x0000);
});

test('an IPv4 header with a known checksum', () => {
  const header = fromHex('4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7');
  assert.equal(ipv4ChecksumOk(header, 0), true);
  ipv4FillChecksum(header, 0);
  assert.equal(u16(header, 10), 0xb861);
  ipv4SetTtl(header, 0, 63);
  assert.equal(u16(header, 10), 0xb961);
  assert.equal(ipv4ChecksumOk(header, 0), true);
  ipv4SetTos(header, 0, 0xb8);
  assert.equal(ipv4ChecksumOk(header, 0), true);
  header[12] ^= 1;
  assert.equal(ipv4ChecksumOk(header, 0), false);
});

test('property: checksum equals its definition, also in pieces and for super-packets', () => {
  fc.assert(
    fc.property(data, fc.nat(200), (bytes, cut) => {
      assert.equal(checksum(bytes, 0, bytes.length), reference(bytes));
      const at = Math.min(cut & ~1, bytes.length & ~1);
      assert.equal(checksumOf(sumBytes(bytes, at, bytes.length - at, sumBytes(bytes, 0, at))), reference(bytes));
    }),
  );
  for (const size of [65_535, 65_536, 200_001]) {
    const big = new Uint8Array(size).fill(0xff);
    big[17] = 3;
    assert.equal(checksum(big, 0, size), reference(big));
  }
});

test('property: an incremental update equals a full computation', () => {
  fc.assert(
    fc.property(data, fc.nat(98), fc.nat(0xffff), (bytes, word, value) => {
      const before = bytes.slice();
      const at = 2 * word;
      fc.pre(at + 2 <= bytes.length && before.some((b) => b !== 0));
      const check = checksum(before, 0, before.length);
      const after = before.slice();
      setU16(after, at, value);
      fc.pre(after.some((b) => b !== 0));
      const full = checksum(after, 0, after.length);
      assert.equal(checksumUpdate(check, u16(before, at), value), full);
      assert.equal(checksumApply(check, deltaWord(0, u16(before, at), value)), full);
    }),
  );
});

test('property: one delta of many bytes equals a full computation', () => {
  const words = fc.integer({ min: 2, max: 60 });
  fc.assert(
    fc.property(words, fc.infiniteStream(fc.nat(255)), (n, stream) => {
      const take = (): Uint8Array => Uint8Array.from({ length: 2 * n }, () => stream.next().value as number);
      const before = take();
      const after = take();
      before[0] = after[0] = 1;
      const delta = deltaBytes(0, before, 0, after, 0, 2 * n);
      assert.equal(checksumApply(checksum(before, 0, 2 * n), delta), checksum(after, 0, 2 * n));
    }),
  );
});

test('UDP: no checksum stays none, and a computed 0 is sent as 0xffff', () => {
  assert.equal(udpChecksumApply(0, 0x1234), 0);
  assert.equal(udpChecksumApply(0xdd2f, deltaWord(0, 0x5555, 0x3285)), 0xffff);
  // A datagram made so that its sum folds to 0xffff: source port chosen to fill the gap.
  const frame = udpFrame({ ethSrc: 1, ethDst: 2, src: '10.0.0.1', dst: '10.0.0.2', srcPort: 0, dstPort: 9 });
  const layers = new Layers();
  dissect(frame, 0, frame.length, layers);
  setU16(frame, layers.l4, u16(frame, layers.l4 + 6));
  assert.equal(l4Checksum(frame, layers.l3, layers.l4, frame.length, 17), 0xffff);
});

test('a partial checksum is completed to what a full computation gives', () => {
  const frame = tcpFrame({
    ethSrc: 1,
    ethDst: 2,
    src: '10.0.0.1',
    dst: '10.0.0.2',
    srcPort: 1,
    dstPort: 2,
    payload: new Uint8Array(33).fill(7),
  });
  const whole = frame.slice();
  setU16(frame, 50, sumFold(pseudoSum4(frame, 26, 6, frame.length - 34)));
  assert.equal(verifyChecksums(frame).length, 1);
  checksumComplete(frame, 34, 16, frame.length, false);
  assert.deepEqual(frame, whole);
});

test('all-zero ICMP has checksum 0xffff, not 0: receivers refuse 0', () => {
  const packet = fromHex('4500001c0000000040010000 0a000001 0a000002 0000 0000 0000 0000');
  assert.equal(l4Checksum(packet, 0, 20, 28, 1), 0xffff);
});
