import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isZooKeeperError } from '../errors.ts';
import { FrameDecoder, REPLY_HEADER } from './frames.ts';

const LIMIT = 40;

interface Seen {
  readonly frames: string[];
  readonly tooLong: { head: string; length: number }[];
}

function framed(payload: Uint8Array): Buffer {
  const head = Buffer.alloc(4);
  head.writeInt32BE(payload.length);
  return Buffer.concat([head, payload]);
}

/** Pushes the bytes in pieces; `cuts` are reduced to positions. */
function decode(bytes: Buffer, cuts: readonly number[]): Seen {
  const seen: Seen = { frames: [], tooLong: [] };
  const decoder = new FrameDecoder(LIMIT, {
    frame: (buffer, start, end) => seen.frames.push(buffer.subarray(start, end).toString('hex')),
    tooLong: (head, length) => seen.tooLong.push({ head: head.toString('hex'), length }),
  });
  let at = 0;
  for (const cut of [...cuts.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
    decoder.push(bytes.subarray(at, cut));
    at = cut;
  }
  return seen;
}

describe('frames', () => {
  it('come out whole however the stream is cut; of those that are too long the head is shown', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 3 * LIMIT, size: 'max' })),
        fc.array(fc.nat()),
        (payloads, cuts) => {
          const hex = (payload: Uint8Array) => Buffer.from(payload).toString('hex');
          const seen = decode(Buffer.concat(payloads.map(framed)), cuts);
          assert.deepEqual(seen.frames, payloads.filter(({ length }) => length <= LIMIT).map(hex));
          assert.deepEqual(
            seen.tooLong,
            payloads
              .filter(({ length }) => length > LIMIT)
              .map((payload) => ({ head: hex(payload.subarray(0, REPLY_HEADER)), length: payload.length })),
          );
        },
      ),
    );
  });

  it('with a negative length are refused', () => {
    assert.throws(
      () => decode(Buffer.from('ffffffff', 'hex'), [2]),
      (error) => isZooKeeperError(error, 'WEFT_ZK_PROTOCOL'),
    );
  });

  it('are no longer shown once stopped, also in the midst of a chunk', () => {
    let frames = 0;
    const decoder = new FrameDecoder(LIMIT, {
      frame: () => {
        frames++;
        decoder.stop();
      },
      tooLong: () => {},
    });
    decoder.push(Buffer.concat([framed(Buffer.of(1)), framed(Buffer.of(2))]));
    assert.equal(frames, 1);
  });
});
