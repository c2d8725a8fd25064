/** A Cassandra of a test file's own, and archives on it. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, beforeEach } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isNsdbError } from '../../errors.ts';
import { TestCassandra } from '../../testing/cassandra.ts';
import type { ArchivedRecord, FlowStateArchive } from '../contract.ts';
import { newRecord } from '../testing.ts';
import { openCassandraArchive } from './index.ts';
import type { CassandraArchiveOptions } from './options.ts';

const REPLICATION = { class: 'SimpleStrategy', replication_factor: 1 };

/** Waits for a condition; the deadline only ends a test that has failed already. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) assert.fail(`never came true: ${what}`);
    await sleep(5);
  }
}

export function records(count: number, port: string, from = 0): ArchivedRecord[] {
  return Array.from({ length: count }, (_, i) => newRecord({ name: `n${from + i}`, ingress: port, egress: undefined }));
}

export function isAway(error: unknown): boolean {
  return isNsdbError(error, 'WEFT_ARCHIVE_AWAY');
}

export interface ServerBench {
  readonly server: TestCassandra;
  /** A port of the test's own. */
  readonly port: string;
  options(extra?: Partial<CassandraArchiveOptions>): CassandraArchiveOptions;
  /** An archive to be closed at the end. */
  closes(archive: FlowStateArchive): void;
  /** One that is. */
  open(extra?: Partial<CassandraArchiveOptions>): Promise<FlowStateArchive>;
}

/** To be called in a suite: its server runs while the suite does. */
export function serverBench(): ServerBench {
  let server: TestCassandra;
  let port: string;
  const opened: FlowStateArchive[] = [];
  before(async () => {
    server = await TestCassandra.start();
  });
  beforeEach(() => {
    port = randomUUID();
  });
  after(async () => {
    await Promise.all(opened.map((archive) => archive.close()));
    await server.close();
  });
  const options = (extra: Partial<CassandraArchiveOptions> = {}): CassandraArchiveOptions => ({
    contactPoints: [`127.0.0.1:${server.port}`],
    localDataCenter: 'datacenter1',
    replication: REPLICATION,
    credentials: TestCassandra.credentials,
    retryMs: 20,
    closeMs: 1_000,
    ...extra,
  });
  return {
    get server() {
      return server;
    },
    get port() {
      return port;
    },
    options,
    closes(archive) {
      opened.push(archive);
    },
    async open(extra) {
      const archive = await openCassandraArchive(options(extra));
      opened.push(archive);
      return archive;
    },
  };
}
