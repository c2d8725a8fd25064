/** Stable names of the events in the API's logs (field `event`). */
export const EVENTS = {
  'api.listening': 'A door was opened at `address`.',
  'api.tls_reloaded': 'Certificate and key of `address` were read again.',
  'api.tls_reload_failed': 'Certificate or key of `address` could not be used; the old ones stay in force.',
  'api.internal_error': 'A request failed for a reason that the API does not know; `err` says which.',
  'api.request': 'A request was answered (request log only).',
  'api.write': 'Audit: a request that may change something was carried out.',
  'api.login': 'Audit: a token was handed out.',
  'api.refused': 'Audit: a request was answered with an error; `error` is its code.',
  'api.refused_suppressed': 'Audit: so many refusals of unknown senders were not logged one by one (`count`).',
} as const;

export type ApiEvent = keyof typeof EVENTS;
