/**
 * Cuts a byte stream into packets: a length (4 bytes, big-endian) and as many bytes. A packet above the limit is passed over, not
 * held: only its head is shown, so that the request that it answers can fail while the connection goes on.
 */
import { ZooKeeperError } from '../errors.ts';

/** Length of a reply's header: xid, zxid, error. */
export const REPLY_HEADER = 16;

export interface FrameSink {
  /** A whole packet. The bytes are the decoder's again when this returns. */
  frame(buffer: Buffer, start: number, end: number): void;
  /** The first bytes (REPLY_HEADER of them) of a packet that is `length` bytes long, which is more than allowed. */
  tooLong(head: Buffer, length: number): void;
}

export class FrameDecoder {
  readonly #limit: number;
  readonly #sink: FrameSink;
  readonly #length = Buffer.alloc(4);
  #lengthBytes = 0;
  /** A packet, or the head of one that is too long, that has come in part. */
  #partial: Buffer | undefined;
  #filled = 0;
  /** Length of the packet of which `#partial` is only the head, or 0. */
  #oversize = 0;
  /** Bytes still to be passed over. */
  #skip = 0;
  #stopped = false;

  /** `limit`: bytes of the longest packet that is taken, at least REPLY_HEADER. */
  constructor(limit: number, sink: FrameSink) {
    this.#limit = limit;
    this.#sink = sink;
  }

  /** No further packet is shown, also not of the chunk that is being worked on. */
  stop(): void {
    this.#stopped = true;
  }

  /** Takes the next bytes of the stream. Throws WEFT_ZK_PROTOCOL for an impossible length: drop the connection. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      if (this.#skip > 0) {
        const passed = Math.min(this.#skip, chunk.length - at);
        this.#skip -= passed;
        at += passed;
      } else if (this.#partial !== undefined) at = this.#fill(this.#partial, chunk, at);
      else at = this.#begin(chunk, at);
    }
  }

  /** Reads a length and, if all of it is there, the packet behind it. */
  #begin(chunk: Buffer, from: number): number {
    let at = from;
    let length: number;
    if (this.#lengthBytes === 0 && chunk.length - at >= 4) {
      length = chunk.readInt32BE(at);
      at += 4;
    } else {
      while (this.#lengthBytes < 4 && at < chunk.length) this.#length[this.#lengthBytes++] = chunk[at++];
      if (this.#lengthBytes < 4) return at;
      this.#lengthBytes = 0;
      length = this.#length.readInt32BE(0);
    }
    if (length < 0) throw new ZooKeeperError('WEFT_ZK_PROTOCOL', `A packet of ${length} bytes`);
    if (length > this.#limit) {
      this.#oversize = length;
      this.#partial = Buffer.alloc(REPLY_HEADER);
      this.#filled = 0;
    } else if (chunk.length - at >= length) {
      this.#sink.frame(chunk, at, at + length);
      at += length;
    } else {
      this.#partial = Buffer.allocUnsafeSlow(length);
      this.#filled = 0;
    }
    return at;
  }

  #fill(partial: Buffer, chunk: Buffer, at: number): number {
    const copied = chunk.copy(partial, this.#filled, at);
    this.#filled += copied;
    if (this.#filled === partial.length) {
      this.#partial = undefined;
      if (this.#oversize > 0) {
        this.#skip = this.#oversize - partial.length;
        const length = this.#oversize;
        this.#oversize = 0;
        this.#sink.tooLong(partial, length);
      } else this.#sink.frame(partial, 0, partial.length);
    }
    return at + copied;
  }
}
