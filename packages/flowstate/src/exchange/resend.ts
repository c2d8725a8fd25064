import { MSG_RESEND, MSG_STATE, WIRE_OK, type WireHeader } from '../wire/header.ts';
import { RESEND_NUMBERS, RESEND_RANGES, readResend, writeResend } from '../wire/messages.ts';
import { type Core, concerns } from './core.ts';
import type { Peer } from './peer.ts';
import type { Sync } from './sync.ts';

/** What is known of the datagrams of a peer that are missing. */
export class GapState {
  /** There may be gaps. */
  suspected = false;
  /** Numbers up to here had time enough to come late. */
  settled = 0;
  /** The highest number at a time that is `gapDelay` ago soon. */
  mark = 0;
  markedAt = 0;
  /** Number of the request under way, 0: none; when it was sent, and the last number that it names. */
  request = 0;
  askedAt = 0;
  askedLast = 0;

  reset(): void {
    this.suspected = false;
    this.request = 0;
  }
}

/**
 * Repairs gaps. Who misses datagrams asks for at most {@link RESEND_NUMBERS} of them at a time, and again until an answer comes; the answer
 * holds the records of those datagrams as they are now. If it is lost, it is a gap itself.
 */
export class Resend {
  private readonly core: Core;
  private readonly sync: Sync;
  private readonly ranges = new Float64Array(RESEND_RANGES * 2);
  /** Of each record the last answer that it stands in: none is sent twice in one. */
  private readonly answered: Int32Array;
  private answer = 0;
  private peer: Peer | undefined;

  constructor(core: Core, sync: Sync) {
    this.core = core;
    this.sync = sync;
    this.answered = new Int32Array(core.table.capacity);
  }

  /** A datagram of a peer was accepted; its highest number was `before`. */
  note(peer: Peer, before: number): void {
    const { gaps, session } = peer;
    if (session.highest <= before + 1 || gaps.suspected) return;
    gaps.suspected = true;
    gaps.settled = 0;
    gaps.mark = session.highest;
    gaps.markedAt = this.core.outbox.now;
  }

  tick(peer: Peer): void {
    const { gaps, session } = peer;
    const { outbox, settings, counters } = this.core;
    this.takeLost(peer);
    if (!gaps.suspected) return;
    if (outbox.now - gaps.markedAt >= settings.gapDelay) {
      gaps.settled = gaps.mark;
      gaps.mark = session.highest;
      gaps.markedAt = outbox.now;
    }
    if (gaps.request !== 0 && outbox.now - gaps.askedAt < settings.resendRetry) return;
    const { ranges } = this;
    const count = boundRanges(ranges, session.gaps(gaps.settled, ranges));
    if (count === 0) {
      gaps.request = 0;
      if (session.gaps(session.highest, ranges) === 0) gaps.suspected = false;
      return;
    }
    gaps.askedLast = ranges[count * 2 - 1];
    gaps.askedAt = outbox.now;
    gaps.request = outbox.post(peer, MSG_RESEND, count, writeResend(outbox.bytes, ranges, count));
    counters.resendsAsked++;
  }

  /** Records came that are the answer to the request whose number ends in `about`. */
  confirmed(peer: Peer, about: number): void {
    const { gaps } = peer;
    if (gaps.request === 0 || gaps.request >>> 0 !== about) return;
    gaps.request = 0;
    this.takeLost(peer);
    peer.session.forgive(gaps.askedLast);
  }

  /** A peer asks. Returns ≥ 0 or WIRE_…. */
  onRequest(peer: Peer, bytes: Uint8Array, header: WireHeader): number {
    const { outbox, counters, budget } = this.core;
    const { ranges } = this;
    const result = readResend(bytes, header, ranges);
    if (result !== WIRE_OK) return result;
    if (budget.repairs <= 0) {
      // It will ask again.
      counters.repairsPutOff++;
      return 0;
    }
    counters.resends++;
    this.peer = peer;
    this.answer = (this.answer + 1) | 0;
    let remembered = true;
    outbox.begin(peer, MSG_STATE, header.sequence >>> 0);
    for (let i = 0; i < header.count; i++) {
      for (let s = ranges[i * 2]; s <= ranges[i * 2 + 1]; s++) {
        if (s < peer.logFrom || s > peer.lastSequence) continue;
        if (!peer.log!.recall(s, this.again)) remembered = false;
      }
    }
    outbox.end(peer, true);
    if (!remembered) this.sync.giveSoon(peer);
    return 0;
  }

  private readonly again = (record: number): void => {
    const { table, outbox, budget } = this.core;
    if (this.answered[record] === this.answer || !concerns(table, record, this.peer!.number)) return;
    this.answered[record] = this.answer;
    budget.repairs--;
    outbox.add(this.peer!, record);
  };

  /** What fell out of the window can only be had by a synchronisation. */
  private takeLost(peer: Peer): void {
    const { session } = peer;
    if (session.lost === 0) return;
    peer.lost += session.lost;
    session.lost = 0;
    this.sync.requestSoon(peer);
  }
}

/** Cuts ranges to {@link RESEND_NUMBERS} numbers in all. Returns how many ranges are left. */
function boundRanges(ranges: Float64Array, count: number): number {
  let left = RESEND_NUMBERS;
  for (let i = 0; i < count; i++) {
    const numbers = ranges[i * 2 + 1] - ranges[i * 2] + 1;
    if (numbers >= left) {
      ranges[i * 2 + 1] = ranges[i * 2] + left - 1;
      return i + 1;
    }
    left -= numbers;
  }
  return count;
}
