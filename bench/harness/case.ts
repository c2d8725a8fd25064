/** A figure as code: `bench/cases/<id>.ts` exports one of these. */
import type { KernelOverlay } from './kernel-overlay.ts';
import type { Labs } from './labs.ts';
import type { BenchResult } from './result.ts';

export interface BenchContext {
  /** Runs of a second or two: shows that everything works; the values mean little. */
  readonly quick: boolean;
  /** Brings up labs, and keeps them for the next figure. */
  readonly labs: Labs;
  /** The kernel's own bridge and VXLAN device, made at the first call. */
  kernelOverlay(): Promise<KernelOverlay>;
  /** Tells what is being done. */
  note(text: string): void;
}

export interface BenchCase {
  /** Also the name of the file. */
  readonly id: string;
  /** Rows of the result, when there are more than one of the case's own name. */
  readonly rows?: readonly string[];
  readonly what: string;
  readonly needsRoot: boolean;
  run(context: BenchContext): Promise<BenchResult[]>;
}
