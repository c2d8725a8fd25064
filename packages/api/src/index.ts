export { type Api, type ApiOptions, createApi } from './api.ts';
export { auditFile, processLogger } from './audit/audit.ts';
export { type AuthConfig, authConfigFromFile } from './auth/config.ts';
export { ROOT } from './context.ts';
export type { ListenOptions } from './doors.ts';
export { ApiError, ERRORS } from './errors.ts';
export { EVENTS } from './events.ts';
export type { TlsFiles } from './tls.ts';
