/** Timers as descriptors (timerfd_create(2)), for threads that wait in epoll. */

import { CLOCK_MONOTONIC } from './clock.ts';
import { close, read } from './fd.ts';
import { cfunc, check } from './libc.ts';

const TFD_NONBLOCK = 0o4000;
const TFD_CLOEXEC = 0o2000000;

const cCreate = cfunc('timerfd_create', 'int', ['int', 'int']);
const cSettime = cfunc('timerfd_settime', 'int', ['int', 'int', 'void *', 'void *']);

/** A timer on CLOCK_MONOTONIC. {@link fd} is readable once it has expired. */
export class TimerFd {
  readonly fd: number;
  readonly #spec = new BigInt64Array(4); // struct itimerspec
  readonly #count = new BigUint64Array(1);
  readonly #bytes = new Uint8Array(this.#count.buffer);

  constructor() {
    this.fd = check('timerfd_create', cCreate(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  }

  /** Expires once after `ms` (0 disarms), then every `intervalMs` if not 0. */
  arm(ms: number, intervalMs = 0): void {
    const put = (at: number, value: number) => {
      const ns = Math.round(value * 1e6);
      this.#spec[at] = BigInt(Math.floor(ns / 1e9));
      this.#spec[at + 1] = BigInt(ns % 1e9);
    };
    put(0, intervalMs);
    put(2, ms);
    check('timerfd_settime', cSettime(this.fd, 0, this.#spec, null));
  }

  /** Takes the number of expirations since the last call; 0 when none. */
  consume(): number {
    return read(this.fd, this.#bytes) === 8 ? Number(this.#count[0]) : 0;
  }

  close(): void {
    close(this.fd);
  }
}
