/** The flow table of the datapath in memory: masked key → value. Its slots are its own, as places in the kernel's table are. */
import { FLOW_VALUE_SIZE, K_MASK_CLASS, KEY_SIZE } from '@weft/flow';
import { FlowTable } from '../flows/flow-table.ts';

export class MemoryFlows {
  /** Masked key of each slot, KEY_SIZE bytes each. */
  readonly keys: Uint8Array;
  /** Action and first packet's key of each slot, FLOW_VALUE_SIZE bytes each. */
  readonly values: Uint8Array;
  private readonly index: FlowTable;

  constructor(capacity: number) {
    this.index = new FlowTable(capacity);
    this.keys = this.index.firstKeys; // A masked key is its own first key.
    this.values = new Uint8Array(capacity * FLOW_VALUE_SIZE);
  }

  get capacity(): number {
    return this.index.capacity;
  }

  get size(): number {
    return this.index.size;
  }

  /** Inserts or replaces. @returns false if there is no room */
  put(keys: Uint8Array, keyBase: number, values: Uint8Array, valueBase: number): boolean {
    let slot = this.index.find(keys, keyBase);
    if (slot < 0) slot = this.index.add(keys, keyBase, keys[keyBase + K_MASK_CLASS]);
    if (slot < 0) return false;
    this.values.set(values.subarray(valueBase, valueBase + FLOW_VALUE_SIZE), slot * FLOW_VALUE_SIZE);
    return true;
  }

  /** Absent keys are skipped. */
  delete(keys: Uint8Array, base: number): void {
    const slot = this.index.find(keys, base);
    if (slot >= 0) this.index.remove(slot);
  }

  /** Slot that a packet with this full key would hit; -1 if none. */
  match(key: Uint8Array): number {
    return this.index.match(key);
  }

  /** The value in a slot: a view. */
  valueOf(slot: number): Uint8Array {
    return this.values.subarray(slot * FLOW_VALUE_SIZE, (slot + 1) * FLOW_VALUE_SIZE);
  }

  /** The masked key in a slot: a view. */
  keyOf(slot: number): Uint8Array {
    return this.keys.subarray(slot * KEY_SIZE, (slot + 1) * KEY_SIZE);
  }

  forEach(visit: (slot: number) => void): void {
    this.index.forEach(visit);
  }
}
