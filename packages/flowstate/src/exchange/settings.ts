import { FlowStateError } from '../errors.ts';

/** Times (milliseconds) and bounds of an exchange. Defaults: {@link DEFAULT_SETTINGS}. */
export interface ExchangeSettings {
  /** A peer hears something at least this often, at the next tick. */
  readonly heartbeat: number;
  /** First and longest pause between hellos to a peer that does not answer. */
  readonly helloRetry: number;
  readonly helloRetryMost: number;
  /** Least time between two hellos that answer a peer's datagrams, which may be replayed. */
  readonly helloAnswer: number;
  /** Silence after which a peer that is heard again counts as back. */
  readonly silence: number;
  /** How long a missing datagram may be merely late. */
  readonly gapDelay: number;
  /** After that without an answer what is missing is asked for again. */
  readonly resendRetry: number;
  /** A hello follows the last records so soon, so that their loss shows. */
  readonly tailProbe: number;
  /** Between two digests to a peer that should have records of this host. */
  readonly digest: number;
  /** A list has come when nothing more of it comes for so long; if nothing came at all, it is asked for again. */
  readonly listQuiet: number;
  /** Longest pause after comparisons that repaired nothing; it doubles up to here. */
  readonly compareMost: number;
  /** A synchronisation without progress is asked for again: after this first, at least every four times as long. */
  readonly syncRetry: number;
  /** Least and longest pause between synchronisations that losses cause, or calls; it doubles while they are frequent. */
  readonly syncPause: number;
  readonly syncPauseMost: number;
  /** An ask ends after this. */
  readonly askTimeout: number;
  /** Who has not answered by then is asked once more. */
  readonly askRetry: number;
  /** Asks a second, and answers a second to one peer; also how many at once. */
  readonly askRate: number;
  readonly answerRate: number;
  /** Records looked at per tick for synchronisations and lists, and of those sent. */
  readonly scanPerTick: number;
  readonly syncPerTick: number;
  /** Records per tick that are sent again because peers miss them. */
  readonly repairPerTick: number;
  /** What is remembered of datagrams sent to a peer: datagrams, and records in them. */
  readonly sentDatagrams: number;
  readonly sentRecords: number;
}

export const DEFAULT_SETTINGS: ExchangeSettings = {
  heartbeat: 900,
  helloRetry: 200,
  helloRetryMost: 5_000,
  helloAnswer: 100,
  silence: 3_000,
  gapDelay: 20,
  resendRetry: 60,
  tailProbe: 100,
  digest: 2_000,
  listQuiet: 500,
  compareMost: 32_000,
  syncRetry: 500,
  syncPause: 1_000,
  syncPauseMost: 30_000,
  askTimeout: 50,
  askRetry: 20,
  askRate: 1_000,
  answerRate: 1_000,
  scanPerTick: 32_768,
  syncPerTick: 1_024,
  repairPerTick: 4_096,
  sentDatagrams: 1_024,
  sentRecords: 8_192,
};

/** The settings with their defaults. @throws FlowStateError unless all are at least 1 */
export function settingsOf(given: Partial<ExchangeSettings> = {}): ExchangeSettings {
  const settings = { ...DEFAULT_SETTINGS, ...given };
  for (const [name, value] of Object.entries(settings)) {
    if (!(value >= 1 && value <= 0x7fffffff)) {
      throw new FlowStateError(
        'WEFT_FLOWSTATE_CONFIG',
        `The setting ${name} must be from 1 to 2^31 - 1, not ${value}.`,
      );
    }
  }
  return settings;
}
