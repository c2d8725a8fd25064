/**
 * Who is told of a connection: the hosts of the ports between which it runs, and of the ports in their stateful groups. Worked out when it
 * begins or comes from a peer, and anew when ports or groups have changed.
 */
import { type Exchange, type FlowStateTable, R_EGRESS, R_INGRESS, RECORD_WORDS } from '@weft/flowstate';
import type { Simulation, VirtualTopologyView } from '@weft/simulator';
import type { Numbers } from './numbers.ts';

/** Records whose audience is worked out anew per call of `renew`. */
const STEP = 4_096;
/** No set of hosts: not all is known that decides about it. */
const UNKNOWN = -1;

export interface AudienceKeeperOptions {
  readonly table: FlowStateTable;
  readonly numbers: Numbers;
  readonly view: Pick<VirtualTopologyView, 'audience'>;
  readonly exchange: Pick<Exchange, 'publish' | 'sync'>;
  /** Asks the state database for interests. */
  readonly want: (interests: readonly string[]) => void;
  /** Whether a port (handle) goes from this host to another one, which is told of others' connections of it, too: by one that knows all. */
  readonly isLeaving?: (port: number) => boolean;
}

export class AudienceKeeper {
  private readonly options: AudienceKeeperOptions;
  /** By ports: ingress handle × 2^21 + egress handle. */
  private readonly known = new Map<number, number>();
  private readonly members = new Set<number>();
  private readonly needs: string[] = [];
  /** Of peers' records that were seen here before it was known whom to tell. */
  private readonly untold = new Set<number>();
  /** Place of the table to look at next, and at which to end: round and round, so that none waits for ever. */
  private hand = 0;
  private end = 0;
  /** Audiences may be wrong; and the hand has come round to the beginning of the table since. */
  private stale: boolean;
  private wrapped = false;

  constructor(options: AudienceKeeperOptions) {
    this.options = options;
    // What this process inherited has no audience yet.
    this.stale = options.table.size > 0;
  }

  /** Ports, groups or their members have changed: all is worked out anew. */
  changed(): void {
    this.known.clear();
    this.stale = true;
    this.wrapped = false;
    this.end = this.hand;
  }

  /** Forgets numbers of sets of hosts, before they are reclaimed. */
  forget(): void {
    this.known.clear();
  }

  /** Number of the audience of what a simulation has begun. @param origin handle of the port of entry, 0: none */
  of({ outputs, outputCount }: Simulation, origin: number): number {
    if (outputCount <= 1) return Math.max(0, this.between(origin, outputCount === 1 ? outputs[0] : 0));
    this.members.clear();
    this.add(origin);
    for (let i = 0; i < outputCount; i++) this.add(outputs[i]);
    return this.options.table.audiences.of(this.members);
  }

  /** Works a step of records out anew. */
  renew(): void {
    const { table } = this.options;
    for (let n = 0; n < STEP && this.stale; ) {
      const record = table.nextRecord(this.hand);
      if (record < 0 || (this.wrapped && record >= this.end)) {
        this.stale = !this.wrapped;
        this.wrapped = true;
        this.hand = 0;
        continue;
      }
      this.hand = record + 1;
      this.renewOne(record);
      n++;
    }
  }

  /**
   * Works the audience of a record out. Of this host's own what is missing for it is asked for, and new members get everything.
   * @param seen a packet of it was seen here: that is worth asking for others' records, too
   */
  renewOne(record: number, seen = false): void {
    const { table, numbers, exchange, want } = this.options;
    const base = record * RECORD_WORDS;
    const before = table.audience(record);
    const own = table.owner(record) === table.self;
    const egress = numbers.handle(table.words[base + R_EGRESS]);
    const ingress = numbers.handle(table.words[base + R_INGRESS]);
    const audience = this.between(ingress, egress, egress === 0 ? before : 0);
    if (audience === UNKNOWN) {
      if (own || seen) want(this.needs);
      if (!own && seen) this.untold.add(record);
      return;
    }
    const untold = this.untold.delete(record);
    if (audience !== before) {
      const had = table.audiences.members(before);
      table.setAudience(record, audience);
      if (own) for (const host of table.audiences.members(audience)) if (!had.includes(host)) exchange.sync(host);
    } else if (!untold) return;
    if (own || untold || this.isLeaving(ingress) || this.isLeaving(egress)) exchange.publish(record);
  }

  private isLeaving(port: number): boolean {
    return port !== 0 && this.options.isLeaving?.(port) === true;
  }

  /** All records have the audience that ports and groups give them now. */
  get isSettled(): boolean {
    return !this.stale;
  }

  /**
   * Number of the audience of a connection between two ports (handles, 0: none), or UNKNOWN: `needs` is what is missing.
   * @param reached of a flood the record does not say whom it reached: the audience that it has got remains part of it
   */
  private between(ingress: number, egress: number, reached = 0): number {
    const { audiences } = this.options.table;
    const name = ingress * 0x20_0000 + egress;
    let audience = this.known.get(name);
    if (audience === undefined) {
      this.members.clear();
      this.needs.length = 0;
      const complete = this.add(ingress);
      if (!this.add(egress) || !complete) return UNKNOWN;
      audience = audiences.of(this.members);
      this.known.set(name, audience);
    }
    if (reached === 0 || reached === audience) return audience;
    return audiences.of([...audiences.members(audience), ...audiences.members(reached)]);
  }

  private add(port: number): boolean {
    if (port === 0) return true;
    const { table, numbers, view } = this.options;
    const hosts = view.audience(port, this.needs);
    if (hosts === undefined) return false;
    for (const host of hosts) {
      const n = numbers.keep(host);
      if (n !== table.self) this.members.add(n);
    }
    return true;
  }
}
