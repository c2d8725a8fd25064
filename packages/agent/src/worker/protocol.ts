/** Messages between the main thread and the packet worker. Plain data; structured clone carries them. */
import type { Batch } from '@weft/nsdb';
import type { AgentConfig } from '../config.ts';
import type { AgentEvent } from '../events.ts';
import type { ConnectionQuery } from '../explain/connection-filter.ts';
import type { FlowQuery } from '../explain/flow-dump.ts';
import type { ArrivalRequest, TraceRequest } from '../explain/trace.ts';
import type { RuleLogLine } from '../rule-log.ts';
import type { NatBlock } from './connections/nat-pools.ts';
import type { Restored } from './connections/restorer.ts';

/** What the worker is started with. */
export interface WorkerData {
  readonly config: AgentConfig;
  readonly hostId: string;
  readonly identity: StateIdentity;
  /** How many batches of entries for the archive the main thread has taken; both sides see it change. */
  readonly archiveTaken: Int32Array<SharedArrayBuffer>;
}

/** What this host is among those that tell each other of connections. */
export interface StateIdentity {
  /** X25519, 32 bytes each. */
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
  /** Greater than that of any earlier start. */
  readonly incarnation: number;
}

/** What the main thread asks of the worker; each kind has its own answer. */
export type Question =
  | { readonly kind: 'status' }
  | { readonly kind: 'flows'; readonly query: FlowQuery }
  | { readonly kind: 'flushFlows' }
  | { readonly kind: 'connections'; readonly query: ConnectionQuery }
  | { readonly kind: 'cutConnections'; readonly query: ConnectionQuery }
  | { readonly kind: 'rules'; readonly chain?: string }
  | { readonly kind: 'clearRules'; readonly chain?: string }
  | { readonly kind: 'trace'; readonly request: TraceRequest }
  | { readonly kind: 'arrival'; readonly arrival: ArrivalRequest }
  | { readonly kind: 'link'; readonly port: string };

export type ToWorker =
  | { readonly type: 'batch'; readonly batch: Batch; readonly ticket: number }
  | { readonly type: 'ask'; readonly ask: Question; readonly ticket: number }
  /** Answer to `allocate`; null: the store is away. */
  | { readonly type: 'granted'; readonly pool: string; readonly blocks: readonly NatBlock[] | null }
  /** All blocks of NAT ports that the store says are this host's. */
  | { readonly type: 'blocks'; readonly blocks: readonly NatBlock[] }
  /** Answer to `keep`: those that this host holds now. */
  | { readonly type: 'kept'; readonly blocks: readonly NatBlock[] }
  /** What the archive has of a port; the last one says whether it could be read to its end. */
  | { readonly type: 'restored'; readonly records: readonly Restored[] }
  | { readonly type: 'restoreEnded'; readonly port: string; readonly whole: boolean }
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
  | {
      readonly type: 'allocate';
      readonly pool: string;
      readonly first: number;
      readonly last: number;
      readonly count: number;
    }
  | { readonly type: 'release'; readonly blocks: readonly NatBlock[] }
  | { readonly type: 'keep'; readonly blocks: readonly NatBlock[] }
  /** Entries for the archive, one behind the other (`archiveEntries` of @weft/flowstate). */
  | { readonly type: 'archive'; readonly entries: Uint8Array }
  | { readonly type: 'readArchive'; readonly port: string }
  | { readonly type: 'vouch'; readonly hostIds: readonly string[] }
  | { readonly type: 'stopped' };
