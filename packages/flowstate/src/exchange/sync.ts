import { MSG_SYNC_DATA, MSG_SYNC_END, MSG_SYNC_REQUEST, WIRE_FIELD, WIRE_OK, type WireHeader } from '../wire/header.ts';
import { readSync, writeSync } from '../wire/messages.ts';
import type { Core } from './core.ts';
import { NumberList } from './number-list.ts';
import { Backoff } from './pace.ts';
import type { Peer } from './peer.ts';
import type { ExchangeSettings } from './settings.ts';
import type { Walk } from './walk.ts';

/** Full synchronisations with one peer: the one that is asked of it, and the one that is given to it. */
export class SyncState {
  /** One is to be asked for, because something was lost; one is to be asked for and given, because the caller says so. */
  wanted = false;
  called = false;
  /** Number of the one last asked for. */
  number = 0;
  /** Its end has not come yet. */
  waiting = false;
  /** Time of the last request or datagram of it, and how long to wait for the next. */
  progressAt = 0;
  retry = 0;
  readonly requestPause: Backoff;
  readonly callPause: Backoff;

  /** One is being given; places of the table that are still to be looked at. */
  giving = false;
  left = 0;
  /** Number of the request, 0: unasked; and of the one completed last. */
  serving = 0;
  served = 0;
  sent = 0;
  /** Records of the slice that is being walked over. */
  readonly slice = new NumberList();
  readonly givePause: Backoff;

  constructor(settings: ExchangeSettings) {
    this.requestPause = new Backoff(settings.syncPause, settings.syncPauseMost);
    this.callPause = new Backoff(settings.syncPause, settings.syncPauseMost);
    this.givePause = new Backoff(settings.syncPause, settings.syncPauseMost);
  }

  /** One is asked for or is to be: each tick looks whether it is time. */
  get isBusy(): boolean {
    return this.waiting || this.wanted || this.called;
  }

  reset(): void {
    this.wanted = false;
    this.called = false;
    this.waiting = false;
    this.giving = false;
    this.served = 0;
  }
}

/**
 * Full synchronisations: all records that a host made for its peer, and all of the peer's own that it has, for a peer that lost its memory.
 * They are given in slices, see {@link Walk}. Lost datagrams of them are gaps like others; a lost request or end is repaired by asking again.
 */
export class Sync {
  private readonly core: Core;
  private readonly walk: Walk;
  private readonly fields = new Float64Array(2);

  constructor(core: Core, walk: Walk) {
    this.core = core;
    this.walk = walk;
  }

  // ---- asking

  /** Asks now, whatever happened before: the peer is new. */
  request(peer: Peer): void {
    const { sync } = peer;
    sync.wanted = false;
    sync.number = (sync.number + 1) >>> 0 || 1;
    sync.waiting = true;
    sync.retry = this.core.settings.syncRetry;
    this.core.counters.syncsAsked++;
    this.sendRequest(peer);
  }

  /** Asks after a pause that grows, because something was lost. */
  requestSoon(peer: Peer): void {
    peer.sync.wanted = true;
  }

  tick(peer: Peer): void {
    const { sync } = peer;
    const { now } = this.core.outbox;
    if (sync.waiting) {
      if (now - sync.progressAt < sync.retry) return;
      sync.retry = Math.min(sync.retry * 2, this.core.settings.syncRetry * 4);
      this.sendRequest(peer);
    } else if (sync.called && !sync.giving && sync.callPause.take(now)) {
      sync.called = false;
      this.request(peer);
      this.give(peer);
    } else if (sync.wanted && sync.requestPause.take(now)) this.request(peer);
  }

  /** Data of a synchronisation came. */
  progress(peer: Peer, number: number): void {
    const { sync } = peer;
    if (number !== sync.number) return;
    sync.progressAt = this.core.outbox.now;
    sync.retry = this.core.settings.syncRetry;
  }

  onEnd(peer: Peer, bytes: Uint8Array, header: WireHeader): number {
    const result = readSync(bytes, header, this.fields);
    if (result !== WIRE_OK) return result;
    const { sync } = peer;
    if (!sync.waiting || this.fields[0] !== sync.number) return 0;
    sync.waiting = false;
    this.core.counters.syncsDone++;
    this.core.onPeer(peer.number, 'synchronised');
    return 0;
  }

  private sendRequest(peer: Peer): void {
    const { outbox } = this.core;
    peer.sync.progressAt = outbox.now;
    outbox.post(peer, MSG_SYNC_REQUEST, 0, writeSync(outbox.bytes, peer.sync.number, 0));
  }

  // ---- giving

  onRequest(peer: Peer, bytes: Uint8Array, header: WireHeader): number {
    const result = readSync(bytes, header, this.fields);
    if (result !== WIRE_OK) return result;
    const number = this.fields[0];
    if (number === 0) return WIRE_FIELD;
    const { sync } = peer;
    if (sync.giving && sync.serving === number) return 0;
    if (!sync.giving && sync.served === number) this.sendEnd(peer);
    else this.give(peer, number);
    return 0;
  }

  /** Begins to give all to a peer, anew if that is under way. @param number of the request, 0: unasked */
  give(peer: Peer, number = 0): void {
    const { sync } = peer;
    if (number !== 0 || !sync.giving) {
      sync.serving = number;
      sync.sent = 0;
    }
    sync.giving = true;
    sync.left = this.walk.start(this.walk.syncing, peer);
  }

  /** Gives all because the peer misses what is no longer remembered; not oftener than the pauses allow. */
  giveSoon(peer: Peer): void {
    if (!peer.sync.giving && peer.sync.givePause.take(this.core.outbox.now)) this.give(peer);
  }

  /** Sends a slice. */
  sendSlice(peer: Peer): void {
    const { outbox } = this.core;
    const { slice } = peer.sync;
    if (slice.length === 0) return;
    outbox.begin(peer, MSG_SYNC_DATA, peer.sync.serving);
    for (let i = 0; i < slice.length; i++) outbox.add(peer, slice.items[i]);
    outbox.end(peer);
    peer.sync.sent += slice.length;
    slice.length = 0;
  }

  /** The whole table was walked over. */
  finish(peer: Peer): void {
    const { sync } = peer;
    sync.giving = false;
    this.core.counters.syncsGiven++;
    if (sync.serving === 0) return;
    sync.served = sync.serving;
    this.sendEnd(peer);
  }

  private sendEnd(peer: Peer): void {
    const { outbox } = this.core;
    outbox.post(peer, MSG_SYNC_END, 0, writeSync(outbox.bytes, peer.sync.served, peer.sync.sent));
  }
}
