/**
 * How long ago an entry was written. Within one boot of the machine the steady clock tells, whatever happens to the wall clock;
 * across boots there is only the wall clock. One that stands before the time of writing counts as no time passed: then a
 * record lives longer than it should, at most its whole lifetime.
 */
import { readFileSync } from 'node:fs';

export interface ArchiveClock {
  /** Milliseconds since 1970. May be set, in both directions. */
  wall(): number;
  /** Milliseconds since boot, of a clock that all processes share; never goes back. */
  steady(): number;
  /** A number that only this boot of the machine has. */
  readonly boot: number;
}

export interface Stamp {
  readonly boot: number;
  readonly steady: number;
  readonly wall: number;
}

/** 48 bits of the kernel's boot id. */
function bootNumber(): number {
  const id = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').replaceAll('-', '');
  return Number.parseInt(id.slice(0, 12), 16);
}

export function systemClock(): ArchiveClock {
  return { wall: () => Date.now(), steady: () => Number(process.hrtime.bigint()) / 1e6, boot: bootNumber() };
}

export function stampNow(clock: ArchiveClock): Stamp {
  return { boot: clock.boot, steady: clock.steady(), wall: clock.wall() };
}

/** Milliseconds since `stamp`, never negative. */
export function elapsedSince(stamp: Stamp, now: Stamp): number {
  return Math.max(0, stamp.boot === now.boot ? now.steady - stamp.steady : now.wall - stamp.wall);
}
