/** What clients see while servers of ZooKeeper are killed, stand still, and the network between is cut or holds back. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startProxy, startServers } from '@weft/zookeeper/testing';
import { checkHistory } from '../compliance/history/check.ts';
import { recordHistory } from '../compliance/history/record.ts';
import { openZookeeper } from './index.ts';

/** Records a history under harm for so many seconds, and judges it. */
export async function judgeHistory(t: TestContext, seconds: number): Promise<void> {
  const ensemble = await startServers({
    count: 3,
    tickTime: 100,
    config: ['initLimit=300', 'syncLimit=50'],
    properties: { 'zookeeper.forceSync': 'no' },
  });
  t.after(() => ensemble.close());
  const proxies = await Promise.all(ensemble.servers.map(({ port }) => startProxy({ port })));
  t.after(() => Promise.all(proxies.map((proxy) => proxy.close())));
  const servers = `${proxies.map(({ address }) => address).join(',')}/history`;
  const handles = await Promise.all(
    [1, 2, 3].map(() => openZookeeper({ servers, sessionTimeout: 2_000, markInterval: 50 })),
  );
  t.after(() => Promise.all(handles.map((handle) => handle.close())));

  const harms: (() => Promise<void>)[] = [
    async () => {
      const leader = await ensemble.leader();
      await leader.kill();
      await sleep(300);
      await leader.start();
    },
    async () => {
      const server = ensemble.servers[Math.floor(Math.random() * 3)];
      server.pause();
      await sleep(1_500);
      server.resume();
    },
    async () => {
      for (const proxy of proxies) proxy.cut();
    },
    async () => {
      const proxy = proxies[Math.floor(Math.random() * 3)];
      proxy.mode = Math.random() < 0.5 ? 'stall' : 'refuse';
      await sleep(1_000);
      proxy.mode = 'pass';
    },
  ];
  const history = await recordHistory({
    handles,
    random: Math.random,
    disturb: async () => {
      const limit = performance.now() + seconds * 1_000;
      for (let round = 0; performance.now() < limit; round++) {
        await sleep(500);
        await harms[round % harms.length]();
      }
      await ensemble.start();
      await sleep(2_000);
    },
  });
  const committed = history.transactions.filter(({ outcome }) => outcome === 'committed').length;
  assert.ok(committed > 50, `${committed} transactions are too few to tell anything`);
  assert.ok(history.batches.length > 20 && history.holds.length > 5);
  t.diagnostic(
    `${committed} transactions, ${history.transactions.length - committed} unknown, ${history.batches.length} batches, ${history.holds.length} numbers`,
  );
  assert.deepEqual(checkHistory(history), []);
}
