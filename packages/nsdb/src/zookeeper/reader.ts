/**
 * Reads znodes. What is asked for in one turn goes to the server in as few requests as possible. A server may be behind what others
 * were told already, never behind what this session has seen; who needs more asks for `fresh`.
 */
import { isZooKeeperError, type ReadOp, type ReadResult, type ZooKeeper } from '@weft/zookeeper';
import type { Znode } from './layout.ts';
import type { ZookeeperLink } from './link.ts';

/** Reads in one request at most. */
export const PORTION = 500;

interface Asked {
  readonly op: ReadOp;
  resolve(result: ReadResult): void;
  reject(error: unknown): void;
}

export class Reader {
  readonly #link: ZookeeperLink;
  #asked: Asked[] = [];
  #isFresh = false;

  constructor(link: ZookeeperLink) {
    this.#link = link;
  }

  /** What is asked for in this turn of the event loop, and all that comes later, sees whatever anybody was told before. */
  fresh(): this {
    this.#isFresh = true;
    return this;
  }

  /** The znode, or undefined if there is none. */
  async data(path: string): Promise<Znode | undefined> {
    return asData(await this.#ask({ op: 'getData', path }));
  }

  /** Names of the children; none if there is no such znode. */
  async children(path: string): Promise<string[]> {
    return asChildren(await this.#ask({ op: 'getChildren', path }));
  }

  #ask(op: ReadOp): Promise<ReadResult> {
    return new Promise((resolve, reject) => {
      if (this.#asked.push({ op, resolve, reject }) === 1) queueMicrotask(() => this.#flush());
    });
  }

  #flush(): void {
    const asked = this.#asked;
    const isFresh = this.#isFresh;
    this.#asked = [];
    this.#isFresh = false;
    let zk: ZooKeeper;
    try {
      zk = this.#link.use();
    } catch (error) {
      for (const { reject } of asked) reject(error);
      return;
    }
    // Answers come in order: the reads wait for the sync at the server, not here.
    const synced = isFresh ? zk.sync() : Promise.resolve();
    synced.catch(() => {});
    for (let at = 0; at < asked.length; at += PORTION) void read(zk, synced, asked.slice(at, at + PORTION));
  }
}

async function read(zk: ZooKeeper, synced: Promise<void>, asked: readonly Asked[]): Promise<void> {
  try {
    const reading = zk.multiRead(asked.map(({ op }) => op));
    const [results] = await Promise.all([reading, synced]);
    asked.forEach(({ resolve, reject }, i) => {
      const result = results[i];
      if (result.op === 'error' && !isZooKeeperError(result.error, 'WEFT_ZK_NO_NODE')) reject(result.error);
      else resolve(result);
    });
  } catch (error) {
    if (isZooKeeperError(error, 'WEFT_ZK_TOO_LARGE') && asked.length > 1) {
      const half = asked.length >> 1;
      await Promise.all([read(zk, synced, asked.slice(0, half)), read(zk, synced, asked.slice(half))]);
      return;
    }
    for (const { reject } of asked) reject(error);
  }
}

/** Undefined: there is no such znode. Other failures are thrown. */
export function asData(result: ReadResult): Znode | undefined {
  if (result.op === 'getData') return result;
  if (result.op === 'error' && !isZooKeeperError(result.error, 'WEFT_ZK_NO_NODE')) throw result.error;
  return undefined;
}

export function asChildren(result: ReadResult): string[] {
  if (result.op === 'getChildren') return result.children;
  if (result.op === 'error' && !isZooKeeperError(result.error, 'WEFT_ZK_NO_NODE')) throw result.error;
  return [];
}
