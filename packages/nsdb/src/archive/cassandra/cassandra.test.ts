import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import cassandra from 'cassandra-driver';
import { cassandraMissing } from '../../testing/cassandra.ts';
import { archiveCompliance } from '../compliance/index.ts';
import { readAll } from '../testing.ts';
import { openCassandraArchive } from './index.ts';
import { isAway, records, serverBench, until } from './server-bench.ts';

describe('with a server', { skip: cassandraMissing() }, () => {
  const bench = serverBench();
  const { options, open } = bench;

  archiveCompliance('Cassandra', () => ({ open: (extra = {}) => openCassandraArchive(options(extra)), runs: 15 }));

  test('with TLS the server must prove who it is', async () => {
    const given = records(1, bench.port);
    for (const tls of [{ ca: bench.server.ca }, { ca: bench.server.ca, serverName: 'cassandra.test' }]) {
      const archive = await open({ tls });
      archive.put(given);
      await archive.flush();
      assert.equal((await readAll(archive, bench.port)).size, 1);
    }
    for (const tls of [{}, { ca: bench.server.ca, serverName: 'another.test' }]) {
      const archive = await open({ tls, requestTimeoutMs: 300 });
      archive.put(records(1, bench.port, 1));
      await until(() => !archive.stats().up, 'the server is refused');
      await assert.rejects(readAll(archive, bench.port), isAway);
      assert.equal(archive.stats().written, 0);
    }
  });

  test('a wrong password costs nothing but what is dropped', async () => {
    const archive = await open({
      credentials: { username: 'cassandra', password: 'wrong' },
      maxQueued: 5,
      requestTimeoutMs: 300,
    });
    archive.put(records(12, bench.port));
    await until(() => !archive.stats().up, 'the login is refused');
    await assert.rejects(readAll(archive, bench.port), isAway);
    const { queued, dropped } = archive.stats();
    assert.deepEqual({ queued, dropped }, { queued: 5, dropped: 7 });
  });

  test('without replication options nothing is made; when the table is there, it goes on by itself', async () => {
    const keyspace = `made_${bench.port.slice(0, 8)}`;
    const { replication: _, ...without } = options({ keyspace });
    const archive = await openCassandraArchive(without);
    bench.closes(archive);
    archive.put(records(1, bench.port));
    // A table that is not there is an invalid request, which is not made again.
    await until(() => archive.stats().failed === 1, 'the write fails');
    await assert.rejects(readAll(archive, bench.port), isAway);
    const maker = await open({ keyspace });
    maker.put(records(1, bench.port, 1));
    await maker.flush();
    archive.put(records(1, bench.port, 2));
    await archive.flush();
    assert.deepEqual([...(await readAll(archive, bench.port)).keys()], ['n1', 'n2']);
  });

  test('rows that are no records are counted and passed over', async () => {
    const archive = await open();
    archive.put(records(1, bench.port));
    await archive.flush();
    const client = new cassandra.Client(options() as cassandra.ClientOptions);
    const insert = 'INSERT INTO weft.flow_state (port, name, value) VALUES (?, ?, ?)';
    await client.execute(insert, [bench.port, 'bad', Buffer.from('junk')], { prepare: true });
    await client.execute(insert, [bench.port, 'worse', null], { prepare: true });
    await client.shutdown();
    assert.deepEqual([...(await readAll(archive, bench.port)).keys()], ['n0']);
    assert.equal(archive.stats().damaged, 2);
  });

  test('while the server stands still nobody waits, memory is bounded, and the newest is written afterwards', async () => {
    const archive = await open({ maxQueued: 500, maxInFlight: 16, requestTimeoutMs: 300 });
    archive.put(records(1, bench.port));
    await archive.flush();
    bench.server.signal('SIGSTOP');
    try {
      for (let i = 0; i < 20; i++) {
        archive.put(records(100, bench.port, i * 100));
        await sleep(1);
      }
      const { queued, writing } = archive.stats();
      assert.ok(queued <= 500 && writing <= 16, `${queued} wait, ${writing} are being written`);
      await until(() => !archive.stats().up, 'the writes time out');
      await assert.rejects(readAll(archive, bench.port), isAway);
      const aborted = readAll(archive, bench.port, { signal: AbortSignal.timeout(10) });
      await assert.rejects(aborted, { name: 'TimeoutError' });
    } finally {
      bench.server.signal('SIGCONT');
    }
    await archive.flush();
    const found = await readAll(archive, bench.port);
    for (let i = 1_600; i < 2_000; i++) assert.ok(found.has(`n${i}`), `n${i} was among the newest`);
    const { up, dropped, failed } = archive.stats();
    assert.equal(up, true);
    assert.equal(failed, 0);
    assert.ok(dropped >= 1_400, `${dropped} of the oldest`);
  });

  test('closing while the server stands still ends, and counts what was not written', async () => {
    const archive = await open({ closeMs: 100 });
    archive.put(records(1, bench.port));
    await archive.flush();
    bench.server.signal('SIGSTOP');
    try {
      archive.put(records(200, bench.port, 1));
      await archive.close();
      const { queued, writing, dropped, offered } = archive.stats();
      assert.equal(queued, 0);
      assert.equal(dropped + writing, 200);
      assert.equal(offered, 201);
    } finally {
      bench.server.signal('SIGCONT');
    }
  });

  test('over a link that crawls writes wait in the queue, few at a time, and arrive', async () => {
    const link = await SlowLink.to(bench.server.port, 30);
    const archive = await open({ contactPoints: [`127.0.0.1:${link.port}`], maxInFlight: 8, requestTimeoutMs: 20_000 });
    archive.put(records(100, bench.port));
    let most = 0;
    const watch = setInterval(() => (most = Math.max(most, archive.stats().writing)), 1);
    await archive.flush();
    clearInterval(watch);
    assert.ok(link.bytes > 10_000, `${link.bytes} bytes went by it`);
    assert.ok(most > 0 && most <= 8, `${most} at once`);
    assert.equal((await readAll(archive, bench.port)).size, 100);
    await archive.close();
    link.close();
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
