/**
 * One host's engine against a topology in memory: interests are answered, entries published, batches delivered when the test
 * says so. Time is the test's.
 */
import type { Datapath } from '@weft/datapath';
import { FlowStateTable, newHostKeys } from '@weft/flowstate';
import type { Batch, Change } from '@weft/nsdb';
import type { World } from '@weft/simulator/testing';
import type { Link } from '@weft/sys';
import { parseConfig } from '../config.ts';
import { eventRow } from '../events.ts';
import type { RuleLogLine } from '../rule-log.ts';
import { uuidBytes } from '../worker/connections/numbers.ts';
import { Engine } from '../worker/engine.ts';
import type { UnderlayPath, UnderlayView } from '../worker/underlay.ts';
import { MemoryDatapath, type MemoryState } from './memory-datapath.ts';

export const LOCAL_HOST = '00000000-0000-4000-8000-00000000aaaa';

/** Interfaces `vm0` … `vm9` with ifindex 10 …; every underlay address is reached by interface 1. */
class FakeUnderlay implements UnderlayView {
  readonly links: Link[] = Array.from({ length: 10 }, (_, i) => ({ ifindex: 10 + i, name: `vm${i}` }) as Link);
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
  private revision = 0;
  private readonly subscribed = new Set<string>();
  private readonly lastSent = new Map<string, string>();
  private readonly blocks = new Map<string, number>();
  private readonly granted: (() => void)[] = [];

  /** `publish`: whether what the engine learns reaches the world's tables. */
  constructor(
    world: World,
    state: MemoryState,
    options: {
      now?: number;
      publish?: boolean;
      limits?: Record<string, number>;
      datapath?: D;
      underlay?: UnderlayView;
      /** Room for connections. */
      connections?: number;
    } = {},
  ) {
    this.world = world;
    this.now = options.now ?? 1_000;
    this.datapath = options.datapath ?? (new MemoryDatapath(state) as Datapath as D);
    const publish = options.publish ?? true;
    const { limits } = parseConfig({ limits: { maxFlows: state.flows.capacity, ...options.limits } });
    this.engine = new Engine({
      datapath: this.datapath,
      underlay: options.underlay ?? new FakeUnderlay(),
      peerMacs: NO_PEERS,
      pinger: { ping: () => {}, poll: () => {}, close: () => {} },
      hostId: LOCAL_HOST,
      limits,
      clock: () => this.now,
      connections: {
        table: new FlowStateTable({
          self: uuidBytes(LOCAL_HOST),
          incarnation: 1,
          capacity: options.connections ?? 4096,
          portCap: limits.maxConnectionsPerPort,
          uuids: 4096,
          blocks: 1024,
          now: this.now,
          seed: [1, 2],
        }),
        identity: { ...newHostKeys(), incarnation: 1 },
        offset: 0,
      },
      ruleStore: { load: () => state.ruleState, save: (bytes) => (state.ruleState = bytes) },
      effects: {
        addInterests: (list) => {
          for (const i of list) this.subscribed.add(i);
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
        },
        removeEntry: (table, key) => {
          if (publish) world.entry(table, key, null);
        },
        // The state database gives each host every block that it asks for, in the order of their numbers.
        allocateBlocks: (pool, first, last, count) => {
          const taken = this.blocks.get(pool) ?? first;
          const blocks = Array.from({ length: Math.min(count, last - taken + 1) }, (_, i) => taken + i);
          this.blocks.set(pool, taken + blocks.length);
          this.granted.push(() =>
            this.engine.blocksGranted(
              pool,
              blocks.map((index) => ({ pool, index, token: 1 })),
            ),
          );
        },
        releaseBlocks: () => {},
        vouch: () => {},
        ruleLog: (line) => {
          this.ruleLog.push(line);
        },
        applied: (revision) => {
          this.applied = revision;
        },
        log: (event, fields) => {
          // The test's clock may jump past the time that adopted flows have; hosts come and go.
          if (event === 'flows.abandoned' || event === 'tunnel.down') return;
          const { level } = eventRow(event);
          if (level === 'error' || level === 'warn') this.complaints.push(`${event} ${JSON.stringify(fields)}`);
        },
      },
    });
  }

  /** What changed since the last delivery, of at most `max` interests, as one batch. @returns false if there was nothing. */
  deliver(max = Number.POSITIVE_INFINITY): boolean {
    const changes: Change[] = [];
    for (const interest of this.subscribed) {
      const change = this.content(interest);
      const text = JSON.stringify(change);
      if (this.lastSent.get(interest) === text) continue;
      this.lastSent.set(interest, text);
      changes.push(change);
      if (changes.length >= max) break;
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
    for (const grant of this.granted.splice(0)) grant();
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
