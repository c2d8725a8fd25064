/** Sequence numbers that are remembered behind the highest one. */
export const WINDOW = 1024;
const WINDOW_WORDS = WINDOW / 32;

/* What a datagram is, by its header. Numbers ≥ 0 are to be worked on. */

export const SESSION_OK = 0;
/** The peer is in a new life: ask for a full synchronisation. */
export const SESSION_NEW_LIFE = 1;
/** It does not know this host's incarnation yet: answer with a hello, and believe nothing else that it says. */
export const SESSION_UNACQUAINTED = 2;
/** Seen before. */
export const SESSION_REPLAY = -1;
/** So old that it cannot be told whether it was seen. */
export const SESSION_TOO_OLD = -2;
/** Meant for an earlier life of this host. */
export const SESSION_OTHER_LIFE = -3;
/** From an earlier life of the peer. */
export const SESSION_PAST_LIFE = -4;

/**
 * One peer, as seen by its datagrams: which were received, which are missing, which are replayed. Both incarnations stand under the
 * datagram's authentication, so what was recorded before either side's restart is recognised after it.
 *
 *   restarted A                       B
 *     hello (A7, for 0)      ───▶      does not believe A7 yet: it could be replayed
 *                            ◀───      hello (B3, for A7)
 *     believes B3, as A7 is new
 *     sync request (A7, for B3) ─▶     believes A7: nobody else knew both
 */
export class PeerSession {
  /** Incarnation of the peer that is believed; 0: none yet. */
  incarnation = 0;
  /** What a hello without knowledge of ours claimed: goes into answers to it, no further. */
  claimed = 0;
  /** Highest sequence number received of this life. */
  highest = 0;
  /** Numbers that fell out of the window unseen: with any, a full synchronisation is due. */
  lost = 0;
  private readonly own: number;
  /** First number of this life that was seen. */
  private first = 0;
  private nextSequence = 1;
  private readonly seen = new Int32Array(WINDOW_WORDS);

  /** @param incarnation of this host */
  constructor(incarnation: number) {
    this.own = incarnation;
  }

  /** Sequence number for the next datagram to the peer. */
  next(): number {
    return this.nextSequence++;
  }

  /** Incarnation of the peer to write into headers; 0: only a hello can be sent. */
  get addressee(): number {
    return Math.max(this.claimed, this.incarnation);
  }

  /** Judges a datagram whose authentication is right. Returns SESSION_…. */
  accept(senderIncarnation: number, receiverIncarnation: number, sequence: number): number {
    if (senderIncarnation < this.incarnation) return SESSION_PAST_LIFE;
    if (receiverIncarnation === 0) {
      if (senderIncarnation > this.incarnation) this.claimed = senderIncarnation;
      return SESSION_UNACQUAINTED;
    }
    if (receiverIncarnation !== this.own) return SESSION_OTHER_LIFE;
    let result = SESSION_OK;
    if (senderIncarnation > this.incarnation) {
      this.incarnation = senderIncarnation;
      this.claimed = 0;
      this.seen.fill(0);
      this.lost = 0;
      // What it sent before it knew us is no gap: its first number counts as the beginning.
      this.highest = sequence;
      this.first = sequence;
      this.set(sequence);
      return SESSION_NEW_LIFE;
    }
    if (sequence > this.highest) {
      this.moveTo(sequence);
    } else if (this.highest - sequence >= WINDOW) {
      result = SESSION_TOO_OLD;
    } else if (this.has(sequence)) {
      result = SESSION_REPLAY;
    } else if (sequence <= this.first) {
      // Sent before the peer's life was known here: it is neither a gap nor known to be new.
      result = SESSION_TOO_OLD;
    }
    if (result === SESSION_OK) this.set(sequence);
    return result;
  }

  /**
   * Ranges of numbers that are missing, oldest first, as pairs (first, last).
   * @param newestFirstAt numbers above this are left out: they may only be late
   * @param out two numbers a range
   * @returns how many ranges
   */
  gaps(newestFirstAt: number, out: Float64Array): number {
    const end = Math.min(this.highest, newestFirstAt);
    let count = 0;
    let open = false;
    for (let s = Math.max(this.first + 1, this.highest - WINDOW + 1); s <= end; s++) {
      if (this.has(s)) {
        open = false;
      } else if (open) {
        out[count * 2 - 1] = s;
      } else {
        if (count * 2 >= out.length) return count;
        out[count * 2] = s;
        out[count * 2 + 1] = s;
        count++;
        open = true;
      }
    }
    return count;
  }

  /** The missing numbers up to `last` were repaired, or a synchronisation makes them needless. */
  forgive(last: number): void {
    const end = Math.min(last, this.highest);
    for (let s = Math.max(1, this.highest - WINDOW + 1); s <= end; s++) this.set(s);
    this.lost = 0;
  }

  private has(sequence: number): boolean {
    const bit = sequence % WINDOW;
    return ((this.seen[bit >>> 5] >>> (bit & 31)) & 1) !== 0;
  }

  private set(sequence: number): void {
    const bit = sequence % WINDOW;
    this.seen[bit >>> 5] |= 1 << (bit & 31);
  }

  private moveTo(sequence: number): void {
    const leaving = sequence - WINDOW;
    const known = Math.min(leaving, this.highest);
    for (let s = Math.max(this.first, this.highest - WINDOW) + 1; s <= known; s++) if (!this.has(s)) this.lost++;
    if (leaving > this.highest) this.lost += leaving - this.highest;
    // Their places stand for new numbers now.
    for (let s = Math.max(this.highest, leaving) + 1; s <= sequence; s++) {
      const bit = s % WINDOW;
      this.seen[bit >>> 5] &= ~(1 << (bit & 31));
    }
    this.highest = sequence;
  }
}
