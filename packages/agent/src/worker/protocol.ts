/** Messages between the main thread and the packet worker. Plain data; structured clone carries them. */
import type { Batch } from '@weft/nsdb';
import type { AgentConfig } from '../config.ts';
import type { AgentEvent } from '../events.ts';
import type { FlowDump } from './engine.ts';

/** What the worker is started with. */
export interface WorkerData {
  readonly config: AgentConfig;
  readonly hostId: string;
}

export type ToWorker =
  | { readonly type: 'batch'; readonly batch: Batch; readonly ticket: number }
  | { readonly type: 'ask'; readonly ask: 'status' | 'flows'; readonly limit: number; readonly ticket: number }
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
  | { readonly type: 'answer'; readonly ticket: number; readonly answer: Record<string, unknown> | FlowDump[] }
  | {
      readonly type: 'log';
      readonly event: AgentEvent;
      readonly fields: Record<string, unknown>;
    }
  | { readonly type: 'stopped' };
