/** Tables of another build, by what it wrote of them. */
import { basename, join } from 'node:path';
import { BpfMap, isErrno, NativeBuffer, openPinned } from '@weft/sys';
import { readLayout, type StoredLayout, type TableLayout } from './layout-description.ts';

export class Predecessor {
  readonly directory: string;
  readonly layout: StoredLayout;
  private readonly cpus: number;
  private readonly opened: { close(): void }[] = [];

  private constructor(directory: string, layout: StoredLayout, cpus: number) {
    this.directory = directory;
    this.layout = layout;
    this.cpus = cpus;
  }

  /** @returns undefined if the directory says nothing of its tables, or nothing that this build understands */
  static open(directory: string, possibleCpus: number): Predecessor | undefined {
    const layout = readLayout(directory);
    return layout && new Predecessor(directory, layout, possibleCpus);
  }

  /** Hash of its layout: its directory's name. */
  get hash(): string {
    return basename(this.directory).slice(0, 16);
  }

  /** A table with its layout; undefined if that build had none of this name, or it is not as described. */
  table(name: string): { map: BpfMap; layout: TableLayout } | undefined {
    const layout = this.layout.tables[name];
    if (layout === undefined) return undefined;
    let map: BpfMap;
    try {
      map = new BpfMap(openPinned(join(this.directory, name)), this.cpus);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw error;
    }
    this.opened.push(map);
    const { keySize, valueSize } = map.info;
    return keySize === layout.key.size && valueSize === layout.value.size ? { map, layout } : undefined;
  }

  /** Memory of an array that user space can map; undefined like `table`. */
  memory(name: string): { bytes: Uint8Array; layout: TableLayout; entries: number } | undefined {
    const found = this.table(name);
    if (!found) return undefined;
    const { map, layout } = found;
    // Elements of an array stand at multiples of 8 bytes.
    if (layout.value.size % 8 !== 0) return undefined;
    const memory = NativeBuffer.mapFd(map.fd, map.info.maxEntries * layout.value.size, { writable: false });
    this.opened.push(memory);
    return { bytes: memory.bytes, layout, entries: map.info.maxEntries };
  }

  close(): void {
    for (const one of this.opened) one.close();
  }
}
