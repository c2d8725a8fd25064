export { MAX_ASKED, MAX_ASKS } from './asks.ts';
export type { PeerEvent } from './core.ts';
export * from './counters.ts';
export { Exchange, type ExchangeOptions, type PeerStatus } from './exchange.ts';
export { DEFAULT_SETTINGS, type ExchangeSettings } from './settings.ts';
