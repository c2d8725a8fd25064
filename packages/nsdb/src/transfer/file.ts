/** A backup on disk: lines of JSON, a head, the records, and an end with their number and digest. */
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { NsdbError } from '../errors.ts';
import type { StoreContent, StoreImage, StoreRecord } from './records.ts';

const FORMAT = 'weft-store-backup/1';

/** Bytes that are gathered before they are written. */
const CHUNK_BYTES = 256 * 1024;

/**
 * Writes the content into a file (mode 0600), all of it or, if that fails, none under this name. `onProgress` is told how many records are written.
 * @returns how many there were
 */
export function writeBackup(
  file: string,
  { generation, revision, records }: Pick<StoreContent, 'generation' | 'revision' | 'records'>,
  onProgress?: (written: number) => void,
): number {
  const partial = `${file}.partial`;
  const fd = openSync(partial, 'w', 0o600);
  let count = 0;
  try {
    const digest = createHash('sha256');
    let waiting = '';
    const flush = () => {
      digest.update(waiting);
      writeFileSync(fd, waiting);
      waiting = '';
    };
    waiting += `${JSON.stringify({ format: FORMAT, generation, revision })}\n`;
    for (const record of records) {
      waiting += `${JSON.stringify(record)}\n`;
      count++;
      if (waiting.length < CHUNK_BYTES) continue;
      flush();
      onProgress?.(count);
    }
    flush();
    onProgress?.(count);
    writeFileSync(fd, `${JSON.stringify({ end: count, sha256: digest.digest('hex') })}\n`);
    fsyncSync(fd);
  } catch (error) {
    unlinkSync(partial);
    throw error;
  } finally {
    closeSync(fd);
  }
  renameSync(partial, file);
  return count;
}

/** Reads a backup. WEFT_STORE_FORMAT unless it is whole. */
export function readBackup(file: string): StoreImage {
  const text = readFileSync(file, 'utf8');
  const lines = text.split('\n');
  const wrong = (what: string) => new NsdbError('WEFT_STORE_FORMAT', `${file}: ${what}`);
  try {
    const head = JSON.parse(lines[0]) as { format: string; generation: string; revision: number };
    if (head.format !== FORMAT) throw wrong(`it is not of the format ${FORMAT}`);
    const end = JSON.parse(lines.at(-2) ?? '') as { end: number; sha256: string };
    const body = lines.slice(0, -2);
    const digest = createHash('sha256')
      .update(`${body.join('\n')}\n`)
      .digest('hex');
    if (end.sha256 !== digest || end.end !== body.length - 1 || lines.at(-1) !== '') throw wrong('it is damaged');
    const records = body.slice(1).map((line) => JSON.parse(line) as StoreRecord);
    return { generation: head.generation, revision: head.revision, records, garbage: 0 };
  } catch (error) {
    if (error instanceof NsdbError) throw error;
    throw wrong((error as Error).message);
  }
}
