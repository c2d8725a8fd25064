/** The daemon as a process. The packet worker's parts are loaded by its thread alone (`worker/worker.ts`). */
export { type AgentConfig, type AgentLimits, loadConfig, parseConfig } from './config.ts';
export { type Agent, startAgent } from './daemon.ts';
export { DOCTOR_CHECKS, diagnose } from './doctor/doctor.ts';
export type { Finding, FindingStatus, Report } from './doctor/finding.ts';
export type { AgentStatus } from './doctor/surroundings.ts';
export { AgentError, type AgentErrorCode, ERRORS } from './errors.ts';
export type { ConnectionDump, ConnectionList, CutConnections, FlowState } from './explain/connection-list.ts';
export type { ConnectionKind, HostRef } from './explain/connection-words.ts';
export type { FlowDump, FlowList } from './explain/flow-dump.ts';
export type { ChainReport, RuleList, RuleReport } from './explain/rule-report.ts';
export type { Arrival, Destination, PortLink, Trace } from './explain/trace.ts';
export type { LiveEvent } from './host/live-trace.ts';
export { METRICS } from './host/metrics.ts';
export type { RuleDecision, RuleLogLine } from './rule-log.ts';
export { runAgent } from './run.ts';
