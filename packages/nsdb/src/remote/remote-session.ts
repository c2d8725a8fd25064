/**
 * A host's session as the agent keeps it. It survives the link and the store's restart: writes wait for the next link, and
 * if the store gave the host up meanwhile, all that the host still owns is written again under a new incarnation.
 *
 * Calls about allocated numbers do not wait, because the packets that need them do not either: their caller asks again.
 */
import { type Claim, withoutCooling } from '../allocations/allocations.ts';
import { checkAllocation, checkRequest } from '../allocations/pool.ts';
import type { Allocation, HostSession, Revision, TableEntry } from '../contract.ts';
import { EntryWriter } from '../entry-writer.ts';
import { isNsdbError, NsdbError } from '../errors.ts';
import type { OwnEntry } from '../sessions.ts';
import { KnownAllocations } from './known-allocations.ts';
import type { SessionLink } from './link.ts';
import { type AttachResult, fromWire, type WireError } from './protocol.ts';

export interface RemoteSessionOptions {
  readonly hostId: string;
  readonly incarnation: number;
  /** Generation of the last batch that this client handed out: what a report refers to. */
  generation(): string;
  onClose(): void;
}

export class RemoteSession implements HostSession {
  readonly hostId: string;
  readonly #options: RemoteSessionOptions;
  readonly #writer: EntryWriter;
  /** What this host wants to own. */
  readonly #own = new Map<string, OwnEntry>();
  readonly #known = new KnownAllocations();
  /** By host: when it was last vouched for by this link, on the steady clock. */
  readonly #vouched = new Map<string, number>();
  #incarnation: number;
  #link: SessionLink | undefined;
  #linkWaiters: (() => void)[] = [];
  #applied: { generation: string; revision: Revision } | undefined;
  #lost: NsdbError | undefined;

  constructor(options: RemoteSessionOptions) {
    this.#options = options;
    this.hostId = options.hostId;
    this.#incarnation = options.incarnation;
    this.#writer = new EntryWriter((entries) => this.#write(entries));
  }

  get incarnation(): number {
    return this.#incarnation;
  }

  put(table: string, key: string, value: string): Promise<void> {
    const written = this.#writer.put(table, key, value);
    this.#own.set(`${table}\t${key}`, { table, key, value });
    written.catch(() => this.#disown(table, key, value));
    return written;
  }

  remove(table: string, key: string): Promise<void> {
    this.#own.delete(`${table}\t${key}`);
    return this.#writer.put(table, key, null);
  }

  /** A refused entry must not come again with the next replay. */
  #disown(table: string, key: string, value: string): void {
    if (this.#own.get(`${table}\t${key}`)?.value === value) this.#own.delete(`${table}\t${key}`);
  }

  async owned(): Promise<{ table: string; entry: TableEntry }[]> {
    return (await this.#up().request('session.owned', [this.hostId])) as { table: string; entry: TableEntry }[];
  }

  async allocate(
    pool: string,
    { first, last }: { first: number; last: number },
    count: number,
    coolMs: number,
  ): Promise<Allocation[]> {
    checkRequest(pool, { first, last }, count, coolMs);
    const link = this.#up();
    const given = (await link.request(
      'session.allocate',
      [this.hostId, this.#incarnation, pool, first, last, count, coolMs],
      'WEFT_OUTCOME_UNKNOWN',
    )) as Allocation[];
    this.#known.add(
      link.generation,
      given.map((allocation) => ({ ...allocation, coolMs })),
    );
    return given;
  }

  async release(allocations: readonly Allocation[]): Promise<void> {
    for (const allocation of allocations) checkAllocation(allocation);
    this.#known.drop(allocations);
    await this.#up().request('session.release', [this.hostId, this.#incarnation, allocations]);
  }

  async keep(allocations: readonly Allocation[]): Promise<Allocation[]> {
    for (const allocation of allocations) checkAllocation(allocation);
    const link = this.#up();
    // A server of an earlier build would hang up.
    if (!link.keeps) return [];
    const parameters = [this.hostId, this.#incarnation, allocations];
    const held = (await link.request('session.keep', parameters, 'WEFT_OUTCOME_UNKNOWN')) as Claim[];
    this.#known.add(link.generation, held);
    return held.map(withoutCooling);
  }

  async allocations(): Promise<Allocation[]> {
    const link = this.#up();
    const held = (await link.request('session.allocations', [this.hostId, this.#incarnation])) as Claim[];
    this.#known.replace(link.generation, held);
    return held.map(withoutCooling);
  }

  reportApplied(revision: Revision): void {
    this.#applied = { generation: this.#options.generation(), revision };
    this.#link?.note('session.applied', this.hostId, this.#applied.generation, revision);
  }

  /** Passes it on once in a quarter of the grace time: two may get lost. */
  vouch(hostId: string): void {
    if (this.#link === undefined) return;
    const now = performance.now();
    if (now - (this.#vouched.get(hostId) ?? Number.NEGATIVE_INFINITY) < this.#link.grace / 4) return;
    this.#vouched.set(hostId, now);
    this.#link.note('session.vouch', this.hostId, hostId);
  }

  async close({ leave = false }: { leave?: boolean } = {}): Promise<void> {
    if (this.#link !== undefined) await this.#writer.drain();
    this.#writer.close();
    this.#options.onClose();
    const link = this.#link;
    this.#end(new NsdbError('WEFT_SESSION_LOST', 'The session was closed'));
    await link?.request('session.close', [this.hostId, leave]).catch(() => {});
  }

  /** The link on which the session was opened. */
  opened(link: SessionLink): void {
    this.#use(link);
  }

  /** A new link: take the session up again. */
  async linkUp(link: SessionLink): Promise<void> {
    const result = (await link.request('session.attach', [this.hostId, this.#incarnation])) as AttachResult;
    if (result === 'superseded') {
      this.#options.onClose();
      this.#end(new NsdbError('WEFT_SESSION_LOST'));
      return;
    }
    if (result === 'expired') {
      this.#incarnation = (await link.request('session.open', [this.hostId, this.#incarnation])) as number;
      for (const { table, key, value } of this.#own.values())
        this.#writer.put(table, key, value).catch(() => this.#disown(table, key, value!));
    }
    const known = this.#known.claims(link.generation);
    if (known !== undefined) {
      await link.request('session.claim', [this.hostId, this.#incarnation, known.claims, known.complete]);
      this.#known.claimed(link.generation);
    }
    this.#use(link);
    if (this.#applied !== undefined)
      link.note('session.applied', this.hostId, this.#applied.generation, this.#applied.revision);
  }

  linkDown(): void {
    this.#link = undefined;
  }

  #use(link: SessionLink): void {
    this.#link = link;
    this.#vouched.clear();
    for (const wake of this.#linkWaiters.splice(0)) wake();
  }

  #up(): SessionLink {
    if (this.#link === undefined) throw this.#lost ?? new NsdbError('WEFT_STORE_AWAY');
    return this.#link;
  }

  #end(error: NsdbError): void {
    this.#lost ??= error;
    this.#link = undefined;
    this.#writer.close(error);
    for (const wake of this.#linkWaiters.splice(0)) wake();
  }

  /** Writes are idempotent: what a broken link left in doubt is written again. */
  async #write(entries: readonly OwnEntry[]): Promise<(NsdbError | undefined)[]> {
    for (;;) {
      while (this.#link === undefined) {
        if (this.#lost !== undefined) throw this.#lost;
        await new Promise<void>((resolve) => this.#linkWaiters.push(resolve));
      }
      const link = this.#link;
      try {
        const results = await link.request('session.write', [this.hostId, this.#incarnation, entries]);
        return (results as (WireError | null)[]).map((error) => (error === null ? undefined : fromWire(error)));
      } catch (error) {
        if (isNsdbError(error, 'WEFT_STORE_AWAY')) {
          if (this.#link === link) this.#link = undefined;
          continue;
        }
        if (isNsdbError(error, 'WEFT_SESSION_LOST')) {
          this.#options.onClose();
          this.#end(error);
        }
        throw error;
      }
    }
  }
}
