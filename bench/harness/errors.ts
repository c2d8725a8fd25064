/** Why a figure was not measured. */
export const ERRORS = {
  WEFT_BENCH_ARGUMENT:
    'an option or figure that the benchmark does not know; `node bench/main.ts --list` names the figures',
  WEFT_BENCH_COMMAND: 'a tool that the benchmark uses failed; its own words follow',
  WEFT_BENCH_MISSING: 'something that the figure needs is not there; run `make deps build`, as root',
  WEFT_BENCH_PRECONDITION:
    'the traffic did not take the path that the figure is about, so that there is nothing to report',
} as const;

export class BenchError extends Error {
  readonly code: keyof typeof ERRORS;

  constructor(code: keyof typeof ERRORS, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BenchError';
    this.code = code;
  }
}

/** Throws WEFT_BENCH_PRECONDITION unless `holds`. */
export function require(holds: boolean, message: () => string): asserts holds {
  if (!holds) throw new BenchError('WEFT_BENCH_PRECONDITION', message());
}
