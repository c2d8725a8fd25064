/** From another build's tables to ours, in one start: filled before programs are swapped, and what is counted last carried after. */
import { waitForKernelReaders } from '@weft/sys';
import type { Upgrade } from '../../contract.ts';
import type { EbpfObject } from '../object.ts';
import { carryCounters } from './carry-counters.ts';
import { carryOver, copyFragments } from './carry-over.ts';
import { pinDirectories } from './directories.ts';
import { type Layout, writeLayout } from './layout-description.ts';
import { Predecessor } from './predecessor.ts';

export class Transition {
  private readonly stateDir: string;
  private readonly own: Layout;
  private readonly object: EbpfObject;
  private upgrade: Upgrade | undefined;
  private readonly opened: Predecessor[] = [];

  constructor(stateDir: string, own: Layout, object: EbpfObject) {
    this.stateDir = stateDir;
    this.own = own;
    this.object = object;
  }

  /** Fills the tables from those in a directory. Without a description there it leaves them empty. */
  fill(directory: string): void {
    const source = this.open(directory);
    if (!source) return;
    writeLayout(this.object.map.weft_layout, this.own, source.layout.id);
    const carried = carryOver(source, this.own, this.object);
    carryCounters([...this.openReplaced().filter(({ directory: other }) => other !== directory), source], this.object);
    this.upgrade = { from: source.hash, ...carried };
  }

  private open(directory: string): Predecessor | undefined {
    const source = Predecessor.open(directory, this.object.cpus);
    if (source) this.opened.push(source);
    return source;
  }

  private openReplaced(): Predecessor[] {
    return this.replaced().flatMap((directory) => this.open(directory) ?? []);
  }

  /** What is told of it. */
  get report(): { upgrade?: Upgrade } {
    return this.upgrade ? { upgrade: this.upgrade } : {};
  }

  /** The tables were filled just now. */
  get filled(): boolean {
    return this.upgrade !== undefined;
  }

  /** The tables were filled, by this process or by one that was killed before it was done. */
  get begun(): boolean {
    return this.filled || this.replaced().length > 0;
  }

  /** Directories whose tables ours replace. */
  private replaced(): string[] {
    return pinDirectories(this.stateDir).flatMap(({ path, state }) => (state === 'old' ? [path] : []));
  }

  /** All links run our programs: what the others counted in their last moments, and the fragments that they saw. */
  finish(): void {
    waitForKernelReaders();
    const sources = this.openReplaced();
    carryCounters(sources, this.object);
    for (const source of sources) copyFragments(source, this.own, this.object);
  }

  close(): void {
    for (const source of this.opened.splice(0)) source.close();
  }
}
