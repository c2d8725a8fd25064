/**
 * What the programs count: flows in one mapped array [cpu][slot], drops and upcalls in per-CPU arrays. Each has a part that no program
 * writes, and that counts like the others: what was counted in tables of another layout (`upgrade/carry-counters.ts`).
 */
import type { BpfMap } from '@weft/sys';
import { u32Key } from './layout.ts';
import type { EbpfObject } from './object.ts';

/** Adds packets and bytes of the slots from `first` on, over all CPUs, as many as fit. Numbers are exact up to 2^53. @param slots in all */
export function addFlowCounters(
  { counters, cpus }: EbpfObject,
  slots: number,
  packets: Float64Array,
  bytes: Float64Array,
  first: number,
): void {
  const words = new Uint32Array(counters.buffer);
  const n = Math.min(slots - first, packets.length, bytes.length);
  for (let cpu = 0; cpu <= cpus; cpu++) {
    let at = (cpu * slots + first) * 4;
    for (let i = 0; i < n; i++, at += 4) {
      packets[i] += words[at] + words[at + 1] * 0x1_0000_0000;
      bytes[i] += words[at + 2] + words[at + 3] * 0x1_0000_0000;
    }
  }
}

/** Sets one slot's counters, summed over the CPUs. `words`: the counters' memory. */
export function readFlowCounter(
  words: Uint32Array,
  cpus: number,
  slots: number,
  slot: number,
  packets: Float64Array,
  bytes: Float64Array,
): void {
  let p = 0;
  let b = 0;
  for (let cpu = 0; cpu <= cpus; cpu++) {
    const at = (cpu * slots + slot) * 4;
    p += words[at] + words[at + 1] * 0x1_0000_0000;
    b += words[at + 2] + words[at + 3] * 0x1_0000_0000;
  }
  packets[slot] = p;
  bytes[slot] = b;
}

/** Sums of the first `length` 64-bit counters of a per-CPU array, each with what is carried over in its second half. */
export function perCpuSums(table: BpfMap, length: number): Float64Array {
  const out = new Float64Array(length);
  const value = new Uint8Array(table.valueBytes);
  const words = new Uint32Array(value.buffer);
  for (let i = 0; i < length * 2; i++) {
    if (!table.lookup(u32Key(i), value)) continue;
    for (let w = 0; w < words.length; w += 2) out[i % length] += words[w] + words[w + 1] * 0x1_0000_0000;
  }
  return out;
}
