/** Codes of every error this package shows to a person, and what to do about each. */
export const ERRORS = {
  WEFT_DATAPATH_CLOSED: 'The datapath was used after it was closed. This is a fault of the program: report it.',
  WEFT_DATAPATH_OBJECT:
    'The compiled eBPF programs are missing or do not fit this version. Run scripts/build-bpf.sh, or reinstall.',
  WEFT_DATAPATH_LOCKED:
    'Another process runs this datapath. Stop it first, or give this one a state directory of its own.',
  WEFT_DATAPATH_OPTIONS: 'An option of the datapath is not valid. The message says which and what is expected.',
  WEFT_DATAPATH_NO_INTERFACE: 'The interface to be bound is gone. Check that the VM or container still runs.',
  WEFT_DATAPATH_LISTS_FULL: 'A flood has too many members, or all floods together have. Split the bridge.',
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
