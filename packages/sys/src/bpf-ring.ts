/** Consumer of a BPF ring buffer (Documentation/bpf/ringbuf.rst): records are read in place, in the memory that the kernel writes. */
import { WeftSysError } from './errors.ts';
import { NativeBuffer, PAGE_SIZE } from './memory.ts';

const BUSY = 0x80000000;
const DISCARD = 0x40000000;
const HEADER = 8;
/** Records taken before the kernel gets their room back: one atomic store for many records, room soon enough under load. */
const RELEASE_EVERY = 32;

/**
 * Two mappings: the consumer's position (a page of ours), and the producer's position with the data, which the kernel maps twice in a
 * row so that a record never wraps. Positions are 64 bits and never reset: they are read and written by Atomics.
 */
export class RingBuffer {
  readonly fd: number;
  /** Bytes of data room, a power of two. */
  readonly size: number;
  /** All data, twice in a row. Record offsets of {@link consume} index it. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #consumer: NativeBuffer;
  readonly #producer: NativeBuffer;
  readonly #consumed: BigUint64Array;
  readonly #produced: BigUint64Array;
  readonly #words: Int32Array;
  #closed = false;

  /** @param fd of a BPF_MAP_TYPE_RINGBUF map, stays the caller's; @param size its max_entries */
  constructor(fd: number, size: number) {
    if (size < PAGE_SIZE || (size & (size - 1)) !== 0) {
      throw new WeftSysError('WEFT_SYS_ARGUMENT', `a ring buffer of ${size} bytes is not a power of two of pages`);
    }
    this.fd = fd;
    this.size = size;
    this.#consumer = NativeBuffer.mapFd(fd, PAGE_SIZE);
    try {
      this.#producer = NativeBuffer.mapFd(fd, PAGE_SIZE + 2 * size, { offset: PAGE_SIZE, writable: false });
    } catch (error) {
      this.#consumer.close();
      throw error;
    }
    this.#consumed = new BigUint64Array(this.#consumer.buffer, 0, 1);
    this.#produced = new BigUint64Array(this.#producer.buffer, 0, 1);
    this.#words = new Int32Array(this.#producer.buffer);
    this.bytes = new Uint8Array(this.#producer.buffer, PAGE_SIZE, 2 * size);
    this.view = new DataView(this.#producer.buffer, PAGE_SIZE, 2 * size);
  }

  /** True if a record (perhaps not yet complete) waits. */
  get pending(): boolean {
    return Atomics.load(this.#consumed, 0) !== Atomics.load(this.#produced, 0);
  }

  /**
   * Hands over up to `max` records as (offset in {@link bytes}, length); their bytes are valid inside the call only. Stops at a record
   * that is still being written. If `handler` throws, that record counts as taken.
   * @returns number of records handed over
   */
  consume(max: number, handler: (offset: number, length: number) => void): number {
    const mask = this.size - 1;
    let position = Atomics.load(this.#consumed, 0);
    let unreleased = 0;
    let taken = 0;
    try {
      while (taken < max) {
        if (position === Atomics.load(this.#produced, 0)) break;
        const at = Number(position & BigInt(mask));
        const header = Atomics.load(this.#words, (PAGE_SIZE + at) >>> 2) >>> 0;
        if (header & BUSY) break;
        const length = header & ~(BUSY | DISCARD);
        position += BigInt((length + HEADER + 7) & ~7);
        unreleased++;
        if (!(header & DISCARD)) {
          taken++;
          handler(at + HEADER, length);
        }
        if (unreleased >= RELEASE_EVERY) {
          Atomics.store(this.#consumed, 0, position);
          unreleased = 0;
        }
      }
    } finally {
      if (unreleased > 0 && !this.#closed) Atomics.store(this.#consumed, 0, position);
    }
    return taken;
  }

  /** Unmaps; every view of the data becomes empty. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#producer.close();
    this.#consumer.close();
  }
}
