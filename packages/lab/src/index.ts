export { agentRequest } from './agent-control.ts';
export { BurstSender } from './bursts.ts';
export { CHECK_KINDS } from './checks/index.ts';
export type { CheckKind, Outcome } from './checks/kind.ts';
export { type CheckReport, type CheckResult, runChecks, runChecksWithoutApi, selectChecks } from './checks/run.ts';
export { awaitConvergence } from './convergence.ts';
export { askServer, type ServerRole, serverRole } from './ensemble.ts';
export { ERRORS, LabError, type LabErrorCode } from './errors.ts';
export { inNetns, ipBatch, run, tryRun } from './exec.ts';
export { patch, plantFault, removeFault } from './faults/fault.ts';
export { ethernetFrame } from './frames.ts';
export { bridgeId, routerId } from './ids.ts';
export {
  DEFAULT_SCENARIO,
  GATEWAY_SCENARIO,
  type Lab,
  labDown,
  labNames,
  labStore,
  labUp,
  openLab,
  requirePlace,
  requireVm,
} from './lab.ts';
export { describeLoad, type LoadReport, startLoad } from './load.ts';
export { MovingVm } from './moving.ts';
export { cutManagement, healManagement } from './network/management.ts';
export { makeOtherBuild } from './other-build.ts';
export { ipPacket, udpDatagram } from './packets.ts';
export { labPaths } from './paths.ts';
export type { HostPlan, LabOptions, LabPlan, VmPlan } from './plan.ts';
export { labPort } from './ports.ts';
export { type Probe, type ProbeReport, startProbe } from './probe.ts';
export { exchange, RestClient, RestError } from './rest.ts';
export {
  awaitSettled,
  freezeAgent,
  killAgent,
  killApi,
  killArchive,
  killServers,
  killStore,
  replaceAgent,
  restartAgent,
  restartAgents,
  restartApi,
  restartArchive,
  restartServers,
  restartStore,
  serverRoles,
  thawAgent,
} from './restart.ts';
export { isUserNamespace, needsUserNamespace, runAsOwnRoot } from './rootless.ts';
export { requireHost, takenNumbers } from './services.ts';
export { type Server, startServer, startTalk, type Talk } from './talk.ts';
export { comeBack, vanish } from './vanish.ts';
export { awaitValue, sleep } from './wait.ts';
