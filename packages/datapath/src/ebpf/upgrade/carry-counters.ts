/**
 * What other builds' tables have counted goes into places of ours that no program writes: a row of weft_counters behind those of the CPUs,
 * the second halves of weft_drops and weft_upcalls. Written as a whole each time, so that it can be done again: when the tables
 * are filled, when no program uses the old ones any more, and after a kill in between.
 */
import { DROP_REASONS, fieldOf } from '@weft/flow';
import { type BpfMap, NativeBuffer } from '@weft/sys';
import { u32Key } from '../layout.ts';
import type { EbpfObject } from '../object.ts';
import type { Predecessor } from './predecessor.ts';

const WORD = 0x1_0000_0000;
/** Words of a flow's two counters here. */
const COUNTER_WORDS = 4;

/**
 * Sets what is carried over to the sum of all that these have counted. What one of them had carried over from another one that is still
 * there is counted there.
 */
export function carryCounters(sources: readonly Predecessor[], object: EbpfObject): void {
  if (sources.length === 0) return;
  carryFlowCounters(sources, object);
  const drops = new Float64Array(DROP_REASONS.length);
  // Numbers of upcalls' reasons are never given again.
  const upcalls = new Float64Array(object.map.weft_upcalls.info.maxEntries / 2);
  for (const source of sources) {
    const names: readonly string[] = DROP_REASONS;
    const numbers = source.layout.flows.drops.map((name) => names.indexOf(name));
    addSums(source, 'weft_drops', numbers, carriesTwice(source, sources), drops);
    addSums(source, 'weft_upcalls', [...upcalls.keys()], carriesTwice(source, sources), upcalls);
  }
  writeSums(object.map.weft_drops, drops);
  writeSums(object.map.weft_upcalls, upcalls);
}

function carriesTwice({ layout }: Predecessor, sources: readonly Predecessor[]): boolean {
  return sources.some((other) => other.layout.id === layout.from);
}

function carryFlowCounters(sources: readonly Predecessor[], object: EbpfObject): void {
  const slots = object.map.weft_flows.info.maxEntries;
  const sums = new Float64Array(slots * 2);
  for (const source of sources) addFlowCounters(source, carriesTwice(source, sources), slots, sums);
  using memory = NativeBuffer.mapFd(object.map.weft_counters.fd, (object.cpus + 1) * slots * COUNTER_WORDS * 4);
  const own = new Uint32Array(memory.buffer);
  let to = object.cpus * slots * COUNTER_WORDS;
  for (let i = 0; i < sums.length; i++, to += 2) {
    const low = sums[i] % WORD;
    const high = Math.floor(sums[i] / WORD);
    if (own[to] !== low) own[to] = low;
    if (own[to + 1] !== high) own[to + 1] = high;
  }
}

/** Adds what a build's flows have counted, packets and bytes by slot. @param skipLast its last row is counted elsewhere */
function addFlowCounters(source: Predecessor, skipLast: boolean, slots: number, sums: Float64Array): void {
  const found = source.memory('weft_counters');
  const flows = source.table('weft_flows');
  if (!found || !flows) return;
  const theirs = flows.map.info.maxEntries;
  const words = new Uint32Array(found.bytes.buffer, found.bytes.byteOffset, found.bytes.byteLength / 4);
  const stride = found.layout.value.size / 4;
  const [packets, bytes] = ['packets', 'bytes'].map((name) => fieldOf(found.layout.value, name)[1] / 4);
  const rows = Math.floor(found.entries / theirs) - (skipLast ? 1 : 0);
  for (let row = 0; row < rows; row++) {
    for (let slot = 0; slot < Math.min(slots, theirs); slot++) {
      const at = (row * theirs + slot) * stride;
      sums[slot * 2] += words[at + packets] + words[at + packets + 1] * WORD;
      sums[slot * 2 + 1] += words[at + bytes] + words[at + bytes + 1] * WORD;
    }
  }
}

/** Adds a build's counters of a table, each to the one of ours (−1: none); the second half, carried over, unless it is counted elsewhere. */
function addSums(
  source: Predecessor,
  table: string,
  numbers: readonly number[],
  skipCarried: boolean,
  sums: Float64Array,
): void {
  const found = source.table(table);
  if (!found) return;
  const value = new Uint8Array(found.map.valueBytes);
  const words = new Uint32Array(value.buffer);
  for (let i = 0; i < numbers.length * (skipCarried ? 1 : 2); i++) {
    const to = numbers[i % numbers.length];
    if (to < 0 || !found.map.lookup(u32Key(i), value)) continue;
    for (let w = 0; w < words.length; w += 2) sums[to] += words[w] + words[w + 1] * WORD;
  }
}

function writeSums(to: BpfMap, sums: Float64Array): void {
  const value = new Uint8Array(to.valueBytes);
  const view = new DataView(value.buffer);
  sums.forEach((sum, i) => {
    view.setBigUint64(0, BigInt(sum), true);
    to.update(u32Key(sums.length + i), value);
  });
}
