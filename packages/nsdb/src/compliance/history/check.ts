/**
 * Judges a recorded history of clients of one store: transactions on registers, what subscribers were shown, numbers that were held.
 * Every write writes a value that no other does, so that who reads it names its writer.
 *
 * Commits name their revision, so their order is known; it has to agree with what each transaction read, with who was answered
 * before whom asked, and with every batch. What became of a transaction whose answer was lost shows where its values are seen.
 */

/** One transaction. Times are of one steady clock. */
export interface TransactionRecord {
  readonly start: number;
  readonly end: number;
  /** `unknown`: the answer was lost. Transactions that failed are not in the history. */
  readonly outcome: 'committed' | 'unknown';
  /** Of its commit; with `unknown`, and for those that wrote nothing, -1. */
  readonly revision: number;
  /** Register → value that was read. */
  readonly reads: ReadonlyMap<string, string>;
  /** Register → value that was written. */
  readonly writes: ReadonlyMap<string, string>;
}

/** What a subscriber knew after a batch. */
export interface BatchRecord {
  readonly subscriber: string;
  readonly revision: number;
  /** Register → value and version, for all that it watches. */
  readonly state: ReadonlyMap<string, { readonly value: string; readonly version: number }>;
}

/** A number from the answer that gave it until its release was asked for (Infinity: never). */
export interface HoldRecord {
  readonly host: string;
  readonly number: string;
  readonly token: number;
  readonly from: number;
  readonly until: number;
}

export interface History {
  /** Values that the registers began with, and their versions. */
  readonly initial: ReadonlyMap<string, { readonly value: string; readonly version: number }>;
  readonly transactions: readonly TransactionRecord[];
  readonly batches: readonly BatchRecord[];
  readonly holds: readonly HoldRecord[];
}

interface Write {
  readonly revision: number;
  readonly value: string;
}

/** All violations; none: the history is one that the contract allows. */
export function checkHistory(history: History): string[] {
  const violations: string[] = [];
  const placed = placeTransactions(history, violations);
  const versions = versionsOf(history, placed);
  checkReads(placed, versions, violations);
  checkRealTime(placed, violations);
  checkReadOnly(history, versions, violations);
  checkBatches(history, versions, violations);
  checkHolds(history, violations);
  return violations;
}

/** Transactions that are known to have happened, with their revision, in its order. */
function placeTransactions({ transactions, batches, initial }: History, violations: string[]): TransactionRecord[] {
  const seen = new Map<string, number>();
  for (const { state } of batches) for (const { value, version } of state.values()) seen.set(value, version);
  const placed: TransactionRecord[] = [];
  for (const transaction of transactions) {
    if (transaction.writes.size === 0) continue;
    if (transaction.outcome === 'committed') placed.push(transaction);
    else {
      const revisions = [...transaction.writes.values()]
        .map((value) => seen.get(value))
        .filter((at) => at !== undefined);
      if (revisions.length > 0) placed.push({ ...transaction, revision: revisions[0] });
    }
  }
  placed.sort((a, b) => a.revision - b.revision);
  for (let i = 1; i < placed.length; i++)
    if (placed[i].revision === placed[i - 1].revision)
      violations.push(`two commits are revision ${placed[i].revision}`);
  const first = Math.max(...[...initial.values()].map(({ version }) => version));
  for (const { revision } of placed)
    if (revision <= first) violations.push(`revision ${revision} is before the beginning`);
  return placed;
}

/** The values of each register, by revision. */
function versionsOf({ initial }: History, placed: readonly TransactionRecord[]): Map<string, Write[]> {
  const versions = new Map(
    [...initial].map(([register, { value, version }]) => [register, [{ revision: version, value }]]),
  );
  for (const { writes, revision } of placed)
    for (const [register, value] of writes) versions.get(register)!.push({ revision, value });
  return versions;
}

/** The value of a register behind all commits up to `revision`. */
function valueAt(versions: ReadonlyMap<string, readonly Write[]>, register: string, revision: number): string {
  const writes = versions.get(register)!;
  let value = writes[0].value;
  for (const write of writes) if (write.revision <= revision) value = write.value;
  return value;
}

/** Who writes has read the state just before its revision. */
function checkReads(placed: readonly TransactionRecord[], versions: Map<string, Write[]>, violations: string[]): void {
  for (const { reads, revision } of placed)
    for (const [register, value] of reads) {
      const was = valueAt(versions, register, revision - 1);
      if (was !== value) violations.push(`revision ${revision} read ${register} = ${value}, but it was ${was}`);
    }
}

/** Who was answered before another asked comes before it. */
function checkRealTime(placed: readonly TransactionRecord[], violations: string[]): void {
  // Behind each revision none may have ended before it started: look from the end for the earliest end.
  let earliest = Number.POSITIVE_INFINITY;
  for (const { start, end, outcome, revision } of [...placed].reverse()) {
    if (earliest < start) violations.push(`revision ${revision} began after a later one had been answered`);
    if (outcome === 'committed') earliest = Math.min(earliest, end);
  }
}

/** Who only reads sees one state, not older than what was answered before it asked. */
function checkReadOnly({ transactions }: History, versions: Map<string, Write[]>, violations: string[]): void {
  for (const { reads, writes, start, outcome } of transactions) {
    if (writes.size > 0 || outcome !== 'committed') continue;
    const answered = transactions.filter((other) => other.outcome === 'committed' && other.end < start);
    let least = Math.max(-1, ...answered.map(({ revision }) => revision));
    let most = Number.POSITIVE_INFINITY;
    for (const [register, value] of reads) {
      const list = versions.get(register)!;
      const at = list.findIndex((write) => write.value === value);
      if (at < 0) {
        // Of a transaction whose answer was lost and that no batch showed: nothing is known of its place.
        const isKnown = transactions.some(
          (other) => other.outcome === 'unknown' && other.writes.get(register) === value,
        );
        if (!isKnown) violations.push(`${register} = ${value} was read, which nobody wrote`);
        continue;
      }
      least = Math.max(least, list[at].revision);
      most = Math.min(most, list[at + 1]?.revision ?? Number.POSITIVE_INFINITY);
    }
    if (least >= most) violations.push(`a reader saw ${[...reads].join('; ')}, which never was together, or no longer`);
  }
}

/** Each batch shows the state at its revision, and revisions never fall. */
function checkBatches({ batches }: History, versions: Map<string, Write[]>, violations: string[]): void {
  const last = new Map<string, number>();
  for (const { subscriber, revision, state } of batches) {
    if (revision < (last.get(subscriber) ?? -1))
      violations.push(`${subscriber}: revision ${revision} after a later one`);
    last.set(subscriber, revision);
    for (const [register, { value }] of state) {
      const was = valueAt(versions, register, revision);
      if (was !== value) violations.push(`${subscriber} at ${revision}: ${register} = ${value}, but it was ${was}`);
    }
  }
}

/** A number has one holder at a time, and later holders greater tokens. */
function checkHolds({ holds }: History, violations: string[]): void {
  const byNumber = new Map<string, HoldRecord[]>();
  for (const hold of holds) byNumber.set(hold.number, [...(byNumber.get(hold.number) ?? []), hold]);
  for (const [number, list] of byNumber) {
    list.sort((a, b) => a.token - b.token);
    for (let i = 1; i < list.length; i++) {
      const [before, after] = [list[i - 1], list[i]];
      if (before.token === after.token) violations.push(`${number}: token ${after.token} was given twice`);
      if (before.host !== after.host && after.from < before.until && before.from < after.until)
        violations.push(`${number}: held by ${before.host} and ${after.host} at the same time`);
    }
  }
}
