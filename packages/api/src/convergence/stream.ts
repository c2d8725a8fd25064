/** One who waits for a change by server-sent events: how far it has got, whenever that changes, until it is live on all hosts. */
import type { Revision } from '@weft/nsdb';
import { EventStream, type EventStreamOptions } from '../changes/event-stream.ts';
import { type Progress, progressOf } from './progress.ts';
import type { ConvergenceWatch, Look } from './watch.ts';

export interface ProgressOptions extends EventStreamOptions {
  readonly watch: ConvergenceWatch;
  readonly revision: Revision;
  /** Generation that the revision is of. */
  readonly generation: string;
  readonly anonymous: boolean;
}

/** Milliseconds after which the same is told anew: for how long hosts have been away goes on. */
const REPEAT = 1_000;
const AGED = ['WEFT_API_EVENTS_AGED', 'The stream has lasted long enough. Ask again.'] as const;

export class ProgressStream extends EventStream {
  readonly #options: ProgressOptions;
  readonly #start = performance.now();
  readonly #stop: () => void;
  #latest: Look | undefined;
  #told = '';
  #toldAt = 0;

  constructor(options: ProgressOptions) {
    super({ ...options, onEnd: () => this.#end() }, AGED);
    this.#options = options;
    this.#stop = options.watch.listen((look) => this.#see(look));
  }

  #end(): void {
    this.#stop();
    this.#options.onEnd();
  }

  protected drained(): void {
    // Whoever reads slowly is told of the latest, not of all that was.
    if (this.#latest !== undefined) this.#see(this.#latest);
  }

  #see(look: Look): void {
    const { revision, generation, anonymous } = this.#options;
    if (!this.hasRoom) {
      this.#latest = look;
      return;
    }
    this.#latest = undefined;
    if (look.error !== undefined) {
      const { code, message } = look.error;
      this.#tell('trouble', { error: code, message });
    } else if (look.generation !== generation) {
      this.cut('WEFT_API_GENERATION', `The store is at generation ${look.generation}, not ${generation}.`);
    } else {
      const progress = progressOf(look, revision, Math.round(performance.now() - this.#start), anonymous);
      if (progress.converged) {
        this.#stop();
        this.finish('converged', progress);
        // What was seen before the client came would be a step back from what it may know.
      } else if (look.begun >= this.#start) this.#tell('progress', progress, gistOf(progress));
    }
  }

  #tell(event: string, data: object, gist = JSON.stringify(data)): void {
    const now = performance.now();
    if (gist === this.#told && now - this.#toldAt < REPEAT) return;
    this.#told = gist;
    this.#toldAt = now;
    this.send(event, data);
  }
}

/** What is news, without what goes on by itself. */
function gistOf({ applied, hosts, reachable, behind }: Progress): string {
  return JSON.stringify([applied, hosts, reachable, behind.map((host) => [host.hostId, host.applied, host.reachable])]);
}
