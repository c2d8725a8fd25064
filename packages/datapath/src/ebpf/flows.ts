/**
 * The flow table, and with it the filters that tell which classes to probe. Programs need a flow's action alone: the key of its first
 * packet stands in an array by counter slot, and is there before the flow is. Who adopts a flow compares the two: a process that was
 * killed in between has left a slot's key without its flow.
 */
import { A_COUNTER_SLOT, ACTION_SIZE, FLOW_FIRST_KEY, FLOW_VALUE_SIZE, KEY_SIZE, readU32le } from '@weft/flow';
import { type BpfMap, ERRNO, SysError } from '@weft/sys';
import type { FlowBatch } from '../contract.ts';
import type { ClassFilters } from './class-filters.ts';
import { KeySet } from './key-set.ts';

/** Entries per system call: bounds the memory that a batch is copied into. */
const CHUNK = 1024;

export class Flows {
  readonly #map: BpfMap;
  readonly #keys: KeySet;
  readonly #filters: ClassFilters;
  /** By counter slot. */
  readonly #firstKeys: Uint8Array;
  readonly #slots: number;
  /** Of the chunk at hand. */
  readonly #actions = new Uint8Array(CHUNK * ACTION_SIZE);

  /** @param firstKeys KEY_SIZE bytes for each possible flow */
  constructor(map: BpfMap, filters: ClassFilters, firstKeys: Uint8Array) {
    this.#map = map;
    this.#firstKeys = firstKeys;
    this.#slots = map.info.maxEntries;
    this.#keys = new KeySet(Math.min(map.info.maxEntries, 65_536));
    this.#filters = filters;
    map.forEach((key) => {
      if (this.#keys.add(key, 0)) filters.add(key, 0);
    });
    filters.sweep();
  }

  get size(): number {
    return this.#keys.size;
  }

  /** @returns how many, from the first on, are in. */
  put(batch: FlowBatch): number {
    const { keys, values, count } = batch;
    let done = 0;
    while (done < count) {
      const n = Math.min(CHUNK, count - done);
      for (let i = 0; i < n; i++) {
        this.#filters.announce(keys, (done + i) * KEY_SIZE);
        this.#split(values, (done + i) * FLOW_VALUE_SIZE, i * ACTION_SIZE);
      }
      const result = this.#map.updateBatch(keys.subarray(done * KEY_SIZE), this.#actions, n);
      for (let i = done; i < done + result.count; i++) {
        const base = i * KEY_SIZE;
        if (this.#keys.add(keys, base)) this.#filters.add(keys, base);
      }
      for (let i = done + result.count; i < done + n; i++) this.#filters.retract(keys, i * KEY_SIZE);
      done += result.count;
      if (result.errno === 0) continue;
      if (result.errno === ERRNO.E2BIG) break;
      throw new SysError('bpf', result.errno, 'insert flows');
    }
    return done;
  }

  /** The action goes into the chunk, the key into its slot. */
  #split(values: Uint8Array, from: number, to: number): void {
    this.#actions.set(values.subarray(from, from + ACTION_SIZE), to);
    const slot = readU32le(values, from + A_COUNTER_SLOT);
    if (slot >= this.#slots) return;
    this.#firstKeys.set(values.subarray(from + FLOW_FIRST_KEY, from + FLOW_VALUE_SIZE), slot * KEY_SIZE);
  }

  delete(keys: Uint8Array, count: number): void {
    for (let done = 0; done < count; done += CHUNK) {
      const n = Math.min(CHUNK, count - done);
      const chunk = keys.subarray(done * KEY_SIZE, (done + n) * KEY_SIZE);
      this.#map.deleteBatch(chunk, n);
      // What is in the kernel is in the set: only this process changes the table.
      for (let i = 0; i < n; i++) if (this.#keys.delete(chunk, i * KEY_SIZE)) this.#filters.remove(chunk, i * KEY_SIZE);
    }
  }

  /** Visits key and value, action and first key, of each flow. What stands in a slot may be another packet's key. */
  forEach(visit: (key: Uint8Array, value: Uint8Array) => void): void {
    const value = new Uint8Array(FLOW_VALUE_SIZE);
    this.#map.forEach((key, action) => {
      value.fill(0);
      value.set(action);
      const slot = readU32le(action, A_COUNTER_SLOT);
      if (slot < this.#slots) {
        value.set(this.#firstKeys.subarray(slot * KEY_SIZE, (slot + 1) * KEY_SIZE), FLOW_FIRST_KEY);
      }
      visit(key, value);
    });
  }
}
