/** Persistent sequences. A process takes some numbers at a time; what it does not use is lost with it. */
import { isZooKeeperError, type ZooKeeper } from '@weft/zookeeper';
import type { Access } from './access.ts';
import { sequenceZnode } from './layout.ts';

const BLOCK = 16;

export class Sequences {
  readonly #use: () => ZooKeeper;
  readonly #access: Access;
  readonly #blocks = new Map<string, { next: number; end: number }>();
  readonly #taking = new Map<string, Promise<void>>();

  constructor(use: () => ZooKeeper, access: Access) {
    this.#use = use;
    this.#access = access;
  }

  async next(name: string): Promise<number> {
    for (;;) {
      const block = this.#blocks.get(name);
      if (block !== undefined && block.next < block.end) return block.next++;
      let taking = this.#taking.get(name);
      if (taking === undefined) {
        taking = this.#take(name).finally(() => this.#taking.delete(name));
        this.#taking.set(name, taking);
      }
      await taking;
    }
  }

  /** Goes on at `next`, unless it is beyond that. */
  async set(name: string, next: number): Promise<void> {
    await this.#take(name);
    const zk = this.#use();
    const path = sequenceZnode(name);
    this.#blocks.delete(name);
    const { data, stat } = await zk.getData(path);
    if (Number(Buffer.from(data).toString()) < next) await zk.setData(path, String(next), { version: stat.version });
  }

  /** The store may be another one now. */
  forget(): void {
    this.#blocks.clear();
  }

  async #take(name: string): Promise<void> {
    const zk = this.#use();
    const path = sequenceZnode(name);
    for (;;) {
      try {
        const { data, stat } = await zk.getData(path);
        const next = Number(Buffer.from(data).toString());
        await zk.setData(path, String(next + BLOCK), { version: stat.version });
        this.#blocks.set(name, { next, end: next + BLOCK });
        return;
      } catch (error) {
        if (isZooKeeperError(error, 'WEFT_ZK_NO_NODE'))
          await zk.create(path, '0', { acl: this.#access.of(path) }).catch((failure) => {
            if (!isZooKeeperError(failure, 'WEFT_ZK_NODE_EXISTS')) throw failure;
          });
        else if (!isZooKeeperError(error, 'WEFT_ZK_BAD_VERSION')) throw error;
      }
    }
  }
}
