import type { FlowStateTable } from '../table.ts';
import type { ExchangeCounters } from './counters.ts';
import type { Outbox } from './outbox.ts';
import type { Peer } from './peer.ts';
import type { ExchangeSettings } from './settings.ts';

/** What a peer's arrival or return is called; see ExchangeOptions.onPeer. */
export type PeerEvent =
  /** Heard for the first time in this host's life. */
  | 'met'
  /** It began a new life. */
  | 'restarted'
  /** Heard again after a silence. */
  | 'back'
  /** All that it has for this host has been asked for and sent. */
  | 'synchronised';

/** What the parts of an exchange share. */
export interface Core {
  readonly table: FlowStateTable;
  readonly settings: ExchangeSettings;
  readonly counters: ExchangeCounters;
  readonly outbox: Outbox;
  /** What is left of this tick's: records that are sent again. */
  readonly budget: { repairs: number };
  /** By number; removed ones too. */
  readonly peers: ReadonlyMap<number, Peer>;
  onApplied(record: number, result: number): void;
  onAnswered(ask: number, found: boolean): void;
  onPeer(peer: number, event: PeerEvent): void;
}

/** Whether a host is to know a record: it owns it, or belongs to its audience. */
export function concerns(table: FlowStateTable, record: number, host: number): boolean {
  return table.owner(record) === host || table.audiences.members(table.audience(record)).includes(host);
}
