/** A backup on disk: lines of JSON, a head, the records, and an end with their number and digest. */
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { NsdbError } from '../errors.ts';
import type { StoreImage, StoreRecord } from './records.ts';

const FORMAT = 'weft-store-backup/1';

/** Writes the image into a file (mode 0600), all of it or, if that fails, none under this name. */
export function writeBackup(file: string, { generation, revision, records }: StoreImage): void {
  const partial = `${file}.partial`;
  const fd = openSync(partial, 'w', 0o600);
  try {
    const digest = createHash('sha256');
    const write = (value: unknown) => {
      const line = `${JSON.stringify(value)}\n`;
      digest.update(line);
      writeSync(fd, line);
    };
    write({ format: FORMAT, generation, revision });
    for (const record of records) write(record);
    writeSync(fd, `${JSON.stringify({ end: records.length, sha256: digest.digest('hex') })}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(partial, file);
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
