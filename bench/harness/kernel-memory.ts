/** Memory that the kernel takes for the tables of the agents' programs. */
import { readdir, readFile } from 'node:fs/promises';
import { require } from './errors.ts';

/** Bytes of slab memory that cannot be given back: what elements of hash tables are made of. The whole machine's. */
export async function slabBytes(): Promise<number> {
  const text = await readFile('/proc/meminfo', 'utf8');
  const kib = /^SUnreclaim:\s+(\d+) kB/m.exec(text)?.[1];
  require(kib !== undefined, () => '/proc/meminfo says nothing of SUnreclaim');
  return Number(kib) * 1024;
}

/** What the kernel says of a process's BPF maps: type (BPF_MAP_TYPE_…), size of keys and values, and bytes, by number of elements. */
export interface MapMemory {
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly bytes: number;
}

export async function mapsOf(pid: number): Promise<MapMemory[]> {
  const maps = new Map<string, MapMemory>();
  for (const fd of await readdir(`/proc/${pid}/fdinfo`)) {
    const text = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '');
    const number = (field: string) => Number(new RegExp(`^${field}:\\s*(\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN);
    const id = number('map_id');
    if (Number.isNaN(id)) continue;
    maps.set(`${id}`, {
      type: number('map_type'),
      keySize: number('key_size'),
      valueSize: number('value_size'),
      maxEntries: number('max_entries'),
      bytes: number('memlock'),
    });
  }
  return [...maps.values()];
}
