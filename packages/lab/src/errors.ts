/** What can go wrong in the lab, as a person sees it. */

/** Codes of this package; `docs/ERRORS.md` is generated from this table. */
export const ERRORS = {
  WEFT_SCENARIO: 'The scenario file is not as it should be; the message names file, line, field and what is expected.',
  WEFT_SCENARIO_FILE: 'The scenario file cannot be read; check the path and that you may read it.',
  WEFT_LAB_NAME: 'A lab name is 1 to 12 lower-case letters, digits or hyphens and begins with a letter.',
  WEFT_LAB_OPTION: 'An option of the lab has a value that it does not take; the message lists those that it takes.',
  WEFT_LAB_DOWN: 'No lab of this name is up; start it with `weft lab up`, or name another with `--name`.',
  WEFT_LAB_BUSY: 'Another command is changing this lab at the moment; wait for it to end and repeat yours.',
  WEFT_LAB_UNKNOWN_VM: 'The scenario has no VM of this name; `weft lab status` lists them.',
  WEFT_LAB_UNKNOWN_HOST: 'The lab has no host of this name; `weft lab status` lists them.',
  WEFT_LAB_UNKNOWN_CHECK: 'The scenario has no check of this name; `weft lab status` lists them.',
  WEFT_LAB_COMMAND: 'A command that the lab needs failed; the message shows it with its error output.',
  WEFT_LAB_PROCESS: 'A process of the lab ended or did not become ready; the message shows the end of its log.',
  WEFT_LAB_TIMEOUT: 'The lab did not reach the awaited state in time; the message says what was awaited.',
  WEFT_LAB_API: 'The REST API of the lab refused a request; the message carries its answer.',
  WEFT_LAB_TOOL_MISSING: 'A program that the lab needs is not installed; `make deps` installs it.',
  WEFT_LAB_OTHER_BUILD:
    'A build with another layout could not be made: a place to be changed is not in the source as it was. A fault of the tests (`other-build.ts`).',
  WEFT_LAB_USER_NAMESPACE:
    'Without root the lab lives in a user namespace, and this machine gives none, or its directory is not closed. The message says why and what root can do; or repeat the command as root.',
  WEFT_NEEDS_ROOT: 'This needs root (network namespaces, BPF); repeat the command as root, for example with sudo.',
} as const;

export type LabErrorCode = keyof typeof ERRORS;

/** A failure with a code of `ERRORS` and a message that says what to do. */
export class LabError extends Error {
  override readonly name = 'LabError';
  readonly code: LabErrorCode;

  constructor(code: LabErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
