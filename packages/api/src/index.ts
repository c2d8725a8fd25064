export { type Api, type ApiOptions, createApi } from './api.ts';
export { ROOT } from './context.ts';
export type { ListenOptions } from './doors.ts';
export { ApiError, ERRORS } from './errors.ts';
