/**
 * The archive of connections on the main thread: what the packet worker hands over goes into it, and what it asks for comes out of it.
 * Nobody waits for it: an archive that is away, slow or full shows in its numbers and nowhere else.
 */
import { archiveEntries } from '@weft/flowstate';
import type { ArchivedKey, ArchivedRecord, ArchiveStats, FlowStateArchive } from '@weft/nsdb/archive';
import type { Log } from '../events.ts';
import type { Restored } from '../worker/connections/restorer.ts';

/** A reading that takes longer ends: what it would still bring is old. */
const READ_MS = 30_000;

/** What `/status` says of an archive that is switched off. */
export const NO_ARCHIVE: ArchiveStats = {
  up: true,
  offered: 0,
  queued: 0,
  writing: 0,
  written: 0,
  superseded: 0,
  expired: 0,
  dropped: 0,
  failed: 0,
  invalid: 0,
  evicted: 0,
  damaged: 0,
};

/** Who takes what was read: the packet worker. */
export interface RestoreSink {
  restored(records: readonly Restored[]): void;
  restoreEnded(port: string, whole: boolean): void;
}

export class ConnectionArchive {
  private readonly archive: FlowStateArchive;
  private readonly sink: RestoreSink;
  private readonly log: Log;
  private readonly closing = new AbortController();

  constructor(archive: FlowStateArchive, sink: RestoreSink, log: Log) {
    this.archive = archive;
    this.sink = sink;
    this.log = log;
  }

  /** Takes entries of the worker. */
  put(entries: Uint8Array): void {
    const records: ArchivedRecord[] = [];
    const removals: ArchivedKey[] = [];
    for (const entry of archiveEntries(entries)) {
      const key: ArchivedKey = {
        name: Buffer.from(entry.name).toString('base64url'),
        ingress: uuidText(entry.ingress),
        egress: entry.egress === null ? undefined : uuidText(entry.egress),
        version: { epoch: entry.epoch, version: entry.version, owner: uuidText(entry.owner) },
      };
      if (entry.removal) removals.push(key);
      else records.push({ ...key, bytes: entry.record, remaining: entry.remaining });
    }
    if (records.length > 0) this.archive.put(records);
    if (removals.length > 0) this.archive.remove(removals);
  }

  /** Gives the worker what there is of a port. Never fails. */
  async read(port: string): Promise<void> {
    let found = 0;
    try {
      const signal = AbortSignal.any([this.closing.signal, AbortSignal.timeout(READ_MS)]);
      for await (const records of this.archive.read(port, { signal })) {
        found += records.length;
        this.sink.restored(records.map(({ bytes, remaining }) => ({ bytes, remaining })));
      }
      if (found > 0) this.log('archive.read', { port, records: found });
      this.sink.restoreEnded(port, true);
    } catch (error) {
      if (!this.closing.signal.aborted) {
        this.log('archive.failed', { port, records: found, error: (error as Error).message });
      }
      this.sink.restoreEnded(port, false);
    }
  }

  stats(): ArchiveStats {
    return this.archive.stats();
  }

  /** Writes what waits, for a bounded time. */
  async close(): Promise<void> {
    this.closing.abort(new Error('the agent stops'));
    await this.archive.close();
  }
}

function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
