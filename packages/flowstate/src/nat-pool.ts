import { BLOCK_PORTS } from './block-table.ts';
import type { ConnectionRecord } from './record.ts';
import { R_RETURN } from './record.ts';
import type { FlowStateTable } from './table.ts';
import { TUPLE_WORDS } from './tuple.ts';

/** Candidates tried where ports are shared by several peers. */
const MAX_PROBES = 256;
/** Step between such candidates: odd, so that it visits all ports of a block. */
const PROBE_STEP = 31;
/** Least number of ports that are taken between two counts of the idle ones. */
const COUNT_EVERY = 16;

/** What a pool translates to. */
export interface NatRange {
  /** Number of the router or load balancer. */
  readonly device: number;
  /** First and last address, 16 bytes each. */
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  /** First and last port or echo identifier, 0 to 65535. */
  readonly portFrom: number;
  readonly portTo: number;
  /** With fewer idle ports than this, another block is wanted. Default 32. */
  readonly lowWater?: number;
}

/** {@link SnatPool.choose}: a port was chosen. */
export const NAT_CHOSEN = 0;
/** No block is held: get one, then try again. */
export const NAT_NO_BLOCK = 1;
/** Every port that was tried already leads to this peer. */
export const NAT_EXHAUSTED = 2;

/**
 * Source ports of one dynamic SNAT rule: those of the blocks that this host holds within the rule's range. The blocks' tokens and uses
 * stand in the table's BlockTable, so that pools with overlapping ranges agree.
 *
 * A binding is unique per (address, port, peer's address and port, protocol) on its device; since blocks belong to one host each, it is
 * unique among all hosts. A port is shared between peers only when no idle one is left.
 */
export class SnatPool {
  readonly range: NatRange;
  /** After `choose`: fewer idle ports are left than the low-water mark, or none suited. Get another block *before* it is empty. */
  wantsBlock = true;
  private readonly table: FlowStateTable;
  private lowMark: number;
  /** Whether few ports were idle when they were counted last; and when to count again, by `BlockTable.taken`. */
  private low = true;
  private countAt = 0;
  private held: number[] = [];
  /** Block at which the search goes on. */
  private hand = 0;
  private random: number;
  private readonly candidate = new Int32Array(TUPLE_WORDS);

  /** @param seed of the order in which ports are tried */
  constructor(table: FlowStateTable, range: NatRange, seed: number) {
    this.table = table;
    this.range = range;
    this.lowMark = range.lowWater ?? 32;
    this.random = seed | 1;
  }

  /** With fewer idle ports than this, another block is wanted. Who takes many ports a second wants it early. */
  get lowWater(): number {
    return this.lowMark;
  }

  set lowWater(ports: number) {
    if (ports === this.lowMark) return;
    this.lowMark = ports;
    this.countAt = 0;
  }

  /**
   * This host holds a block from now on, with the token of its allocation.
   * @param address four words at `at`
   * @returns its number in the BlockTable, or 0: the table is full, or a newer token is known (it is not this host's any more)
   */
  add(address: Int32Array, at: number, block: number, token: number): number {
    const { blocks } = this.table;
    const n = blocks.intern(this.range.device, address, at, block);
    if (n === 0 || token < blocks.token(n)) return 0;
    if (blocks.raise(n, token)) this.table.onFence?.(n);
    blocks.hold(n);
    if (!this.held.includes(n)) this.held.push(n);
    this.countAt = 0;
    this.wantsBlock = this.isLow();
    return n;
  }

  /** No port is chosen from a block any more. Its records live on; it may be released when {@link FlowStateTable.blocks} counts none. */
  drop(n: number): void {
    this.held = this.held.filter((other) => other !== n);
    this.table.blocks.drop(n);
    this.countAt = 0;
  }

  /** Blocks that ports are chosen from (numbers of the BlockTable). */
  get blocks(): readonly number[] {
    return this.held;
  }

  /** The held blocks without a live record: candidates for release. */
  unused(): number[] {
    return this.held.filter((n) => this.table.blocks.liveRecords(n) === 0);
  }

  /** Ports of the held blocks, within the range, that no live record uses. */
  idlePorts(): number {
    const { blocks } = this.table;
    const { portFrom, portTo } = this.range;
    let idle = 0;
    for (const n of this.held) {
      const first = blocks.firstPort(n);
      if (first >= portFrom && first + BLOCK_PORTS - 1 <= portTo) {
        idle += BLOCK_PORTS - blocks.busyPorts(n);
        continue;
      }
      for (let i = 0; i < BLOCK_PORTS; i++) if (this.inRange(first + i) && blocks.livePort(n, i) === 0) idle++;
    }
    return idle;
  }

  /**
   * Chooses the translated source of `record`, whose forward tuple is set, whose return tuple is the reverse of what leaves but for
   * the source, and whose protocol is TCP, UDP, … or an ICMP echo: sets return tuple and token. Nothing is reserved: insert the record
   * before the next choice.
   */
  choose(record: ConnectionRecord): number {
    if (this.held.length === 0) {
      this.wantsBlock = true;
      return NAT_NO_BLOCK;
    }
    this.wantsBlock = false;
    this.random = (Math.imul(this.random, 0x19660d) + 0x3c6ef35f) | 0;
    const start = this.random >>> 8;
    if (this.fromUnused(record, start)) return NAT_CHOSEN;
    // All ports were used once: those without live records count as new.
    const { blocks } = this.table;
    for (const n of this.held) if (blocks.busyPorts(n) < BLOCK_PORTS) blocks.recycle(n);
    if (this.fromUnused(record, start)) return NAT_CHOSEN;
    this.wantsBlock = true;
    return this.shared(record, start) ? NAT_CHOSEN : NAT_EXHAUSTED;
  }

  /** What {@link choose} would do, for a record that is only talked about: the next choice comes to the same. */
  preview(record: ConnectionRecord): number {
    const { hand, random, wantsBlock } = this;
    const result = this.choose(record);
    this.hand = hand;
    this.random = random;
    this.wantsBlock = wantsBlock;
    return result;
  }

  /** Takes a port that is not marked as used, of the block at the hand or one behind it. */
  private fromUnused(record: ConnectionRecord, start: number): boolean {
    const { blocks } = this.table;
    const count = this.held.length;
    for (let b = 0; b < count; b++) {
      const at = (this.hand + b) % count;
      const n = this.held[at];
      if ((blocks.usedBits(n, 0) & blocks.usedBits(n, 1)) === -1) continue;
      const first = blocks.firstPort(n);
      for (let i = 0; i < BLOCK_PORTS; i++) {
        const port = (start + i) & (BLOCK_PORTS - 1);
        if ((blocks.usedBits(n, port >>> 5) >>> (port & 31)) & 1) continue;
        if (!this.inRange(first + port) || !this.suits(record, n, first + port)) continue;
        this.hand = at;
        this.wantsBlock = this.isLow();
        return true;
      }
    }
    return false;
  }

  /** Tries ports that lead to other peers. */
  private shared(record: ConnectionRecord, start: number): boolean {
    const { blocks } = this.table;
    const count = this.held.length;
    const tries = Math.min(MAX_PROBES, count * BLOCK_PORTS);
    for (let t = 0; t < tries; t++) {
      const round = Math.floor(t / count);
      const n = this.held[(this.hand + t) % count];
      const port = blocks.firstPort(n) + ((start + round * PROBE_STEP) & (BLOCK_PORTS - 1));
      if (this.inRange(port) && this.suits(record, n, port)) return true;
    }
    return false;
  }

  /** Whether few ports are idle. They are counted anew when so many have been taken since that it may have changed. */
  private isLow(): boolean {
    const { taken } = this.table.blocks;
    if (taken < this.countAt) return this.low;
    const idle = this.idlePorts();
    this.low = idle <= this.lowMark;
    this.countAt = taken + Math.max(COUNT_EVERY, idle - this.lowMark);
    return this.low;
  }

  private inRange(port: number): boolean {
    return port >= this.range.portFrom && port <= this.range.portTo;
  }

  /** Sets the translation, if no record has its return tuple. */
  private suits(record: ConnectionRecord, block: number, port: number): boolean {
    const { candidate, table } = this;
    const { words } = record;
    table.blocks.address(block, candidate, 0);
    record.translateSource(candidate, 0, port);
    candidate[0] = words[0];
    for (let i = 0; i < 9; i++) candidate[1 + i] = words[R_RETURN + i];
    if (table.find(candidate, 0) >= 0) return false;
    record.token = table.blocks.token(block);
    return true;
  }
}

/** Where a dynamic DNAT rule sends. */
export interface DnatRange {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
  /** First and last port; both 0: the port stays. */
  readonly portFrom: number;
  readonly portTo: number;
}

/**
 * Chooses the translated destination of `record` from a range: a random target whose answers no other connection of the device
 * expects. Needs no blocks.
 * @param random 32 random bits
 * @returns NAT_CHOSEN, or NAT_EXHAUSTED: the client's port leads to all targets that were tried
 */
export function chooseTarget(
  table: FlowStateTable,
  range: DnatRange,
  record: ConnectionRecord,
  random: number,
): number {
  const addresses = addressCount(range.from, range.to);
  const ports = range.portFrom === 0 ? 1 : range.portTo - range.portFrom + 1;
  const targets = addresses * ports;
  const start = (random >>> 0) % targets;
  const tries = Math.min(MAX_PROBES, targets);
  const words = new Int32Array(TUPLE_WORDS);
  const ownPort = record.words[1] & 0xffff;
  for (let t = 0; t < tries; t++) {
    const target = (start + t) % targets;
    addressPlus(range.from, Math.floor(target / ports), words, 0);
    record.translateDestination(words, 0, range.portFrom === 0 ? ownPort : range.portFrom + (target % ports));
    words[0] = record.words[0];
    for (let i = 0; i < 9; i++) words[1 + i] = record.words[R_RETURN + i];
    if (table.find(words, 0) < 0) return NAT_CHOSEN;
  }
  return NAT_EXHAUSTED;
}

/** How many addresses lie from `from` to `to`, by their last 31 bits. */
function addressCount(from: Uint8Array, to: Uint8Array): number {
  return Math.max(1, Math.min(0x7fffffff, low32(to) - low32(from) + 1));
}

function low32(address: Uint8Array): number {
  return ((address[12] << 24) | (address[13] << 16) | (address[14] << 8) | address[15]) >>> 0;
}

function addressPlus(from: Uint8Array, n: number, words: Int32Array, at: number): void {
  const low = (low32(from) + n) >>> 0;
  for (let i = 0; i < 3; i++) {
    words[at + i] = from[i * 4] | (from[i * 4 + 1] << 8) | (from[i * 4 + 2] << 16) | (from[i * 4 + 3] << 24);
  }
  words[at + 3] = (low >>> 24) | ((low >>> 8) & 0xff00) | ((low & 0xff00) << 8) | (low << 24);
}
