/** What the tests of the archive share: records from small numbers, and reading to the end. */
import { randomUUID } from 'node:crypto';
import type { ArchivedRecord, FlowStateArchive, ReadOptions, RecordVersion } from './contract.ts';

/** An epoch as hosts have them: Unix seconds. */
export const EPOCH = 1_780_000_000;
export const OWNER = '0b0e5c1a-0000-4000-8000-000000000001';

export function version(number: number, { epoch = EPOCH, owner = OWNER } = {}): RecordVersion {
  return { epoch, version: number, owner };
}

export function newRecord(fields: Partial<ArchivedRecord> = {}): ArchivedRecord {
  return {
    name: 'snat/7/tcp 10.0.0.1:1000 1.1.1.1:80',
    ingress: randomUUID(),
    egress: randomUUID(),
    version: version(1),
    bytes: Uint8Array.of(1, 2, 3),
    remaining: 600_000,
    ...fields,
  };
}

/** All records of a port, by name. */
export async function readAll(
  archive: FlowStateArchive,
  port: string,
  options?: ReadOptions,
): Promise<Map<string, ArchivedRecord>> {
  const found = new Map<string, ArchivedRecord>();
  for await (const chunk of archive.read(port, options)) for (const record of chunk) found.set(record.name, record);
  return found;
}
