/** The compliance suite on an ensemble of three servers. Each handle speaks to it by itself, through a network that can fail. */
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { needsServer, startProxy, startServers, type TestEnsemble } from '@weft/zookeeper/testing';
import { until } from '../compliance/harness.ts';
import { nsdbCompliance } from '../compliance/index.ts';
import type { ZookeeperNsdb } from './index.ts';
import { openZookeeper } from './index.ts';

/** Short ticks, so that sessions can be short, and patience among the servers all the same. */
const SERVERS = {
  count: 3,
  tickTime: 50,
  config: ['initLimit=600', 'syncLimit=200', 'maxSessionTimeout=60000'],
  // Transactions of 4 MiB, with what stands around them. Servers that are killed lose nothing that the kernel has.
  properties: { 'jute.maxbuffer': String(16 * 2 ** 20), 'zookeeper.forceSync': 'no' },
};
const MAX_REQUEST = 16 * 2 ** 20;

let starting: Promise<TestEnsemble> | undefined;
let roots = 0;

after(async () => {
  await (await starting)?.close();
});

const skip = needsServer();
if (skip) {
  describe('nsdb: zookeeper', () => {
    it('the compliance suite', { skip }, () => {});
  });
} else {
  nsdbCompliance('zookeeper', async (options = {}) => {
    starting ??= startServers(SERVERS);
    const ensemble = await starting;
    await ensemble.start();
    const root = `/test-${++roots}`;
    const proxies = await Promise.all(ensemble.servers.map(({ port }) => startProxy({ port })));
    const { grace = 30_000 } = options;
    const common = {
      ...options,
      maxRequest: MAX_REQUEST,
      markInterval: 50,
      sessionTimeout: grace < 100 ? 100 : 4_000,
    };
    const handles: ZookeeperNsdb[] = [];
    const open = async (servers: string) => {
      const handle = await openZookeeper({ ...common, servers });
      handles.push(handle);
      return handle;
    };
    const another = () => open(`${proxies.map(({ address }) => address).join(',')}${root}`);
    // Somebody beside the handles that go away, as an API process would be.
    await open(`${ensemble.connectString}${root}`);
    /** Whoever breaks something goes on when all are back: otherwise nothing would ever succeed in between. */
    const back = () => until(() => handles.every(({ isReady }) => isReady), 'all are back');
    return {
      nsdb: await another(),
      another,
      cut: async () => {
        for (const proxy of proxies) proxy.cut();
        await sleep(1);
        await back();
      },
      isolate: async () => {
        for (const proxy of proxies) proxy.mode = 'refuse';
        return async () => {
          for (const proxy of proxies) proxy.mode = 'pass';
        };
      },
      restart: async () => {
        const leader = await ensemble.leader();
        await leader.kill();
        await leader.start();
        await back();
      },
      down: async () => {
        const [one, two] = ensemble.servers;
        await Promise.all([one.kill(), two.kill()]);
        return async () => {
          await Promise.all([one.start(), two.start()]);
        };
      },
      close: async () => {
        await ensemble.start();
        for (const handle of handles) await handle.close();
        for (const proxy of proxies) await proxy.close();
      },
    };
  });
}
