/** A server that is killed: it takes its time to come again. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cassandraMissing } from '../../testing/cassandra.ts';
import type { ArchiveStats } from '../contract.ts';
import { newRecord, readAll, version } from '../testing.ts';
import { isAway, records, serverBench, until } from './server-bench.ts';

/** As in `test/soak/soak.ts`. */
const inHaste = Number(process.env.SOAK_SECONDS || 60) < 60 && 'takes minutes: run with SOAK_SECONDS=60 or more';

describe('with a server that dies', { skip: inHaste || cassandraMissing() }, () => {
  const bench = serverBench();
  const { open } = bench;

  test('killed and started again, it is given what the queue kept', async () => {
    const archive = await open({ maxQueued: 50 });
    const late = await open({ maxQueued: 50, requestTimeoutMs: 300 });
    archive.put(records(5, bench.port));
    await archive.flush();
    await bench.server.kill();
    archive.put(records(200, bench.port, 100));
    await until(() => !archive.stats().up, 'the server is gone');
    await assert.rejects(readAll(archive, bench.port), isAway);
    // One that begins while the server is away is no different.
    const early = await open({ maxQueued: 50, requestTimeoutMs: 300 });
    early.put([newRecord({ name: 'n100000', ingress: bench.port })]);
    await assert.rejects(readAll(early, bench.port), isAway);
    const never = await open();
    await never.close();

    await bench.server.launch();
    await Promise.all([archive.flush(), early.flush()]);
    late.put([newRecord({ name: 'n299', ingress: bench.port, egress: undefined, version: version(2) })]);
    await late.flush();
    const found = await readAll(archive, bench.port);
    assert.ok(found.has('n100000'));
    for (let i = 251; i < 300; i++) assert.ok(found.has(`n${i}`), `n${i}`);
    assert.equal(found.get('n299')!.version.version, 2);
    const sum = ({ written, dropped, failed }: ArchiveStats): number => written + dropped + failed;
    assert.equal(sum(archive.stats()), 205);
  });
});
