/** Every error that the database hands to its callers; `docs/ERRORS.md` is generated from this table. */
export const ERRORS = {
  WEFT_STORE_AWAY:
    'The state database cannot be reached. Known topology stays in force; check that the process that serves the store runs and that the socket path is right, then try again.',
  WEFT_STORE_FAILED:
    'The state database could not write to its disk and stopped accepting changes. Free space or repair the disk, then restart the process that serves the store.',
  WEFT_STORE_LOCKED:
    'Another process has this store directory open. Stop that process, or reach the store through its socket.',
  WEFT_STORE_FORMAT:
    'The store, backup or snapshot on disk was written in a format that this version does not know. Use the version that wrote it.',
  WEFT_STORE_DENIED:
    'ZooKeeper does not let this process do that. Check the credentials and the role in its configuration against the access control lists of the store.',
  WEFT_STORE_INSECURE:
    'A ZooKeeper that is not on this machine is used only with credentials and TLS. Configure both, or name a loopback address.',
  WEFT_STORE_CONFIG:
    'The place of the store, or the file with the settings of an ensemble, cannot be used; the message names what is wrong.',
  WEFT_STORE_CLOSED: 'The database handle was closed. Open a new one.',
  WEFT_OUTCOME_UNKNOWN:
    'The link broke while a transaction or an allocation was being committed: it happened wholly or not at all. Read again what it concerns before repeating it.',
  WEFT_CONFLICT:
    'Others kept changing what the transaction had read, and the retries are used up. Try again, or make the transaction smaller.',
  WEFT_VERSION_CONFLICT: 'The object is no longer at the version that was named. Read it again and repeat the change.',
  WEFT_NOT_FOUND: 'The object, or the owner of the state table or pool, does not exist.',
  WEFT_DUPLICATE: 'An object with this id, or with this value in a field that has to be unique, exists already.',
  WEFT_REFERENCE: 'A field refers to an object that does not exist. Create it first, or correct the reference.',
  WEFT_IN_USE: 'The object cannot be deleted while others refer to it. Delete or change those first.',
  WEFT_INVALID: 'The value breaks the rules of its type; the violations name property and rule.',
  WEFT_TOO_LARGE: 'The transaction, entry or message exceeds the limit; it is refused, never split. Do it in parts.',
  WEFT_UNKNOWN_TYPE: 'There is no object type, field or table of this name.',
  WEFT_KEYS_EXHAUSTED:
    'No tunnel key is free: all are taken, or were freed by changes that not every registered host has applied yet. Bring lagging hosts back or unregister them.',
  WEFT_SESSION_LOST:
    'The host session was taken over by a newer start of the same host, or was closed. Only the newest agent of a host may write its state.',
  WEFT_SOCKET_IN_USE: 'A live server answers on this socket. Stop it first, or choose another path.',
  WEFT_PROTOCOL:
    'The peer on the store socket sent something that is not of this protocol. Check that both ends have the same version.',
  WEFT_ARCHIVE_AWAY:
    'The flow-state archive could not be read. Connections go on by what hosts tell each other; check that the archive runs and can be reached, and that its disk is well.',
  WEFT_ARCHIVE_INSECURE:
    'A Cassandra that is not on this machine is used only with a login (or client certificate) and TLS. Configure both, or name a loopback address.',
  WEFT_ARCHIVE_STREAM:
    'What another host sent from its flow-state archive is not whole or not of this format. What came before holds; check that both hosts have the same version, and ask again.',
} as const;

export type NsdbErrorCode = keyof typeof ERRORS;

/** What is wrong with one property of a value. */
export interface Violation {
  readonly property: string;
  readonly message: string;
}

/** The one error class of the database; `code` tells the kinds apart, the message says what to do. */
export class NsdbError extends Error {
  override readonly name = 'NsdbError';
  /** A code of the table above, or one of `@weft/topology`'s where the object model refused. */
  readonly code: string;
  /** Mainly with WEFT_INVALID: what is wrong, property by property. */
  readonly violations: readonly Violation[];

  constructor(code: NsdbErrorCode, detail?: string, violations: readonly Violation[] = [], options?: ErrorOptions) {
    super(detail === undefined ? ERRORS[code] : `${detail}. ${ERRORS[code]}`, options);
    this.code = code;
    this.violations = violations;
  }

  /** An error whose code and whole message come from elsewhere: the object model, or the other end of a link. */
  static of(code: string, message: string, violations: readonly Violation[] = []): NsdbError {
    const error = new NsdbError('WEFT_PROTOCOL', undefined, violations);
    error.message = message;
    (error as { code: string }).code = code;
    return error;
  }
}

/** Whether `error` is an `NsdbError`, of this code if one is given. */
export function isNsdbError(error: unknown, code?: NsdbErrorCode): error is NsdbError {
  return error instanceof NsdbError && (code === undefined || error.code === code);
}
