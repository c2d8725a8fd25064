/**
 * The table, and what is said to it. A record stands under each of its ports, so that a port is one partition. The timestamp of a
 * write is made from the record's version, not from a clock: so the newest version wins in whatever order writes arrive, a
 * removal covers what is not newer, and of one version the write that expires later counts. TTLs are the records'
 * remaining lifetimes: nobody has to tidy up, and no two hosts have to agree on the time.
 */
import { GRACE, MAX_REMAINING, type RecordVersion } from '../contract.ts';

export interface Statements {
  readonly createKeyspace: string;
  readonly createTable: string;
  readonly findTable: string;
  readonly put: string;
  readonly remove: string;
  readonly read: string;
}

const TABLE = 'flow_state';

export function statementsFor(
  keyspace: string,
  replication: Readonly<Record<string, string | number>> = {},
): Statements {
  const options = Object.entries(replication).map(([name, value]) => `'${name}': '${value}'`);
  const table = `${keyspace}.${TABLE}`;
  // Ended records are tombstones for `gc_grace_seconds`, and a read of more than 100,000 of them fails: so it is short.
  return {
    createKeyspace: `CREATE KEYSPACE IF NOT EXISTS ${keyspace} WITH replication = {${options.join(', ')}}`,
    createTable: `CREATE TABLE IF NOT EXISTS ${table} (port uuid, name text, value blob, PRIMARY KEY (port, name)) WITH
      gc_grace_seconds = ${GRACE / 1000} AND default_time_to_live = ${MAX_REMAINING / 1000} AND compaction = {
      'class': 'SizeTieredCompactionStrategy', 'tombstone_compaction_interval': '600', 'unchecked_tombstone_compaction': 'true'}`,
    findTable: `SELECT table_name FROM system_schema.tables WHERE keyspace_name = '${keyspace}' AND table_name = '${TABLE}'`,
    put: `INSERT INTO ${table} (port, name, value) VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?`,
    remove: `DELETE FROM ${table} USING TIMESTAMP ? WHERE port = ? AND name = ?`,
    read: `SELECT value, TTL(value) AS ttl FROM ${table} WHERE port = ?`,
  };
}

/** Epochs count from here (July 2017), which leaves room until 2085. */
const FIRST_EPOCH = 1_500_000_000;
const MAX_EPOCH = 2 ** 31 - 1;
const MAX_VERSION = 2 ** 22 - 1;

/**
 * The timestamp of a version: 31 bits of its epoch, 22 of its version, the first 10 of its owner. Versions that these bits do not tell apart
 * count as equal.
 */
export function timestampOf({ epoch, version, owner }: RecordVersion): bigint {
  const high = Math.min(Math.max(epoch - FIRST_EPOCH, 0), MAX_EPOCH);
  const low = Math.min(version, MAX_VERSION) * 1024 + (Number.parseInt(owner.slice(0, 4), 16) >>> 6);
  return (BigInt(high) << 32n) | BigInt(low);
}
