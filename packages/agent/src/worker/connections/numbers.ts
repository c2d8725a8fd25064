/**
 * Between the three names of one thing: its UUID, its handle in the view, and its number in the table of connections. Devices and
 * filters are asked for with each packet, so their numbers are kept (and held); those of ports, rules and hosts are looked up.
 */
import type { FlowStateTable } from '@weft/flowstate';
import type { VirtualTopologyView } from '@weft/simulator';

/** 16 bytes of a UUID in its usual form. */
export function uuidBytes(id: string, out = new Uint8Array(16)): Uint8Array {
  for (let i = 0, at = 0; at < 16; i++) {
    const high = id.charCodeAt(i);
    if (high === 0x2d) continue;
    out[at++] = (nibble(high) << 4) | nibble(id.charCodeAt(++i));
  }
  return out;
}

/** Value of a hexadecimal digit. */
function nibble(code: number): number {
  return code <= 0x39 ? code - 0x30 : (code | 0x20) - 0x57;
}

export class Numbers {
  private readonly table: FlowStateTable;
  private readonly view: Pick<VirtualTopologyView, 'id' | 'handle'>;
  private readonly scratch = new Uint8Array(16);
  /** By handle; 0: not kept. */
  private kept = new Int32Array(1024);
  /** By number; 0: not looked up since the last `release`. */
  private readonly handles: Int32Array;

  constructor(table: FlowStateTable, view: Pick<VirtualTopologyView, 'id' | 'handle'>) {
    this.table = table;
    this.view = view;
    this.handles = new Int32Array(table.uuids.capacity + 1);
  }

  /** Number of a handle, kept from now on; 0: none, or no room. */
  keep(handle: number): number {
    if (handle < this.kept.length && this.kept[handle] !== 0) return this.kept[handle];
    const n = this.of(handle);
    if (n === 0) return 0;
    if (handle >= this.kept.length) {
      const grown = new Int32Array(handle * 2);
      grown.set(this.kept);
      this.kept = grown;
    }
    this.table.uuids.retain(n);
    return (this.kept[handle] = n);
  }

  /** Number of a handle, good until the next `reclaim` unless a record has it. */
  of(handle: number): number {
    return handle === 0 ? 0 : this.ofId(this.view.id(handle));
  }

  ofId(id: string): number {
    return this.table.uuids.intern(uuidBytes(id, this.scratch));
  }

  /** Handle in the view of what has this number; 0 for 0. */
  handle(n: number): number {
    if (n === 0 || this.handles[n] !== 0) return this.handles[n];
    return (this.handles[n] = this.view.handle(this.table.uuids.text(n)));
  }

  /** Forgets all numbers, before a `reclaim`: what is still asked for gets its number again, perhaps another one. */
  release(): void {
    for (let handle = 1; handle < this.kept.length; handle++) {
      if (this.kept[handle] === 0) continue;
      this.table.uuids.release(this.kept[handle]);
      this.kept[handle] = 0;
    }
    this.handles.fill(0);
  }
}
