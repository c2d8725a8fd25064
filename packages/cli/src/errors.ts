/** What the command line itself refuses. */

/** Codes of this package; `docs/ERRORS.md` is generated from this table. */
export const ERRORS = {
  WEFT_CLI_USAGE: 'The command line has an unknown command or option, or lacks one; `--help` shows what there is.',
  WEFT_CLI_SYNTAX: 'The command given with -e is not of the grammar; the message shows where it ends.',
  WEFT_CLI_INCOMPLETE: 'The command given with -e lacks something; the message says what.',
  WEFT_CLI_NOT_FOUND: 'The command given with -e selects no object, or more than one where one is needed.',
  WEFT_CLI_NO_API: 'No API could be reached; name one with --api-socket or --api-url, or start one with `weft api`.',
  WEFT_CLI_API: 'The API refused a request; the message has its reasons, and its own error code where it gave one.',
  WEFT_CLI_CONFIG: 'A setting of ~/.weftrc, of the environment or of an option cannot be used; the message names it.',
  WEFT_CLI_INSECURE:
    'A password or token would travel without TLS; use an https: address, or --insecure on a network that you trust.',
  WEFT_CLI_ALIAS:
    'There is no object of that alias in this session; list the objects first, or use an id. Aliases are interactive only.',
  WEFT_CLI_NO_AGENT: 'No agent answers on its control socket; name it with --control, or start one with `weft agent`.',
  WEFT_CLI_NOT_LIVE:
    'A change is not live on all hosts within the time that was given; the message says which ones lack it. Delete hosts that are gone for good.',
  WEFT_CLI_SYSTEM:
    'The operating system refused a file, directory, socket or address; the message has its words. Mind who runs the command: much of Weft needs root.',
  WEFT_DEPS_MISSING: 'Something that Weft needs is not installed; run `make deps`.',
  WEFT_NODE_MISSING: 'There is no Node.js 24 or later; `make deps` installs one inside the repository.',
  WEFT_ARCHITECTURE: 'Weft runs on Linux x86_64 and aarch64 only.',
} as const;

export type CliErrorCode = keyof typeof ERRORS;

/** `exit`: 1 the command failed, 2 it was not understood. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: CliErrorCode;
  readonly exit: 1 | 2;

  constructor(code: CliErrorCode, message: string, exit: 1 | 2 = 2) {
    super(message);
    this.code = code;
    this.exit = exit;
  }
}
