/**
 * Messages over a stream: a frame is a length (u32, big-endian, of what follows), a flag byte (1: the message goes on in the
 * next frame) and a part of the message, which is JSON in UTF-8.
 */
import { NsdbError } from '../errors.ts';

export const MAX_FRAME = 16 * 2 ** 20;
/** Larger messages are cut, so that neither side needs to hold a frame of arbitrary length. */
const PART = 2 ** 20;
const HEADER = 5;
const MORE = 1;

/** The frames of one message. */
export function encodeMessage(message: unknown): Buffer {
  const payload = Buffer.from(JSON.stringify(message));
  const parts = Math.max(1, Math.ceil(payload.length / PART));
  const out = Buffer.allocUnsafe(payload.length + parts * HEADER);
  let at = 0;
  for (let part = 0; part < parts; part++) {
    const slice = payload.subarray(part * PART, (part + 1) * PART);
    out.writeUInt32BE(slice.length + 1, at);
    out[at + 4] = part + 1 < parts ? MORE : 0;
    slice.copy(out, at + HEADER);
    at += HEADER + slice.length;
  }
  return out;
}

export interface DecodedMessage {
  readonly message: unknown;
  /** Bytes that it took on the wire. */
  readonly bytes: number;
}

/** Cuts a byte stream into messages. Anything beyond the bounds, or no JSON, is WEFT_PROTOCOL: drop the link. */
export class MessageDecoder {
  readonly #maxMessage: number;
  #chunks: Buffer[] = [];
  #buffered = 0;
  #parts: Buffer[] = [];
  #partBytes = 0;
  #partCount = 0;

  constructor(maxMessage: number) {
    this.#maxMessage = maxMessage;
  }

  *push(chunk: Buffer): Generator<DecodedMessage> {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    while (this.#buffered >= HEADER) {
      const head = this.#head();
      const length = head.readUInt32BE(0);
      const flags = head[4];
      if (length < 1 || length > MAX_FRAME || flags > MORE) throw new NsdbError('WEFT_PROTOCOL', 'Bad frame');
      if (this.#buffered < 4 + length) return;
      const all = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks);
      const end = 4 + length;
      this.#chunks = end < all.length ? [all.subarray(end)] : [];
      this.#buffered -= end;
      this.#parts.push(all.subarray(HEADER, end));
      this.#partCount++;
      this.#partBytes += length - 1;
      if (this.#partBytes > this.#maxMessage || this.#partCount > this.#maxMessage / 1024 + 1)
        throw new NsdbError('WEFT_PROTOCOL', 'Message too long');
      if (flags === MORE) continue;
      const payload = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
      const bytes = this.#partBytes + HEADER * this.#partCount;
      this.#parts = [];
      this.#partBytes = 0;
      this.#partCount = 0;
      let message: unknown;
      try {
        message = JSON.parse(payload.toString('utf8'));
      } catch (cause) {
        throw new NsdbError('WEFT_PROTOCOL', 'Message is not JSON', [], { cause });
      }
      yield { message, bytes };
    }
  }

  #head(): Buffer {
    if (this.#chunks[0].length < HEADER) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0];
  }
}
