/** What a host's session asks for, answered by this process: in place of a connection to one that serves the store. */
import type { Claim } from '../allocations/allocations.ts';
import type { Allocation, Revision } from '../contract.ts';
import { isNsdbError, NsdbError } from '../errors.ts';
import type { SessionLink } from '../remote/link.ts';
import { toWire } from '../remote/protocol.ts';
import type { OwnEntry } from '../sessions.ts';
import type { StoreNsdb } from '../store-nsdb.ts';
import type { ZookeeperSessions } from './sessions.ts';

/** Good for as long as the store can be reached without a break. */
export class LocalSessionLink implements SessionLink {
  readonly generation: string;
  readonly #nsdb: StoreNsdb;
  readonly #sessions: ZookeeperSessions;
  readonly #holders = new Map<string, { readonly incarnation: number; readonly holder: () => void }>();
  readonly #onTrouble: () => void;
  #ended = false;

  /** `onTrouble`: an answer was lost although the link stands; whoever waits for another link is to be given one. */
  constructor(nsdb: StoreNsdb, sessions: ZookeeperSessions, onTrouble: () => void) {
    this.#nsdb = nsdb;
    this.#sessions = sessions;
    this.#onTrouble = onTrouble;
    this.generation = nsdb.generation;
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
      return await this.#answer(method, parameters);
    } catch (error) {
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
      const held = this.#holders.get(hostId as string);
      if (held !== undefined)
        this.#sessions.applied(hostId as string, held.incarnation, rest[0] as string, rest[1] as Revision);
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
    const holder = () => this.#holders.delete(hostId);
    const incarnation = await this.#sessions.open(hostId, holder, floor);
    this.#holders.set(hostId, { incarnation, holder });
    return incarnation;
  }

  async #attach(hostId: string, incarnation: number): Promise<'ok' | 'superseded' | 'expired'> {
    const holder = () => this.#holders.delete(hostId);
    if (await this.#sessions.superseded(hostId, incarnation)) return 'superseded';
    if (!(await this.#sessions.attach(hostId, incarnation, holder))) return 'expired';
    this.#holders.set(hostId, { incarnation, holder });
    return 'ok';
  }

  async #close(hostId: string, leave: boolean): Promise<void> {
    const held = this.#holders.get(hostId);
    if (held === undefined) return;
    this.#holders.delete(hostId);
    if (leave) await this.#sessions.leave(hostId, held.incarnation);
    else await this.#sessions.left(hostId, held.incarnation, held.holder);
  }

  #own(hostId: string, incarnation: unknown): void {
    if (this.#holders.get(hostId)?.incarnation !== incarnation) throw new NsdbError('WEFT_SESSION_LOST');
  }
}
