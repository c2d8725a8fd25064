/**
 * A subscription's content on disk: a base (the whole content) and behind it the batches since, one checksummed line each.
 * A change costs what it is long, never the whole content; when the tail has outgrown the base, a new file replaces it by
 * rename. A torn or damaged line ends the reading: what stands before it is one consistent, if older, state.
 */
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Change, Interest, Revision } from '../contract.ts';
import { Pending } from '../subscription/pending.ts';

const FORMAT = 1;
const MIN_TAIL = 2 ** 20;

export interface SnapshotRecord {
  readonly generation: string;
  readonly revision: Revision;
  readonly changes: readonly Change[];
  /** Interests that the subscriber dropped. */
  readonly forget?: readonly Interest[];
}

export interface Snapshot {
  readonly generation: string;
  readonly revision: Revision;
  readonly content: Pending;
}

function line(record: unknown): string {
  const json = JSON.stringify(record);
  return `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;
}

/** The record in a line, or undefined if it is damaged. */
function unline(text: string): Record<string, unknown> | undefined {
  const json = text.slice(9);
  if (text[8] !== ' ' || crc32(json).toString(16).padStart(8, '0') !== text.slice(0, 8)) return undefined;
  return JSON.parse(json) as Record<string, unknown>;
}

export class SnapshotFile {
  readonly #path: string;
  #handle: FileHandle | undefined;
  #baseBytes = 0;
  #tailBytes = 0;
  #tail: Promise<void> = Promise.resolve();
  readonly #onError: (error: Error) => void;

  constructor(path: string, onError: (error: Error) => void) {
    this.#path = path;
    this.#onError = onError;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  }

  /** What the file holds, or undefined if there is none that can be trusted. */
  load(): Snapshot | undefined {
    if (!existsSync(this.#path)) return undefined;
    const content = new Pending();
    let generation: string | undefined;
    let revision: Revision = 0;
    for (const text of readFileSync(this.#path, 'utf8').split('\n')) {
      const record = unline(text);
      if (record === undefined) break;
      if (generation === undefined && record.format !== FORMAT) return undefined;
      const { changes, forget = [] } = record as unknown as SnapshotRecord;
      generation = record.generation as string;
      revision = record.revision as Revision;
      for (const change of changes) content.add(change);
      for (const interest of forget) content.forget(interest);
    }
    return generation === undefined ? undefined : { generation, revision, content };
  }

  /** Adds what changed. `content` is the whole as it is after the change; it is written when the tail has grown too long. */
  append(record: SnapshotRecord, content: Pending): void {
    if (this.#baseBytes === 0 || this.#tailBytes > Math.max(MIN_TAIL, 2 * this.#baseBytes)) {
      this.replace({ ...record, content });
      return;
    }
    const text = line(record);
    this.#tailBytes += text.length;
    this.#do(async () => {
      await this.#handle?.appendFile(text);
    });
  }

  /** Writes the whole anew. */
  replace({ generation, revision, content }: Snapshot): void {
    const text = line({ format: FORMAT, generation, revision, changes: content.peek() });
    this.#baseBytes = text.length;
    this.#tailBytes = 0;
    this.#do(async () => {
      const next = `${this.#path}.new`;
      await this.#handle?.close();
      this.#handle = undefined;
      const handle = await open(next, 'w', 0o600);
      try {
        await handle.chmod(0o600);
        await handle.writeFile(text);
        await handle.sync();
      } catch (error) {
        await handle.close();
        throw error;
      }
      renameSync(next, this.#path);
      this.#handle = handle;
    });
  }

  #do(work: () => Promise<void>): void {
    this.#tail = this.#tail.then(work).catch((error) => {
      // Without a good base nothing may be appended: the next change writes the whole again.
      this.#baseBytes = 0;
      this.#onError(error as Error);
    });
  }

  async close(): Promise<void> {
    this.#do(async () => {
      await this.#handle?.sync();
      await this.#handle?.close();
      this.#handle = undefined;
    });
    await this.#tail;
  }
}
