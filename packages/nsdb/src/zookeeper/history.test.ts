/** Five seconds of harm; more in `history.soak.test.ts`. */
import { describe, it } from 'node:test';
import { needsServer } from '@weft/zookeeper/testing';
import { judgeHistory } from './histories.ts';

const SECONDS = 5;

describe('histories on ZooKeeper', { skip: needsServer() }, () => {
  it('are ones that the contract allows, whatever happens to servers and network', (t) => judgeHistory(t, SECONDS));
});
