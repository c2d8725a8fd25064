/**
 * Who answers to an address: (router, bridge or, for link-local addresses, router port; address) → MAC from the shared
 * table, or the bridge port behind which a linked router owns the address. A neighbour that does not answer may be marked
 * failed by the local agent.
 */
import { addressTag, TAG_NEIGHBOUR } from '@weft/flow';
import { WordTable } from './word-table.ts';

const FLAGS = 5;
const MAC_HIGH = 6;
const MAC_LOW = 7;
const LINKED = 8;

const HAS_MAC = 1;
const FAILED = 2;

export class NeighbourTable {
  private readonly table = new WordTable(5, 4, 1024);

  /** Position of the entry for the 16-byte address at `offset`, or -1; valid until the next change. */
  find(owner: number, ip: Uint8Array, offset: number): number {
    this.probe(owner, ip, offset);
    return this.table.find();
  }

  hasMac(at: number): boolean {
    return (this.table.words[at + FLAGS] & HAS_MAC) !== 0;
  }

  failed(at: number): boolean {
    return (this.table.words[at + FLAGS] & FAILED) !== 0;
  }

  /** Bridge port behind which a linked router has the address, 0: none. */
  linkedPort(at: number): number {
    return this.table.words[at + LINKED];
  }

  copyMac(at: number, out: Uint8Array, offset: number): void {
    const { words } = this.table;
    out[offset] = words[at + MAC_HIGH] >>> 8;
    out[offset + 1] = words[at + MAC_HIGH];
    out[offset + 2] = words[at + MAC_LOW] >>> 24;
    out[offset + 3] = words[at + MAC_LOW] >>> 16;
    out[offset + 4] = words[at + MAC_LOW] >>> 8;
    out[offset + 5] = words[at + MAC_LOW];
  }

  /** Whether the entry's MAC is the one at `offset`. */
  macIs(at: number, bytes: Uint8Array, offset: number): boolean {
    const { words } = this.table;
    return (
      words[at + MAC_HIGH] === ((bytes[offset] << 8) | bytes[offset + 1]) &&
      words[at + MAC_LOW] ===
        ((bytes[offset + 2] << 24) | (bytes[offset + 3] << 16) | (bytes[offset + 4] << 8) | bytes[offset + 5])
    );
  }

  /** Sets the shared table's MAC (null: none). A neighbour that is learned has not failed. True if anything changed. */
  setMac(owner: number, ip: Uint8Array, mac: Uint8Array | null): boolean {
    this.probe(owner, ip, 0);
    const at = mac === null ? this.table.find() : this.table.insert();
    if (at < 0) return false;
    const { words } = this.table;
    if (mac === null) {
      if ((words[at + FLAGS] & HAS_MAC) === 0) return false;
      words[at + FLAGS] &= ~HAS_MAC;
      words[at + MAC_HIGH] = 0;
      words[at + MAC_LOW] = 0;
      this.release(at);
      return true;
    }
    if (words[at + FLAGS] === HAS_MAC && this.macIs(at, mac, 0)) return false;
    words[at + FLAGS] = HAS_MAC;
    words[at + MAC_HIGH] = (mac[0] << 8) | mac[1];
    words[at + MAC_LOW] = (mac[2] << 24) | (mac[3] << 16) | (mac[4] << 8) | mac[5];
    return true;
  }

  /** Sets the port behind which a linked router has the address (0: none). True if it changed. */
  setLinked(owner: number, ip: Uint8Array, port: number): boolean {
    this.probe(owner, ip, 0);
    const at = port === 0 ? this.table.find() : this.table.insert();
    if (at < 0 || this.table.words[at + LINKED] === port) return false;
    this.table.words[at + LINKED] = port;
    this.release(at);
    return true;
  }

  /** Marks as failed, or not. True if it changed. */
  setFailed(owner: number, ip: Uint8Array, failed: boolean): boolean {
    this.probe(owner, ip, 0);
    const at = failed ? this.table.insert() : this.table.find();
    if (at < 0 || this.failed(at) === failed) return false;
    if (failed) this.table.words[at + FLAGS] |= FAILED;
    else this.table.words[at + FLAGS] &= ~FAILED;
    this.release(at);
    return true;
  }

  private release(at: number): void {
    if (this.table.words[at + FLAGS] === 0 && this.table.words[at + LINKED] === 0) this.table.removeAt(at);
  }

  private probe(owner: number, ip: Uint8Array, offset: number): void {
    const { probe } = this.table;
    probe[0] = owner;
    for (let w = 0; w < 4; w++) {
      const o = offset + w * 4;
      probe[w + 1] = (ip[o] << 24) | (ip[o + 1] << 16) | (ip[o + 2] << 8) | ip[o + 3];
    }
  }
}

export function neighbourTag(owner: number, ip: Uint8Array, offset: number): number {
  return addressTag(TAG_NEIGHBOUR, owner, ip, offset);
}

/** fe80::/10: the same address may be a different neighbour on every link. */
export function isLinkLocal6(ip: Uint8Array, offset: number): boolean {
  return ip[offset] === 0xfe && (ip[offset + 1] & 0xc0) === 0x80;
}
