/**
 * What this host publishes in the state tables. The session carries it over broken links and restarts of the store; here is
 * only what comes before a session exists (the store was away at start) and what an earlier start of the agent left over.
 */
import { type HostSession, isNsdbError, type Nsdb, registerHost } from '@weft/nsdb/client';
import { EventLimit } from '../event-limit.ts';
import type { Log } from '../events.ts';

const RETRY_MS = 500;
/** Entries of an earlier start that this one has not written again by then are withdrawn. */
const LEFTOVER_MS = 60_000;

export class PublishedState {
  private readonly nsdb: Nsdb;
  private readonly host: { readonly id: string; readonly name: string };
  private readonly log: Log;
  private readonly limit = new EventLimit();
  private readonly onSuperseded: () => void;
  /** `table\tkey` → value, everything that this process has put and not removed. */
  private readonly wanted = new Map<string, string>();
  private session: HostSession | null = null;
  private applied = 0;
  private closed = false;
  private readonly timers = new Set<NodeJS.Timeout>();

  constructor(nsdb: Nsdb, host: { id: string; name: string }, log: Log, onSuperseded: () => void) {
    this.nsdb = nsdb;
    this.host = host;
    this.log = log;
    this.onSuperseded = onSuperseded;
    void this.open();
  }

  /** True once the host is known to the store and holds its session. */
  get isOpen(): boolean {
    return this.session !== null;
  }

  /** The host's session, once there is one. */
  get hostSession(): HostSession | null {
    return this.session;
  }

  private async open(): Promise<void> {
    let said = '';
    while (!this.closed) {
      try {
        await registerHost(this.nsdb, this.host);
        const session = await this.nsdb.openSession(this.host.id);
        this.session = session;
        this.log('session.open', { incarnation: session.incarnation });
        for (const [name, value] of this.wanted) {
          const [table, key] = name.split('\t');
          this.write(session.put(table, key, value), table, key);
        }
        if (this.applied > 0) session.reportApplied(this.applied);
        this.later(LEFTOVER_MS, () => void this.withdrawLeftovers());
        return;
      } catch (error) {
        const text = (error as Error).message;
        if (text !== said) this.log('session.waiting', { error: text });
        said = text;
        await new Promise<void>((resolve) => this.later(RETRY_MS, resolve));
      }
    }
  }

  put(table: string, key: string, value: string): void {
    this.wanted.set(`${table}\t${key}`, value);
    if (this.session) this.write(this.session.put(table, key, value), table, key);
  }

  remove(table: string, key: string): void {
    this.wanted.delete(`${table}\t${key}`);
    if (this.session) this.write(this.session.remove(table, key), table, key);
  }

  reportApplied(revision: number): void {
    this.applied = revision;
    this.session?.reportApplied(revision);
  }

  private write(written: Promise<void>, table: string, key: string): void {
    written.catch((error) => {
      if (this.closed) return;
      if (isNsdbError(error, 'WEFT_SESSION_LOST')) this.onSuperseded();
      else if (this.limit.take('entry.refused', performance.now()) >= 0) {
        this.log('entry.refused', { table, key, error: (error as Error).message });
      }
    });
  }

  private async withdrawLeftovers(): Promise<void> {
    try {
      for (const { table, entry } of (await this.session?.owned()) ?? []) {
        if (table.startsWith('alive/') || this.wanted.has(`${table}\t${entry.key}`)) continue;
        this.write(this.session!.remove(table, entry.key), table, entry.key);
      }
    } catch {
      // The store is away: try again when it is likely back.
      this.later(LEFTOVER_MS, () => void this.withdrawLeftovers());
    }
  }

  private later(ms: number, run: () => void): void {
    if (this.closed) return;
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      run();
    }, ms);
    this.timers.add(timer);
  }

  async close(leave: boolean): Promise<void> {
    this.closed = true;
    for (const timer of this.timers) clearTimeout(timer);
    await this.session?.close({ leave });
  }
}
