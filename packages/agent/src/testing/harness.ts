/**
 * One host's engine against a topology in memory: interests are answered, entries published, batches delivered when the test
 * says so. Time is the test's.
 */
import type { Datapath } from '@weft/datapath';
import { FlowStateTable, newHostKeys, regionBytes, type Timeouts } from '@weft/flowstate';
import type { Batch, Change } from '@weft/nsdb';
import type { FlowStateArchive } from '@weft/nsdb/archive';
import type { World } from '@weft/simulator/testing';
import { IFF_LOWER_UP, type Link } from '@weft/sys';
import { parseConfig } from '../config.ts';
import { type AgentEvent, eventRow } from '../events.ts';
import { ConnectionArchive, type RestoreSink } from '../host/connection-archive.ts';
import type { RuleLogLine } from '../rule-log.ts';
import { uuidBytes } from '../worker/connections/numbers.ts';
import { Engine } from '../worker/engine.ts';
import type { Pinger } from '../worker/pinger.ts';
import type { UnderlayPath, UnderlayView } from '../worker/underlay.ts';
import { BlockBank } from './block-bank.ts';
import { MemoryDatapath, type MemoryState } from './memory-datapath.ts';

export const LOCAL_HOST = '00000000-0000-4000-8000-00000000aaaa';

/** Interfaces `vm0` … `vm9` with ifindex 10 …; every underlay address is reached by interface 1. */
class FakeUnderlay implements UnderlayView {
  readonly links: Link[] = Array.from(
    { length: 10 },
    (_, i) => ({ ifindex: 10 + i, name: `vm${i}`, flags: IFF_LOWER_UP }) as Link,
  );
  link(ifindex: number): Link | undefined {
    return this.links.find((l) => l.ifindex === ifindex);
  }
  linkByName(name: string): Link | undefined {
    return this.links.find((l) => l.name === name);
  }
  path(): UnderlayPath {
    return { hops: [{ ifindex: 1, gateway: '' }], mtu: 1500 };
  }
  drain(): boolean {
    return false;
  }
  close(): void {}
}

const NO_PEERS = { get: () => '', refresh: () => false, close() {} };
const NO_PINGS: Pinger = { ping: () => {}, poll: () => {}, close: () => {} };
/** Room of the table of connections; `limits.maxConnections` says otherwise. */
const TABLE = { capacity: 4096, uuids: 4096, blocks: 1024 };
/** Names the run of the clock: that of all tests. */
const CLOCK = new Uint8Array(16).fill(7);

export interface HarnessOptions<D extends Datapath> {
  readonly now?: number;
  /** Whether what the engine learns reaches the world's tables. */
  readonly publish?: boolean;
  readonly limits?: Record<string, number>;
  readonly timeouts?: Partial<Timeouts>;
  /** Names that the table of connections has room for. */
  readonly uuids?: number;
  readonly datapath?: D;
  readonly underlay?: UnderlayView;
  readonly hostId?: string;
  /** Who gives blocks of NAT ports; default: a bank of its own. null: the state database is away for those that ask. */
  readonly bank?: BlockBank | null;
  readonly pinger?: Pinger;
  /** Where connections are kept; default: nowhere. What it says reaches the engine with the turns after. */
  readonly archive?: FlowStateArchive | undefined;
  /** An entry of the world was written. */
  readonly onPublish?: () => void;
}

/** Beside the memory datapath a real one can be driven: then `state` holds only the agent's own files. */
export class Harness<D extends Datapath = MemoryDatapath> {
  readonly world: World;
  readonly datapath: D;
  readonly engine: Engine;
  now: number;
  /** Errors and warnings that the engine logged. */
  readonly complaints: string[] = [];
  applied = 0;
  /** Lines of the rule log. */
  readonly ruleLog: RuleLogLine[] = [];
  /** Turns taken so far. */
  turns = 0;
  /** Every event that the engine logged. */
  readonly events: { readonly event: AgentEvent; readonly fields: Record<string, unknown> }[] = [];
  /** The engine's connections. */
  readonly table: FlowStateTable;
  readonly hostId: string;
  /** Hosts that it vouched for, and when. */
  readonly vouched: { readonly at: number; readonly hosts: readonly string[] }[] = [];
  readonly bank: BlockBank | null;
  private readonly archive: ConnectionArchive | undefined;
  /** It has asked for something since the last delivery. */
  hungry = true;
  private revision = 0;
  private readonly subscribed = new Set<string>();
  private readonly lastSent = new Map<string, string>();
  private readonly answers: (() => void)[] = [];

  constructor(world: World, state: MemoryState, options: HarnessOptions<D> = {}) {
    this.world = world;
    this.now = options.now ?? 1_000;
    this.hostId = options.hostId ?? LOCAL_HOST;
    this.datapath = options.datapath ?? (new MemoryDatapath(state) as Datapath as D);
    this.bank = options.bank === undefined ? new BlockBank() : options.bank;
    const { bank, hostId } = this;
    const publish = options.publish ?? true;
    const published = options.onPublish ?? (() => {});
    const keys = state.identity ?? newHostKeys();
    const identity = { ...keys, incarnation: (state.identity?.incarnation ?? 0) + 1 };
    state.identity = identity;
    const { uuids = TABLE.uuids } = options;
    const shape = { ...TABLE, uuids, capacity: options.limits?.maxConnections ?? TABLE.capacity };
    state.connections ??= new ArrayBuffer(regionBytes(shape));
    this.table = new FlowStateTable({
      ...shape,
      self: uuidBytes(hostId),
      incarnation: identity.incarnation,
      now: this.now,
      seed: [1, 2],
      region: state.connections,
      clock: CLOCK,
      timeouts: options.timeouts ?? {},
      portCap: options.limits?.maxConnectionsPerPort ?? 65_536,
    });
    this.engine = new Engine({
      datapath: this.datapath,
      underlay: options.underlay ?? new FakeUnderlay(),
      peerMacs: NO_PEERS,
      pinger: options.pinger ?? NO_PINGS,
      hostId,
      limits: parseConfig({ limits: { maxFlows: state.flows.capacity, ...options.limits } }).limits,
      clock: () => this.now,
      connections: {
        table: this.table,
        identity,
        offset: 0,
        archived: options.archive !== undefined,
        blocks: {
          load: () => state.natBlocks && { blocks: state.natBlocks.blocks, ageMs: this.now - state.natBlocks.at },
          save: (blocks) => (state.natBlocks = { blocks: [...blocks], at: this.now }),
        },
      },
      ruleStore: { load: () => state.ruleState, save: (bytes) => (state.ruleState = bytes) },
      effects: {
        addInterests: (list) => {
          for (const i of list) this.subscribed.add(i);
          this.hungry = true;
        },
        removeInterests: (list) => {
          for (const i of list) {
            this.subscribed.delete(i);
            this.lastSent.delete(i);
          }
        },
        putEntry: (table, key, value) => {
          if (!publish) return;
          world.entry(table, key, value);
          // The store tells of every write, also of one that leaves what was there before.
          this.lastSent.delete(`t/${table}`);
          this.hungry = true;
          published();
        },
        removeEntry: (table, key) => {
          if (!publish) return;
          world.entry(table, key, null);
          this.hungry = true;
          published();
        },
        allocateBlocks: (pool, first, last, count) => {
          const blocks = bank?.take(hostId, pool, first, last, count) ?? null;
          this.answers.push(() => this.engine.blocksGranted(pool, blocks));
        },
        keepBlocks: (blocks) => {
          const kept = bank?.keep(hostId, blocks) ?? [];
          this.answers.push(() => this.engine.blocksKept(kept));
        },
        releaseBlocks: (blocks) => bank?.give(hostId, blocks),
        archive: (entries) => {
          this.archive?.put(entries);
          return true;
        },
        readArchive: (port) => void this.archive?.read(port),
        vouch: (hosts) => this.vouched.push({ at: this.now, hosts }),
        ruleLog: (line) => {
          this.ruleLog.push(line);
        },
        applied: (revision) => {
          this.applied = revision;
        },
        log: (event, fields) => {
          this.events.push({ event, fields: fields ?? {} });
          // The test's clock may jump past the time that adopted flows have; hosts come and go.
          if (event === 'flows.abandoned' || event === 'tunnel.down') return;
          const { level } = eventRow(event);
          if (level === 'error' || level === 'warn') this.complaints.push(`${event} ${JSON.stringify(fields)}`);
        },
      },
    });
    if (options.archive !== undefined) {
      const sink: RestoreSink = {
        restored: (records) => this.answers.push(() => this.engine.restored(records)),
        restoreEnded: (port, whole) => this.answers.push(() => this.engine.restoreEnded(port, whole)),
      };
      this.archive = new ConnectionArchive(options.archive, sink, (event, fields) => {
        this.events.push({ event, fields: fields ?? {} });
      });
    }
    if (bank !== null) this.answers.push(() => this.engine.blocksHeld(bank.heldBy(hostId)));
  }

  /** What changed since the last delivery, of at most `max` interests, as one batch. @returns false if there was nothing. */
  deliver(max = Number.POSITIVE_INFINITY): boolean {
    const changes: Change[] = [];
    this.hungry = false;
    for (const interest of this.subscribed) {
      const change = this.content(interest);
      const text = JSON.stringify(change);
      if (this.lastSent.get(interest) === text) continue;
      this.lastSent.set(interest, text);
      changes.push(change);
      if (changes.length < max) continue;
      this.hungry = true;
      break;
    }
    if (changes.length === 0) return false;
    const batch: Batch = { generation: 'test', revision: ++this.revision, changes };
    this.engine.enqueue(batch, () => {});
    return true;
  }

  private content(interest: string): Change {
    if (!interest.startsWith('a/')) return this.world.content(interest) as Change;
    const type = interest.slice(2);
    const upserts = [...this.world.objects]
      .filter(([key]) => key.startsWith(`${type}/`))
      .map(([, value]) => ({ type, id: value.id as string, version: 1, value }));
    return { interest, kind: 'objects', reset: true, upserts, removed: [] };
  }

  /** What the engine is subscribed to. */
  interests(): ReadonlySet<string> {
    return new Set(this.subscribed);
  }

  turn(): void {
    this.turns++;
    for (const answer of this.answers.splice(0)) answer();
    this.engine.turn();
  }

  /** Delivers and turns until nothing changes any more. @throws if that takes suspiciously long */
  settle(): void {
    for (let quiet = 0, n = 0; quiet < 3; n++) {
      if (n > 500) throw new Error('the engine does not settle');
      const sent = this.deliver();
      this.now += 60;
      this.turn();
      quiet = sent || !this.engine.idle ? 0 : quiet + 1;
    }
  }
}
