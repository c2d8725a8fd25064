/**
 * Whether the hosts live, as nodes: who takes a number from a dead host checks that the host is still dead, and a host that
 * comes back rewrites its node first. So the two collide, and a number has one holder.
 */
import { Conflict, type NodeOp, type NodeStore } from '../backend.ts';
import { LIVES_PATH, lastPart, lifePath } from '../objects/paths.ts';
import { type HostLife, parseLife } from './number.ts';

export class HostLives {
  readonly #store: NodeStore;

  constructor(store: NodeStore) {
    this.#store = store;
  }

  /** The host is there with this incarnation, before it may do anything with its numbers. A later one is left alone. */
  begin(hostId: string, incarnation: number): Promise<void> {
    return this.#rewrite(hostId, (life) => {
      if (life !== undefined && life.incarnation > incarnation) return undefined;
      if (life?.incarnation === incarnation && life.died === null) return undefined;
      return { incarnation, died: null };
    });
  }

  /**
   * The host was given up: from now on its numbers cool. Not when it has come back with a later incarnation meanwhile.
   * `expected`: checks that must hold beside; if they do not, nothing is done.
   */
  async end(hostId: string, incarnation: number, expected: readonly NodeOp[] = []): Promise<void> {
    const died = await this.#store.now();
    await this.#rewrite(
      hostId,
      (life) => {
        if (life === undefined || life.incarnation > incarnation || life.died !== null) return undefined;
        return { incarnation, died };
      },
      expected,
    );
  }

  /** After a start of the store: what the sessions remember counts. Ends what a crash has cut in two. */
  async reconcile(sessionOf: (hostId: string) => { incarnation: number; present: boolean } | undefined): Promise<void> {
    for (const node of await this.#store.children(LIVES_PATH)) {
      const hostId = lastPart(node.path);
      const session = sessionOf(hostId);
      if (session?.present) await this.begin(hostId, session.incarnation);
      else await this.end(hostId, Math.max(session?.incarnation ?? 0, parseLife(node).incarnation));
    }
  }

  async #rewrite(
    hostId: string,
    change: (life: HostLife | undefined) => HostLife | undefined,
    expected: readonly NodeOp[] = [],
  ): Promise<void> {
    const path = lifePath(hostId);
    for (;;) {
      const node = await this.#store.get(path);
      const life = change(node && parseLife(node));
      if (life === undefined) return;
      try {
        await this.#store.commit([
          ...expected,
          { op: 'check', path, version: node?.version ?? 'absent' },
          { op: 'put', path, json: JSON.stringify(life) },
        ]);
        return;
      } catch (error) {
        if (!(error instanceof Conflict)) throw error;
        const held = expected.length === 0 || (await this.#holds(expected));
        if (!held) return;
      }
    }
  }

  async #holds(expected: readonly NodeOp[]): Promise<boolean> {
    try {
      await this.#store.commit(expected);
      return true;
    } catch (error) {
      if (error instanceof Conflict) return false;
      throw error;
    }
  }
}
