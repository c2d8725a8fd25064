/**
 * What a datapath driver promises to the agent: a table of flows, the tables that outputs refer to, upcalls, execution.
 *
 * All calls are synchronous and made from one thread (the packet worker that owns the driver). Nothing here knows of the
 * virtual topology: ports are interfaces of this host, peers are numbers, lists are numbers.
 */

/** A VM's interface. Its number everywhere (key, action) is its ifindex in the host's namespace. */
export interface PortSpec {
  readonly ifindex: number;
  readonly name: string;
  /** Virtual port that it is bound to (UUID): kept with the port, so that a restarted agent finds it. */
  readonly portId: string;
  /** MAC of the device behind the port if known (veth peer), for `redirect_peer`; 6 bytes or null. */
  readonly mac: Uint8Array | null;
  /** veth whose other end is in another network namespace. */
  readonly peerable: boolean;
  /** Misses per second and burst that the port may send up; bytes are charged as well. */
  readonly upcallRate: number;
  readonly upcallBurst: number;
}

/** Tunnel to a peer host. Looked up at execution: a change touches no flow. */
export interface TunnelSpec {
  /** Peer number, 1 …; stable over restarts. */
  readonly peer: number;
  /** Host id (UUID), kept for adoption. */
  readonly hostId: string;
  /** 16-byte addresses (IPv4 as ::ffff:a.b.c.d). */
  readonly local: Uint8Array;
  readonly remote: Uint8Array;
  /** Interfaces by which the peer is reached now, chosen by the agent from the FIB: up to 4, all equal cost. A packet takes one by flow hash. */
  readonly ifindexes: readonly number[];
  /**
   * Next hop of each of `ifindexes` (16 bytes), null: the peer is on the link. Absent: the kernel's FIB is asked per packet, which
   * over IPv6 goes wrong with several paths (its multipath hash does not heed the interface).
   */
  readonly gateways?: readonly (Uint8Array | null)[];
  /** L3 bytes of an inner packet that fit (underlay path MTU minus overhead). */
  readonly mtu: number;
}

/**
 * What a tunnel key delivers to on this host: the local port itself, or the members of a flood set. `remotes`: hosts to which it goes on, of a
 * port that has moved away; what was sent on once already is not (`forwarded_before`).
 */
export interface EgressSpec {
  readonly key: number;
  readonly ports: readonly number[];
  readonly remotes?: readonly { readonly peer: number; readonly key: number }[];
}

/** A flood's members: local interfaces and one (peer, key) per remote host (or per remote port whose filter differs). */
export interface ListSpec {
  readonly id: number;
  readonly ports: readonly number[];
  readonly remotes: readonly { readonly peer: number; readonly key: number }[];
}

/**
 * Flows to install, packed: `keys` n × KEY_SIZE (masked, with class byte), `values` n × FLOW_VALUE_SIZE. The counter slot in an action
 * is below `maxFlows`, and no other flow's: a driver may keep the first packet's key by it.
 */
export interface FlowBatch {
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  readonly count: number;
}

/** One packet that came up. The object and its views are reused: valid only inside the handler. */
export interface Upcall {
  /** UPCALL_… */
  reason: number;
  inPort: number;
  /** Full flow key of the packet, 64 bytes. For UPCALL_FLOW_STATE `inPort` is 0 and the frame begins with the inner Ethernet header. */
  key: Uint8Array;
  /** The bytes that came up: all of the packet, or its head if it was cut (`length` > `frame.length`). VLAN tag in the bytes. */
  frame: Uint8Array;
  /** Bytes of the whole packet. */
  length: number;
  /** L3 bytes of the largest packet that would go on the wire (one GSO segment's worth), for MTU decisions. */
  segmentLength: number;
  /** What AF_PACKET needs to send it again as it was: 10-byte virtio_net_hdr (zeros when there is nothing special). */
  vnetHeader: Uint8Array;
  /** Monotonic time of the upcall in ns (f64). */
  time: number;
  /** UPCALL_PATH_MTU: peer number and new MTU in L3 bytes of the inner packet. Else 0. */
  peer: number;
  mtu: number;
}

/** A frame to send through a compiled action, without a flow: `action` is ACTION_SIZE bytes (ids are set by the driver). */
export interface Execution {
  readonly frame: Uint8Array;
  readonly vnetHeader: Uint8Array | null;
  readonly action: Uint8Array;
}

/** What was made of the tables of a build with another layout. */
export interface Upgrade {
  /** Name of that layout. */
  readonly from: string;
  /** Flows taken over with their ids and counters. */
  readonly flows: number;
  /** Flows that this build cannot have: their next packets come up. */
  readonly left: number;
}

/** State that an earlier process left in the kernel. */
export interface Adopted {
  /** Absent: that process had this layout, or there was none. */
  readonly upgrade?: Upgrade;
  readonly ports: readonly PortSpec[];
  readonly tunnels: readonly TunnelSpec[];
  readonly egress: readonly EgressSpec[];
  readonly lists: readonly ListSpec[];
  /**
   * Calls `visit` for every flow: views into a scratch buffer, valid inside the call. Exact only while nothing changes. The first packet's
   * key is to be compared with the flow's: after a kill in the middle of `putFlows` it may be another flow's.
   */
  forEachFlow(visit: (key: Uint8Array, value: Uint8Array) => void): void;
}

export interface DatapathStats {
  /** Packets dropped in the datapath, by index of DROP_REASONS. */
  readonly drops: Float64Array;
  /** Upcalls by reason (UPCALL_…). */
  readonly upcalls: Float64Array;
  readonly flows: number;
}

export interface DatapathOptions {
  /** Names kernel objects (`weft-<instance>…`) and the pin directory; at most 8 characters [a-z0-9]. */
  readonly instance: string;
  readonly encap: 'gre' | 'vxlan';
  /** UDP port of VXLAN; default 4789. */
  readonly vxlanPort?: number;
  readonly maxFlows: number;
  /** Directory for pins on a bpffs (ebpf), or for a lock file (userspace). */
  readonly stateDir: string;
}

export interface Datapath {
  readonly kind: 'ebpf' | 'userspace';
  readonly options: DatapathOptions;
  /** Bytes that encapsulation adds to an inner L3 packet over an IPv4 (or IPv6) underlay. */
  overhead(ipv6Underlay: boolean): number;
  adopted(): Adopted;

  /** Cuts the interface off from the host's own stack first, then attaches; default verdict is drop. Idempotent. */
  attachPort(spec: PortSpec): void;
  /** Flows of the port must be gone. Leaves a drop program on the interface until the interface goes. */
  detachPort(ifindex: number): void;
  /** Takes tunnel packets arriving by this interface. */
  attachUnderlay(ifindex: number): void;
  detachUnderlay(ifindex: number): void;
  /** Addresses at which tunnels of this host end. */
  setLocalAddresses(addresses: readonly Uint8Array[]): void;
  setTunnel(spec: TunnelSpec): void;
  deleteTunnel(peer: number): void;
  setEgress(spec: EgressSpec): void;
  deleteEgress(key: number): void;
  setList(spec: ListSpec): void;
  deleteList(id: number): void;

  /** Inserts or replaces. @returns how many, from the first on, are in; the table was full for the rest. */
  putFlows(batch: FlowBatch): number;
  /** `keys`: n × KEY_SIZE, masked, with class byte. Absent ones are skipped. */
  deleteFlows(keys: Uint8Array, count: number): void;
  /**
   * Memory of the datapath for the first packets' keys, KEY_SIZE bytes for each counter slot: `putFlows` writes them there, and the caller
   * may, for a flow that it is about to put. Absent: the driver has none to share. Empty once the datapath is closed.
   */
  readonly firstKeys?: Uint8Array;
  /** Adds the packets and bytes of counter slots `first` (default 0), `first` + 1, … since creation of the table to entries 0, 1, … of both. */
  readCounters(packets: Float64Array, bytes: Float64Array, first?: number): void;
  /** Sets entry `slot` of both arrays to that one slot's counters, as they are now. No system call. */
  readCounter(slot: number, packets: Float64Array, bytes: Float64Array): void;

  /**
   * Waits up to `timeoutMs` for upcalls (0: do not wait, -1: for ever), hands over at most `max` and returns how many there
   * were. Returns early after `wake()`.
   */
  poll(timeoutMs: number, max: number, handler: (upcall: Upcall) => void): number;
  /** An eventfd: writing 8 bytes to it from any thread ends a running `poll`. */
  readonly wakeFd: number;
  /** Sends the frames, in order, in as few system calls as possible. Copies what it needs. */
  execute(batch: readonly Execution[]): void;

  stats(): DatapathStats;
  /** Leaves pinned state behind for the next process, or with `destroy` removes everything of this instance. */
  close(options?: { destroy?: boolean }): void;
}
