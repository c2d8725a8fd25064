/** What a trace says: plain data, fit for JSON; docs/AGENT.md documents it. */
import type { Explanation, Ref } from '@weft/simulator';
import type { Filled } from './build-packet.ts';
import type { HostRef } from './connection-words.ts';

export interface TraceRequest {
  /** Port id (or the beginning of one), or name of an interface of this host. */
  readonly port: string;
  /** Description of the packet; or the frame itself, in hexadecimal. */
  readonly packet?: string;
  readonly frame?: string;
  /** Bytes of the packet where `frame` is only its beginning. */
  readonly length?: number;
  /** Bytes of payload of each segment of a super-packet, as the kernel says; 0 or absent: it is none. */
  readonly gsoSize?: number;
  /** Show the frame's bytes. */
  readonly payload?: boolean;
}

/** A tunnel packet that has arrived: from an address of the underlay, under a key. */
export interface ArrivalRequest {
  /** '' if not known: only the key is asked about. */
  readonly source: string;
  readonly key: number;
}

/** What becomes of it. */
export interface Arrival {
  readonly hostId: string;
  readonly key: number;
  /** The host that sent it, '' if no tunnel leads to that address. */
  readonly from: string;
  readonly ports: readonly { readonly port: Ref; readonly interface: string }[];
  /** Id of the host that it goes on to, because the port has moved there; '': none. */
  readonly next: string;
  readonly verdict: 'delivered' | 'forwarded' | 'drop';
  readonly reason: string;
  readonly text: string;
}

/** What is known of the link behind a port. */
export interface PortLink {
  readonly port: Ref;
  readonly interface: string;
  readonly ifindex: number;
  readonly stations: readonly { readonly mac: string; readonly ips: readonly string[] }[];
}

/** Where a copy of the packet physically goes. */
export interface Destination {
  readonly via: 'interface' | 'tunnel';
  /** The port that it is for; null: the flood key of a bridge, for all its ports there. */
  readonly port: Ref | null;
  /** Interface of this host, by name; '' if the binding is gone. */
  readonly interface?: string;
  /** Host at the other end, its address on the underlay, and the tunnel key. */
  readonly host?: string;
  readonly remote?: string;
  readonly key?: number;
  readonly text: string;
}

/** A flow in words. */
export interface FlowInWords {
  readonly match: string;
  readonly maskClass: string;
  readonly action: string;
  /** What it stands on: a change of any of it has it simulated anew. */
  readonly tags: readonly string[];
}

/** A frame that a device would send, and its way. */
export interface GeneratedTrace {
  readonly packet: string;
  readonly explanation: Explanation;
  readonly destinations: readonly Destination[];
}

export interface Trace {
  readonly hostId: string;
  /** Revision of the topology that it was simulated on. */
  readonly revision: number;
  readonly port: Ref;
  readonly interface: string;
  /** The packet in words; its bytes only when asked for. */
  readonly packet: string;
  readonly frame?: string;
  /** What the description left open. */
  readonly filled: readonly Filled[];
  /** How long data was waited for. */
  readonly waitedMs: number;
  readonly explanation: Explanation;
  /** forward or drop, with the reason, once the physical side has had its say; postpone. */
  readonly verdict: string;
  readonly reason: string;
  /** The verdict, and the nearest rule that would have changed it, in sentences. */
  readonly summary: readonly string[];
  readonly destinations: readonly Destination[];
  /** Other hosts that are told of connections that it begins before it leaves, and of changes of those that it belongs to. */
  readonly toldHosts: readonly HostRef[];
  /** Other hosts that are asked before it is decided: one may know a connection that is not known here. Here nobody is asked. */
  readonly askedHosts: readonly HostRef[];
  /** The flow that the packet would install; null with the reason why there is none. */
  readonly flow: FlowInWords | null;
  readonly noFlow: string;
  /** The installed flow that takes this packet now, and whether it does what the trace says. */
  readonly installed: (FlowInWords & { readonly id: number; readonly agrees: boolean }) | null;
  readonly generated: readonly GeneratedTrace[];
}
