/** Codes that the REST API itself answers with. Those of the store and of the object model come through unchanged. */
export const ERRORS = {
  WEFT_API_MALFORMED_JSON: 'The body is not JSON. Send a JSON object in UTF-8.',
  WEFT_API_BODY_TOO_LARGE: 'The body exceeds 1 MiB, a bulk request 4 MiB. Send less at a time.',
  WEFT_API_BAD_REQUEST: 'The request is not well-formed HTTP for this API. Correct what the message names.',
  WEFT_API_MEDIA_TYPE: 'The body has a media type that is not understood. Send application/json.',
  WEFT_API_NOT_ACCEPTABLE: 'None of the media types in Accept can be produced. Ask for application/json.',
  WEFT_API_NO_SUCH_PATH: 'There is no resource at this path. The root document and /openapi.json list what there is.',
  WEFT_API_METHOD: 'The resource does not know this method. The header Allow lists those it knows.',
  WEFT_API_HOST_IN_USE:
    'A host that is alive or has ports bound to it cannot be deleted. Stop its agent and unbind its ports first.',
  WEFT_API_DERIVED:
    'The object follows from another one, such as a security group, and changes with it alone. Change the one that the message names.',
  WEFT_API_REVISION_AHEAD:
    'The store has not reached this revision yet. Ask for a revision that a write answered with.',
  WEFT_API_GENERATION:
    'The revision belongs to another generation of the store (it was restored or moved). Read again.',
  WEFT_API_NOT_READY:
    'The host that the port moves to is not ready for it. Wait until GET says ready, or switch with force=true.',
  WEFT_API_UNAUTHORIZED: 'This door needs a valid token. Send it as Authorization: Bearer or X-Auth-Token.',
  WEFT_API_LOGIN_FAILED:
    'Name, password or project of the login are not right. Send Authorization: Basic, and X-Auth-Project with your own tenant or not at all.',
  WEFT_API_TOO_MANY_LOGINS: 'Too many logins failed lately. Wait as long as Retry-After says.',
  WEFT_API_FORBIDDEN: 'The sender of the request may not do this. Ask an administrator, or use another account.',
  WEFT_API_BUSY: 'More logins wait than can be checked soon. Try again in a moment.',
  WEFT_API_IDENTITY_AWAY:
    'The identity provider that issued the token cannot be asked. Check that it runs and can be reached from here, then try again.',
  WEFT_API_AUTH_CONFIG: 'The settings of authentication cannot be used. Correct what the message names.',
  WEFT_API_TLS: 'Certificate or key of a TLS door cannot be used. Correct what the message names.',
  WEFT_API_DOOR_REFUSED:
    'Without TLS the API listens on a Unix socket or a loopback address only. Choose one of these, or name certificate and key.',
  WEFT_API_NO_TOKEN:
    'A TCP address is served only if somebody can get in: give a token file, create an account, or name an identity provider.',
  WEFT_API_TOKEN_FILE:
    'The token file is not a private, regular file with a usable token. Remove it to have a new one made.',
  WEFT_API_SOCKET_IN_USE:
    'Another process serves this socket, or the path is taken by another kind of file. Choose another.',
  WEFT_API_EVENTS_FULL: 'As many clients listen to changes as this process serves. Try again later.',
  WEFT_API_EVENTS_LOST:
    'The changes since the Last-Event-ID are no longer known. Read again what you keep; the stream goes on from now.',
  WEFT_API_EVENTS_BEHIND:
    'The stream was ended because its reader fell behind. Connect again, and read again what you keep.',
  WEFT_API_EVENTS_AGED: 'The stream was ended because of its age. Connect again with Last-Event-ID: nothing is lost.',
  WEFT_API_INTERNAL: 'The server failed in a way that it does not know. Its log has the details under the request id.',
} as const;

export type ApiErrorCode = keyof typeof ERRORS;

export interface Violation {
  readonly property: string;
  readonly message: string;
}

/** A refusal with the HTTP status to answer with. `code` is one of this table, the store's or the object model's. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly code: string;
  readonly violations: readonly Violation[];

  constructor(
    status: number,
    code: ApiErrorCode | 'WEFT_INVALID' | 'WEFT_NOT_FOUND' | 'WEFT_VERSION_CONFLICT',
    message: string,
    violations: readonly Violation[] = [],
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.violations = violations;
  }

  /** A refusal whose code comes from the store or the object model. */
  static of(status: number, code: string, message: string, violations: readonly Violation[] = []): ApiError {
    const error = new ApiError(status, 'WEFT_INVALID', message, violations);
    (error as { code: string }).code = code;
    return error;
  }
}

/** The input breaks the schema or a rule: one violation or many. */
export function invalid(violations: readonly Violation[]): ApiError {
  const shown = violations.slice(0, 3).map(({ property, message }) => (property ? `${property}: ${message}` : message));
  const rest = violations.length > 3 ? ` and ${violations.length - 3} more` : '';
  return new ApiError(400, 'WEFT_INVALID', `${shown.join('; ')}${rest}`, violations);
}

export function notFound(what: string, id: string): ApiError {
  return new ApiError(404, 'WEFT_NOT_FOUND', `There is no ${what} ${id.slice(0, 100)}.`);
}
