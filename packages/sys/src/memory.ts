import koffi from 'koffi';
import { WeftSysError } from './errors.ts';
import { cfunc, check } from './libc.ts';

/** mmap(2) protection bits. */
export const PROT_READ = 1;
export const PROT_WRITE = 2;

const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_ANONYMOUS = 0x20;

const mmap = cfunc('mmap', 'intptr_t', ['size_t', 'size_t', 'int', 'int', 'int', 'int64_t']);
const munmap = cfunc('munmap', 'int', ['size_t', 'size_t']);

/** Bytes of a memory page; mmap offsets and lengths are multiples of it. */
export const PAGE_SIZE = cfunc('getpagesize', 'int', [])();

/** Rounds up to whole pages. */
export function pageAlign(bytes: number): number {
  return Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;
}

/**
 * Memory outside the JavaScript heap with an address that never moves: for structures that hold pointers (iovec,
 * msghdr), for buffers the kernel writes later, and for memory shared with it (BPF ring buffers, mmapable arrays).
 *
 * Touching an unmapped page kills the process, so {@link close} first detaches the ArrayBuffer: every view made of it
 * becomes empty (typed arrays read `undefined`, DataView throws) before the pages go.
 */
export class NativeBuffer {
  /** Address of the first byte, page-aligned unless borrowed. */
  readonly address: number;
  readonly byteLength: number;
  readonly #buffer: ArrayBuffer;
  readonly #owned: boolean;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView<ArrayBuffer>;
  #closed = false;

  private constructor(address: number, byteLength: number, owned: boolean) {
    this.address = address;
    this.byteLength = byteLength;
    this.#owned = owned;
    this.#buffer = koffi.view(address, byteLength);
    this.#bytes = new Uint8Array(this.#buffer);
    this.#view = new DataView(this.#buffer);
  }

  /** Zeroed, page-aligned memory of at least `bytes` bytes (rounded up to pages). Throws SysError (ENOMEM). */
  static alloc(bytes: number): NativeBuffer {
    const length = pageAlign(Math.max(1, bytes));
    const address = check(
      'mmap',
      mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      `${length} bytes`,
    );
    return new NativeBuffer(address, length, true);
  }

  /**
   * Maps a descriptor shared with the kernel or other processes.
   * Writing to a map made without PROT_WRITE kills the process.
   * @param offset bytes, a multiple of {@link PAGE_SIZE}
   */
  static mapFd(fd: number, bytes: number, options: { offset?: number; writable?: boolean } = {}): NativeBuffer {
    const prot = options.writable === false ? PROT_READ : PROT_READ | PROT_WRITE;
    const length = pageAlign(Math.max(1, bytes));
    const address = check(
      'mmap',
      mmap(0, length, prot, MAP_SHARED, fd, options.offset ?? 0),
      `fd ${fd}, ${length} bytes`,
    );
    return new NativeBuffer(address, length, true);
  }

  /**
   * A view over memory that someone else keeps mapped, such as another thread's buffer (pass address and length to
   * the worker). Closing it only detaches the view.
   */
  static borrow(address: number, bytes: number): NativeBuffer {
    if (!Number.isSafeInteger(address) || address <= 0 || !Number.isSafeInteger(bytes) || bytes <= 0) {
      throw new WeftSysError('WEFT_SYS_ARGUMENT', `not a memory range: address ${address}, ${bytes} bytes`);
    }
    return new NativeBuffer(address, bytes, false);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The whole memory as an ArrayBuffer, for typed arrays and Atomics. Throws WEFT_SYS_CLOSED after {@link close}. */
  get buffer(): ArrayBuffer {
    if (this.#closed) throw new WeftSysError('WEFT_SYS_CLOSED', 'native memory used after close()');
    return this.#buffer;
  }

  /** The whole memory as bytes; empty after {@link close}. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** The whole memory as a DataView; throws TypeError after {@link close}. */
  get view(): DataView<ArrayBuffer> {
    return this.#view;
  }

  /** Detaches every view, then unmaps. Idempotent. The kernel must no longer be using the memory. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // transfer(0) detaches the external buffer: views made of it become empty instead of pointing to unmapped pages.
    this.#buffer.transfer(0);
    if (this.#owned) check('munmap', munmap(this.address, this.byteLength));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
