/**
 * Ports for source NAT: a pool per (device, range), which takes them from the blocks that the state database has given this host. Blocks are
 * asked for before the last ports are gone; a packet that needs the first one waits. A block goes back when no connection has used it for long.
 */
import { isIP } from 'node:net';
import {
  addressToWords,
  BLOCK_PORTS,
  type ConnectionRecord,
  type FlowStateTable,
  NAT_CHOSEN,
  NAT_EXHAUSTED,
  NAT_NO_BLOCK,
  SnatPool,
} from '@weft/flowstate';
import { ipFormat, ipParse } from '@weft/packet';
import type { NatTarget } from '@weft/simulator';
import type { Effects } from '../effects.ts';
import { uuidBytes } from './numbers.ts';

/** A block of ports that the state database says is this host's. */
export interface NatBlock {
  /** `nat/<device>/<address>` */
  readonly pool: string;
  readonly index: number;
  readonly token: number;
  /** Held for the connections that stand on it: no port is chosen from it. */
  readonly kept?: true;
}

/** Blocks of a first request; doubled when they are gone within a second, up to the most; as many again when within some seconds. */
const FIRST_BLOCKS = 2;
const MOST_BLOCKS = 64;
const EAGER_MS = 1_000;
const STEADY_MS = 10_000;
/** The next request goes out when half of the ports of the last one are left, but no fewer than these. */
const LEAST_IDLE = 32;
/** Addresses of a range that are asked for blocks one after the other. */
const MAX_ADDRESSES = 256;
/** After a refusal, how long until the next request. */
const RETRY_MS = 1_000;
/** With fewer idle ports than this, and no more blocks to be had, a range is low. */
const LOW_PORTS = 64;
/** A block that no connection has used for so long goes back. */
const IDLE_MS = 300_000;
const POOL_NAME = /^nat\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/([0-9a-f:.]+)$/;

interface Pool {
  readonly device: number;
  readonly target: NatTarget;
  readonly need: string;
  readonly snat: SnatPool;
  /** Names of its addresses' pools in the state database. */
  readonly names: readonly string[];
  /** The address to be asked for blocks next. */
  hand: number;
  /** Addresses in a row that had none left. */
  refused: number;
  asking: boolean;
  /** Blocks of the last request, and when it was made; packets that found no port since. */
  ask: number;
  lastAsked: number;
  missed: number;
  nextAsk: number;
  /** It has been told that no more blocks are to be had. */
  toldLow: boolean;
}

interface Held {
  readonly block: NatBlock;
  /** UUID of the device that it is for, and its address: 4 words. */
  readonly device: Uint8Array;
  readonly address: Int32Array;
  /** Pools that choose from it, with its number in the BlockTable. */
  readonly numbers: Map<Pool, number>;
  usedAt: number;
}

export interface NatPoolsOptions {
  readonly table: FlowStateTable;
  readonly effects: Pick<Effects, 'allocateBlocks' | 'releaseBlocks' | 'log'>;
  /** Packets that wait for this may go on. */
  readonly wake: (need: string) => void;
  readonly now: number;
}

export class NatPools {
  private readonly options: NatPoolsOptions;
  private readonly pools = new Map<number, Map<string, Pool>>();
  private readonly byName = new Map<string, Pool[]>();
  /** By `pool#index`. */
  private readonly held = new Map<string, Held>();
  /** By name of a pool in the state database: who has asked, in this order. Answers come in the same. */
  private readonly asked = new Map<string, Pool[]>();
  private now: number;
  /** Packets for which no port was left. */
  exhausted = 0;

  constructor(options: NatPoolsOptions) {
    this.options = options;
    this.now = options.now;
  }

  get blocks(): number {
    return this.held.size;
  }

  get count(): number {
    return this.byName.size;
  }

  /** Ports of held blocks that no live connection uses. */
  idlePorts(): number {
    let idle = 0;
    for (const ranges of this.pools.values()) for (const { snat } of ranges.values()) idle += snat.idlePorts();
    return idle;
  }

  /** Ranges for which no more blocks are to be had, and few ports are idle: new connections will soon find none. */
  get low(): number {
    let low = 0;
    for (const ranges of this.pools.values()) {
      for (const { toldLow, snat } of ranges.values()) if (toldLow && snat.idlePorts() < LOW_PORTS) low++;
    }
    return low;
  }

  /** See `StateView.chooseSource`. */
  choose(device: number, target: NatTarget, record: ConnectionRecord): number {
    const pool = this.poolOf(device, target);
    const result = pool.snat.choose(record);
    if (result !== NAT_CHOSEN) pool.missed++;
    if (pool.snat.wantsBlock) this.ask(pool);
    if (result === NAT_CHOSEN) return result;
    if (pool.refused < pool.names.length && (pool.asking || result === NAT_NO_BLOCK)) return NAT_NO_BLOCK;
    this.exhausted++;
    return NAT_EXHAUSTED;
  }

  /** What `choose` would come to, for a packet that is only talked about: ports are asked for as by a real one, nothing is counted. */
  preview(device: number, target: NatTarget, record: ConnectionRecord): number {
    const pool = this.poolOf(device, target);
    const result = pool.snat.preview(record);
    if (result === NAT_NO_BLOCK) this.ask(pool);
    else if (result !== NAT_EXHAUSTED) return result;
    return pool.refused < pool.names.length && (pool.asking || result === NAT_NO_BLOCK) ? NAT_NO_BLOCK : NAT_EXHAUSTED;
  }

  need(device: number, target: NatTarget): string {
    return this.poolOf(device, target).need;
  }

  /** What the state database says this host holds, all of it: after a start, and when the session was opened anew. */
  confirm(blocks: readonly NatBlock[]): void {
    const names = new Set(blocks.map(nameOf));
    for (const [name, held] of this.held) if (!names.has(name)) this.lose(name, held);
    for (const block of blocks) this.hold(block);
  }

  /** Blocks of hosts that are gone, which this host holds from now on for the connections that stand on them. */
  keep(blocks: readonly NatBlock[]): void {
    for (const block of blocks) this.hold(block);
  }

  /** Whether this host holds a block under its token. */
  holds(block: NatBlock): boolean {
    return this.held.get(nameOf(block))?.block.token === block.token;
  }

  /** Answer to the oldest request for this name: the blocks, none if there are no more, or null: the state database is away. */
  granted(name: string, blocks: readonly NatBlock[] | null): void {
    for (const block of blocks ?? []) this.hold(block);
    const pool = this.asked.get(name)?.shift();
    if (pool === undefined) return;
    pool.asking = false;
    if (blocks !== null && blocks.length > 0) {
      pool.refused = 0;
      pool.toldLow = false;
      pool.nextAsk = 0;
    } else {
      pool.hand = (pool.hand + 1) % pool.names.length;
      if (blocks !== null && ++pool.refused < pool.names.length) {
        // Another address of the range may have some.
        this.ask(pool);
        return;
      }
      pool.nextAsk = this.now + RETRY_MS;
      if (blocks !== null && !pool.toldLow) this.tellLow(pool);
    }
    this.options.wake(pool.need);
  }

  private tellLow(pool: Pool): void {
    pool.toldLow = true;
    this.options.effects.log('nat.low', {
      addresses: inWords(pool.target),
      device: this.options.table.uuids.text(pool.device),
      idlePorts: pool.snat.idlePorts(),
    });
  }

  /** Blocks that were held before, of which it is not known any more whether they still are: no port is chosen from them. */
  forgetHeld(): void {
    for (const [name, held] of this.held) this.lose(name, held);
  }

  /** The worker's clock has gone on. */
  advance(now: number): void {
    this.now = now;
  }

  /** About once a second: asks again where it was refused, gives back what is not used. */
  tick(now: number): void {
    this.now = now;
    for (const ranges of this.pools.values()) {
      for (const pool of ranges.values()) if (pool.snat.wantsBlock && pool.lastAsked > 0) this.ask(pool);
    }
    const idle: NatBlock[] = [];
    for (const [name, held] of this.held) {
      if (this.isUsed(held)) held.usedAt = now;
      else if (now - held.usedAt > IDLE_MS) {
        idle.push(held.block);
        this.lose(name, held);
      }
    }
    if (idle.length > 0) this.options.effects.releaseBlocks(idle);
  }

  /** All that is held, for the next process. */
  list(): NatBlock[] {
    return [...this.held.values()].map(({ block }) => block);
  }

  /** Whether connections live on it, also those that an earlier process began: then there may be no pool yet. */
  private isUsed({ block, device, address }: Held): boolean {
    const { blocks, uuids } = this.options.table;
    const number = uuids.find(device);
    const n = number === 0 ? 0 : blocks.find(number, address, 0, block.index);
    return n !== 0 && blocks.liveRecords(n) > 0;
  }

  private poolOf(device: number, target: NatTarget): Pool {
    let ranges = this.pools.get(device);
    if (ranges === undefined) {
      this.pools.set(device, (ranges = new Map()));
      // It is what the pools are found by.
      this.options.table.uuids.retain(device);
    }
    let pool = ranges.get(target.key);
    if (pool === undefined) ranges.set(target.key, (pool = this.make(device, target)));
    return pool;
  }

  private make(device: number, target: NatTarget): Pool {
    const { table } = this.options;
    const id = table.uuids.text(device);
    const seed = (device * 0x9e3779b1) ^ target.portFrom ^ table.incarnation;
    const names = addressesOf(target).map((address) => `nat/${id}/${ipFormat(address)}`);
    // Hosts begin at different addresses, so that they rarely ask for the same.
    const hand = (seed >>> 8) % names.length;
    const pool: Pool = {
      device,
      target,
      need: `b/${id}/${target.key}`,
      snat: new SnatPool(table, { device, ...target }, seed),
      names,
      hand,
      refused: 0,
      asking: false,
      ask: FIRST_BLOCKS,
      lastAsked: Number.NEGATIVE_INFINITY,
      missed: 0,
      nextAsk: 0,
      toldLow: false,
    };
    for (const name of names) {
      const others = this.byName.get(name);
      if (others) others.push(pool);
      else this.byName.set(name, [pool]);
    }
    for (const held of this.held.values()) if (names.includes(held.block.pool)) this.join(pool, held);
    return pool;
  }

  private ask(pool: Pool): void {
    if (pool.asking || this.now < pool.nextAsk) return;
    pool.asking = true;
    const lasted = this.now - pool.lastAsked;
    const blocks = lasted < EAGER_MS ? pool.ask * 2 : lasted < STEADY_MS ? pool.ask : FIRST_BLOCKS;
    pool.ask = Math.min(MOST_BLOCKS, Math.max(blocks, Math.ceil(pool.missed / BLOCK_PORTS)));
    pool.missed = 0;
    pool.lastAsked = this.now;
    // Who takes many ports a second takes many while the answer is on its way.
    pool.snat.lowWater = Math.max(LEAST_IDLE, (pool.ask * BLOCK_PORTS) / 2);
    const first = Math.floor(pool.target.portFrom / BLOCK_PORTS);
    const last = Math.floor(pool.target.portTo / BLOCK_PORTS);
    const name = pool.names[pool.hand];
    const asked = this.asked.get(name);
    if (asked === undefined) this.asked.set(name, [pool]);
    else asked.push(pool);
    this.options.effects.allocateBlocks(name, first, last, pool.ask);
  }

  private hold(block: NatBlock): void {
    const name = nameOf(block);
    const before = this.held.get(name);
    if (before !== undefined) {
      if (before.block.token === block.token) return;
      this.lose(name, before);
    }
    // What is allocated for something else is not this one's to hold, or to give back.
    const ends = endsOf(block.pool);
    if (ends === null) return;
    const held: Held = { block, ...ends, numbers: new Map(), usedAt: this.now };
    this.held.set(name, held);
    for (const pool of this.byName.get(block.pool) ?? []) this.join(pool, held);
  }

  private join(pool: Pool, held: Held): void {
    const { index, token, kept } = held.block;
    if (kept) return;
    const first = index * BLOCK_PORTS;
    if (first > pool.target.portTo || first + BLOCK_PORTS <= pool.target.portFrom) return;
    const n = pool.snat.add(held.address, 0, index, token);
    if (n !== 0) held.numbers.set(pool, n);
  }

  private lose(name: string, held: Held): void {
    this.held.delete(name);
    for (const [pool, n] of held.numbers) pool.snat.drop(n);
  }
}

function nameOf({ pool, index }: NatBlock): string {
  return `${pool}#${index}`;
}

/** Device and address that a pool of the state database is for; null: it is none of ports. */
function endsOf(pool: string): Pick<Held, 'device' | 'address'> | null {
  const parts = POOL_NAME.exec(pool);
  if (parts === null || isIP(parts[2]) === 0) return null;
  const address = new Int32Array(4);
  addressToWords(ipParse(parts[2]), 0, address, 0);
  return { device: uuidBytes(parts[1]), address };
}

/** A range as people write it. */
function inWords({ from, to, portFrom, portTo }: NatTarget): string {
  const [first, last] = [ipFormat(from), ipFormat(to)];
  return `${first}${first === last ? '' : `-${last}`} ports ${portFrom}-${portTo}`;
}

/** The addresses of a range, the first ones of a large one. */
function addressesOf({ from, to }: NatTarget): Uint8Array[] {
  const addresses: Uint8Array[] = [];
  const address = from.slice();
  for (;;) {
    addresses.push(address.slice());
    if (addresses.length === MAX_ADDRESSES || Buffer.compare(address, to) >= 0) return addresses;
    for (let i = 15; i >= 0 && ++address[i] === 0; i--);
  }
}
