/** A machine for the tests of the archive on disk: its clocks stand until they are told to go on. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FlowStateArchive } from '../contract.ts';
import type { ArchiveClock } from './clock.ts';
import { type EmbeddedArchiveOptions, openEmbeddedArchive } from './index.ts';

export class TestMachine {
  readonly dir: string;
  readonly clock: { -readonly [K in keyof ArchiveClock]: ArchiveClock[K] };
  #steady = 5_000;
  #wall = 1_780_000_000_000;

  constructor(dir = mkdtempSync(join(tmpdir(), 'weft-archive-'))) {
    this.dir = dir;
    this.clock = { boot: 1, steady: () => this.#steady, wall: () => this.#wall };
  }

  open(options: Partial<EmbeddedArchiveOptions> = {}): FlowStateArchive {
    return openEmbeddedArchive({ dir: this.dir, clock: this.clock, ...options });
  }

  pass(ms: number): void {
    this.#steady += ms;
    this.#wall += ms;
  }

  /** Sets the wall clock forward or back. */
  step(ms: number): void {
    this.#wall += ms;
  }

  /** Another boot: its steady clock begins anew. */
  reboot(): void {
    this.clock.boot++;
    this.#steady = 10;
  }

  logOf(port: string): string {
    return join(this.dir, `${port}.log`);
  }

  clean(): void {
    rmSync(this.dir, { recursive: true });
  }
}
