import assert from 'node:assert/strict';
import { test } from 'node:test';
import cassandra from 'cassandra-driver';
import fc from 'fast-check';
import { isNsdbError } from '../../errors.ts';
import { compareVersions } from '../contract.ts';
import { openCassandraArchive } from './index.ts';
import { type CassandraArchiveOptions, checkOptions, driverOptions } from './options.ts';
import { timestampOf } from './statements.ts';

const credentials = { username: 'weft', password: 'secret' };

function options(fields: Partial<CassandraArchiveOptions>): CassandraArchiveOptions {
  return { contactPoints: ['127.0.0.1'], localDataCenter: 'dc1', ...fields };
}

test('another machine without a login or without TLS is refused, however it is written', async () => {
  const remote = [
    '10.0.0.1',
    '10.0.0.1:9042',
    'db.example.org',
    '2001:db8::1',
    '[2001:db8::1]:9042',
    '0.0.0.0',
    '127.example.org',
  ];
  for (const point of remote) {
    for (const fields of [{}, { credentials }, { tls: {} }]) {
      const one = options({ contactPoints: ['127.0.0.1', point], ...fields });
      await assert.rejects(openCassandraArchive(one), (error) => isNsdbError(error, 'WEFT_ARCHIVE_INSECURE'), point);
    }
    assert.doesNotThrow(() => checkOptions(options({ contactPoints: [point], credentials, tls: {} })));
    assert.doesNotThrow(() => checkOptions(options({ contactPoints: [point], tls: { cert: 'c', key: 'k' } })));
  }
  for (const point of ['127.0.0.1', '127.0.0.2:9043', 'localhost', 'localhost:1', '::1', '[::1]:9042'])
    assert.doesNotThrow(() => checkOptions(options({ contactPoints: [point] })), point);
});

test('options that would not mean what they say are refused by name', () => {
  const bad: [Partial<CassandraArchiveOptions>, string][] = [
    [{ contactPoints: [] }, 'contactPoints'],
    [{ contactPoints: ['a b'] }, 'contactPoints'],
    [{ contactPoints: ['127.0.0.1:0'] }, 'contactPoints'],
    [{ contactPoints: ['127.0.0.1:70000'] }, 'contactPoints'],
    [{ contactPoints: ['[127.0.0.1]:9042'] }, 'contactPoints'],
    [{ keyspace: 'Weft' }, 'keyspace'],
    [{ keyspace: 'w; DROP KEYSPACE weft' }, 'keyspace'],
    [{ replication: { replication_factor: 1 } }, 'replication'],
    [{ replication: { class: "SimpleStrategy'} AND x = {'" } }, 'replication'],
    [{ replication: { class: 'NetworkTopologyStrategy', "dc'": 3 } }, 'replication'],
    [{ tls: { cert: 'c' } }, 'tls'],
  ];
  for (const [fields, property] of bad) {
    assert.throws(
      () => checkOptions(options(fields)),
      (error) => isNsdbError(error, 'WEFT_INVALID') && error.violations[0]!.property === property,
      JSON.stringify(fields),
    );
  }
});

test('without TLS no other machine is spoken to, whatever the first node says of the others', () => {
  const { policies, types } = cassandra;
  const distance = (one: CassandraArchiveOptions, address: string): number => {
    const { loadBalancing } = driverOptions(one, checkOptions(one), policies).policies!;
    return loadBalancing!.getDistance({ address, datacenter: 'dc1' } as cassandra.Host);
  };
  const local = options({ contactPoints: ['localhost', '127.0.0.2:9043'] });
  for (const address of ['10.0.0.1:9042', '127.0.0.3:9042', '127.0.0.1:9043'])
    assert.equal(distance(local, address), types.distance.ignored, address);
  for (const address of ['127.0.0.1:9042', '::1:9042', '127.0.0.2:9043'])
    assert.notEqual(distance(local, address), types.distance.ignored, address);
  const secure = options({ contactPoints: ['10.0.0.1'], credentials, tls: {} });
  assert.notEqual(distance(secure, '10.0.0.2:9042'), types.distance.ignored);
});

test('timestamps order as versions do, and fit', () => {
  const owner = fc.integer({ min: 0, max: 1023 }).map((n) => {
    const hex = (n << 6).toString(16).padStart(4, '0');
    return `${hex}0000-0000-4000-8000-000000000000`;
  });
  const one = fc.record({
    epoch: fc.oneof(fc.integer({ min: 1_500_000_000, max: 0xd91900ff }), fc.constantFrom(1_780_000_000, 1_780_000_001)),
    version: fc.oneof(fc.nat({ max: 3 }), fc.nat({ max: 2 ** 22 - 1 })),
    owner,
  });
  fc.assert(
    fc.property(one, one, (a, b) => {
      const [at, bt] = [timestampOf(a), timestampOf(b)];
      assert.equal(Math.sign(Number(at - bt)), Math.sign(compareVersions(a, b)));
      assert.ok(at >= 0n && at < 2n ** 63n);
    }),
    { numRuns: 1000 },
  );
  const last = { epoch: 0xffffffff, version: 0xffffffff, owner: 'ffffffff-ffff-ffff-ffff-ffffffffffff' };
  assert.equal(timestampOf(last), 2n ** 63n - 1n);
});
