/** The flow table, and the class bits of each port: set before the first flow of a class goes in, cleared after the last one is out. */
import { K_MASK_CLASS, KEY_SIZE, keyInPort, MASK_CLASS_COUNT } from '@weft/flow';
import { type BpfMap, ERRNO, SysError } from '@weft/sys';
import type { FlowBatch } from '../contract.ts';
import { KeySet } from './key-set.ts';

/** Entries per system call: bounds the memory that a batch is copied into. */
const CHUNK = 4096;

export class Flows {
  readonly #map: BpfMap;
  readonly #keys: KeySet;
  /** ifindex → flows per class. */
  readonly #counts = new Map<number, Uint32Array>();
  readonly #onClasses: (ifindex: number, classes: number) => void;

  /** @param onClasses writes a port's class bits to the kernel */
  constructor(map: BpfMap, onClasses: (ifindex: number, classes: number) => void) {
    this.#map = map;
    this.#keys = new KeySet(Math.min(map.info.maxEntries, 65_536));
    this.#onClasses = onClasses;
    map.forEach((key) => {
      if (this.#keys.add(key, 0)) this.#of(keyInPort(key))[key[K_MASK_CLASS]]++;
    });
  }

  get size(): number {
    return this.#keys.size;
  }

  #of(ifindex: number): Uint32Array {
    let counts = this.#counts.get(ifindex);
    if (!counts) this.#counts.set(ifindex, (counts = new Uint32Array(MASK_CLASS_COUNT)));
    return counts;
  }

  /** Class bits of a port. */
  classes(ifindex: number): number {
    let bits = 0;
    this.#counts.get(ifindex)?.forEach((count, c) => {
      if (count > 0) bits |= 1 << c;
    });
    return bits;
  }

  /** @returns how many, from the first on, are in. */
  put(batch: FlowBatch): number {
    const { keys, values, count } = batch;
    let done = 0;
    while (done < count) {
      const n = Math.min(CHUNK, count - done);
      this.#announce(keys, done, n);
      const result = this.#map.updateBatch(keys, values, n, done);
      for (let i = done; i < done + result.count; i++) {
        const base = i * KEY_SIZE;
        if (this.#keys.add(keys, base)) this.#of(keyInPort(keys, base))[keys[base + K_MASK_CLASS]]++;
      }
      done += result.count;
      if (result.errno === 0) continue;
      this.#retract(keys, done, n - result.count);
      if (result.errno === ERRNO.E2BIG) break;
      throw new SysError('bpf', result.errno, 'insert flows');
    }
    return done;
  }

  /** Sets class bits for flows about to go in. */
  #announce(keys: Uint8Array, first: number, count: number): void {
    const fresh = new Map<number, number>();
    for (let i = first; i < first + count; i++) {
      const base = i * KEY_SIZE;
      const c = keys[base + K_MASK_CLASS];
      if (c >= MASK_CLASS_COUNT) continue;
      const port = keyInPort(keys, base);
      if (this.#of(port)[c] === 0) fresh.set(port, (fresh.get(port) ?? 0) | (1 << c));
    }
    for (const [port, bits] of fresh) this.#onClasses(port, this.classes(port) | bits);
  }

  /** Puts bits right for flows that did not go in. */
  #retract(keys: Uint8Array, first: number, count: number): void {
    const ports = new Set<number>();
    for (let i = first; i < first + count; i++) ports.add(keyInPort(keys, i * KEY_SIZE));
    for (const port of ports) this.#onClasses(port, this.classes(port));
  }

  delete(keys: Uint8Array, count: number): void {
    const emptied = new Set<number>();
    for (let done = 0; done < count; done += CHUNK) {
      const n = Math.min(CHUNK, count - done);
      const chunk = keys.subarray(done * KEY_SIZE, (done + n) * KEY_SIZE);
      this.#map.deleteBatch(chunk, n);
      for (let i = 0; i < n; i++) {
        const base = i * KEY_SIZE;
        // What is in the kernel is in the set: only this process changes the table.
        if (!this.#keys.delete(chunk, base)) continue;
        const port = keyInPort(chunk, base);
        if (--this.#of(port)[chunk[base + K_MASK_CLASS]] === 0) emptied.add(port);
      }
    }
    for (const port of emptied) {
      this.#onClasses(port, this.classes(port));
      if (this.classes(port) === 0) this.#counts.delete(port);
    }
  }

  forEach(visit: (key: Uint8Array, value: Uint8Array) => void): void {
    this.#map.forEach(visit);
  }
}
