/** Descriptors: read, write, flags, eventfd, epoll. */
import { ERRNO, SysError } from './errors.ts';
import { cfunc, check, errno, IS_X64 } from './libc.ts';
import { NativeBuffer } from './memory.ts';

const F_GETFD = 1;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const FD_CLOEXEC = 1;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

const cClose = cfunc('close', 'int', ['int']);
const cRead = cfunc('read', 'intptr_t', ['int', 'void *', 'size_t']);
const cWrite = cfunc('write', 'intptr_t', ['int', 'void *', 'size_t']);
const cFcntl = cfunc('fcntl', 'int', ['int', 'int', 'long']);
const cEventfd = cfunc('eventfd', 'int', ['uint', 'int']);
const cEpollCreate = cfunc('epoll_create1', 'int', ['int']);
const cEpollCtl = cfunc('epoll_ctl', 'int', ['int', 'int', 'int', 'void *']);
const cEpollWait = cfunc('epoll_wait', 'int', ['int', 'size_t', 'int', 'int']);

/** close(2). EINTR counts as closed (Linux releases the descriptor first). Throws SysError (EBADF). */
export function close(fd: number): void {
  if (cClose(fd) === -1) {
    const e = errno();
    if (e !== ERRNO.EINTR) throw new SysError('close', e, `fd ${fd}`);
  }
}

/** read(2) into `buffer`. Returns bytes read, 0 at the end, -1 when a non-blocking descriptor has nothing. Throws SysError. */
export function read(fd: number, buffer: Uint8Array): number {
  for (;;) {
    const n = cRead(fd, buffer, buffer.byteLength);
    if (n >= 0) return n;
    const e = errno();
    if (e === ERRNO.EAGAIN) return -1;
    if (e !== ERRNO.EINTR) throw new SysError('read', e, `fd ${fd}`);
  }
}

/** write(2). Returns bytes written (may be fewer), -1 when a non-blocking descriptor is full. Throws SysError. */
export function write(fd: number, buffer: Uint8Array): number {
  for (;;) {
    const n = cWrite(fd, buffer, buffer.byteLength);
    if (n >= 0) return n;
    const e = errno();
    if (e === ERRNO.EAGAIN) return -1;
    if (e !== ERRNO.EINTR) throw new SysError('write', e, `fd ${fd}`);
  }
}

/** Sets or clears O_NONBLOCK. */
export function setNonBlocking(fd: number, on = true): void {
  const flags = check('fcntl', cFcntl(fd, F_GETFL, 0), `F_GETFL, fd ${fd}`);
  check('fcntl', cFcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK), `F_SETFL, fd ${fd}`);
}

/** Sets or clears FD_CLOEXEC: whether children that are exec'ed lose the descriptor. */
export function setCloseOnExec(fd: number, on = true): void {
  const flags = check('fcntl', cFcntl(fd, F_GETFD, 0), `F_GETFD, fd ${fd}`);
  check('fcntl', cFcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC), `F_SETFD, fd ${fd}`);
}

/** A counter to wake a thread that waits in epoll: eventfd(2), non-blocking, close-on-exec. */
export class EventFd {
  readonly fd: number;
  readonly #word = new BigUint64Array(1);
  readonly #bytes = new Uint8Array(this.#word.buffer);

  constructor(initial = 0) {
    this.fd = check('eventfd', cEventfd(initial, O_NONBLOCK | O_CLOEXEC));
  }

  /** Adds `count`; readers wake. Safe from any thread by `EventFd.signal(fd)`. */
  signal(count = 1): void {
    EventFd.signal(this.fd, count);
  }

  /** Signals an eventfd known by its number only (another thread's). A full counter is not an error: it is readable. */
  static signal(fd: number, count = 1): void {
    write(fd, new Uint8Array(new BigUint64Array([BigInt(count)]).buffer));
  }

  /** Takes and clears the count; 0 when nobody signalled. */
  consume(): number {
    return read(this.fd, this.#bytes) === 8 ? Number(this.#word[0]) : 0;
  }

  close(): void {
    close(this.fd);
  }
}

/** Event bits of epoll_ctl(2). */
export const EPOLLIN = 0x001;
export const EPOLLOUT = 0x004;
export const EPOLLERR = 0x008;
export const EPOLLHUP = 0x010;
export const EPOLLRDHUP = 0x2000;
export const EPOLLONESHOT = 0x40000000;
export const EPOLLET = 0x80000000;

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;

/** struct epoll_event is packed on x86_64 only (include/uapi/linux/eventpoll.h). */
const EVENT_SIZE = IS_X64 ? 12 : 16;
const EVENT_DATA = IS_X64 ? 4 : 8;

/** epoll(7): waits on many descriptors without allocating. Meant for worker threads, which may block in {@link wait}. */
export class Epoll {
  readonly fd: number;
  readonly maxEvents: number;
  readonly #events: NativeBuffer;
  readonly #view: DataView;
  readonly #scratch = new DataView(new ArrayBuffer(EVENT_SIZE));
  #closed = false;

  /** @param maxEvents most events one {@link wait} returns; the rest comes with the next */
  constructor(maxEvents = 64) {
    this.fd = check('epoll_create1', cEpollCreate(O_CLOEXEC));
    this.maxEvents = maxEvents;
    this.#events = NativeBuffer.alloc(maxEvents * EVENT_SIZE);
    this.#view = this.#events.view;
  }

  /** Watches `fd`. `token` (32 bits, default the descriptor) comes back from {@link token}. Throws SysError (EEXIST, EPERM). */
  add(fd: number, events: number, token = fd): void {
    this.#ctl(EPOLL_CTL_ADD, fd, events, token);
  }

  /** Changes what is watched. Throws SysError (ENOENT). */
  modify(fd: number, events: number, token = fd): void {
    this.#ctl(EPOLL_CTL_MOD, fd, events, token);
  }

  /** Stops watching. Do it before closing a descriptor that was duplicated or inherited. */
  remove(fd: number): void {
    this.#ctl(EPOLL_CTL_DEL, fd, 0, 0);
  }

  #ctl(op: number, fd: number, events: number, token: number): void {
    this.#scratch.setUint32(0, events >>> 0, true);
    this.#scratch.setUint32(EVENT_DATA, token >>> 0, true);
    this.#scratch.setUint32(EVENT_DATA + 4, 0, true);
    check('epoll_ctl', cEpollCtl(this.fd, op, fd, this.#scratch), `fd ${fd}`);
  }

  /**
   * Blocks the calling thread until something is ready.
   * @param timeoutMs -1 for ever, 0 not at all
   * @returns number of ready events (0 on timeout or signal); read them by {@link token} and {@link events}
   */
  wait(timeoutMs: number): number {
    const n = cEpollWait(this.fd, this.#events.address, this.maxEvents, timeoutMs);
    if (n >= 0) return n;
    const e = errno();
    if (e === ERRNO.EINTR) return 0;
    throw new SysError('epoll_wait', e);
  }

  /** Token of ready event `i` of the last {@link wait}. */
  token(i: number): number {
    return this.#view.getUint32(i * EVENT_SIZE + EVENT_DATA, true);
  }

  /** Event bits of ready event `i` of the last {@link wait}. */
  events(i: number): number {
    return this.#view.getUint32(i * EVENT_SIZE, true);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    close(this.fd);
    this.#events.close();
  }
}
