/**
 * Ports on their way from one host to another. The host that a port is on tells the next one of its connections, and says how many there are
 * (`from`); the next one gets ready before packets come, and says what it still waits for (`to`). Both in the state table
 * `moving/<port>`, a line of JSON each, for the API and for each other.
 */
import { R_EGRESS, R_INGRESS, RECORD_WORDS } from '@weft/flowstate';
import type { Batch } from '@weft/nsdb';
import type { Port } from '@weft/topology';
import type { Connections } from './connections/connections.ts';
import type { Effects } from './effects.ts';

/** What a host that gets ready waits for: its interface, what the port's packets need, connections from the other host, or from the archive. */
export type Awaited = 'interface' | 'topology' | 'connections' | 'archive';

/** What the host of the port says. */
interface FromNotice {
  readonly role: 'from';
  readonly nextHostId: string;
  /** Connections of the port that were told when this was written. */
  readonly connections: number;
}

/** What the host says that the port is about to move to. */
interface ToNotice {
  readonly role: 'to';
  readonly interfaceName: string;
  readonly ready: boolean;
  readonly awaits: readonly Awaited[];
  /** Connections of the port that are known here. */
  readonly connections: number;
}

/** Who has not said anything for so long is not waited for. */
const SILENT_MS = 3_000;
/** The other host has said how many connections there are: those that are not here by then have ended, if nothing is on its way. */
const SETTLED_MS = 1_000;
/** The table of connections is gone through so often, while one waits. */
const COUNT_MS = 200;

export interface MovesOptions {
  readonly hostId: string;
  readonly connections: Connections;
  readonly effects: Pick<Effects, 'putEntry' | 'removeEntry' | 'log'>;
  /** Interface of a port that is to come here, ready for it; 0: it is not. */
  readonly attached: (portId: string) => number;
  /** Everything that packets that enter by the port need at once is here. */
  readonly isComplete: (portId: string) => boolean;
  /** The host is known to be gone. */
  readonly isLost: (hostId: string) => boolean;
  /** Asks the state database for interests, and gives them back. */
  readonly want: (interests: readonly string[]) => void;
  readonly release: (interests: readonly string[]) => void;
}

interface Coming {
  port: Port;
  readonly since: number;
  /** How many connections the other host has told of; -1: it has not said; and since when that is known. */
  told: number;
  toldAt: number;
  count: number;
  countedAt: number;
  archive: 'unread' | 'asked' | 'read';
  ready: boolean;
  said: string;
}

interface Going {
  port: Port;
  said: boolean;
}

export class Moves {
  private readonly options: MovesOptions;
  private readonly coming = new Map<string, Coming>();
  private readonly going = new Map<string, Going>();
  /** Ports that were switched to this host when it was ready, until they are live. */
  private readonly cameReady = new Set<string>();

  constructor(options: MovesOptions) {
    this.options = options;
  }

  /** A port that names this host, or did; null: it does not any more. */
  setPort(id: string, port: Port | null, now: number): void {
    const { hostId, effects, want, release } = this.options;
    const comes = port?.nextHostId === hostId;
    const known = this.coming.get(id);
    if (comes) {
      const same = known?.port.nextInterfaceName === port.nextInterfaceName && known?.port.hostId === port.hostId;
      if (same) known!.port = port;
      else {
        this.coming.set(id, comingOf(port, now));
        want([`t/${tableOf(id)}`]);
      }
    } else if (known !== undefined) {
      if (known.ready && port?.hostId === hostId) this.cameReady.add(id);
      this.coming.delete(id);
      release([`t/${tableOf(id)}`]);
    }
    const goes = port?.hostId === hostId && port.nextHostId !== undefined;
    const before = this.going.get(id);
    if (!goes) this.going.delete(id);
    else if (before?.port.nextHostId !== port.nextHostId) this.going.set(id, { port, said: false });
    if ((known !== undefined && !comes) || (before !== undefined && !goes && !comes)) {
      effects.removeEntry(tableOf(id), hostId);
    }
  }

  /** What other hosts have said of ports that come here. */
  note(changes: Batch['changes'], now: number): void {
    if (this.coming.size === 0) return;
    for (const change of changes) {
      if (change.kind !== 'table' || !change.interest.startsWith('t/moving/')) continue;
      const coming = this.coming.get(change.interest.slice('t/moving/'.length));
      if (coming === undefined) continue;
      for (const { key, value } of change.upserts) {
        const notice = key === coming.port.hostId ? parseNotice(value) : undefined;
        if (notice?.nextHostId !== this.options.hostId) continue;
        coming.told = notice.connections;
        coming.toldAt = now;
      }
    }
  }

  /** Whether the connections of a port that has just come here had been told before. */
  tookReady(portId: string): boolean {
    return this.cameReady.delete(portId);
  }

  /** About every 50 ms. */
  tick(now: number): void {
    if (this.going.size > 0 && this.options.connections.audiencesSettled) {
      for (const [id, going] of this.going) if (!going.said) this.sayGoing(id, going);
    }
    for (const [id, coming] of this.coming) this.sayComing(id, coming, now);
  }

  private sayGoing(id: string, going: Going): void {
    going.said = true;
    const notice: FromNotice = { role: 'from', nextHostId: going.port.nextHostId!, connections: this.count(id) };
    this.options.effects.putEntry(tableOf(id), this.options.hostId, JSON.stringify(notice));
  }

  private sayComing(id: string, coming: Coming, now: number): void {
    const awaits = this.awaitedOf(id, coming, now);
    const ready = awaits.length === 0;
    if (ready && !coming.ready) this.options.effects.log('move.ready', { port: id, connections: this.count(id) });
    coming.ready = ready;
    const { nextInterfaceName: interfaceName = '' } = coming.port;
    const notice: ToNotice = { role: 'to', interfaceName, ready, awaits, connections: coming.count };
    // The number alone is not worth an entry each time.
    const said = `${interfaceName} ${awaits}`;
    if (coming.said === said) return;
    coming.said = said;
    this.options.effects.putEntry(tableOf(id), this.options.hostId, JSON.stringify(notice));
  }

  private awaitedOf(id: string, coming: Coming, now: number): Awaited[] {
    const { attached, isComplete } = this.options;
    const awaits: Awaited[] = [];
    if (attached(id) === 0) awaits.push('interface');
    if (!isComplete(id)) awaits.push('topology');
    const missing = coming.ready ? undefined : this.missingConnections(id, coming, now);
    if (missing !== undefined) awaits.push(missing);
    return awaits;
  }

  private missingConnections(id: string, coming: Coming, now: number): Awaited | undefined {
    const { connections } = this.options;
    const host = coming.port.hostId!;
    if (coming.told >= 0) {
      if (now - coming.countedAt >= COUNT_MS) {
        coming.count = this.count(id);
        coming.countedAt = now;
      }
      if (coming.count >= coming.told) return undefined;
      return now - coming.toldAt >= SETTLED_MS && connections.isLevel(host) ? undefined : 'connections';
    }
    if (!this.isSilent(host, coming.since, now)) return 'connections';
    const { restorer } = connections;
    if (restorer === null) return undefined;
    if (coming.archive === 'unread') {
      coming.archive = 'asked';
      restorer.begin(id, now);
    }
    if (restorer.isReading(id)) return 'archive';
    coming.archive = 'read';
    return undefined;
  }

  private isSilent(host: string, since: number, now: number): boolean {
    const { isLost, connections } = this.options;
    return now - since >= SILENT_MS && (isLost(host) || now - connections.lastHeard(host) >= SILENT_MS);
  }

  /** Connections of a port that are known here. */
  private count(portId: string): number {
    const { table, numbers } = this.options.connections;
    const port = numbers.ofId(portId);
    let n = 0;
    for (let record = table.nextRecord(0); record >= 0; record = table.nextRecord(record + 1)) {
      const base = record * RECORD_WORDS;
      if (table.words[base + R_INGRESS] !== port && table.words[base + R_EGRESS] !== port) continue;
      if (table.isVisible(record)) n++;
    }
    return n;
  }
}

function tableOf(portId: string): string {
  return `moving/${portId}`;
}

function comingOf(port: Port, now: number): Coming {
  return {
    port,
    since: now,
    told: -1,
    toldAt: 0,
    count: 0,
    countedAt: Number.NEGATIVE_INFINITY,
    archive: 'unread',
    ready: false,
    said: '',
  };
}

function parseNotice(text: string): FromNotice | undefined {
  try {
    const notice = JSON.parse(text) as Partial<FromNotice>;
    if (notice.role !== 'from' || typeof notice.nextHostId !== 'string') return undefined;
    return Number.isInteger(notice.connections) ? (notice as FromNotice) : undefined;
  } catch {
    return undefined;
  }
}
