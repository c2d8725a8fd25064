/** What the compliance suite asks of handles whose servers are killed and started again. */
import { after, describe } from 'node:test';
import { needsServer } from '@weft/zookeeper/testing';
import { allocationTests } from '../compliance/allocations.ts';
import { sessionTests } from '../compliance/sessions.ts';
import { tokenTests } from '../compliance/token.ts';
import { complianceServers } from './testing.ts';

describe('nsdb: zookeeper whose servers fail', { skip: needsServer() }, () => {
  const servers = complianceServers(true);
  after(() => servers.close());
  sessionTests(servers.factory);
  tokenTests(servers.factory);
  allocationTests(servers.factory);
});
