/** A recorder that keeps the steps of one simulation as numbers, each with the packet as it was then. */
import { KEY_SIZE } from '@weft/flow';
import type { Recorder } from '../contract.ts';

/** Steps kept at most; what goes beyond is counted in `lost`. */
export const MAX_STEPS = 16_384;

export class StepRecorder implements Recorder {
  count = 0;
  /** Steps that were not kept. */
  lost = 0;
  /** Per step: STEP_…, and its three numbers (see `simulate/steps.ts`). */
  kind = new Uint8Array(256);
  at = new Int32Array(256);
  a = new Int32Array(256);
  b = new Int32Array(256);
  /** Per step: the packet's key, KEY_SIZE bytes each. */
  keys = new Uint8Array(256 * KEY_SIZE);

  clear(): void {
    this.count = 0;
    this.lost = 0;
  }

  step(step: number, at: number, a: number, b: number, key: Uint8Array): void {
    if (this.count === MAX_STEPS) {
      this.lost++;
      return;
    }
    if (this.count === this.kind.length) this.grow();
    const n = this.count++;
    this.kind[n] = step;
    this.at[n] = at;
    this.a[n] = a;
    this.b[n] = b;
    this.keys.set(key, n * KEY_SIZE);
  }

  /** The packet's key at step `n`; a view, valid until the next simulation. */
  key(n: number): Uint8Array {
    return this.keys.subarray(n * KEY_SIZE, (n + 1) * KEY_SIZE);
  }

  private grow(): void {
    const size = this.kind.length * 2;
    const copy = <T extends Uint8Array | Int32Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.kind = copy(this.kind, new Uint8Array(size));
    this.at = copy(this.at, new Int32Array(size));
    this.a = copy(this.a, new Int32Array(size));
    this.b = copy(this.b, new Int32Array(size));
    this.keys = copy(this.keys, new Uint8Array(size * KEY_SIZE));
  }
}
