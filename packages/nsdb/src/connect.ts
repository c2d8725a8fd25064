import type { Nsdb } from './contract.ts';
import { connectRemote, type ConnectOptions as RemoteOptions } from './remote/client.ts';
import { withSnapshot } from './snapshot/with-snapshot.ts';

export interface ConnectOptions extends RemoteOptions {
  /** Where subscriptions with a `snapshot` name keep their content (directory, mode 0700). */
  readonly snapshotDir?: string;
}

/**
 * Connects to a store's socket. The handle is usable also while the store is away: calls say WEFT_STORE_AWAY, subscriptions
 * with a snapshot serve what they knew, and everything goes on by itself when the store is back.
 */
export async function connect(options: ConnectOptions): Promise<Nsdb> {
  const nsdb = await connectRemote(options);
  return options.snapshotDir === undefined ? nsdb : withSnapshot(nsdb, { dir: options.snapshotDir });
}
