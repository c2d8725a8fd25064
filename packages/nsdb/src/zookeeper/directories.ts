/** Znodes that are only there for others to be below. They are made when they are needed, outside of any transaction. */
import { isZooKeeperError, type ZooKeeper } from '@weft/zookeeper';
import type { Access } from './access.ts';

/** Directories that are known to be there, at most; beyond that all are looked at anew. */
const MAX_KNOWN = 50_000;

export class Directories {
  readonly #access: Access;
  readonly #known = new Set<string>();
  readonly #making = new Map<string, Promise<void>>();

  constructor(access: Access) {
    this.#access = access;
  }

  /** Has the znode, and those above it, be there. */
  ensure(zk: ZooKeeper, path: string): Promise<void> {
    if (path === '' || this.#known.has(path)) return Promise.resolve();
    let making = this.#making.get(path);
    if (making === undefined) {
      making = this.#make(zk, path).finally(() => this.#making.delete(path));
      this.#making.set(path, making);
    }
    return making;
  }

  /** Some are gone: nothing is taken as known any longer. */
  forget(): void {
    this.#known.clear();
  }

  async #make(zk: ZooKeeper, path: string): Promise<void> {
    await this.ensure(zk, path.slice(0, path.lastIndexOf('/')));
    try {
      await zk.create(path, undefined, { acl: this.#access.of(path) });
    } catch (error) {
      if (isZooKeeperError(error, 'WEFT_ZK_NO_NODE')) {
        this.forget();
        return this.#make(zk, path);
      }
      // Who may not make it is refused before it is looked whether it is there.
      const isRefused = isZooKeeperError(error, 'WEFT_ZK_NO_AUTH');
      const isThere =
        isZooKeeperError(error, 'WEFT_ZK_NODE_EXISTS') || (isRefused && (await zk.exists(path)) !== undefined);
      if (!isThere) throw error;
    }
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.add(path);
  }
}
