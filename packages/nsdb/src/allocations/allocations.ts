/**
 * Allocations: numbers of pools that hosts hold until they give them back. They are for what nobody can fence, like the ports
 * of an address that the internet sees: a number is given again only when nothing can stand on it any longer.
 *
 * Each number that was ever given has a node. It is free when its host has released it, or was given up (`HostLives`), and
 * the cooling time has passed since by the store's clock. Nothing runs on timers: who wants a number looks at the times.
 */
import type { NodeOp, NodeStore, StoreNode } from '../backend.ts';
import type { Allocation, PoolNumberUsage } from '../contract.ts';
import { NsdbError } from '../errors.ts';
import {
  droppedOwnerPath,
  holdingOf,
  holdingPath,
  holdingsPath,
  lastPart,
  lifePath,
  numberPath,
  numbersPath,
  objectPath,
  ownedPoolPath,
  ownedPoolsPath,
  TOKEN_FLOOR_PATH,
} from '../objects/paths.ts';
import { type CheckedReads, commitChecked } from './checked.ts';
import { cooledSince, type HostLife, nextToken, type PoolNumber, parseLife, parseNumber } from './number.ts';
import {
  checkAllocation,
  checkCooling,
  checkPool,
  checkRequest,
  type NumberRange,
  POOL_OWNERS,
  poolOwner,
} from './pool.ts';
import { PoolCleaner } from './pool-cleaner.ts';
import { Quarantine } from './quarantine.ts';

/** Numbers in one commit at most. */
const CHUNK = 500;

/** What a host says that it holds, with the cooling time that it asked for. */
export interface Claim extends Allocation {
  readonly coolMs: number;
}

interface Candidate {
  readonly index: number;
  readonly token: number;
  readonly node: StoreNode | undefined;
  /** Node of the dead host that has held it until now. */
  readonly life: StoreNode | undefined;
  readonly deadHolder: string | undefined;
}

export interface AllocationsOptions {
  /** Dice, 0 ≤ x < 1. */
  random(): number;
  /** Grace time of hosts' sessions, ms. */
  readonly grace: number;
}

export class Allocations {
  readonly #store: NodeStore;
  readonly #random: () => number;
  readonly #grace: number;
  #quarantine: Promise<Quarantine> | undefined;
  readonly #cleaner: PoolCleaner;
  /** Last call of each host: one at a time, so that what a broken link left under way is in the next answer of `held`. */
  readonly #turns = new Map<string, Promise<unknown>>();

  /** Of a store that may be away still: nothing is read before it is needed. */
  constructor(store: NodeStore, { random, grace }: AllocationsOptions) {
    this.#store = store;
    this.#random = random;
    this.#grace = grace;
    this.#cleaner = new PoolCleaner(store, random);
  }

  /** Of a store that only this process writes: goes on with what its earlier life has left. */
  static async load(store: NodeStore, options: AllocationsOptions): Promise<Allocations> {
    const allocations = new Allocations(store, options);
    await allocations.#restored();
    await allocations.resume();
    return allocations;
  }

  /** Goes on clearing away the pools of owners that were deleted. */
  resume(): Promise<void> {
    return this.#cleaner.resume();
  }

  /** See `HostSession.allocate`. WEFT_SESSION_LOST unless this incarnation is the host's newest and was not given up. */
  async allocate(
    hostId: string,
    incarnation: number,
    pool: string,
    range: NumberRange,
    count: number,
    coolMs: number,
  ): Promise<Allocation[]> {
    checkRequest(pool, range, count, coolMs);
    return this.#inTurn(hostId, () =>
      this.#commit(async (reads) => {
        const [, ops, candidates] = await Promise.all([
          this.#requireAlive(reads, hostId, incarnation),
          this.#requireOwner(reads, pool),
          this.#candidates(pool, range, hostId, coolMs),
        ]);
        const chosen = this.#choose(candidates, count);
        for (const { index, token, node, life, deadHolder } of chosen) {
          reads.expect(numberPath(pool, index), node);
          if (deadHolder !== undefined) {
            reads.expect(lifePath(deadHolder), life);
            ops.push({ op: 'remove', path: holdingPath(deadHolder, pool, index) });
          }
          ops.push(...holding(hostId, pool, index, { host: hostId, token, cool: coolMs, released: null }));
        }
        return { ops, result: chosen.map(({ index, token }) => ({ pool, index, token })) };
      }),
    );
  }

  /** See `HostSession.release`. */
  async release(hostId: string, incarnation: number, allocations: readonly Allocation[]): Promise<void> {
    for (const allocation of allocations) checkAllocation(allocation);
    return this.#inTurn(hostId, async () => {
      for (let at = 0; at < allocations.length; at += CHUNK)
        await this.#commit(async (reads) => {
          await this.#requireAlive(reads, hostId, incarnation);
          const ops: NodeOp[] = [];
          const portion = allocations.slice(at, at + CHUNK);
          const nodes = await Promise.all(portion.map(({ pool, index }) => reads.get(numberPath(pool, index))));
          for (const [i, { pool, index, token }] of portion.entries()) {
            const node = nodes[i];
            const number = node && parseNumber(node);
            if (number?.host !== hostId || number.token !== token || number.released !== null) continue;
            ops.push(...(await this.#released(hostId, pool, index, number)));
          }
          return { ops, result: undefined };
        });
    });
  }

  /** See `HostSession.keep`; answers with the cooling times. */
  async keep(hostId: string, incarnation: number, allocations: readonly Allocation[]): Promise<Claim[]> {
    for (const allocation of allocations) checkAllocation(allocation);
    return this.#inTurn(hostId, async () => {
      const kept: Claim[] = [];
      for (let at = 0; at < allocations.length; at += CHUNK) {
        const portion = allocations.slice(at, at + CHUNK);
        kept.push(...(await this.#commit((reads) => this.#keepSome(reads, hostId, incarnation, portion))));
      }
      return kept;
    });
  }

  async #keepSome(
    reads: CheckedReads,
    hostId: string,
    incarnation: number,
    allocations: readonly Allocation[],
  ): Promise<{ ops: NodeOp[]; result: Claim[] }> {
    await this.#requireAlive(reads, hostId, incarnation);
    const ops: NodeOp[] = [];
    const result: Claim[] = [];
    for (const { pool, index, token } of allocations) {
      const node = await reads.get(numberPath(pool, index));
      const number = node && parseNumber(node);
      if (number?.token !== token) continue;
      const { kind, id } = poolOwner(pool);
      if (POOL_OWNERS[kind] !== undefined && !(await this.#findOwner(reads, kind, id))) continue;
      const { cool, host, released } = number;
      if (host === hostId && released === null) {
        result.push({ pool, index, token, coolMs: cool, ...keptOf(number) });
        continue;
      }
      const life = released === null ? await reads.get(lifePath(host)) : undefined;
      if (cooledSince(number, life && parseLife(life)) === undefined) continue;
      if (released === null) ops.push({ op: 'remove', path: holdingPath(host, pool, index) });
      ops.push(...holding(hostId, pool, index, { host: hostId, token, cool, released: null, kept: true }));
      result.push({ pool, index, token, coolMs: cool, kept: true });
    }
    return { ops, result };
  }

  /** See `HostSession.allocations`; here with the cooling times. */
  async held(hostId: string, incarnation: number): Promise<Claim[]> {
    return this.#inTurn(hostId, () =>
      this.#commit(async (reads) => {
        await this.#requireAlive(reads, hostId, incarnation);
        const owned = new Map<string, boolean>();
        const result: Claim[] = [];
        const holdings = (await this.#store.children(holdingsPath(hostId))).map(({ path }) => holdingOf(path));
        const nodes = await Promise.all(holdings.map(({ pool, index }) => this.#store.get(numberPath(pool, index))));
        for (const [i, { pool, index }] of holdings.entries()) {
          const node = nodes[i];
          const number = node && parseNumber(node);
          if (number?.host !== hostId || number.released !== null) continue;
          const { kind, id } = poolOwner(pool);
          const owner = `${kind}/${id}`;
          if (!owned.has(owner)) owned.set(owner, await this.#isOwned(kind, id));
          if (owned.get(owner))
            result.push({ pool, index, token: number.token, coolMs: number.cool, ...keptOf(number) });
        }
        return { ops: [], result };
      }),
    );
  }

  /**
   * A host that comes from another generation of the store (this one was restored, or made anew) says what it holds. The
   * greater token counts: who was given a number last has it, whatever the backup says. `complete`: these are all; what the
   * backup says beyond them the host had released since.
   */
  async claim(hostId: string, incarnation: number, claims: readonly Claim[], complete: boolean): Promise<void> {
    for (const claim of claims) {
      checkAllocation(claim);
      checkCooling(claim.pool, claim.coolMs);
    }
    const claimed = new Set(claims.map(({ pool, index }) => holdingPath(hostId, pool, index)));
    return this.#inTurn(hostId, async () => {
      for (let at = 0; at < claims.length; at += CHUNK)
        await this.#commit(async (reads) => {
          await this.#requireAlive(reads, hostId, incarnation);
          const ops: NodeOp[] = [];
          for (const claim of claims.slice(at, at + CHUNK)) ops.push(...(await this.#claimed(reads, hostId, claim)));
          return { ops, result: undefined };
        });
      if (!complete) return;
      const rest = (await this.#store.children(holdingsPath(hostId))).filter(({ path }) => !claimed.has(path));
      for (let at = 0; at < rest.length; at += CHUNK)
        await this.#commit(async (reads) => {
          await this.#requireAlive(reads, hostId, incarnation);
          const ops: NodeOp[] = [];
          for (const { path } of rest.slice(at, at + CHUNK)) {
            const { pool, index } = holdingOf(path);
            const node = await reads.get(numberPath(pool, index));
            const number = node && parseNumber(node);
            if (number?.host === hostId && number.released === null)
              ops.push(...(await this.#released(hostId, pool, index, number)));
          }
          return { ops, result: undefined };
        });
    });
  }

  /** See `Nsdb.poolUsage`. */
  async usage(pool: string): Promise<PoolNumberUsage[]> {
    checkPool(pool);
    const { kind, id } = poolOwner(pool);
    const usage: PoolNumberUsage[] = [];
    const quarantine = await this.#restored();
    const now = await this.#store.now();
    const nodes = (await this.#isOwned(kind, id)) ? await this.#store.children(numbersPath(pool)) : [];
    const lives = await this.#livesOf(nodes);
    for (const node of nodes) {
      const number = parseNumber(node);
      const since = cooledSince(number, lifeOf(number.host, lives));
      const coolsFor = since === undefined ? null : quarantine.freeAt(since + number.cool, number.cool) - now;
      if (coolsFor === null || coolsFor > 0)
        usage.push({ index: Number(lastPart(node.path)), token: number.token, hostId: number.host, coolsFor });
    }
    await this.#store.commit([]);
    return usage.sort((a, b) => a.index - b.index);
  }

  /** An owner was deleted: its pools go, in steps that no caller waits for. */
  ownerDropped(kind: string, id: string): void {
    this.#cleaner.start(kind, id);
  }

  /** Waits for what is under way. Behind the last session, before the store is closed. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#turns.values()]);
    await this.#cleaner.close();
  }

  // ---- parts ----

  #restored(): Promise<Quarantine> {
    if (this.#quarantine === undefined) {
      const loading = Quarantine.load(this.#store, this.#grace);
      this.#quarantine = loading;
      loading.catch(() => {
        this.#quarantine = undefined;
      });
    }
    return this.#quarantine;
  }

  /** Every number that the host can have. The nodes that stand behind it have not been checked yet. */
  async #candidates(
    pool: string,
    { first, last }: NumberRange,
    hostId: string,
    coolMs: number,
  ): Promise<{ own: Candidate[]; free: Candidate[] }> {
    const [floorNode, known, quarantine, now] = await Promise.all([
      this.#store.get(TOKEN_FLOOR_PATH),
      this.#store.children(numbersPath(pool)),
      this.#restored(),
      this.#store.now(),
    ]);
    const floor = floorNode === undefined ? 0 : Number(floorNode.json);
    const nodes = new Map<number, StoreNode>();
    for (const node of known) nodes.set(Number(lastPart(node.path)), node);
    const lives = await this.#livesOf(known);
    const own: Candidate[] = [];
    const free: Candidate[] = [];
    for (let index = first; index <= last; index++) {
      const node = nodes.get(index);
      const number = node && parseNumber(node);
      const token = nextToken(number?.token ?? 0, floor, now);
      if (token === undefined) continue;
      let freed = 0;
      let life: HostLife | undefined;
      if (number !== undefined) {
        life = lifeOf(number.host, lives);
        const since = cooledSince(number, life);
        if (since === undefined) continue;
        // On what was kept something of a third host may stand.
        if (number.host === hostId && !number.kept && quarantine.knows(since)) {
          own.push({ index, token, node, life: undefined, deadHolder: undefined });
          continue;
        }
        freed = since + number.cool;
      }
      if (now < quarantine.freeAt(freed, Math.max(coolMs, number?.cool ?? 0))) continue;
      const dead = number?.released === null ? number.host : undefined;
      free.push({ index, token, node, life: dead === undefined ? undefined : lives.get(dead), deadHolder: dead });
    }
    return { own, free };
  }

  /** At random, so that hosts that choose at the same time rarely choose the same. */
  #choose({ own, free }: { own: Candidate[]; free: Candidate[] }, count: number): Candidate[] {
    const chosen: Candidate[] = [];
    for (const list of [own, free])
      for (let at = 0; at < list.length && chosen.length < count; at++) {
        const other = at + Math.floor(this.#random() * (list.length - at));
        chosen.push(list[other]);
        list[other] = list[at];
      }
    return chosen;
  }

  async #requireAlive(reads: CheckedReads, hostId: string, incarnation: number): Promise<void> {
    const node = await reads.get(lifePath(hostId));
    const life = node && parseLife(node);
    if (life?.incarnation !== incarnation || life.died !== null) throw new NsdbError('WEFT_SESSION_LOST');
  }

  /** Operations that note the pool with its owner, where that is to be done. */
  async #requireOwner(reads: CheckedReads, pool: string): Promise<NodeOp[]> {
    const { kind, id } = poolOwner(pool);
    if (POOL_OWNERS[kind] === undefined) return [];
    if (!(await this.#findOwner(reads, kind, id)))
      throw new NsdbError('WEFT_NOT_FOUND', `Pool ${pool} has no owner: no ${POOL_OWNERS[kind].join(' or ')} ${id}`);
    return this.#notePool(kind, id, pool);
  }

  /** Whether the pools' owner is there. If so, it may not even change until the commit: it could be another of the same id. */
  async #findOwner(reads: CheckedReads, kind: string, id: string): Promise<boolean> {
    const [dropped, ...owners] = await Promise.all([
      reads.get(droppedOwnerPath(kind, id)),
      ...POOL_OWNERS[kind].map((type) => reads.get(objectPath(type, id))),
    ]);
    const found = owners.some((owner) => owner !== undefined);
    // What an earlier owner of this id had must be gone before anything is given anew.
    if (found && dropped !== undefined) {
      await this.#cleaner.clean(kind, id);
      reads.expect(droppedOwnerPath(kind, id), undefined);
    }
    return found;
  }

  async #notePool(kind: string, id: string, pool: string): Promise<NodeOp[]> {
    const path = ownedPoolPath(kind, id, pool);
    if ((await this.#store.get(path)) !== undefined) return [];
    return [
      { op: 'put', path: ownedPoolsPath(kind, id), json: '' },
      { op: 'put', path, json: '' },
    ];
  }

  async #isOwned(kind: string, id: string): Promise<boolean> {
    const types = POOL_OWNERS[kind];
    if (types === undefined) return true;
    if ((await this.#store.get(droppedOwnerPath(kind, id))) !== undefined) return false;
    for (const type of types) if ((await this.#store.get(objectPath(type, id))) !== undefined) return true;
    return false;
  }

  async #released(hostId: string, pool: string, index: number, number: PoolNumber): Promise<NodeOp[]> {
    const released: PoolNumber = { ...number, released: await this.#store.now() };
    return [
      { op: 'put', path: numberPath(pool, index), json: JSON.stringify(released) },
      { op: 'remove', path: holdingPath(hostId, pool, index) },
    ];
  }

  async #claimed(reads: CheckedReads, hostId: string, claim: Claim): Promise<NodeOp[]> {
    const { pool, index, token, coolMs } = claim;
    const { kind, id } = poolOwner(pool);
    const isOwned = POOL_OWNERS[kind] !== undefined;
    if (isOwned && !(await this.#findOwner(reads, kind, id))) return [];
    const node = await reads.get(numberPath(pool, index));
    const number = node && parseNumber(node);
    if (number !== undefined && number.token >= token) return [];
    const ops = isOwned ? await this.#notePool(kind, id, pool) : [];
    if (number !== undefined) ops.push({ op: 'remove', path: holdingPath(number.host, pool, index) });
    return [
      ...ops,
      ...holding(hostId, pool, index, { host: hostId, token, cool: coolMs, released: null, ...keptOf(claim) }),
    ];
  }

  /** The lives of the hosts that these numbers name. */
  async #livesOf(numbers: readonly StoreNode[]): Promise<Map<string, StoreNode | undefined>> {
    const hosts = [...new Set(numbers.map((node) => parseNumber(node).host))];
    const nodes = await Promise.all(hosts.map((hostId) => this.#store.get(lifePath(hostId))));
    return new Map(hosts.map((hostId, i) => [hostId, nodes[i]]));
  }

  #commit<R>(
    body: (reads: CheckedReads) => Promise<{ readonly ops: readonly NodeOp[]; readonly result: R }>,
  ): Promise<R> {
    return commitChecked(this.#store, this.#random, body);
  }

  #inTurn<R>(hostId: string, run: () => Promise<R>): Promise<R> {
    const before = this.#turns.get(hostId);
    const result = before === undefined ? run() : before.then(run, run);
    this.#turns.set(hostId, result);
    const leave = () => {
      if (this.#turns.get(hostId) === result) this.#turns.delete(hostId);
    };
    result.then(leave, leave);
    return result;
  }
}

function lifeOf(hostId: string, lives: ReadonlyMap<string, StoreNode | undefined>): HostLife | undefined {
  const node = lives.get(hostId);
  return node && parseLife(node);
}

/** A claim without its cooling time: what sessions answer. */
export function withoutCooling({ coolMs: _, ...allocation }: Claim): Allocation {
  return allocation;
}

/** The mark, where it is. */
function keptOf({ kept }: { readonly kept?: true }): { readonly kept?: true } {
  return kept ? { kept } : {};
}

function holding(hostId: string, pool: string, index: number, number: PoolNumber): NodeOp[] {
  return [
    { op: 'put', path: numberPath(pool, index), json: JSON.stringify(number) },
    { op: 'put', path: holdingPath(hostId, pool, index), json: '' },
  ];
}
