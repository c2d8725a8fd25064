/** Clocks that the kernel's own time stamps use (clock_gettime(2)), as numbers. */
import { cfunc, check } from './libc.ts';

/** What bpf_ktime_get_ns() reads: stops while the machine sleeps. */
export const CLOCK_MONOTONIC = 1;
/** What bpf_ktime_get_boot_ns() reads: goes on while the machine sleeps. */
export const CLOCK_BOOTTIME = 7;

const clockGettime = cfunc('clock_gettime', 'int', ['int', 'void *']);
const timespec = new Float64Array(2);
const words = new Uint32Array(timespec.buffer);

function read(clock: number): void {
  check('clock_gettime', clockGettime(clock, words), `clock ${clock}`);
}

/** CLOCK_MONOTONIC in nanoseconds. Exact for 104 days of uptime, then to 2 ns and so on (a float64 has 53 bits). */
export function monotonicNs(): number {
  read(CLOCK_MONOTONIC);
  return (words[1]! * 2 ** 32 + words[0]!) * 1e9 + words[2]!;
}

/** CLOCK_BOOTTIME in nanoseconds, with the precision of {@link monotonicNs}. */
export function boottimeNs(): number {
  read(CLOCK_BOOTTIME);
  return (words[1]! * 2 ** 32 + words[0]!) * 1e9 + words[2]!;
}

let offsetUs = Number.NaN;

/**
 * CLOCK_MONOTONIC in microseconds with a fraction, without a call into C: performance.now() runs on the same clock, so
 * one comparison per thread gives the offset for good. For hot paths; differs from {@link monotonicNs} by < 1 µs or so.
 */
export function monotonicUs(): number {
  if (Number.isNaN(offsetUs)) {
    const before = performance.now();
    const now = monotonicNs() / 1000;
    offsetUs = now - ((before + performance.now()) / 2) * 1000;
  }
  return offsetUs + performance.now() * 1000;
}
