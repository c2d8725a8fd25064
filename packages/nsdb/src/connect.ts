import type { Nsdb } from './contract.ts';
import { connectRemote, type ConnectOptions as RemoteOptions } from './remote/client.ts';
import { withSnapshot } from './snapshot/with-snapshot.ts';
import type { ZookeeperOptions } from './zookeeper/index.ts';

/** By the socket of the process that serves the store, or straight to an ensemble of ZooKeeper. */
export type ConnectOptions = (RemoteOptions | { readonly zookeeper: ZookeeperOptions }) & {
  /** Where subscriptions with a `snapshot` name keep their content (directory, mode 0700). */
  readonly snapshotDir?: string;
};

/**
 * Connects to a store. The handle is usable also while the store is away: calls say WEFT_STORE_AWAY, subscriptions
 * with a snapshot serve what they knew, and everything goes on by itself when the store is back.
 */
export async function connect(options: ConnectOptions): Promise<Nsdb> {
  const nsdb = 'zookeeper' in options ? await openEnsemble(options.zookeeper) : await connectRemote(options);
  return options.snapshotDir === undefined ? nsdb : withSnapshot(nsdb, { dir: options.snapshotDir });
}

/** Loaded only when it is wanted: it brings the object model along. */
async function openEnsemble(options: ZookeeperOptions): Promise<Nsdb> {
  const { openZookeeper } = await import('./zookeeper/index.ts');
  return openZookeeper(options);
}
