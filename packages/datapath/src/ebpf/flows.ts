/** The flow table, and with it the filters that tell which classes to probe. */
import { KEY_SIZE } from '@weft/flow';
import { type BpfMap, ERRNO, SysError } from '@weft/sys';
import type { FlowBatch } from '../contract.ts';
import type { ClassFilters } from './class-filters.ts';
import { KeySet } from './key-set.ts';

/** Entries per system call: bounds the memory that a batch is copied into. */
const CHUNK = 4096;

export class Flows {
  readonly #map: BpfMap;
  readonly #keys: KeySet;
  readonly #filters: ClassFilters;

  constructor(map: BpfMap, filters: ClassFilters) {
    this.#map = map;
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
      for (let i = done; i < done + n; i++) this.#filters.announce(keys, i * KEY_SIZE);
      const result = this.#map.updateBatch(keys, values, n, done);
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

  delete(keys: Uint8Array, count: number): void {
    for (let done = 0; done < count; done += CHUNK) {
      const n = Math.min(CHUNK, count - done);
      const chunk = keys.subarray(done * KEY_SIZE, (done + n) * KEY_SIZE);
      this.#map.deleteBatch(chunk, n);
      // What is in the kernel is in the set: only this process changes the table.
      for (let i = 0; i < n; i++) if (this.#keys.delete(chunk, i * KEY_SIZE)) this.#filters.remove(chunk, i * KEY_SIZE);
    }
  }

  forEach(visit: (key: Uint8Array, value: Uint8Array) => void): void {
    this.#map.forEach(visit);
  }
}
