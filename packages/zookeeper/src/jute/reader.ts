/** Reads jute from a range of a buffer. Whatever the bytes are, it answers within the range or throws WEFT_ZK_PROTOCOL. */
import { ZooKeeperError } from '../errors.ts';

const NOTHING = Buffer.alloc(0);

export class JuteReader {
  #buffer: Buffer = NOTHING;
  #at = 0;
  #end = 0;

  /** Reads `buffer` from `start` to `end` from now on. */
  reset(buffer: Buffer, start: number, end: number): this {
    this.#buffer = buffer;
    this.#at = start;
    this.#end = end;
    return this;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  int(): number {
    return this.#buffer.readInt32BE(this.#take(4));
  }

  /** The low half of a 64-bit integer, or a count. */
  uint(): number {
    return this.#buffer.readUInt32BE(this.#take(4));
  }

  /** A 64-bit integer that the caller wants as a number: times and the like; above 2^53 it is rounded. */
  number(): number {
    const high = this.int();
    return high * 2 ** 32 + this.uint();
  }

  long(): bigint {
    return this.#buffer.readBigInt64BE(this.#take(8));
  }

  bool(): boolean {
    return this.#buffer[this.#take(1)] !== 0;
  }

  /** A copy of a byte array: it does not hold the packet that it came in. Null becomes the empty one. */
  bytes(): Buffer {
    const length = this.#length();
    if (length <= 0) return NOTHING;
    const at = this.#take(length);
    return Buffer.from(this.#buffer.subarray(at, at + length));
  }

  /** A string; null becomes the empty one. */
  string(): string {
    const length = this.#length();
    if (length <= 0) return '';
    const at = this.#take(length);
    return this.#buffer.toString('utf8', at, at + length);
  }

  /**
   * A vector; null becomes the empty one. `least`: the bytes that the smallest element takes, so that a count
   * that the packet cannot hold is refused before anything is read.
   */
  vector<T>(least: number, element: (reader: this) => T): T[] {
    const count = this.#length();
    if (count <= 0) return [];
    if (count * least > this.remaining) throw short();
    const values: T[] = [];
    for (let i = 0; i < count; i++) values.push(element(this));
    return values;
  }

  strings(): string[] {
    return this.vector(4, readString);
  }

  #length(): number {
    const length = this.int();
    if (length < -1) throw new ZooKeeperError('WEFT_ZK_PROTOCOL', `A length of ${length}`);
    return length;
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#end - at) throw short();
    this.#at = at + bytes;
    return at;
  }
}

const readString = (reader: JuteReader) => reader.string();
const short = () => new ZooKeeperError('WEFT_ZK_PROTOCOL', 'A packet ended too early');
