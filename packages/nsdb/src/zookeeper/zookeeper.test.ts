/** The compliance suite on an ensemble of three servers. What needs them to fail is in `zookeeper.soak.test.ts`. */
import { after, describe, it } from 'node:test';
import { needsServer } from '@weft/zookeeper/testing';
import { nsdbCompliance } from '../compliance/index.ts';
import { complianceServers } from './testing.ts';

const skip = needsServer();
if (skip) {
  describe('nsdb: zookeeper', () => {
    it('the compliance suite', { skip }, () => {});
  });
} else {
  const servers = complianceServers(false);
  after(() => servers.close());
  nsdbCompliance('zookeeper', servers.factory);
}
