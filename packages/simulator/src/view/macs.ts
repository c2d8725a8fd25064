/**
 * Where MACs are: (bridge, VLAN, MAC) → port. Two sources: the shared table, and the MACs of routers linked to the bridge,
 * which win (a VM cannot take its router's MAC away).
 */
import { TAG_MAC, tag } from '@weft/flow';
import { WordTable } from './word-table.ts';

const TABLE = 3;
const LINKED = 4;

export class MacTable {
  private readonly table = new WordTable(3, 2, 1024);

  private probe(bridge: number, vlan: number, bytes: Uint8Array, offset: number): void {
    const { probe } = this.table;
    probe[0] = bridge;
    probe[1] = (vlan << 16) | (bytes[offset] << 8) | bytes[offset + 1];
    probe[2] = (bytes[offset + 2] << 24) | (bytes[offset + 3] << 16) | (bytes[offset + 4] << 8) | bytes[offset + 5];
  }

  /** Port where the MAC at `offset` is, 0: nowhere. */
  find(bridge: number, vlan: number, bytes: Uint8Array, offset: number): number {
    this.probe(bridge, vlan, bytes, offset);
    const at = this.table.find();
    return at < 0 ? 0 : this.table.words[at + LINKED] || this.table.words[at + TABLE];
  }

  /** Whether the MAC is that of a linked router. */
  isLinked(bridge: number, vlan: number, bytes: Uint8Array, offset: number): boolean {
    this.probe(bridge, vlan, bytes, offset);
    const at = this.table.find();
    return at >= 0 && this.table.words[at + LINKED] !== 0;
  }

  /** Sets what the shared table says (0: nothing); true if the answer of `find` changed. */
  setTable(bridge: number, vlan: number, mac: Uint8Array, port: number): boolean {
    return this.set(bridge, vlan, mac, TABLE, port);
  }

  /** Sets the port to the router with this MAC (0: none); true if the answer of `find` changed. */
  setLinked(bridge: number, vlan: number, mac: Uint8Array, port: number): boolean {
    return this.set(bridge, vlan, mac, LINKED, port);
  }

  private set(bridge: number, vlan: number, mac: Uint8Array, word: number, port: number): boolean {
    this.probe(bridge, vlan, mac, 0);
    const at = port === 0 ? this.table.find() : this.table.insert();
    if (at < 0) return false;
    const { words } = this.table;
    const before = words[at + LINKED] || words[at + TABLE];
    words[at + word] = port;
    const after = words[at + LINKED] || words[at + TABLE];
    if (words[at + LINKED] === 0 && words[at + TABLE] === 0) this.table.removeAt(at);
    return before !== after;
  }
}

/** The tag of (bridge, VLAN, MAC at `offset`). */
export function macTag(bridge: number, vlan: number, bytes: Uint8Array, offset: number): number {
  const high = (bytes[offset] << 8) | bytes[offset + 1];
  const low = (bytes[offset + 2] << 24) | (bytes[offset + 3] << 16) | (bytes[offset + 4] << 8) | bytes[offset + 5];
  return tag(TAG_MAC, bridge, vlan, high, low);
}
