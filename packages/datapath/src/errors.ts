/** Codes of every error this package shows to a person, and what to do about each. */
export const ERRORS = {
  WEFT_DATAPATH_CLOSED: 'The datapath was used after it was closed. This is a fault of the program: report it.',
} as const;

export type DatapathErrorCode = keyof typeof ERRORS;

/** A failure with a code of {@link ERRORS}. */
export class DatapathError extends Error {
  readonly code: DatapathErrorCode;

  constructor(code: DatapathErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DatapathError';
    this.code = code;
  }
}
