/** How long packets that came up took from their arrival in the datapath until they were out and their flow installed. */

/** Upper edges of the buckets in seconds; one more bucket takes the rest. */
export const LATENCY_EDGES = [
  0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5,
] as const;

/** Packets of one turn that are looked at; of a fuller turn the first ones stand for all. */
const MAX_PER_TURN = 2048;

export interface LatencyReport {
  readonly edges: readonly number[];
  /** Per bucket, one more than edges; not cumulated. */
  readonly counts: readonly number[];
  /** Seconds. */
  readonly sum: number;
}

export class Latency {
  private readonly arrivals = new Float64Array(MAX_PER_TURN);
  private waiting = 0;
  private readonly counts = new Float64Array(LATENCY_EDGES.length + 1);
  private sum = 0;
  private readonly monotonicNs: () => number;

  /** @param monotonicNs the clock of `Upcall.time` */
  constructor(monotonicNs: () => number) {
    this.monotonicNs = monotonicNs;
  }

  /** A packet of this turn arrived at `ns`; 0: unknown. */
  note(ns: number): void {
    if (ns > 0 && this.waiting < MAX_PER_TURN) this.arrivals[this.waiting++] = ns;
  }

  /** What was noted since the last call is done now. */
  done(): void {
    if (this.waiting === 0) return;
    const now = this.monotonicNs();
    for (let i = 0; i < this.waiting; i++) {
      const seconds = Math.max(0, now - this.arrivals[i]) / 1e9;
      let bucket = 0;
      while (bucket < LATENCY_EDGES.length && seconds > LATENCY_EDGES[bucket]) bucket++;
      this.counts[bucket]++;
      this.sum += seconds;
    }
    this.waiting = 0;
  }

  report(): LatencyReport {
    return { edges: LATENCY_EDGES, counts: [...this.counts], sum: this.sum };
  }
}

/** CLOCK_MONOTONIC in ns, as the kernel stamps upcalls; exact to 2⁵³ ns, a hundred days, and to some ns beyond. */
export function monotonicNs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e9 + nanoseconds;
}
