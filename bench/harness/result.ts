/** What a benchmark run leaves behind: one row per figure, and the machine that it was measured on. */

/** Median of one contestant and what it is the median of. */
export interface Sample {
  readonly median: number;
  readonly values: readonly number[];
}

export interface BenchResult {
  /** Name of the figure, e.g. `tcp_gre`. */
  readonly id: string;
  readonly value: number;
  readonly unit: string;
  /** Who was measured in the same interleaved run, or null. */
  readonly peer: string | null;
  readonly peer_value: number | null;
  /** value / peer_value, both medians of the interleaved runs. */
  readonly ratio: number | null;
  /** Measurements behind `value`; as many were made of the peer. */
  readonly runs: number;
  /** Every single measurement, by contestant. */
  readonly samples: Readonly<Record<string, readonly number[]>>;
  /** Under which the figure was measured: MTU, offloads, topology, counts. The same for all contestants. */
  readonly conditions: Readonly<Record<string, unknown>>;
  /** Further numbers of the same measurement. */
  readonly also: Readonly<Record<string, number>>;
  /** What the project promises, and whether this run kept it; null when it only reports. */
  readonly target: Verdict | null;
  /** When and of what, where a report holds figures of several runs. */
  readonly taken?: Readonly<Record<string, unknown>>;
}

export interface Verdict {
  readonly what: string;
  readonly met: boolean;
}

/** A figure that could not be measured. It has no value, and why is said. */
export interface BenchFailure {
  readonly id: string;
  readonly code: string;
  readonly message: string;
}

export interface BenchReport {
  readonly machine: Readonly<Record<string, unknown>>;
  /** True: runs of a second or two, which show that everything works and nothing else. */
  readonly quick: boolean;
  readonly started: string;
  readonly results: readonly BenchResult[];
  readonly failures: readonly BenchFailure[];
}

/** A report in which a later run's figures have replaced those of the same names; what it could not measure stays as it was. */
export function merge(earlier: BenchReport, later: BenchReport): BenchReport {
  const fresh = new Map(later.results.map((row) => [row.id, row]));
  const replaced = earlier.results.map((row) => fresh.get(row.id) ?? row);
  const added = later.results.filter(({ id }) => !earlier.results.some((row) => row.id === id));
  const results = [...replaced, ...added];
  const measured = new Set(results.map(({ id }) => id));
  return { ...earlier, results, failures: earlier.failures.filter(({ id }) => !measured.has(id)) };
}

/** Least ratio, least value or greatest value that counts as kept. */
export type Target = { readonly ratio: number } | { readonly atLeast: number } | { readonly atMost: number };

export interface Figure {
  readonly id: string;
  readonly unit: string;
  readonly target?: Target | undefined;
}

/** A row without peer. */
export function figure(
  { id, unit, target }: Figure,
  sample: Sample,
  rest: { conditions: Record<string, unknown>; also?: Record<string, number> },
): BenchResult {
  return {
    id,
    value: sample.median,
    unit,
    peer: null,
    peer_value: null,
    ratio: null,
    runs: sample.values.length,
    samples: { weft: sample.values },
    conditions: rest.conditions,
    also: rest.also ?? {},
    target: judge(target, unit, sample.median, null),
  };
}

export function judge(target: Target | undefined, unit: string, value: number, ratio: number | null): Verdict | null {
  if (target === undefined) return null;
  if ('ratio' in target) return { what: `≥ ${target.ratio}×`, met: ratio !== null && ratio >= target.ratio };
  if ('atLeast' in target) return { what: `≥ ${target.atLeast} ${unit}`, met: value >= target.atLeast };
  return { what: `≤ ${target.atMost} ${unit}`, met: value <= target.atMost };
}
