/**
 * Where the hosts stand, looked at for all who wait: one look at a time, however many they are, and none while nobody waits.
 * Asking the store makes hosts report, so it is done often just after somebody came (most changes are live within
 * milliseconds), then at a steady pace.
 */
import type { HostConvergence, Nsdb, NsdbError } from '@weft/nsdb';

/** Milliseconds between two looks, at first and at most: doubled each time, begun anew when somebody joins. */
const FIRST_PAUSE = 5;
const LAST_PAUSE = 200;

/** A host, and what it is called. */
export interface HostStanding extends HostConvergence {
  readonly name: string;
}

/** What one look saw. */
export interface Look {
  /** When it began, by `performance.now()`: it says nothing of what happened since. */
  readonly begun: number;
  readonly generation: string;
  readonly hosts: readonly HostStanding[];
  /** Why it saw nothing: the store could not be reached. */
  readonly error?: NsdbError;
}

export class ConvergenceWatch {
  readonly #nsdb: Nsdb;
  readonly #listeners = new Set<(look: Look) => void>();
  #names = new Map<string, string>();
  #pause = FIRST_PAUSE;
  #running = false;
  /** Ends the pause that goes on. */
  #wake = (): void => {};
  /** Looks taken so far. */
  looks = 0;

  constructor(nsdb: Nsdb) {
    this.#nsdb = nsdb;
  }

  /** Calls `onLook` after each look from now on, until the returned function is called. The first may have begun before. */
  listen(onLook: (look: Look) => void): () => void {
    this.#listeners.add(onLook);
    this.#pause = FIRST_PAUSE;
    if (this.#running) this.#wake();
    else void this.#run();
    return () => this.#listeners.delete(onLook);
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Hosts may have been renamed while nobody looked.
    this.#names = new Map();
    while (this.#listeners.size > 0) {
      const look = await this.#look();
      for (const onLook of [...this.#listeners]) onLook(look);
      if (this.#listeners.size > 0) await this.#rest();
    }
    this.#running = false;
  }

  async #look(): Promise<Look> {
    const begun = performance.now();
    this.looks++;
    const { generation } = this.#nsdb;
    try {
      const hosts = await this.#nsdb.convergence();
      if (hosts.some(({ hostId }) => !this.#names.has(hostId))) await this.#readNames();
      const named = hosts.map((host) => ({ ...host, name: this.#names.get(host.hostId) ?? '' }));
      return { begun, generation, hosts: named };
    } catch (error) {
      return { begun, generation, hosts: [], error: error as NsdbError };
    }
  }

  async #readNames(): Promise<void> {
    const hosts = await this.#nsdb.list<{ name?: string }>('Host');
    this.#names = new Map(hosts.map(({ id, value }) => [id, value.name ?? '']));
  }

  #rest(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#pause);
      this.#pause = Math.min(2 * this.#pause, LAST_PAUSE);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
