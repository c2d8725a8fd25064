/** The log of one port: appended to, read as a whole, and replaced by what still matters of it. */
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { encodeBody } from '../codec.ts';
import { compareVersions, GRACE, MAX_REMAINING } from '../contract.ts';
import { type ArchiveClock, elapsedSince, type Stamp, stampNow } from './clock.ts';
import { decodeEntry, type Entry, encodeEntry, entryBytes, MAX_ENTRY } from './entry.ts';

const BLOCK = 256 * 1024;
/** Entries that are dealt with before others get their turn. */
const AT_ONCE = 512;
/** A log shorter than this is not worth replacing. */
const MIN_TAIL = 64 * 1024;

/** Milliseconds that are left of an entry; negative: since its end. */
export function remainingOf(entry: Entry, now: Stamp): number {
  return Math.min(entry.remaining, MAX_REMAINING) - elapsedSince(entry.stamp, now);
}

export interface Content {
  /** The newest entry of each name, the one that was written last at the end. */
  readonly newest: Map<string, Entry>;
  /** It has an end that could not be read. */
  readonly damaged: boolean;
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Reads a log; one that is not there is empty. @throws errors of the file system, the signal's reason */
export async function readLog(path: string, now: Stamp, signal?: AbortSignal): Promise<Content> {
  const newest = new Map<string, Entry>();
  const file = await openIfThere(path);
  if (file === undefined) return { newest, damaged: false };
  try {
    const block = Buffer.allocUnsafe(BLOCK + MAX_ENTRY);
    let kept = 0;
    for (;;) {
      signal?.throwIfAborted();
      const { bytesRead } = await file.read(block, kept, BLOCK);
      if (bytesRead === 0) return { newest, damaged: kept > 0 };
      const end = kept + bytesRead;
      let start = 0;
      for (;;) {
        const entry = decodeEntry(block.subarray(start, end));
        if (entry === 'damaged') return { newest, damaged: true };
        if (entry === 'short') break;
        start += entryBytes(entry);
        keep(newest, entry, now);
      }
      block.copyWithin(0, start, end);
      kept = end - start;
    }
  } finally {
    await file.close();
  }
}

function keep(newest: Map<string, Entry>, entry: Entry, now: Stamp): void {
  const { name, version } = entry.record;
  const before = newest.get(name);
  if (before !== undefined) {
    const order = compareVersions(version, before.record.version);
    if (order < 0) return;
    if (order === 0 && before.removal) return;
    if (order === 0 && !entry.removal && remainingOf(entry, now) <= remainingOf(before, now)) return;
    newest.delete(name);
  }
  newest.set(name, entry);
}

export class PortLog {
  readonly path: string;
  /** Bytes, as far as is known to be whole. */
  size: number;
  /** The steady time by which nothing in it can matter any more. Of a log from an earlier life it is not known, and 0. */
  deadAt = 0;
  /** It has to be read and replaced before anything is added: it is of an earlier life, or a write to it failed. */
  suspect: boolean;
  /** It has grown since it was last synchronised with the disk. */
  dirty = false;
  #sizeWhenReplaced = 0;

  constructor(path: string, size: number) {
    this.path = path;
    this.size = size;
    this.suspect = size > 0;
  }

  /** Whether adding so many bytes calls for replacing the log first. */
  isDue(bytes: number, maxBytes: number): boolean {
    const size = this.size + bytes;
    return this.suspect || size > maxBytes || size > MIN_TAIL + 2 * this.#sizeWhenReplaced;
  }

  /** @throws errors of the file system; what was written in part is cut off, now or when the log is replaced */
  async append(bytes: Buffer, deadAt: number): Promise<void> {
    this.suspect = true;
    const file = await open(this.path, 'a', 0o600);
    try {
      await file.appendFile(bytes);
      this.suspect = false;
    } catch (error) {
      await file.truncate(this.size).then(() => (this.suspect = false), ignore);
      throw error;
    } finally {
      await file.close();
    }
    this.size += bytes.length;
    this.deadAt = Math.max(this.deadAt, deadAt);
    this.dirty = true;
  }

  /**
   * Replaces the log by what matters of it: live records, with lifetimes that count from now, and for some time names and versions of those that
   * have ended. At most `room` bytes stay: what ended goes first, then what was written longest ago. A log without
   * content is removed.
   * @returns how many live records found no room
   */
  async replace(room: number, clock: ArchiveClock): Promise<{ dropped: number; damaged: boolean }> {
    const now = stampNow(clock);
    this.#sizeWhenReplaced = this.size; // if it fails the log goes on growing; it is tried again when it has doubled
    const { newest, damaged } = await readLog(this.path, now);
    const live: Buffer[] = [];
    const ended: Buffer[] = [];
    let deadAt = 0;
    let count = 0;
    for (const entry of newest.values()) {
      if (++count % AT_ONCE === 0) await nextTurn();
      const remaining = remainingOf(entry, now);
      if (remaining <= -GRACE) continue;
      deadAt = Math.max(deadAt, now.steady + remaining + GRACE);
      if (remaining > 0) live.push(encodeEntry({ ...entry, stamp: now, remaining }));
      else ended.push(encodeEndOf(entry, { ...now, steady: now.steady + remaining, wall: now.wall + remaining }));
    }
    const kept: Buffer[] = [];
    let size = 0;
    let dropped = 0;
    for (const list of [live, ended]) {
      for (let i = list.length - 1; i >= 0; i--) {
        const bytes = list[i]!;
        if (size + bytes.length <= room) {
          size += bytes.length;
          kept.push(bytes);
        } else if (list === live) {
          dropped++;
        }
      }
    }
    await this.#overwrite(Buffer.concat(kept.reverse(), size));
    this.size = size;
    this.#sizeWhenReplaced = size;
    this.deadAt = deadAt;
    this.suspect = false;
    return { dropped, damaged };
  }

  async #overwrite(bytes: Buffer): Promise<void> {
    if (bytes.length === 0) {
      await unlink(this.path).catch(unlessAbsent);
      this.dirty = false;
      return;
    }
    const next = `${this.path}.new`;
    try {
      const file = await open(next, 'w', 0o600);
      try {
        await file.writeFile(bytes);
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(next, this.path);
    } catch (error) {
      await unlink(next).catch(unlessAbsent);
      throw error;
    }
    this.dirty = false;
  }

  /** Waits until what was appended is on the disk. */
  async sync(): Promise<void> {
    if (!this.dirty) return;
    this.dirty = false;
    const file = await open(this.path, 'r');
    try {
      await file.datasync();
    } finally {
      await file.close();
    }
  }
}

/** Of a record that has ended only name and version stay. */
function encodeEndOf({ removal, record }: Entry, end: Stamp): Buffer {
  return encodeEntry({ removal, stamp: end, remaining: 0, body: encodeBody(record)! });
}

function ignore(): void {}

function unlessAbsent(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}
