/** ZooKeeper servers, and `weft api` on them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { RestClient } from '@weft/lab';
import { startServers, type TestEnsemble } from '@weft/zookeeper/testing';
import { onCleanup } from './cleanup.ts';
import { background } from './exec.ts';

const MAIN = resolve(import.meta.dirname, '../../packages/cli/src/main.ts');
/** The servers are to be as quick as they can. */
export const JVM_FLAGS = ['-Xms256m', '-Xmx1g', '-XX:+UseSerialGC'];

export interface StoreOnZookeeper {
  readonly ensemble: TestEnsemble;
  /** `host1:port1,host2:port2`; the store is below its usual root. */
  readonly servers: string;
  /** The REST API of a `weft api` process on these servers. */
  readonly api: RestClient;
  close(): Promise<void>;
}

/** @param count servers: 1, or 3 for an ensemble */
export async function storeOnZookeeper(count: number): Promise<StoreOnZookeeper> {
  const directory = await mkdtemp(join(tmpdir(), 'weft-bench-zk-'));
  const ensemble = await startServers({ count, jvmFlags: JVM_FLAGS });
  const forget = onCleanup('ZooKeeper', async () => {
    await ensemble.close();
    await rm(directory, { recursive: true, force: true });
  });
  const servers = ensemble.connectString;
  const socketPath = join(directory, 'api.sock');
  const process_ = background([
    process.execPath,
    MAIN,
    'api',
    '--zookeeper',
    servers,
    '--api-socket',
    socketPath,
    '--socket',
    join(directory, 'store.sock'),
  ]);
  await process_.waitFor('REST API on', 60_000);
  return {
    ensemble,
    servers,
    api: new RestClient({ socketPath }),
    async close() {
      await process_.stop();
      await forget();
    },
  };
}
