export * from './audience.ts';
export * from './block-table.ts';
export * from './digest.ts';
export * from './errors.ts';
export * from './exchange/index.ts';
export { regionBytes, type TableOptions } from './memory.ts';
export * from './nat-pool.ts';
export * from './peer-keys.ts';
export {
  ConnectionRecord,
  FLAG_ASIDE,
  FLAG_CAPPED,
  FLAG_KEEP,
  FLAG_LIVE,
  FLAG_NO_RETURN,
  FLAG_SHARED,
  FLAG_TOMBSTONE,
  R_BITS,
  R_EGRESS,
  R_INGRESS,
  R_RETURN,
  R_RULE,
  RECORD_WORDS,
} from './record.ts';
export * from './sent-log.ts';
export * from './session.ts';
export * from './table.ts';
export * from './timeouts.ts';
export * from './tuple.ts';
export { UuidTable } from './uuid-table.ts';
export {
  ARCHIVE_ENTRY_SIZE,
  type ArchiveEntry,
  ArchiveReader,
  ArchiveWriter,
  archiveEntries,
} from './wire/archived.ts';
export * from './wire/header.ts';
export * from './wire/messages.ts';
export * from './wire/records.ts';
export { addressToWords, wordsAreV4, wordsToAddress } from './words.ts';
