/** Order statistics; nothing is averaged, because one disturbed run must not move a figure. */
import type { Sample } from './result.ts';

/** The value that a share `p` (0 to 1) of the values does not exceed. Throws on an empty list: there is no such figure. */
export function percentile(values: readonly number[], p: number): number {
  if (values.length === 0) throw new RangeError('no measurement');
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))];
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('no measurement');
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function sampleOf(values: readonly number[]): Sample {
  return { median: median(values), values };
}

/**
 * Median of the ratios round by round. Contestants of one round were measured within seconds, so that a machine that is
 * disturbed for minutes moves this less than the ratio of the medians.
 */
export function pairedRatio(own: readonly number[], peer: readonly number[]): number {
  if (own.length !== peer.length) throw new RangeError('the contestants took another number of turns');
  return median(own.map((value, i) => value / peer[i]));
}

/** To three significant digits more than a noisy machine deserves. */
export function round(value: number): number {
  return Number(value.toPrecision(6));
}
