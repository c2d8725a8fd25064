export { type AgentConfig, type AgentLimits, loadConfig, parseConfig } from './config.ts';
export { type Agent, startAgent } from './daemon.ts';
export { AgentError, type AgentErrorCode, ERRORS } from './errors.ts';
export { METRICS } from './host/metrics.ts';
export { runAgent } from './run.ts';
export type { Effects } from './worker/effects.ts';
export { Engine, type EngineOptions, type FlowDump } from './worker/engine.ts';
export { PeerMacs } from './worker/peer-macs.ts';
export { Underlay } from './worker/underlay.ts';
