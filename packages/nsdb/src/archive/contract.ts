/**
 * The flow-state archive: what hosts remember of connections, kept per port as a backup. Hosts tell each other about
 * connections directly; the archive is read only where nothing is known: after a restart that lost the memory, or when a port
 * has moved to this host. What it holds may be some seconds old, and it may lose records. It never makes anybody wait.
 *
 * The records themselves are opaque here; what stands beside them is what finding, ordering and expiring them needs.
 */

/** Order of the versions of one record: by epoch, then version, then owner. Both numbers are unsigned 32-bit. */
export interface RecordVersion {
  /** The incarnation under which it was written: Unix seconds, or greater. */
  readonly epoch: number;
  readonly version: number;
  /** UUID of the host that decided about the connection. */
  readonly owner: string;
}

/** What a record is known by. */
export interface ArchivedKey {
  /** Its forward tuple in any form that all hosts share; the same for all its versions. At most 256 bytes in UTF-8. */
  readonly name: string;
  /** UUIDs of the ports that it is kept under. Those of a record that moves to another port may show its older version until that expires. */
  readonly ingress: string;
  readonly egress: string | undefined;
  readonly version: RecordVersion;
}

export interface ArchivedRecord extends ArchivedKey {
  /** As the hosts send it to each other. At most 1,024 bytes. */
  readonly bytes: Uint8Array;
  /** Milliseconds until it expires if nothing is seen of it. */
  readonly remaining: number;
}

/** Since the archive was opened. `offered` is the sum of `queued`, `writing` and all below. */
export interface ArchiveStats {
  /** Whether the last attempt to write, or to reach where it is kept, succeeded; also before the first. */
  readonly up: boolean;
  /** Records and removals given to `put` and `remove`. */
  readonly offered: number;
  readonly queued: number;
  readonly writing: number;
  readonly written: number;
  /** A newer version, or a removal, was given before they were written. */
  readonly superseded: number;
  /** Their lifetime ended while they waited. */
  readonly expired: number;
  /** The queue, or the place where they are kept, had no room. */
  readonly dropped: number;
  /** Writing failed, and was not repeated. */
  readonly failed: number;
  /** Broke a rule of this page. */
  readonly invalid: number;
  /** Not among `offered`, like the next: written before, and given up to make room for later ones. */
  readonly evicted: number;
  /** What was found damaged while reading, and passed over. */
  readonly damaged: number;
}

export interface ReadOptions {
  /** Ends the reading with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface FlowStateArchive {
  /**
   * Gives records to the archive and returns at once; never throws. What is given is copied. A bounded number waits to be
   * written; beyond it the oldest go. Of one name only the newest version waits. Of equal versions the one that lives longer counts.
   */
  put(records: readonly ArchivedRecord[]): void;
  /** Forgets records up to and including these versions; older versions that arrive later stay away for some minutes. */
  remove(keys: readonly ArchivedKey[]): void;
  /**
   * The live records that are kept under a port, the newest version of each, in chunks of at most 256. What still waits to be
   * written is not among them. `remaining` is what remains now.
   * @throws NsdbError WEFT_ARCHIVE_AWAY, also between chunks; what came before it holds.
   */
  read(port: string, options?: ReadOptions): AsyncIterable<readonly ArchivedRecord[]>;
  stats(): ArchiveStats;
  /** Resolves when all that was given before has been written or was given up. While the archive is away that is never: bound it. */
  flush(): Promise<void>;
  /** Writes what waits, for a bounded time, and lets go of everything. Afterwards what is given is dropped. */
  close(): Promise<void>;
}

/** Records in a chunk of `read`. */
export const CHUNK_RECORDS = 256;
export const MAX_NAME_BYTES = 256;
export const MAX_RECORD_BYTES = 1024;
/** Longest lifetime that is believed, ms: a day. */
export const MAX_REMAINING = 86_400_000;
/** How long a version that expired or was removed keeps older ones away, ms. */
export const GRACE = 300_000;

/** Negative: `a` is older than `b`; 0: the same. */
export function compareVersions(a: RecordVersion, b: RecordVersion): number {
  return a.epoch - b.epoch || a.version - b.version || (a.owner < b.owner ? -1 : a.owner > b.owner ? 1 : 0);
}
