import type { PeerKeys } from '../peer-keys.ts';
import type { SentLog } from '../sent-log.ts';
import { PeerSession } from '../session.ts';
import { AnswerState } from './asks.ts';
import { CompareState } from './compare.ts';
import { NumberList } from './number-list.ts';
import { GapState } from './resend.ts';
import type { ExchangeSettings } from './settings.ts';
import { SyncState } from './sync.ts';

/**
 * What is known of one peer. It is kept for as long as the exchange lives, also when the peer was removed: who forgot the
 * session would believe recorded datagrams of it a second time.
 */
export class Peer {
  /** In the UuidTable, which it is retained in. */
  readonly number: number;
  publicKey: Uint8Array;
  keys: PeerKeys;
  readonly session: PeerSession;
  /** Set, and not removed since. */
  active = true;
  /** Something leads to it: datagrams can be sent. */
  hasPath = true;
  /** A tick has nothing to do about it before this time, unless something comes of it or is asked of this host meanwhile. */
  dueAt = Number.NEGATIVE_INFINITY;
  /** Time of the last datagram that was authentic and not replayed; -Infinity: none yet. */
  lastHeard = Number.NEGATIVE_INFINITY;
  lastSent = Number.NEGATIVE_INFINITY;
  /** Number of the last datagram sent. */
  lastSequence = 0;
  /** Which records stood in which datagram; made with the first records. Before the datagram `logFrom` there were none. */
  log: SentLog | undefined;
  logFrom = 0;
  /** Records were sent last: if they are lost, nothing shows it yet. */
  tail = false;
  nextHello = Number.NEGATIVE_INFINITY;
  helloPause: number;
  /** Time of the last hello that answered something. */
  greeted = Number.NEGATIVE_INFINITY;
  /** Records that wait for the next flush. */
  readonly pending = new NumberList();
  readonly gaps = new GapState();
  readonly sync: SyncState;
  readonly compare = new CompareState();
  readonly answers: AnswerState;
  receivedDatagrams = 0;
  sentDatagrams = 0;
  /** Datagrams that were lost for good: no longer in the window when they were missed. */
  lost = 0;

  constructor(number: number, publicKey: Uint8Array, keys: PeerKeys, incarnation: number, settings: ExchangeSettings) {
    this.number = number;
    this.publicKey = publicKey.slice();
    this.keys = keys;
    this.session = new PeerSession(incarnation);
    this.helloPause = settings.helloRetry;
    this.sync = new SyncState(settings);
    this.answers = new AnswerState(settings);
  }

  /** It has shown that it knows this host's life; so its own is believed. */
  get acquainted(): boolean {
    return this.active && this.session.incarnation !== 0;
  }

  /** The next tick looks at it. */
  wake(): void {
    this.dueAt = Number.NEGATIVE_INFINITY;
  }

  /** Something other than a hello can be sent to it: its life is known, if not proven. */
  get reachable(): boolean {
    return this.active && this.session.addressee !== 0;
  }
}
