/** What a host's session asks for, answered by this process: in place of a connection to one that serves the store. */
import type { Claim } from '../allocations/allocations.ts';
import type { Allocation, Revision } from '../contract.ts';
import { isNsdbError, NsdbError } from '../errors.ts';
import type { SessionLink } from '../remote/link.ts';
import { toWire } from '../remote/protocol.ts';
import type { OwnEntry } from '../sessions.ts';
import type { StoreNsdb } from '../store-nsdb.ts';
import type { ZookeeperSessions } from './sessions.ts';

/** Who is overtaken by a later incarnation finds out by what it asks for. */
const HOLDER = (): void => {};

/** Good for as long as the store can be reached without a break. */
export class LocalSessionLink implements SessionLink {
  readonly generation: string;
  readonly #nsdb: StoreNsdb;
  readonly #sessions: ZookeeperSessions;
  /** Incarnations that this process holds, by host: the same over all links. */
  readonly #held: Map<string, number>;
  readonly #onTrouble: () => void;
  #ended = false;

  /** `onTrouble`: an answer was lost although the link stands; whoever waits for another link is to be given one. */
  constructor(nsdb: StoreNsdb, sessions: ZookeeperSessions, held: Map<string, number>, onTrouble: () => void) {
    this.#nsdb = nsdb;
    this.#held = held;
    this.#sessions = sessions;
    this.#onTrouble = onTrouble;
    this.generation = nsdb.generation;
  }

  readonly keeps = true;

  get grace(): number {
    return this.#sessions.grace;
  }

  end(): void {
    this.#ended = true;
  }

  async request(
    method: string,
    parameters: readonly unknown[],
    lost: 'WEFT_STORE_AWAY' | 'WEFT_OUTCOME_UNKNOWN' = 'WEFT_STORE_AWAY',
  ): Promise<unknown> {
    if (this.#ended) throw new NsdbError('WEFT_STORE_AWAY');
    try {
      const answer = await this.#answer(method, parameters);
      // As over a connection that is gone: who asked by it must not take it for the one that came after it.
      if (this.#ended) throw new NsdbError(lost);
      return answer;
    } catch (error) {
      if (this.#ended && isNsdbError(error, 'WEFT_SESSION_LOST'))
        throw new NsdbError(lost, undefined, [], { cause: error });
      if (isNsdbError(error, 'WEFT_SESSION_LOST') && (await this.#isGivenUp(parameters))) {
        this.#onTrouble();
        throw new NsdbError('WEFT_STORE_AWAY', undefined, [], { cause: error });
      }
      const isUnknown = isNsdbError(error, 'WEFT_OUTCOME_UNKNOWN');
      if (!this.#ended && (isUnknown || isNsdbError(error, 'WEFT_STORE_AWAY'))) this.#onTrouble();
      if (isUnknown) throw new NsdbError(lost, undefined, [], { cause: error });
      throw error;
    }
  }

  note(method: string, ...parameters: readonly unknown[]): void {
    if (this.#ended) return;
    const [hostId, ...rest] = parameters;
    if (method === 'session.vouch') this.#sessions.vouch(rest[0] as string);
    else if (method === 'session.applied') {
      const incarnation = this.#held.get(hostId as string);
      if (incarnation !== undefined)
        this.#sessions.applied(hostId as string, incarnation, rest[0] as string, rest[1] as Revision);
    }
  }

  async #answer(method: string, p: readonly unknown[]): Promise<unknown> {
    const { allocations, store } = this.#nsdb;
    const hostId = p[0] as string;
    switch (method) {
      case 'session.open':
        return this.#open(hostId, p[1] as number | undefined);
      case 'session.attach':
        return this.#attach(hostId, p[1] as number);
      case 'session.write': {
        this.#own(hostId, p[1]);
        const results = await this.#sessions.write(hostId, p[1] as number, p[2] as OwnEntry[]);
        return results.map((error) => (error === undefined ? null : toWire(error)));
      }
      case 'session.owned':
        return store.ownedBy(hostId);
      case 'session.allocate': {
        this.#own(hostId, p[1]);
        const [, incarnation, pool, first, last, count, coolMs] = p as [string, number, string, ...number[]];
        return allocations.allocate(hostId, incarnation, pool, { first, last }, count, coolMs);
      }
      case 'session.release':
        this.#own(hostId, p[1]);
        return allocations.release(hostId, p[1] as number, p[2] as Allocation[]);
      case 'session.keep':
        this.#own(hostId, p[1]);
        return allocations.keep(hostId, p[1] as number, p[2] as Allocation[]);
      case 'session.allocations':
        this.#own(hostId, p[1]);
        return allocations.held(hostId, p[1] as number);
      case 'session.claim':
        this.#own(hostId, p[1]);
        return allocations.claim(hostId, p[1] as number, p[2] as Claim[], p[3] as boolean);
      case 'session.close':
        return this.#close(hostId, p[1] as boolean);
      default:
        throw new NsdbError('WEFT_PROTOCOL', `Unknown request ${method}`);
    }
  }

  async #open(hostId: string, floor: number | undefined): Promise<number> {
    const incarnation = await this.#sessions.open(hostId, HOLDER, floor);
    this.#held.set(hostId, incarnation);
    return incarnation;
  }

  async #attach(hostId: string, incarnation: number): Promise<'ok' | 'superseded' | 'expired'> {
    if (await this.#sessions.superseded(hostId, incarnation)) return 'superseded';
    return (await this.#sessions.attach(hostId, incarnation, HOLDER)) ? 'ok' : 'expired';
  }

  async #close(hostId: string, leave: boolean): Promise<void> {
    const incarnation = this.#held.get(hostId);
    if (incarnation === undefined) return;
    this.#held.delete(hostId);
    if (leave) await this.#sessions.leave(hostId, incarnation);
    else await this.#sessions.left(hostId, incarnation, HOLDER);
  }

  /** The host was given up while this process thought that it was well: nobody else has it, so it is to begin anew. */
  async #isGivenUp([hostId, incarnation]: readonly unknown[]): Promise<boolean> {
    if (this.#held.get(hostId as string) !== incarnation) return false;
    return !(await this.#sessions.superseded(hostId as string, incarnation as number));
  }

  #own(hostId: string, incarnation: unknown): void {
    if (this.#held.get(hostId) !== incarnation) throw new NsdbError('WEFT_SESSION_LOST');
  }
}
