import { after, before, describe } from 'node:test';
import { cassandraMissing, TestCassandra } from '../../testing/cassandra.ts';
import { archiveCompliance } from '../compliance/index.ts';
import { openCassandraArchive } from './index.ts';

const REPLICATION = { class: 'SimpleStrategy', replication_factor: 1 };

describe('with a server', { skip: cassandraMissing() }, () => {
  let server: TestCassandra;
  before(async () => {
    server = await TestCassandra.start();
  });
  after(() => server.close());

  const options = () => ({
    contactPoints: [`127.0.0.1:${server.port}`],
    localDataCenter: 'datacenter1',
    replication: REPLICATION,
    credentials: TestCassandra.credentials,
    retryMs: 20,
  });

  archiveCompliance('Cassandra', () => ({
    open: (extra = {}) => openCassandraArchive({ ...options(), ...extra }),
    runs: 15,
  }));
});
