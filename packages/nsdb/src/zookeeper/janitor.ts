/**
 * Gives up hosts that are gone: without presence, and without anybody vouching, for the grace time. Of all processes that
 * may, the one that came first does it. That two believe to be it for a while does no harm: what each does checks what it stands on.
 */
import type { Allocations } from '../allocations/allocations.ts';
import { HostLives } from '../allocations/host-lives.ts';
import { parseLife } from '../allocations/number.ts';
import { LIVES_PATH, lastPart } from '../objects/paths.ts';
import type { Absences } from './absences.ts';
import { JANITOR_PATH, nodeZnode, ownedZnode, presencePath, vouchedZnode } from './layout.ts';
import type { ZookeeperStore } from './store.ts';
import { sweep } from './sweep.ts';

/** Milliseconds between two looks, at least and at most. */
const LEAST = 10;
const MOST = 5_000;
/** Milliseconds between two clearings of what counts for nothing. */
const SWEEP_INTERVAL = 3_600_000;

interface Known {
  readonly incarnation: number;
  /** Transaction of the last sign of somebody who vouches. */
  readonly vouched: bigint | undefined;
  /** When this process saw the last sign of life, by its steady clock. */
  readonly at: number;
}

export class Janitor {
  readonly #store: ZookeeperStore;
  readonly #allocations: Allocations;
  readonly #absences: Absences;
  readonly #grace: () => number;
  readonly #lives: HostLives;
  /** Hosts that are not present. */
  #absent = new Map<string, Known>();
  #candidate: string | undefined;
  #isActive = false;
  #swept = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #closed = false;

  constructor(store: ZookeeperStore, allocations: Allocations, absences: Absences, grace: () => number) {
    this.#store = store;
    this.#allocations = allocations;
    this.#absences = absences;
    this.#grace = grace;
    this.#lives = new HostLives(store);
    store.listen({ up: () => this.#start(), down: () => this.#stop() });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stop();
    await this.#looking;
  }

  #start(): void {
    if (this.#closed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.#looking = this.#look()
          .catch(() => {}) // the link went, or the next look does better
          .finally(() => {
            this.#looking = undefined;
            if (this.#store.link.isUp) this.#start();
          });
      },
      Math.min(MOST, Math.max(LEAST, this.#grace() / 4)),
    );
    this.#timer.unref();
  }

  /** What was seen before the link went says nothing of what happened since. */
  #stop(): void {
    clearTimeout(this.#timer);
    this.#absent.clear();
    this.#isActive = false;
  }

  async #look(): Promise<void> {
    if (!(await this.#isFirst())) {
      this.#absent.clear();
      this.#isActive = false;
      return;
    }
    if (!this.#isActive) {
      this.#isActive = true;
      this.#absences.attend();
      await this.#allocations.resume();
    }
    if (performance.now() - this.#swept > SWEEP_INTERVAL) {
      this.#swept = performance.now();
      await sweep(this.#store);
    }
    const lives = await this.#store.children(LIVES_PATH);
    const absent = new Map<string, Known>();
    await Promise.all(
      lives.map(async (node) => {
        const hostId = lastPart(node.path);
        const { incarnation, died } = parseLife(node);
        if (died !== null) {
          // Somebody ended it and was ended himself.
          if ((await this.#store.reader.children(ownedZnode(hostId))).length > 0) await this.#store.removeOwned(hostId);
          return;
        }
        const [present, vouched] = await Promise.all([
          this.#store.reader.data(nodeZnode(presencePath(hostId))),
          this.#store.reader.data(vouchedZnode(hostId)),
        ]);
        if (present !== undefined) return;
        const now = performance.now();
        const before = this.#absent.get(hostId);
        const sign = vouched?.stat.mzxid;
        const isKnown = before?.incarnation === incarnation && before.vouched === sign;
        const known = isKnown ? before : { incarnation, vouched: sign, at: now };
        if (now - known.at < this.#grace()) absent.set(hostId, known);
        else await this.#giveUp(hostId, incarnation);
      }),
    );
    this.#absent = absent;
  }

  async #giveUp(hostId: string, incarnation: number): Promise<void> {
    await this.#lives.end(hostId, incarnation, [{ op: 'check', path: presencePath(hostId), version: 'absent' }]);
    const life = await this.#store.get(`${LIVES_PATH}/${hostId}`);
    if (life !== undefined && parseLife(life).died !== null) await this.#store.removeOwned(hostId);
  }

  async #isFirst(): Promise<boolean> {
    const zk = this.#store.link.use();
    const names = await this.#store.reader.fresh().children(JANITOR_PATH);
    if (this.#candidate === undefined || !names.includes(this.#candidate)) {
      const path = `${JANITOR_PATH}/`;
      const made = await zk.create(path, undefined, {
        mode: 'ephemeral',
        sequential: true,
        acl: this.#store.access.of(`${JANITOR_PATH}/n`),
      });
      this.#candidate = lastPart(made.path);
      names.push(this.#candidate);
    }
    return names.every((name) => name >= this.#candidate!);
  }
}
