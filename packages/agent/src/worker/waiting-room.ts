/**
 * Packets that wait for data. Bounded in all and per port; each is simulated again, from scratch and in order of arrival, when
 * something that it needs arrives, and leaves with a reason when its time is up.
 */
import { KEY_SIZE } from '@weft/flow';

/** A packet put aside, with its own copies of everything. */
export interface Parked {
  readonly key: Uint8Array;
  readonly frame: Uint8Array;
  readonly vnetHeader: Uint8Array;
  readonly length: number;
  readonly segmentLength: number;
  /** UPCALL_… it came up with. */
  readonly reason: number;
  /** Handle of the port that it leaves from if an agent generated it, else 0: it entered by the key's port. */
  readonly leavingPort: number;
  readonly inPort: number;
  readonly deadline: number;
  /** Connections of it that were known when other hosts were asked about others; -1: they were not. */
  readonly asked: number;
  /** How often it was put back after waking. */
  readonly rounds: number;
}

export interface WaitingLimits {
  readonly maxWaiting: number;
  readonly maxWaitingPerPort: number;
}

export class WaitingRoom {
  private readonly limits: WaitingLimits;
  /** Insertion order = order of arrival. */
  private readonly parked = new Map<number, { packet: Parked; needs: readonly string[] }>();
  private readonly byNeed = new Map<string, Set<number>>();
  private readonly perPort = new Map<number, number>();
  private nextTicket = 1;

  constructor(limits: WaitingLimits) {
    this.limits = limits;
  }

  get size(): number {
    return this.parked.size;
  }

  /** @returns false if the room, or the port's share of it, is full: the packet is not kept. */
  park(packet: Parked, needs: readonly string[]): boolean {
    const ofPort = this.perPort.get(packet.inPort) ?? 0;
    if (this.parked.size >= this.limits.maxWaiting || ofPort >= this.limits.maxWaitingPerPort) return false;
    const ticket = this.nextTicket++;
    this.parked.set(ticket, { packet, needs });
    this.perPort.set(packet.inPort, ofPort + 1);
    for (const need of needs) {
      let tickets = this.byNeed.get(need);
      if (!tickets) this.byNeed.set(need, (tickets = new Set()));
      tickets.add(ticket);
    }
    return true;
  }

  /** Takes out all packets that wait for one of `needs`, in order of arrival. */
  wake(needs: Iterable<string>): Parked[] {
    const tickets = new Set<number>();
    for (const need of needs) for (const ticket of this.byNeed.get(need) ?? []) tickets.add(ticket);
    return [...tickets].sort((a, b) => a - b).map((ticket) => this.take(ticket));
  }

  /** Takes out all packets whose time is up. */
  expire(now: number): Parked[] {
    const due: number[] = [];
    for (const [ticket, { packet }] of this.parked) if (packet.deadline <= now) due.push(ticket);
    return due.map((ticket) => this.take(ticket));
  }

  private take(ticket: number): Parked {
    const { packet, needs } = this.parked.get(ticket)!;
    this.parked.delete(ticket);
    for (const need of needs) {
      const tickets = this.byNeed.get(need);
      tickets?.delete(ticket);
      if (tickets?.size === 0) this.byNeed.delete(need);
    }
    const left = this.perPort.get(packet.inPort)! - 1;
    if (left === 0) this.perPort.delete(packet.inPort);
    else this.perPort.set(packet.inPort, left);
    return packet;
  }
}

/** Copies what a packet needs to wait. */
export function parkedCopy(from: Omit<Parked, 'rounds'> & { rounds?: number }): Parked {
  return {
    ...from,
    key: from.key.slice(0, KEY_SIZE),
    frame: from.frame.slice(),
    vnetHeader: from.vnetHeader.slice(),
    rounds: from.rounds ?? 0,
  };
}
