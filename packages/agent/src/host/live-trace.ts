/**
 * Explains the next real packets: those that enter by a port (or any port) of this host, and those that arrive through tunnels.
 * Frames are copied by a tap and explained by the same simulation as a hypothetical packet; nothing happens to the frames.
 */
import {
  describe,
  dissect,
  IPV4_SRC,
  IPV6_SRC,
  ip4FromWire,
  ipFormat,
  Layers,
  toHex,
  tunnelInner,
  tunnelKey,
} from '@weft/packet';
import { AgentError } from '../errors.ts';
import { PacketFilter } from '../explain/packet-filter.ts';
import { parsePacket } from '../explain/packet-language.ts';
import type { Arrival, PortLink, Trace } from '../explain/trace.ts';
import type { PacketWorker } from './packet-worker.ts';
import { Tap, type TappedFrame } from './tap.ts';

export interface LiveRequest {
  /** Port id or interface; absent: all ports of this host. */
  readonly port?: string;
  /** Description of the packets, as for a trace. */
  readonly packet?: string;
  /** Of arrivals: source addresses of which one is wanted. */
  readonly sources?: readonly string[];
  /** Watch what VMs send (default true), and what arrives through tunnels (default true). */
  readonly ingress?: boolean;
  readonly arrivals?: boolean;
  /** Packets to explain at most, and for how long to watch. */
  readonly count?: number;
  readonly seconds?: number;
  readonly payload?: boolean;
}

/** Lines of the answer. `time`: ms since 1970. */
export type LiveEvent =
  | {
      readonly event: 'watching';
      readonly hostId: string;
      readonly interfaces: readonly string[];
      readonly link: PortLink | null;
    }
  | { readonly event: 'sent'; readonly time: number; readonly trace: Trace }
  | {
      readonly event: 'arrived';
      readonly time: number;
      /** Outer source address, and the inner packet in words. */
      readonly source: string;
      readonly packet: string;
      readonly frame?: string;
      readonly arrival: Arrival;
    }
  | { readonly event: 'failed'; readonly time: number; readonly packet: string; readonly message: string }
  | {
      readonly event: 'end';
      readonly why: 'count' | 'time' | 'closed';
      /** Packets seen that matched, copies that came too fast, and packets that matched but were too many to explain. */
      readonly matched: number;
      readonly missed: number;
      readonly skipped: number;
    };

export const MAX_COUNT = 1_000;
export const MAX_SECONDS = 600;
const MAX_WATCHES = 4;
const POLL_MS = 10;
/** Explanations per poll: the packet worker makes them, and has packets to attend to. */
const PER_POLL = 4;

let watches = 0;

/** Watches until count, time or `signal` ends it; resolves with the last event told. @throws AgentError */
export async function liveTrace(
  worker: PacketWorker,
  hostId: string,
  vxlanPort: number,
  request: LiveRequest,
  tell: (event: LiveEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  if (watches >= MAX_WATCHES)
    throw new AgentError('WEFT_AGENT_CONTROL', `${MAX_WATCHES} live traces are running already`);
  watches++;
  const tap = new Tap();
  try {
    await new Watch(worker, hostId, vxlanPort, request, tell, tap).run(signal);
  } finally {
    tap.close();
    watches--;
  }
}

class Watch {
  private readonly worker: PacketWorker;
  private readonly hostId: string;
  private readonly vxlanPort: number;
  private readonly request: LiveRequest;
  private readonly tell: (event: LiveEvent) => void;
  private readonly tap: Tap;
  private readonly filter: PacketFilter;
  private readonly arrivalFilter: PacketFilter;
  private readonly count: number;
  private readonly seconds: number;
  /** Interfaces of ports, by number. */
  private readonly ports = new Map<number, string>();
  private readonly layers = new Layers();
  private matched = 0;
  private explained = 0;
  private skipped = 0;

  constructor(
    worker: PacketWorker,
    hostId: string,
    vxlanPort: number,
    request: LiveRequest,
    tell: (event: LiveEvent) => void,
    tap: Tap,
  ) {
    this.worker = worker;
    this.hostId = hostId;
    this.vxlanPort = vxlanPort;
    this.request = request;
    this.tell = tell;
    this.tap = tap;
    const fields = parsePacket(request.packet ?? '');
    this.filter = new PacketFilter(fields);
    this.arrivalFilter = new PacketFilter(fields, request.sources ?? []);
    this.count = within(request.count ?? 1, MAX_COUNT, 'count');
    this.seconds = within(request.seconds ?? 60, MAX_SECONDS, 'seconds');
  }

  async run(signal: AbortSignal): Promise<void> {
    const link = await this.open();
    const interfaces = [...this.ports.values()];
    this.tell({ event: 'watching', hostId: this.hostId, interfaces, link });
    const until = performance.now() + this.seconds * 1000;
    while (!signal.aborted && this.explained < this.count && performance.now() < until) {
      const frames: TappedFrame[] = [];
      this.tap.poll((frame) => this.select(frame, frames));
      for (const frame of frames) await this.explain(frame);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    const why = signal.aborted ? 'closed' : this.explained >= this.count ? 'count' : 'time';
    this.tell({ event: 'end', why, matched: this.matched, missed: this.tap.missed, skipped: this.skipped });
  }

  private async open(): Promise<PortLink | null> {
    const { port, ingress = true, arrivals = true } = this.request;
    const status = await this.worker.status();
    const bound = status.ports as { interfaceName: string; ifindex: number; live: boolean }[];
    const link = port === undefined ? null : await this.worker.link(port);
    if (ingress) {
      for (const { interfaceName, ifindex, live } of bound) {
        if (live && (link === null || link.ifindex === ifindex)) this.ports.set(ifindex, interfaceName);
      }
    }
    for (const ifindex of this.ports.keys()) this.tap.open(ifindex);
    if (arrivals) {
      const tunnels = status.tunnels as { ifindexes: number[] }[];
      for (const ifindex of new Set(tunnels.flatMap((tunnel) => tunnel.ifindexes))) this.tap.open(ifindex);
    }
    return link;
  }

  /** Keeps what matches, as far as there is room for it now. */
  private select(tapped: TappedFrame, into: TappedFrame[]): void {
    if (!this.wanted(tapped)) return;
    this.matched++;
    if (this.explained + into.length >= this.count || into.length >= PER_POLL) this.skipped++;
    else into.push(tapped);
  }

  private wanted({ ifindex, frame, length }: TappedFrame): boolean {
    if (this.ports.has(ifindex)) return this.filter.matches(frame, length);
    const inner = this.inner(frame);
    return inner >= 0 && this.arrivalFilter.matches(frame.subarray(inner), length - inner);
  }

  /** Offset of the frame inside a tunnel packet, −1: it is none. `layers` describes the outer packet. */
  private inner(frame: Uint8Array): number {
    dissect(frame, 0, frame.length, this.layers);
    return tunnelInner(frame, this.layers, this.vxlanPort);
  }

  private async explain(tapped: TappedFrame): Promise<void> {
    this.explained++;
    const time = Date.now();
    const { frame, length, gsoSize, ifindex } = tapped;
    const port = this.ports.get(ifindex);
    try {
      if (port === undefined) await this.arrival(tapped, time);
      else {
        const { payload = false } = this.request;
        const request = { port, frame: toHex(frame.subarray(0, MAX_HEAD)), length, gsoSize, payload };
        this.tell({ event: 'sent', time, trace: await this.worker.trace(request) });
      }
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      this.tell({ event: 'failed', time, packet: describe(frame), message: error.message });
    }
  }

  private async arrival({ frame }: TappedFrame, time: number): Promise<void> {
    const inner = this.inner(frame);
    const { layers } = this;
    const key = tunnelKey(frame, layers);
    const source =
      layers.ethertype === 0x0800
        ? ipFormat(ip4FromWire(frame, layers.l3 + IPV4_SRC))
        : ipFormat(frame.slice(layers.l3 + IPV6_SRC, layers.l3 + IPV6_SRC + 16));
    const packet = frame.subarray(inner);
    const arrival = await this.worker.arrival({ key, source });
    const bytes = this.request.payload === true ? { frame: toHex(packet) } : {};
    this.tell({ event: 'arrived', time, source, packet: describe(packet), ...bytes, arrival });
  }
}

/** Bytes of a frame that are handed to the simulation: headers, and what an ICMP error quotes. */
const MAX_HEAD = 2_048;

function within(value: number, most: number, name: string): number {
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new AgentError('WEFT_AGENT_CONTROL', `${name} must be a whole number from 1 to ${most}`);
}
