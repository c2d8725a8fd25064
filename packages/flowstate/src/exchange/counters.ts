/* Why `receive` refuses a datagram: WIRE_… of what was not understood (-1 … -7), or: */

/** Its sender is no peer of this host. */
export const RECEIVE_UNKNOWN_SENDER = -8;
/** Its authentication is wrong. */
export const RECEIVE_AUTHENTICATION = -9;
/** Received before. */
export const RECEIVE_REPLAY = -10;
/** So old that it cannot be told whether it was received before. */
export const RECEIVE_TOO_OLD = -11;
/** Meant for an earlier life of this host. */
export const RECEIVE_OTHER_LIFE = -12;
/** From an earlier life of its sender. */
export const RECEIVE_PAST_LIFE = -13;

/** What was refused, and why: see {@link ExchangeCounters}. */
export type RefusedDatagrams = Record<(typeof REASONS)[number], number>;

const REASONS = [
  'truncated',
  'notOurs',
  'otherVersion',
  'unknownType',
  'wrongLength',
  'impossibleField',
  'noRoom',
  'unknownSender',
  'authentication',
  'replay',
  'tooOld',
  'otherLife',
  'pastLife',
] as const;

/** Name of the counter of a negative result of `receive`. */
export function refusalReason(result: number): keyof RefusedDatagrams {
  return REASONS[-1 - result];
}

/** What an exchange has done since it began. */
export class ExchangeCounters {
  sentDatagrams = 0;
  sentRecords = 0;
  sentBytes = 0;
  /** Datagrams to peers that nothing led to. */
  unsentDatagrams = 0;
  receivedDatagrams = 0;
  receivedRecords = 0;
  receivedBytes = 0;
  /** Peers that ticks looked at: something was due, or had come of them. */
  looks = 0;
  /** Records of peers that were new here, or newer. */
  applied = 0;
  /** The same version, but more was seen of it. */
  joined = 0;
  /** Hellos of peers that do not know this host's life yet. Not believed, not refused. */
  unacquainted = 0;
  /** Records for hosts that are no peers, or were never heard of: they synchronise when they come. */
  unreachable = 0;
  readonly refused: RefusedDatagrams = Object.fromEntries(REASONS.map((reason) => [reason, 0])) as RefusedDatagrams;
  /** Records in datagrams that were fine. */
  readonly refusedRecords = {
    /** Older than what is known. */
    stale: 0,
    /** No room for records, or for NAT blocks. */
    full: 0,
    /** Kept, but not found: their block has a newer token. */
    fenced: 0,
    /** Given out for this host's own of its present life, but not known. */
    claimed: 0,
    /** In an answer that nobody asked for, or about something else. */
    unasked: 0,
  };
  /** Requests to send again what was lost: to peers, from peers, and of those not worked on because the budget was spent. */
  resendsAsked = 0;
  resends = 0;
  repairsPutOff = 0;
  /** Synchronisations: asked of peers, of those completed, and given to peers. */
  syncsAsked = 0;
  syncsDone = 0;
  syncsGiven = 0;
  /** Digests that differed, comparisons of lists that followed, and records asked for as their result. */
  digestsDiffering = 0;
  comparisons = 0;
  wanted = 0;
  /** Asks of this host: begun, refused for lack of budget, answered by a record. */
  asks = 0;
  asksRefused = 0;
  asksFound = 0;
  /** Asks of peers: answered (found or not), and left unanswered because they came too fast. */
  answers = 0;
  answersRefused = 0;
}
