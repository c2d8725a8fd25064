/** Harm for as long as soak tests last. */
import { describe, it } from 'node:test';
import { needsServer } from '@weft/zookeeper/testing';
import { judgeHistory } from './histories.ts';

const SECONDS = Number(process.env.SOAK_SECONDS ?? 60);

describe('histories on ZooKeeper', { skip: needsServer() }, () => {
  it('are ones that the contract allows, whatever happens to servers and network', (t) => judgeHistory(t, SECONDS));
});
