/**
 * An agent of which many fit into one process: its own link to the state database, host session, subscription and engine are the real
 * ones; its interfaces are names and its datapath is tables in memory, and it takes its turns in the event loop instead of a thread.
 */
import { FlowStateTable, newHostKeys, regionBytes } from '@weft/flowstate';
import { type Batch, type ConnectOptions, connect, type Nsdb, type Subscription } from '@weft/nsdb/client';
import { IFF_LOWER_UP, type Link } from '@weft/sys';
import { parseConfig } from '../config.ts';
import type { AgentEvent } from '../events.ts';
import { eventRow } from '../events.ts';
import { PublishedState } from '../host/published-state.ts';
import { uuidBytes } from '../worker/connections/numbers.ts';
import { Engine } from '../worker/engine.ts';
import type { Pinger } from '../worker/pinger.ts';
import type { UnderlayPath, UnderlayView } from '../worker/underlay.ts';
import { MemoryDatapath, MemoryState } from './memory-datapath.ts';

/** Turns of an agent that has nothing to do, ms: its timers. */
const TICK = 200;
const FIRST_IFINDEX = 10;
const TABLE = { capacity: 256, uuids: 1_024, blocks: 64 };
const MAX_FLOWS = 256;
const NO_PEERS = { get: () => '', refresh: () => false, close() {} };

/** Interfaces `vm0` … with ifindex 10 …; no way leads to other hosts, so nothing has to be exchanged with them. */
class NamedInterfaces implements UnderlayView {
  readonly links: readonly Link[];
  private readonly byName: ReadonlyMap<string, Link>;

  constructor(count: number) {
    this.links = Array.from(
      { length: count },
      (_, i) => ({ ifindex: FIRST_IFINDEX + i, name: `vm${i}`, flags: IFF_LOWER_UP }) as Link,
    );
    this.byName = new Map(this.links.map((link) => [link.name, link]));
  }
  link(ifindex: number): Link | undefined {
    return this.links[ifindex - FIRST_IFINDEX];
  }
  linkByName(name: string): Link | undefined {
    return this.byName.get(name);
  }
  path(): UnderlayPath {
    return { hops: [], mtu: 1500 };
  }
  drain(): boolean {
    return false;
  }
  close(): void {}
}

export interface SimulatedAgentOptions {
  readonly hostId: string;
  readonly name: string;
  /** Interfaces: `vm0` …. */
  readonly interfaces: number;
  readonly store: ConnectOptions;
}

/** A revision that the host has applied, and when. */
export interface AppliedAt {
  readonly revision: number;
  /** CLOCK_MONOTONIC, ms. */
  readonly at: number;
}

export class SimulatedAgent {
  readonly hostId: string;
  readonly datapath: MemoryDatapath;
  readonly engine: Engine;
  /** All that it has applied, in order. */
  readonly applied: AppliedAt[] = [];
  /** Batches that had content, progress marks left out. */
  batches = 0;
  /** What it is subscribed to. */
  readonly interests = new Set<string>();
  /** Errors and warnings that it logged. */
  readonly complaints: string[] = [];
  /** Called after each revision that it has applied. */
  onApplied: (applied: AppliedAt) => void = () => {};
  private readonly nsdb: Nsdb;
  private readonly published: PublishedState;
  private readonly subscription: Subscription;
  private scheduled: NodeJS.Immediate | undefined;
  private readonly ticks: NodeJS.Timeout;

  static async start(options: SimulatedAgentOptions): Promise<SimulatedAgent> {
    return new SimulatedAgent(options, await connect(options.store));
  }

  private constructor({ hostId, name, interfaces }: SimulatedAgentOptions, nsdb: Nsdb) {
    this.hostId = hostId;
    this.nsdb = nsdb;
    this.datapath = new MemoryDatapath(new MemoryState(MAX_FLOWS));
    const log = (event: AgentEvent, fields?: Record<string, unknown>): void => {
      const { level } = eventRow(event);
      // Nobody beats hearts on tunnels that are not there.
      if ((level === 'error' || level === 'warn') && event !== 'tunnel.down')
        this.complaints.push(`${event} ${JSON.stringify(fields)}`);
    };
    this.published = new PublishedState(nsdb, { id: hostId, name }, log, () => log('agent.failed'));
    this.engine = this.makeEngine(interfaces, log);
    this.subscription = nsdb.subscribe({ snapshot: 'agent', onBatch: (batch) => this.onBatch(batch) });
    this.subscription.add(this.interests);
    this.ticks = setInterval(() => this.schedule(), TICK);
    this.schedule();
  }

  private makeEngine(interfaces: number, log: (event: AgentEvent, fields?: Record<string, unknown>) => void): Engine {
    const identity = { ...newHostKeys(), incarnation: 1 };
    const { published, interests } = this;
    const pinger: Pinger = { ping: () => {}, poll: () => {}, close: () => {} };
    return new Engine({
      datapath: this.datapath,
      underlay: new NamedInterfaces(interfaces),
      peerMacs: NO_PEERS,
      pinger,
      hostId: this.hostId,
      limits: parseConfig({ limits: { maxFlows: MAX_FLOWS } }).limits,
      clock: () => performance.now(),
      connections: {
        table: new FlowStateTable({
          ...TABLE,
          self: uuidBytes(this.hostId),
          incarnation: 1,
          now: performance.now(),
          seed: [1, 2],
          region: new ArrayBuffer(regionBytes(TABLE)),
          clock: new Uint8Array(16),
        }),
        identity,
        archived: false,
        offset: 0,
      },
      effects: {
        addInterests: (list) => {
          for (const interest of list) interests.add(interest);
          this.subscription?.add(list);
        },
        removeInterests: (list) => {
          for (const interest of list) interests.delete(interest);
          this.subscription.remove(list);
        },
        putEntry: (table, key, value) => published.put(table, key, value),
        removeEntry: (table, key) => published.remove(table, key),
        // No tenant of these translates addresses.
        allocateBlocks: (pool) => setImmediate(() => this.engine.blocksGranted(pool, null)),
        keepBlocks: () => {},
        releaseBlocks: () => {},
        archive: () => true,
        readArchive: () => {},
        vouch: (hosts) => {
          for (const host of hosts) published.hostSession?.vouch(host);
        },
        ruleLog: () => {},
        applied: (revision) => {
          const applied = { revision, at: monotonicMs() };
          this.applied.push(applied);
          published.reportApplied(revision);
          this.onApplied(applied);
        },
        log,
      },
    });
  }

  private onBatch(batch: Batch): Promise<void> {
    if (batch.changes.length > 0) this.batches++;
    return new Promise((resolve) => {
      this.engine.enqueue(batch, resolve);
      this.schedule();
    });
  }

  /** A frame enters by an interface, as a VM would send it. */
  send(n: number, frame: Uint8Array): void {
    this.datapath.inject(FIRST_IFINDEX + n, frame);
    this.schedule();
  }

  private schedule(): void {
    this.scheduled ??= setImmediate(() => {
      this.scheduled = undefined;
      this.engine.turn();
      this.datapath.executed.length = 0;
      this.datapath.order.length = 0;
      if (!this.engine.idle) this.schedule();
    });
  }

  /** Has the host its session, and all that it needs? */
  get isReady(): boolean {
    const { ready } = this.engine.status() as { ready: boolean };
    return ready && this.published.isOpen && this.applied.length > 0;
  }

  /** Bytes that the store has sent. */
  get bytesReceived(): number {
    return this.subscription.bytesReceived;
  }

  async close(): Promise<void> {
    clearInterval(this.ticks);
    clearImmediate(this.scheduled);
    this.subscription.close();
    await this.published.close(true).catch(() => {});
    await this.nsdb.close();
    this.engine.close();
  }
}

/** CLOCK_MONOTONIC in ms: the same in all processes of the machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
