import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startProxy } from '@weft/zookeeper/testing';
import cassandra from 'cassandra-driver';
import fc from 'fast-check';
import { cassandraMissing } from '../../testing/cassandra.ts';
import { archiveCompliance } from '../compliance/index.ts';
import { readAll } from '../testing.ts';
import { openCassandraArchive } from './index.ts';
import { isAway, records, serverBench, until } from './server-bench.ts';

/** Of the outages; `SEED=…` repeats them. */
const SEED = Number(process.env.SEED || Date.now() & 0x7fffffff);

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
    await using link = await startProxy({ port: bench.server.port });
    link.delay = 30;
    let bytes = 0;
    link.onRequest = (chunk) => (bytes += chunk.length);
    const archive = await open({ contactPoints: [link.address], maxInFlight: 8, requestTimeoutMs: 20_000 });
    archive.put(records(100, bench.port));
    let most = 0;
    const watch = setInterval(() => (most = Math.max(most, archive.stats().writing)), 1);
    await archive.flush();
    clearInterval(watch);
    assert.ok(bytes > 10_000, `${bytes} bytes went by it`);
    assert.ok(most > 0 && most <= 8, `${most} at once`);
    assert.equal((await readAll(archive, bench.port)).size, 100);
    await archive.close();
  });

  test('whatever outages it has been through, it writes again, and leaves no connection behind', async (t) => {
    await using link = await startProxy({ port: bench.server.port });
    const archive = await open({ contactPoints: [link.address], requestTimeoutMs: 1_000 });
    let given = 0;
    const put = () => archive.put(records(3, bench.port, 3 * given++));
    put();
    await archive.flush();
    const isIdle = () => archive.stats().queued + archive.stats().writing === 0;
    const outage = fc.record({
      mode: fc.constantFrom('refuse', 'refuse', 'stall'),
      ms: fc.nat(120),
      pause: fc.nat(60),
    });
    const rounds = fc.sample(fc.array(outage, { minLength: 1, maxLength: 4 }), { numRuns: 6, seed: SEED });
    t.diagnostic(`SEED=${SEED}`);
    for (const round of rounds) {
      for (const { mode, ms, pause } of round) {
        link.mode = mode;
        put();
        await sleep(ms);
        link.cut();
        link.mode = 'pass';
        await sleep(pause);
      }
      put();
      await until(isIdle, `idle after ${JSON.stringify(round)}`);
      const { up, written } = archive.stats();
      assert.deepEqual({ up, written }, { up: true, written: 3 * given });
    }
    assert.ok(link.connections <= 2, `${link.connections} connections of one client`);
    await archive.close();
    await until(() => link.connections === 0, 'all connections closed');
  });
});
