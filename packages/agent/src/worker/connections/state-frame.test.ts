/** Flow-state datagrams in frames: there and back, and anything else is none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DATAGRAM_SIZE } from '@weft/flowstate';
import { describe, udpFrame, verifyChecksums } from '@weft/packet';
import fc from 'fast-check';
import { STATE_HEADERS, stateDatagramLength, writeStateFrame } from './state-frame.ts';

const out = new Uint8Array(STATE_HEADERS + DATAGRAM_SIZE);
const frameOf = (datagram: Uint8Array): Uint8Array => out.slice(0, writeStateFrame(datagram, datagram.length, out));

test('a datagram comes out of its frame as it went in, also behind padding', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: DATAGRAM_SIZE }), fc.nat(20), (datagram, padding) => {
      const frame = new Uint8Array([...frameOf(datagram), ...new Uint8Array(padding)]);
      const length = stateDatagramLength(frame);
      assert.equal(length, datagram.length);
      assert.deepEqual(frame.slice(STATE_HEADERS, STATE_HEADERS + length), datagram);
    }),
  );
});

test('captures show an ordinary UDP packet with a right header', () => {
  const frame = frameOf(new Uint8Array(100).fill(7));
  assert.match(describe(frame), /169\.254\.15\.1.*169\.254\.15\.2/);
  assert.deepEqual(verifyChecksums(frame), []);
  assert.equal(frame[15] >>> 2, 46, 'DSCP EF');
});

test('a shorter datagram after a longer one leaves nothing of that one', () => {
  frameOf(new Uint8Array(1000).fill(0xff));
  const frame = frameOf(new Uint8Array(3));
  assert.equal(frame.length, STATE_HEADERS + 3);
  assert.equal(stateDatagramLength(frame), 3);
});

test('nothing is read outside of any frame, and a cut one is none', () => {
  const whole = frameOf(new Uint8Array(60).fill(1));
  for (let n = 0; n < whole.length; n++) assert.equal(stateDatagramLength(whole.subarray(0, n)), -1, `${n} bytes`);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const length = stateDatagramLength(bytes);
      assert.ok(length >= -1 && STATE_HEADERS + length <= Math.max(bytes.length, STATE_HEADERS - 1));
    }),
  );
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.nat(255), (at, value) => {
      const damaged = whole.slice();
      damaged[at] = value;
      const length = stateDatagramLength(damaged);
      assert.ok(length >= -1 && STATE_HEADERS + length <= damaged.length);
    }),
  );
});

test('another UDP packet is none', () => {
  const ends = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02', src: '10.0.0.1', dst: '10.0.0.2' };
  const packet = udpFrame({ ...ends, srcPort: 2925, dstPort: 2926, payload: new Uint8Array(50) });
  assert.equal(stateDatagramLength(packet), -1);
});
