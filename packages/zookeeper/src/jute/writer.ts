/**
 * Writes jute, the encoding of ZooKeeper's records: big-endian integers, strings and byte arrays behind a 4-byte length (-1: null),
 * vectors behind a 4-byte count. The buffer grows; what must not grow without end is bounded by who sends.
 */
const INITIAL = 16 * 1024;

export class JuteWriter {
  /** Valid up to `length`; another object after each growth. */
  buffer: Buffer;
  length = 0;

  constructor(buffer: Buffer = Buffer.allocUnsafeSlow(INITIAL)) {
    this.buffer = buffer;
  }

  int(value: number): void {
    const at = this.#take(4);
    this.buffer.writeInt32BE(value, at);
  }

  /** A 64-bit integer of which the caller has a number: |value| ≤ 2^53 − 1. */
  number(value: number): void {
    const at = this.#take(8);
    this.buffer.writeInt32BE(Math.floor(value / 2 ** 32), at);
    this.buffer.writeUInt32BE(value >>> 0, at + 4);
  }

  long(value: bigint): void {
    const at = this.#take(8);
    this.buffer.writeBigInt64BE(value, at);
  }

  bool(value: boolean): void {
    const at = this.#take(1);
    this.buffer[at] = value ? 1 : 0;
  }

  /** A byte array; null is not the empty one. */
  bytes(value: Uint8Array | null): void {
    if (value === null) {
      this.int(-1);
      return;
    }
    const at = this.#take(4 + value.length);
    this.buffer.writeInt32BE(value.length, at);
    this.buffer.set(value, at + 4);
  }

  string(value: string): void {
    // UTF-8 takes three bytes at most for each UTF-16 unit.
    this.#reserve(4 + value.length * 3);
    const at = this.length;
    const written = this.buffer.write(value, at + 4);
    this.buffer.writeInt32BE(written, at);
    this.length = at + 4 + written;
  }

  strings(values: readonly string[]): void {
    this.int(values.length);
    for (const value of values) this.string(value);
  }

  /** Bytes as they are. */
  raw(bytes: Uint8Array): void {
    const at = this.#take(bytes.length);
    this.buffer.set(bytes, at);
  }

  #take(bytes: number): number {
    this.#reserve(bytes);
    const at = this.length;
    this.length += bytes;
    return at;
  }

  #reserve(bytes: number): void {
    const needed = this.length + bytes;
    if (needed <= this.buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(grown, 0, 0, this.length);
    this.buffer = grown;
  }
}
