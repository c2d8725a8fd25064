/** Every error that the client hands to its callers, what it means and what to do. */
export const ERRORS = {
  WEFT_ZK_ARGUMENT: 'A path, option or combination of options is not valid. The message says which; correct the call.',
  WEFT_ZK_UNREACHABLE:
    'No ZooKeeper server accepted the session in time. Check the connect string, that the servers run and have a quorum, and TLS settings.',
  WEFT_ZK_CONNECTION_LOST:
    'The connection to the ZooKeeper server broke before the answer came. outcomeUnknown says whether a change may have happened: then read before repeating it.',
  WEFT_ZK_SESSION_EXPIRED:
    'The ZooKeeper session has ended: its ephemeral nodes and watches are gone. Open a new session and set them up again.',
  WEFT_ZK_AUTH_FAILED:
    'ZooKeeper refused the credentials, or could not prove that it knows them. Check user, password, and what the servers are configured with.',
  WEFT_ZK_CLOSED: 'The ZooKeeper client, or the watch, was closed. Open a new one.',
  WEFT_ZK_ABORTED: 'The request was aborted by its caller. outcomeUnknown says whether a change may have happened.',
  WEFT_ZK_TIMEOUT:
    'ZooKeeper did not answer the request within its time. outcomeUnknown says whether a change may have happened. Check that the servers have a quorum.',
  WEFT_ZK_BUSY: 'Too many requests wait for ZooKeeper already. Wait for some of them, or raise maxOutstanding.',
  WEFT_ZK_TOO_LARGE:
    'The request or answer exceeds the limit for packets (jute.maxbuffer). Use smaller nodes and fewer children per node, or raise the limit here and at the servers.',
  WEFT_ZK_PROTOCOL:
    'The peer sent something that is not of the ZooKeeper protocol. Check that the address and port are those of a ZooKeeper server, and whether it expects TLS.',
  WEFT_ZK_NO_NODE: 'The znode, or the parent of the one to be created, does not exist.',
  WEFT_ZK_NODE_EXISTS: 'A znode with this path exists already.',
  WEFT_ZK_BAD_VERSION: 'The znode is no longer at the version that was named. Read it again and repeat the change.',
  WEFT_ZK_NOT_EMPTY: 'The znode has children and cannot be deleted. Delete those first.',
  WEFT_ZK_EPHEMERAL_PARENT: 'An ephemeral znode cannot have children.',
  WEFT_ZK_NO_AUTH: 'The ACL of the znode does not allow this. Authenticate as somebody who may, or change the ACL.',
  WEFT_ZK_INVALID_ACL:
    'ZooKeeper refused the ACL: it is empty, names an unknown scheme, or "auth" without an authenticated user.',
  WEFT_ZK_NO_WATCHER: 'There is no such watch of this session.',
  WEFT_ZK_QUOTA: 'The change would exceed a quota of ZooKeeper. Raise the quota, or delete something.',
  WEFT_ZK_UNSUPPORTED:
    'The ZooKeeper server does not know the operation, or has it switched off (nodes with a time to live need extendedTypesEnabled).',
  WEFT_ZK_SERVER: 'ZooKeeper answered with an error; its name is in the message. Its log says more.',
  WEFT_ZK_TESTING:
    'A ZooKeeper server for tests could not be started. The message ends with its output; Debian has it in the package zookeeper.',
} as const;

/** One of the codes in {@link ERRORS}. */
export type ZooKeeperErrorCode = keyof typeof ERRORS;

export interface ErrorDetails {
  /** The znode concerned, as the caller named it. */
  readonly path?: string | undefined;
  /** The number that the server answered with, e.g. -101. */
  readonly serverCode?: number | undefined;
  readonly outcomeUnknown?: boolean | undefined;
  readonly cause?: unknown;
}

/** The error class of the client; `code` tells the kinds apart, the message says what to do. */
export class ZooKeeperError extends Error {
  override readonly name: string = 'ZooKeeperError';
  readonly code: ZooKeeperErrorCode;
  readonly path: string | undefined;
  /** The number that the server answered with (KeeperException.Code of Apache ZooKeeper), if it did. */
  readonly serverCode: number | undefined;
  /** True: the change that was asked for may have happened. False: it did not, or nothing was to be changed. */
  readonly outcomeUnknown: boolean;

  constructor(code: ZooKeeperErrorCode, detail?: string, details: ErrorDetails = {}) {
    super(
      detail === undefined ? ERRORS[code] : `${detail}. ${ERRORS[code]}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.code = code;
    this.path = details.path;
    this.serverCode = details.serverCode;
    this.outcomeUnknown = details.outcomeUnknown ?? false;
  }
}

/** True when `error` is one of this package's, with one of these codes if any are given. */
export function isZooKeeperError(error: unknown, ...codes: ZooKeeperErrorCode[]): error is ZooKeeperError {
  return error instanceof ZooKeeperError && (codes.length === 0 || codes.includes(error.code));
}

/** What the server's numbers are called (KeeperException.Code), and the code that they become here. */
const SERVER_ERRORS: Readonly<Record<number, readonly [name: string, code: ZooKeeperErrorCode]>> = {
  [-1]: ['SYSTEMERROR', 'WEFT_ZK_SERVER'],
  [-2]: ['RUNTIMEINCONSISTENCY', 'WEFT_ZK_SERVER'],
  [-3]: ['DATAINCONSISTENCY', 'WEFT_ZK_SERVER'],
  [-4]: ['CONNECTIONLOSS', 'WEFT_ZK_CONNECTION_LOST'],
  [-5]: ['MARSHALLINGERROR', 'WEFT_ZK_SERVER'],
  [-6]: ['UNIMPLEMENTED', 'WEFT_ZK_UNSUPPORTED'],
  [-7]: ['OPERATIONTIMEOUT', 'WEFT_ZK_SERVER'],
  [-8]: ['BADARGUMENTS', 'WEFT_ZK_SERVER'],
  [-100]: ['APIERROR', 'WEFT_ZK_SERVER'],
  [-101]: ['NONODE', 'WEFT_ZK_NO_NODE'],
  [-102]: ['NOAUTH', 'WEFT_ZK_NO_AUTH'],
  [-103]: ['BADVERSION', 'WEFT_ZK_BAD_VERSION'],
  [-108]: ['NOCHILDRENFOREPHEMERALS', 'WEFT_ZK_EPHEMERAL_PARENT'],
  [-110]: ['NODEEXISTS', 'WEFT_ZK_NODE_EXISTS'],
  [-111]: ['NOTEMPTY', 'WEFT_ZK_NOT_EMPTY'],
  [-112]: ['SESSIONEXPIRED', 'WEFT_ZK_SESSION_EXPIRED'],
  [-114]: ['INVALIDACL', 'WEFT_ZK_INVALID_ACL'],
  [-115]: ['AUTHFAILED', 'WEFT_ZK_AUTH_FAILED'],
  [-118]: ['SESSIONMOVED', 'WEFT_ZK_CONNECTION_LOST'],
  [-119]: ['NOTREADONLY', 'WEFT_ZK_SERVER'],
  [-120]: ['EPHEMERALONLOCALSESSION', 'WEFT_ZK_SERVER'],
  [-121]: ['NOWATCHER', 'WEFT_ZK_NO_WATCHER'],
  [-122]: ['REQUESTTIMEOUT', 'WEFT_ZK_SERVER'],
  [-124]: ['SESSIONCLOSEDREQUIRESASLAUTH', 'WEFT_ZK_AUTH_FAILED'],
  [-125]: ['QUOTAEXCEEDED', 'WEFT_ZK_QUOTA'],
  [-127]: ['THROTTLEDOP', 'WEFT_ZK_BUSY'],
};

/** Answers after which a change may have happened all the same: the server itself does not know. */
const UNSURE = new Set([-1, -2, -3, -4, -7, -122]);

/** The server's answer `serverCode` (not 0) to an operation on `path`; `changes`: it would have changed something. */
export function serverError(serverCode: number, operation: string, path?: string, changes = false): ZooKeeperError {
  const [name, code] = SERVER_ERRORS[serverCode] ?? [`error ${serverCode}`, 'WEFT_ZK_SERVER'];
  return new ZooKeeperError(code, `${operation}${path === undefined ? '' : ` ${path}`}: ${name}`, {
    path,
    serverCode,
    outcomeUnknown: changes && UNSURE.has(serverCode),
  });
}
