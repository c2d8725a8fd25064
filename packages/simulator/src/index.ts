export * from './contract.ts';
export { conditionWords, type Miss } from './explain/conditions.ts';
export { dropWords } from './explain/drop-words.ts';
export { Explainer, type ExplainerOptions } from './explain/explainer.ts';
export type {
  ConnectionKind,
  ExplainedConnection,
  ExplainedStep,
  ExplainedTuple,
  Explanation,
  NearestRule,
  RuleInWords,
  StepKind,
} from './explain/explanation.ts';
export { Names, type Ref, type RefKind } from './explain/names.ts';
export { CONNECTION_KINDS, endWords, explainedTuple, reversed, tupleWords } from './explain/tuple-words.ts';
export { newSimulation } from './simulate/simulation.ts';
export { Simulator } from './simulate/simulator.ts';
export * from './simulate/steps.ts';
/** What rules do, in `ruleHits`, `ruleLogs` and the steps of recorders. */
export {
  ACTION_ACCEPT,
  ACTION_CONTINUE,
  ACTION_DNAT,
  ACTION_DROP,
  ACTION_JUMP,
  ACTION_MASQUERADE,
  ACTION_REJECT,
  ACTION_RETURN,
  ACTION_REV_DNAT,
  ACTION_REV_SNAT,
  ACTION_SNAT,
  ACTIONS,
} from './view/chain.ts';
export type { NatTarget } from './view/nat.ts';
export { isFilteredPort } from './view/port.ts';
export { VirtualTopology } from './view/topology.ts';
