/**
 * For a test: a start of the datapath over what is there, as an agent makes it, in a process that is killed behind one of its changes. Says
 * each change on a line of its own, and at the end what it has found.
 */
import { writeSync } from 'node:fs';
import { actionId, DROP_REASONS } from '@weft/flow';
import { killBehind } from '@weft/sys/kill-behind';
import type { DatapathOptions } from '../../contract.ts';

/** What the process is told, as JSON. */
export interface Start {
  readonly options: DatapathOptions;
  readonly underlays: readonly number[];
  /** Where it is killed; null: nowhere. */
  readonly place: Place | null;
}

/** Behind so many changes: of this kind, or of any. */
export interface Place {
  readonly what?: string;
  readonly times: number;
}

/** What a start that ended has found, and all that was counted so far. */
export interface Found {
  readonly directory: string;
  readonly ports: number;
  /** Ids of flows and packets that they have forwarded, by counter slot. */
  readonly flows: readonly (readonly [id: number, packets: number])[];
  readonly drops: Readonly<Record<string, number>>;
  readonly upcalls: number;
}

const { options, underlays, place } = JSON.parse(process.argv[2]!) as Start;
let times = 0;
killBehind((what) => {
  writeSync(1, `${what}\n`);
  return place !== null && what === (place.what ?? what) && ++times === place.times;
});
const { EbpfDatapath } = await import('../ebpf.ts');
const driver = new EbpfDatapath(options);
const { ports, forEachFlow } = driver.adopted();
for (const port of ports) driver.attachPort(port);
for (const ifindex of underlays) driver.attachUnderlay(ifindex);
const packets = new Float64Array(options.maxFlows);
driver.readCounters(packets, new Float64Array(options.maxFlows));
const flows: [number, number][] = [];
forEachFlow((_, value) => {
  const id = actionId(value);
  flows.push([id, packets[id - 1]!]);
});
const { drops, upcalls } = driver.stats();
const found: Found = {
  directory: driver.object.directory,
  ports: ports.length,
  flows: flows.sort(([a], [b]) => a - b),
  drops: Object.fromEntries(DROP_REASONS.map((name, i) => [name, drops[i]!]).filter(([, n]) => n !== 0)),
  upcalls: upcalls.reduce((sum, n) => sum + n, 0),
};
writeSync(1, `${JSON.stringify(found)}\n`);
driver.close();
