/**
 * Budgets by the generic cell rate algorithm (ITU-T I.371, virtual scheduling): one number per bucket, the time at which the
 * next unit would be due. The same sums as `bpf/budget.h` and `bpf/upcall.h`.
 */
import { UPCALL_ACTION, UPCALL_MISS } from '@weft/flow';

export class Gcra {
  #due = 0;

  /** True if `cost` fits: what is due may run ahead of `now` by at most `burst`. All in ns. */
  take(now: number, cost: number, burst: number): boolean {
    const from = Math.max(this.#due, now);
    if (from - now + cost > burst) return false;
    this.#due = from + cost;
    return true;
  }
}

/** Copies of flooded frames that one port may cause: 50,000 a second, 10,000 at once. */
export const BUM_INTERVAL = 20_000;
export const BUM_BURST = 200_000_000;
/** Host-to-host messages: 50,000 a second, 5,000 at once. Path MTU reports: 100 a second, 100 at once. */
export const FLOW_STATE_INTERVAL = 20_000;
export const FLOW_STATE_BURST = 100_000_000;
export const PATH_MTU_INTERVAL = 10_000_000;
export const PATH_MTU_BURST = 1_000_000_000;

/** Longest packet, with room for a tag, that does not count as a super-packet. */
export const ORDINARY_BYTES = 2048 - 4;
/** Bytes that go up of a super-packet beyond its budget. */
export const CUT_BYTES = 256;

export const UPCALL_REFUSED = 0;
export const UPCALL_WHOLE = 1;
export const UPCALL_CUT = 2;

/** What a port may send up: misses, notices (all other reasons), bytes, and super-packets. */
export class UpcallBudget {
  readonly #interval: number;
  readonly #burst: number;
  readonly #miss = new Gcra();
  readonly #notice = new Gcra();
  readonly #bytes = new Gcra();
  readonly #big = new Gcra();

  /** @param rate upcalls per second; 0: none ever. @param burst upcalls at once. */
  constructor(rate: number, burst: number) {
    this.#interval = rate > 0 ? 1e9 / rate : 0;
    this.#burst = this.#interval * Math.max(1, burst);
  }

  /** @param length of the packet in bytes. @returns UPCALL_REFUSED, UPCALL_WHOLE or UPCALL_CUT. */
  charge(reason: number, length: number, now: number): number {
    const interval = this.#interval;
    const burst = this.#burst;
    if (interval === 0) return UPCALL_REFUSED;
    const gcra = reason === UPCALL_MISS || reason === UPCALL_ACTION ? this.#miss : this.#notice;
    if (!gcra.take(now, interval, burst)) return UPCALL_REFUSED;
    // 1 KiB for each upcall per second; the burst on top holds one super-packet.
    const bytesBurst = burst * 2 + interval * 64;
    const bytesCost = (interval * length) / 1024;
    if (length <= ORDINARY_BYTES) return this.#bytes.take(now, bytesCost, bytesBurst) ? UPCALL_WHOLE : UPCALL_REFUSED;
    // Super-packets: one in sixteen upcalls. Beyond it the head is enough to decide on the flow.
    if (!this.#big.take(now, interval * 16, burst + interval * 16)) return UPCALL_CUT;
    return this.#bytes.take(now, bytesCost, bytesBurst) ? UPCALL_WHOLE : UPCALL_CUT;
  }
}
