import { finish, keyedHash, mixWord } from './hash.ts';
import { SlotIndex } from './slot-index.ts';
import type { UuidTable } from './uuid-table.ts';

/** Ports of a block. */
export const BLOCK_PORTS = 64;
/** Blocks of an address. */
export const BLOCKS_PER_ADDRESS = 1024;

/** Words of an entry: device, block, address (4), token, check. */
const STRIDE = 8;
const TOKEN = 6;
const CHECK = 7;

/** Bytes of memory that hold `capacity` blocks. */
export function blockTableBytes(capacity: number): number {
  return (capacity + 1) * STRIDE * 4;
}

/**
 * What this host knows of blocks of NAT ports: for each (device, address, block) the newest token seen, how many live records use it, and,
 * if it is this host's own, which ports were used. Blocks have numbers from 1; 0 is "no block".
 *
 * A token counts the allocations of a block: a record with an older one was made by an owner that has lost the block since,
 * and is not believed.
 */
export class BlockTable {
  readonly capacity: number;
  size = 0;
  private readonly words: Int32Array;
  private readonly index: SlotIndex;
  /** 1: known, 2: this host may choose ports from it. */
  private readonly state: Uint8Array;
  private readonly live: Int32Array;
  /** Ports in a block that live records use. */
  private readonly busy: Uint8Array;
  /** Records per port: BLOCK_PORTS a block. */
  private readonly perPort: Int32Array;
  /** How often a port that was idle was taken, in any block: grows for ever. */
  taken = 0;
  /** Bit per port: used since the block was taken, or last recycled. Two words a block. */
  private readonly used: Int32Array;
  private readonly probe = new Int32Array(6);
  private readonly uuids: UuidTable;
  private readonly k0: number;
  private readonly k1: number;
  private hand = 1;

  constructor(capacity: number, region: ArrayBufferLike, byteOffset: number, uuids: UuidTable, k0: number, k1: number) {
    this.capacity = capacity;
    this.words = new Int32Array(region, byteOffset, (capacity + 1) * STRIDE);
    this.index = new SlotIndex(capacity);
    this.state = new Uint8Array(capacity + 1);
    this.live = new Int32Array(capacity + 1);
    this.busy = new Uint8Array(capacity + 1);
    this.perPort = new Int32Array((capacity + 1) * BLOCK_PORTS);
    this.used = new Int32Array((capacity + 1) * 2);
    this.uuids = uuids;
    this.k0 = k0;
    this.k1 = k1;
  }

  /** Takes over what the memory holds. No block is held: who owns one says so anew. */
  adopt(): void {
    for (let n = 1; n <= this.capacity; n++) {
      const at = n * STRIDE;
      const device = this.words[at];
      if (device === 0 || this.words[at + CHECK] !== this.check(at) || !this.uuids.has(device)) continue;
      for (let i = 0; i < 6; i++) this.probe[i] = this.words[at + i];
      if (this.lookUp() !== 0) continue;
      this.enter(n);
    }
  }

  /** Number of a block, or 0. `address` are four words at `at`. */
  find(device: number, address: Int32Array, at: number, block: number): number {
    this.setProbe(device, address, at, block);
    return this.lookUp();
  }

  /** Number of a block, made with token 0 if need be; 0 when the table is full of blocks in use. */
  intern(device: number, address: Int32Array, at: number, block: number): number {
    const found = this.find(device, address, at, block);
    if (found !== 0) return found;
    const n = this.freePlace();
    if (n === 0) return 0;
    const base = n * STRIDE;
    for (let i = 0; i < 6; i++) this.words[base + i] = this.probe[i];
    this.words[base + TOKEN] = 0;
    this.words[base + CHECK] = this.check(base);
    this.enter(n);
    return n;
  }

  /** Newest token known of a block (unsigned 32-bit). */
  token(n: number): number {
    return this.words[n * STRIDE + TOKEN] >>> 0;
  }

  /** Notes a token. Returns true if it is newer than what was known and the block has records: the older ones are fenced from now on. */
  raise(n: number, token: number): boolean {
    if (token <= this.token(n)) return false;
    const at = n * STRIDE;
    this.words[at + TOKEN] = token;
    this.words[at + CHECK] = this.check(at);
    return this.live[n] > 0;
  }

  /** This host may choose ports from the block. A block that comes anew counts as never used but where records live. */
  hold(n: number): void {
    if (this.state[n] === 2) return;
    this.state[n] = 2;
    this.recycle(n);
  }

  /** This host may choose no more ports from it. Its records live on. */
  drop(n: number): void {
    if (this.state[n] === 2) this.state[n] = 1;
  }

  isHeld(n: number): boolean {
    return this.state[n] === 2;
  }

  /** How many live records, of this host or others, use ports of the block. At 0 nothing here stands in the way of its release. */
  liveRecords(n: number): number {
    return this.live[n];
  }

  /** How many ports of the block live records use; several may share one. */
  busyPorts(n: number): number {
    return this.busy[n];
  }

  livePort(n: number, port: number): number {
    return this.perPort[n * BLOCK_PORTS + (port & (BLOCK_PORTS - 1))];
  }

  /** First port of a block. */
  firstPort(n: number): number {
    return this.words[n * STRIDE + 1] * BLOCK_PORTS;
  }

  deviceOf(n: number): number {
    return this.words[n * STRIDE];
  }

  /** Copies the address of a block: four words. */
  address(n: number, out: Int32Array, at: number): void {
    for (let i = 0; i < 4; i++) out[at + i] = this.words[n * STRIDE + 2 + i];
  }

  /** A record uses a port of the block now. */
  acquire(n: number, port: number): void {
    this.live[n]++;
    const i = port & (BLOCK_PORTS - 1);
    if (this.perPort[n * BLOCK_PORTS + i]++ === 0) {
      this.busy[n]++;
      this.taken++;
    }
    this.used[n * 2 + (i >>> 5)] |= 1 << (i & 31);
  }

  release(n: number, port: number): void {
    this.live[n]--;
    const at = n * BLOCK_PORTS + (port & (BLOCK_PORTS - 1));
    if (--this.perPort[at] === 0) this.busy[n]--;
  }

  /** Bits of the ports `half * 32 …` that were used. */
  usedBits(n: number, half: number): number {
    return this.used[n * 2 + half];
  }

  /** Counts as used what has live records only, so that idle ports are chosen again. */
  recycle(n: number): void {
    this.used[n * 2] = 0;
    this.used[n * 2 + 1] = 0;
    for (let i = 0; i < BLOCK_PORTS; i++) {
      if (this.perPort[n * BLOCK_PORTS + i] > 0) this.used[n * 2 + (i >>> 5)] |= 1 << (i & 31);
    }
  }

  private setProbe(device: number, address: Int32Array, at: number, block: number): void {
    this.probe[0] = device;
    this.probe[1] = block;
    for (let i = 0; i < 4; i++) this.probe[2 + i] = address[at + i];
  }

  private lookUp(): number {
    const { index, probe, words } = this;
    const { pairs } = index;
    const hash = keyedHash(probe, 0, 6, this.k0, this.k1);
    for (let i = index.first(hash); pairs[i + 1] !== 0; i = index.next(i)) {
      if (pairs[i] !== hash) continue;
      const at = (pairs[i + 1] - 1) * STRIDE;
      let w = 0;
      while (w < 6 && words[at + w] === probe[w]) w++;
      if (w === 6) return pairs[i + 1] - 1;
    }
    return 0;
  }

  private enter(n: number): void {
    const at = n * STRIDE;
    this.index.add(keyedHash(this.words, at, 6, this.k0, this.k1), n);
    this.state[n] = 1;
    this.live[n] = 0;
    this.busy[n] = 0;
    this.used.fill(0, n * 2, n * 2 + 2);
    this.perPort.fill(0, n * BLOCK_PORTS, (n + 1) * BLOCK_PORTS);
    this.uuids.retain(this.words[at]);
    this.size++;
  }

  /** A free place, else that of a block that nobody uses or holds: its token is forgotten. */
  private freePlace(): number {
    for (let i = 0; i < this.capacity; i++) {
      const n = this.hand;
      this.hand = n === this.capacity ? 1 : n + 1;
      if (this.state[n] === 0) return n;
      if (this.size < this.capacity || this.state[n] === 2 || this.live[n] > 0) continue;
      const at = n * STRIDE;
      this.index.remove(keyedHash(this.words, at, 6, this.k0, this.k1), n);
      this.uuids.release(this.words[at]);
      this.words.fill(0, at, at + STRIDE);
      this.state[n] = 0;
      this.size--;
      return n;
    }
    return 0;
  }

  private check(at: number): number {
    let h = 0x57465442;
    for (let i = 0; i < CHECK; i++) h = mixWord(h, this.words[at + i]);
    return finish(h);
  }
}
