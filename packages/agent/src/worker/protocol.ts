/** Messages between the main thread and the packet worker. Plain data; structured clone carries them. */
import type { Batch } from '@weft/nsdb';
import type { AgentConfig } from '../config.ts';
import type { AgentEvent } from '../events.ts';
import type { FlowQuery } from '../explain/flow-dump.ts';
import type { ArrivalRequest, TraceRequest } from '../explain/trace.ts';
import type { RuleLogLine } from '../rule-log.ts';

/** What the worker is started with. */
export interface WorkerData {
  readonly config: AgentConfig;
  readonly hostId: string;
}

/** What the main thread asks of the worker; each kind has its own answer. */
export type Question =
  | { readonly kind: 'status' }
  | { readonly kind: 'flows'; readonly query: FlowQuery }
  | { readonly kind: 'rules'; readonly chain?: string }
  | { readonly kind: 'clearRules'; readonly chain?: string }
  | { readonly kind: 'trace'; readonly request: TraceRequest }
  | { readonly kind: 'arrival'; readonly arrival: ArrivalRequest }
  | { readonly kind: 'link'; readonly port: string };

export type ToWorker =
  | { readonly type: 'batch'; readonly batch: Batch; readonly ticket: number }
  | { readonly type: 'ask'; readonly ask: Question; readonly ticket: number }
  | { readonly type: 'stop' };

/** An interface of this host, as published in the state table `interfaces/<host>`. */
export interface InterfaceReport {
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly kind: string;
}

export type FromWorker =
  | { readonly type: 'started'; readonly wakeFd: number }
  | { readonly type: 'taken'; readonly ticket: number }
  | { readonly type: 'interests'; readonly add: readonly string[]; readonly remove: readonly string[] }
  | { readonly type: 'entry'; readonly table: string; readonly key: string; readonly value: string | null }
  | { readonly type: 'applied'; readonly revision: number }
  | { readonly type: 'interfaces'; readonly interfaces: readonly InterfaceReport[] }
  | { readonly type: 'answer'; readonly ticket: number; readonly answer: unknown }
  | {
      readonly type: 'log';
      readonly event: AgentEvent;
      readonly fields: Record<string, unknown>;
    }
  | { readonly type: 'ruleLog'; readonly line: RuleLogLine }
  | { readonly type: 'stopped' };
