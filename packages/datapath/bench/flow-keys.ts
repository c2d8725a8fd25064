/**
 * Memory that the eBPF driver itself keeps of each flow, so that it knows its class counts. Prints one JSON line: {"bytes_per_flow"}.
 * Argument: number of flows, which is the table's size too.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { KEY_SIZE } from '@weft/flow';
import { KeySet } from '../src/ebpf/key-set.ts';

const FLOWS = Number(process.argv[2] ?? 200_000);
const before = process.memoryUsage().arrayBuffers;
// As `Flows` makes it.
const keys = new KeySet(Math.min(FLOWS, 65_536));
const key = new Uint8Array(KEY_SIZE);
const words = new Uint32Array(key.buffer);
for (let i = 0; i < FLOWS; i++) {
  words[0] = i;
  keys.add(key, 0);
}
// What a growing set has let go of does not count. Buffers are given back beside the collector: the second run waits for the first one's.
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
collect();
collect();
if (keys.size !== FLOWS) throw new Error(`${keys.size} of ${FLOWS} keys`);
console.log(JSON.stringify({ bytes_per_flow: (process.memoryUsage().arrayBuffers - before) / FLOWS }));
