/**
 * Moderation, as network cards do with their interrupts: under a stream of packets each wake-up brings only few, and costs more than
 * they do. While many arrive, what woke us waits a little for those behind it; they go on in one batch, their segments merged.
 */
import { cfunc, monotonicUs } from '@weft/sys';

const WINDOW_US = 1000;
/** Packets in a window from which on it is a stream: 10 Mbit/s of small packets, 240 of large ones. */
const STREAM = 20;
/** The kernel's timer slack (50 µs) comes on top. */
const PAUSE_US = 30;

const usleep = cfunc('usleep', 'int', ['uint']);

export class Gather {
  readonly #now: () => number;
  #since = 0;
  #count = 0;
  #streaming = false;

  /** @param now monotonic time in µs */
  constructor(now: () => number = monotonicUs) {
    this.#now = now;
  }

  /** The last millisecond or more brought so many packets that waiting for a few of them costs nobody anything. */
  get streaming(): boolean {
    return this.#streaming;
  }

  /** That many packets came from the underlay. */
  took(packets: number): void {
    this.#count += packets;
    const now = this.#now();
    if (now - this.#since < WINDOW_US) return;
    this.#streaming = this.#count * WINDOW_US >= STREAM * (now - this.#since);
    this.#since = now;
    this.#count = 0;
  }

  /** Called after a wake-up, before anything is received. */
  pause(): void {
    if (this.#streaming) usleep(PAUSE_US);
  }
}
