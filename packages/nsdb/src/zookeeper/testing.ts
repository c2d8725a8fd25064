/** What the compliance suite needs of ZooKeeper: an ensemble of three servers. Each handle speaks to it by itself, through a network that can fail. */
import { setTimeout as sleep } from 'node:timers/promises';
import { startProxy, startServers, type TestEnsemble } from '@weft/zookeeper/testing';
import { type Factory, until } from '../compliance/harness.ts';
import { openZookeeper, type ZookeeperNsdb } from './index.ts';

/** Short ticks, so that sessions can be short, and patience among the servers all the same. */
const SERVERS = {
  count: 3,
  tickTime: 50,
  config: ['initLimit=600', 'syncLimit=200', 'maxSessionTimeout=60000'],
  // Transactions of 4 MiB, with what stands around them. Servers that are killed lose nothing that the kernel has.
  properties: { 'jute.maxbuffer': String(16 * 2 ** 20), 'zookeeper.forceSync': 'no' },
};
const MAX_REQUEST = 16 * 2 ** 20;

/**
 * Servers for a test file; they start with the first test.
 * @param harm servers can be killed and started again, which takes seconds each time
 */
export function complianceServers(harm: boolean): { factory: Factory; close(): Promise<void> } {
  let starting: Promise<TestEnsemble> | undefined;
  let roots = 0;
  return {
    factory: async (options = {}) => {
      const ensemble = await (starting ??= startServers(SERVERS));
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
      const restart = async () => {
        const leader = await ensemble.leader();
        await leader.kill();
        await leader.start();
        await back();
      };
      const down = async () => {
        const [one, two] = ensemble.servers;
        await Promise.all([one.kill(), two.kill()]);
        return async () => {
          await Promise.all([one.start(), two.start()]);
        };
      };
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
        ...(harm ? { restart, down } : { lacks: 'servers fail in `make soak`' }),
        close: async () => {
          await ensemble.start();
          for (const handle of handles) await handle.close();
          for (const proxy of proxies) await proxy.close();
        },
      };
    },
    close: async () => (await starting)?.close(),
  };
}
