/** Codes of this package's errors: what each means and what to do. */
export const ERRORS = {
  WEFT_FLOWSTATE_CONFIG:
    'A setting of the table of connections is out of range. Correct the one that the message names; the package README lists them.',
  WEFT_FLOWSTATE_REGION:
    'The memory given for the table of connections is smaller than its settings need. Give as many bytes as regionBytes() says.',
  WEFT_FLOWSTATE_KEY:
    'A key for the exchange of connections between hosts has a wrong length or is not a usable X25519 key. Make a new pair, and publish its public half.',
} as const;

/** One of the codes of {@link ERRORS}. */
export type FlowStateErrorCode = keyof typeof ERRORS;

/** The only error that this package throws, and only while something is set up: what arrives from peers gives numbers. */
export class FlowStateError extends Error {
  readonly code: FlowStateErrorCode;

  constructor(code: FlowStateErrorCode, message: string) {
    super(message);
    this.name = 'FlowStateError';
    this.code = code;
  }
}

/** Throws unless `value` is an integer in [min, max]. */
export function needInteger(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new FlowStateError(
      'WEFT_FLOWSTATE_CONFIG',
      `${name} must be an integer from ${min} to ${max}, not ${value}.`,
    );
  }
}
