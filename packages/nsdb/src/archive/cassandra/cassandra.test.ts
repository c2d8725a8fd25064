import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import cassandra from 'cassandra-driver';
import { isNsdbError } from '../../errors.ts';
import { cassandraMissing, TestCassandra } from '../../testing/cassandra.ts';
import { archiveCompliance } from '../compliance/index.ts';
import type { ArchivedRecord, ArchiveStats, FlowStateArchive } from '../contract.ts';
import { newRecord, readAll, version } from '../testing.ts';
import { openCassandraArchive } from './index.ts';
import type { CassandraArchiveOptions } from './options.ts';

const REPLICATION = { class: 'SimpleStrategy', replication_factor: 1 };

/** Waits for a condition; the deadline only ends a test that has failed already. */
async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) assert.fail(`never came true: ${what}`);
    await sleep(5);
  }
}

function records(count: number, port: string, from = 0): ArchivedRecord[] {
  return Array.from({ length: count }, (_, i) => newRecord({ name: `n${from + i}`, ingress: port, egress: undefined }));
}

function isAway(error: unknown): boolean {
  return isNsdbError(error, 'WEFT_ARCHIVE_AWAY');
}

describe('with a server', { skip: cassandraMissing() }, () => {
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
  const open = async (extra?: Partial<CassandraArchiveOptions>): Promise<FlowStateArchive> => {
    const archive = await openCassandraArchive(options(extra));
    opened.push(archive);
    return archive;
  };

  archiveCompliance('Cassandra', () => ({ open: (extra = {}) => openCassandraArchive(options(extra)), runs: 15 }));

  test('with TLS the server must prove who it is', async () => {
    const given = records(1, port);
    for (const tls of [{ ca: server.ca }, { ca: server.ca, serverName: 'cassandra.test' }]) {
      const archive = await open({ tls });
      archive.put(given);
      await archive.flush();
      assert.equal((await readAll(archive, port)).size, 1);
    }
    for (const tls of [{}, { ca: server.ca, serverName: 'another.test' }]) {
      const archive = await open({ tls, requestTimeoutMs: 300 });
      archive.put(records(1, port, 1));
      await until(() => !archive.stats().up, 'the server is refused');
      await assert.rejects(readAll(archive, port), isAway);
      assert.equal(archive.stats().written, 0);
    }
  });

  test('a wrong password costs nothing but what is dropped', async () => {
    const archive = await open({
      credentials: { username: 'cassandra', password: 'wrong' },
      maxQueued: 5,
      requestTimeoutMs: 300,
    });
    archive.put(records(12, port));
    await until(() => !archive.stats().up, 'the login is refused');
    await assert.rejects(readAll(archive, port), isAway);
    const { queued, dropped } = archive.stats();
    assert.deepEqual({ queued, dropped }, { queued: 5, dropped: 7 });
  });

  test('without replication options nothing is made; when the table is there, it goes on by itself', async () => {
    const keyspace = `made_${port.slice(0, 8)}`;
    const { replication: _, ...without } = options({ keyspace });
    const archive = await openCassandraArchive(without);
    opened.push(archive);
    archive.put(records(1, port));
    // A table that is not there is an invalid request, which is not made again.
    await until(() => archive.stats().failed === 1, 'the write fails');
    await assert.rejects(readAll(archive, port), isAway);
    const maker = await open({ keyspace });
    maker.put(records(1, port, 1));
    await maker.flush();
    archive.put(records(1, port, 2));
    await archive.flush();
    assert.deepEqual([...(await readAll(archive, port)).keys()], ['n1', 'n2']);
  });

  test('rows that are no records are counted and passed over', async () => {
    const archive = await open();
    archive.put(records(1, port));
    await archive.flush();
    const client = new cassandra.Client(options() as cassandra.ClientOptions);
    const insert = 'INSERT INTO weft.flow_state (port, name, value) VALUES (?, ?, ?)';
    await client.execute(insert, [port, 'bad', Buffer.from('junk')], { prepare: true });
    await client.execute(insert, [port, 'worse', null], { prepare: true });
    await client.shutdown();
    assert.deepEqual([...(await readAll(archive, port)).keys()], ['n0']);
    assert.equal(archive.stats().damaged, 2);
  });

  test('while the server stands still nobody waits, memory is bounded, and the newest is written afterwards', async () => {
    const archive = await open({ maxQueued: 500, maxInFlight: 16, requestTimeoutMs: 300 });
    archive.put(records(1, port));
    await archive.flush();
    server.signal('SIGSTOP');
    try {
      for (let i = 0; i < 20; i++) {
        archive.put(records(100, port, i * 100));
        await sleep(1);
      }
      const { queued, writing } = archive.stats();
      assert.ok(queued <= 500 && writing <= 16, `${queued} wait, ${writing} are being written`);
      await until(() => !archive.stats().up, 'the writes time out');
      await assert.rejects(readAll(archive, port), isAway);
      const aborted = readAll(archive, port, { signal: AbortSignal.timeout(10) });
      await assert.rejects(aborted, { name: 'TimeoutError' });
    } finally {
      server.signal('SIGCONT');
    }
    await archive.flush();
    const found = await readAll(archive, port);
    for (let i = 1_600; i < 2_000; i++) assert.ok(found.has(`n${i}`), `n${i} was among the newest`);
    const { up, dropped, failed } = archive.stats();
    assert.equal(up, true);
    assert.equal(failed, 0);
    assert.ok(dropped >= 1_400, `${dropped} of the oldest`);
  });

  test('closing while the server stands still ends, and counts what was not written', async () => {
    const archive = await open({ closeMs: 100 });
    archive.put(records(1, port));
    await archive.flush();
    server.signal('SIGSTOP');
    try {
      archive.put(records(200, port, 1));
      await archive.close();
      const { queued, writing, dropped, offered } = archive.stats();
      assert.equal(queued, 0);
      assert.equal(dropped + writing, 200);
      assert.equal(offered, 201);
    } finally {
      server.signal('SIGCONT');
    }
  });

  test('over a link that crawls writes wait in the queue, few at a time, and arrive', async () => {
    const link = await SlowLink.to(server.port, 30);
    const archive = await open({ contactPoints: [`127.0.0.1:${link.port}`], maxInFlight: 8, requestTimeoutMs: 20_000 });
    archive.put(records(100, port));
    let most = 0;
    const watch = setInterval(() => (most = Math.max(most, archive.stats().writing)), 1);
    await archive.flush();
    clearInterval(watch);
    assert.ok(link.bytes > 10_000, `${link.bytes} bytes went by it`);
    assert.ok(most > 0 && most <= 8, `${most} at once`);
    assert.equal((await readAll(archive, port)).size, 100);
    await archive.close();
    link.close();
  });

  test('killed and started again, it is given what the queue kept', async () => {
    const archive = await open({ maxQueued: 50 });
    const late = await open({ maxQueued: 50, requestTimeoutMs: 300 });
    archive.put(records(5, port));
    await archive.flush();
    await server.kill();
    archive.put(records(200, port, 100));
    await until(() => !archive.stats().up, 'the server is gone');
    await assert.rejects(readAll(archive, port), isAway);
    // One that begins while the server is away is no different.
    const early = await open({ maxQueued: 50, requestTimeoutMs: 300 });
    early.put([newRecord({ name: 'n100000', ingress: port })]);
    await assert.rejects(readAll(early, port), isAway);
    const never = await open();
    await never.close();

    await server.launch();
    await Promise.all([archive.flush(), early.flush()]);
    late.put([newRecord({ name: 'n299', ingress: port, egress: undefined, version: version(2) })]);
    await late.flush();
    const found = await readAll(archive, port);
    assert.ok(found.has('n100000'));
    for (let i = 251; i < 300; i++) assert.ok(found.has(`n${i}`), `n${i}`);
    assert.equal(found.get('n299')!.version.version, 2);
    const sum = ({ written, dropped, failed }: ArchiveStats): number => written + dropped + failed;
    assert.equal(sum(archive.stats()), 205);
  });
});

/** A TCP relay that holds every piece back for a while. */
class SlowLink {
  port = 0;
  bytes = 0;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  static async to(target: number, delayMs: number): Promise<SlowLink> {
    const link = new SlowLink();
    const relay = (from: Socket, to: Socket): void => {
      link.#sockets.add(from);
      from.on('data', (piece) => {
        link.bytes += piece.length;
        setTimeout(() => to.write(piece), delayMs);
      });
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
    };
    link.#server = createServer((near) => {
      const far = connect(target, '127.0.0.1');
      relay(near, far);
      relay(far, near);
    });
    await once(link.#server.listen(0, '127.0.0.1'), 'listening');
    link.port = (link.#server.address() as { port: number }).port;
    return link;
  }

  close(): void {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
