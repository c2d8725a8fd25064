export { openCassandraArchive } from './cassandra/index.ts';
export type { CassandraArchiveOptions, CassandraTls } from './cassandra/options.ts';
export type * from './contract.ts';
export { compareVersions } from './contract.ts';
export { type EmbeddedArchiveOptions, openEmbeddedArchive } from './embedded/index.ts';
export { type IngestOptions, ingest, serve } from './transfer.ts';
