/** On a terminal, a line that says how far work on a store's records has got; elsewhere nothing. */

/** Milliseconds between two sayings. */
const INTERVAL_MS = 100;

export interface RecordsDone {
  /** So many are done. */
  tell(count: number): void;
  /** Says the last number, and leaves the line to others. */
  end(): void;
}

/** `what` follows the number: `records written`. */
export function recordsDone(
  what: string,
  terminal: { readonly isTTY?: boolean; write(text: string): unknown } = process.stderr,
): RecordsDone {
  let last: number | undefined;
  let saidAt = Number.NEGATIVE_INFINITY;
  const say = () => terminal.write(`\r${last} ${what}`);
  return {
    tell(count) {
      last = count;
      if (!terminal.isTTY || performance.now() - saidAt < INTERVAL_MS) return;
      saidAt = performance.now();
      say();
    },
    end() {
      if (!terminal.isTTY || last === undefined) return;
      say();
      terminal.write('\n');
    },
  };
}
