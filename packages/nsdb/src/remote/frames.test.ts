import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isNsdbError } from '../errors.ts';
import { encodeMessage, MAX_FRAME, MessageDecoder } from './frames.ts';

function decodeInPieces(bytes: Buffer, cuts: number[], limit = 2 ** 26): unknown[] {
  const decoder = new MessageDecoder(limit);
  const messages: unknown[] = [];
  let at = 0;
  for (const cut of [...cuts.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
    for (const { message } of decoder.push(bytes.subarray(at, cut))) messages.push(message);
    at = cut;
  }
  return messages;
}

describe('frames', () => {
  it('carry any messages, however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue(), { maxLength: 5 }), fc.array(fc.nat()), (values, cuts) => {
        const sent = values.map((value) => JSON.parse(JSON.stringify(value)) as unknown);
        assert.deepEqual(decodeInPieces(Buffer.concat(sent.map(encodeMessage)), cuts), sent);
      }),
    );
  });

  it('carry a message above the size of one part, and refuse one above the limit', () => {
    const long = 'ü'.repeat(3 * 2 ** 20);
    assert.deepEqual(decodeInPieces(encodeMessage(long), [5, 100_000, 2_000_000]), [long]);
    assert.throws(
      () => decodeInPieces(encodeMessage(long), [], 2 ** 20),
      (error) => isNsdbError(error, 'WEFT_PROTOCOL'),
    );
  });

  it('refuse bad lengths, flags and text, and throw nothing else on any bytes', () => {
    const head = (length: number, flags: number, text = '') => {
      const bytes = Buffer.alloc(5 + text.length);
      bytes.writeUInt32BE(length, 0);
      bytes[4] = flags;
      bytes.write(text, 5);
      return bytes;
    };
    for (const bad of [head(0, 0), head(MAX_FRAME + 1, 0), head(2, 2, 'x'), head(2, 0, '{')])
      assert.throws(
        () => decodeInPieces(bad, []),
        (error) => isNsdbError(error, 'WEFT_PROTOCOL'),
      );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeInPieces(Buffer.from(bytes), []);
        } catch (error) {
          assert.ok(isNsdbError(error, 'WEFT_PROTOCOL'));
        }
      }),
    );
  });
});
