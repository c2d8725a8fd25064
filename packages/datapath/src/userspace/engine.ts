/**
 * The datapath without its sockets: frames in, frames out through a sink. Pure but for its tables; the clock is injected.
 * SEMANTICS.md in code: what is said there about order and counting is done here, byte work is done by `oracle/`.
 */
import {
  A_COUNTER_SLOT,
  A_FLAGS,
  A_MTU,
  A_OUT_PORT,
  A_OUTPUT,
  A_OWNER_PORT,
  A_REASON,
  A_REWRITE,
  A_TTL_DEC,
  A_TUNNEL_KEY,
  AF_REPORT_TCP_FLAGS,
  DROP_REASONS,
  dropReason,
  extractKey,
  FLOW_STATE_KEY,
  FLOW_VALUE_SIZE,
  FRAG_NONE,
  K_ETHER_TYPE,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_TTL,
  KEY_FORWARDED,
  OUT_DROP,
  OUT_LIST,
  OUT_PORT,
  OUT_TUNNEL,
  OUT_UPCALL,
  RW_TTL,
  RW_VLAN_POP,
  RW_VLAN_PUSH,
  readU16,
  readU32le,
  UPCALL_ACTION,
  UPCALL_FLOW_STATE,
  UPCALL_MISS,
  UPCALL_PATH_MTU,
  UPCALL_TCP_FLAGS,
  UPCALL_TOO_BIG,
  UPCALL_TTL,
} from '@weft/flow';
import type { ListSpec, Upcall } from '../contract.ts';
import {
  applyRewrite,
  completeChecksum,
  ecnOf,
  FragmentTable,
  flowHash,
  HEADROOM,
  OUTER_DROP,
  OUTER_FOREIGN,
  OUTER_FOREIGN_GRE,
  OUTER_PATH_MTU,
  type OuterHeader,
  OuterParser,
  Segmenter,
  segmentLength,
  u16le,
  type WorkFrame,
  wayOf,
  writeOuter,
} from '../oracle/index.ts';
import {
  BUM_BURST,
  BUM_INTERVAL,
  CUT_BYTES,
  FLOW_STATE_BURST,
  FLOW_STATE_INTERVAL,
  Gcra,
  PATH_MTU_BURST,
  PATH_MTU_INTERVAL,
  UPCALL_CUT,
  UPCALL_REFUSED,
  UPCALL_WHOLE,
} from './budget.ts';
import { Context, endsConnection } from './context.ts';
import { FlowTable } from './flow-table.ts';
import type { Tables, TunnelEntry } from './tables.ts';

const D_FLOW_DROP = dropReason('flow_drop');
const D_NO_PORT = dropReason('no_port');
const D_MALFORMED = dropReason('malformed');
const D_BUDGET = dropReason('upcall_budget');
const D_RACED = dropReason('flow_raced');
const D_NO_TUNNEL = dropReason('no_tunnel');
const D_NO_LIST = dropReason('no_list');
const D_NO_EGRESS = dropReason('no_egress_port');
const D_ENCAP = dropReason('encap_failed');
const D_DECAP = dropReason('decap_failed');
const D_TOO_BIG = dropReason('too_big');
const D_OVERFLOW = dropReason('length_overflow');
const D_UNKNOWN_KEY = dropReason('outer_unknown_key');
const D_INNER = dropReason('inner_malformed');
const D_BUM = dropReason('bum_budget');
const D_CUT = dropReason('super_packet_cut');
const D_FOREIGN_GRE = dropReason('foreign_gre');
const D_FORWARDED = dropReason('forwarded_before');
const D_REWRITE = dropReason('rewrite_failed');

/** Reasons are small numbers from 1 on. */
const UPCALL_REASONS = 8;

/** Where the engine's frames go. Whatever it gets is valid only inside the call. */
export interface EngineSink {
  /** A frame for a local interface; its tag may still be beside the bytes, its offload state in its fields. */
  toPort(ifindex: number, frame: WorkFrame): void;
  /**
   * An outer IP packet for the tunnel's remote address, by the interface given: `bytes[from … end)` and, of a segment, `size`
   * bytes of payload from `at` on in the super-packet `whole`.
   */
  toUnderlay(
    ifindex: number,
    tunnel: TunnelEntry,
    bytes: Uint8Array,
    from: number,
    end: number,
    whole: WorkFrame | null,
    at: number,
    size: number,
  ): void;
  upcall(upcall: Upcall): void;
}

export class Engine {
  readonly tables: Tables;
  readonly flows: FlowTable;
  readonly fragments = new FragmentTable();
  readonly drops = new Float64Array(DROP_REASONS.length);
  readonly upcalls = new Float64Array(UPCALL_REASONS);
  readonly packets: Float64Array;
  readonly bytes: Float64Array;
  readonly #sink: EngineSink;
  readonly #now: () => number;
  readonly #arrival = new Context();
  readonly #execution = new Context();
  readonly #outer = new OuterParser();
  readonly #segmenter = new Segmenter();
  readonly #flowStateBudget = new Gcra();
  readonly #pathMtuBudget = new Gcra();
  readonly #header: OuterHeader;

  /** @param now monotonic time in ns. */
  constructor(tables: Tables, maxFlows: number, sink: EngineSink, now: () => number) {
    this.tables = tables;
    this.flows = new FlowTable(maxFlows);
    this.packets = new Float64Array(maxFlows);
    this.bytes = new Float64Array(maxFlows);
    this.#sink = sink;
    this.#now = now;
    const none = new Uint8Array(16);
    this.#header = {
      encap: tables.encap,
      vxlanPort: tables.vxlanPort,
      local: none,
      remote: none,
      ipv6: false,
      key: 0,
      ecn: 0,
      hash: 0,
    };
  }

  /** Where the caller loads what it hands to {@link ingress} or {@link underlay}. */
  get arrival(): WorkFrame {
    return this.#arrival.frame;
  }

  /** Or a frame of the caller's own, which is worked on in place. */
  set arrival(frame: WorkFrame) {
    this.#arrival.frame = frame;
  }

  /** Where the caller loads what it hands to {@link execute}. */
  get execution(): WorkFrame {
    return this.#execution.frame;
  }

  drop(reason: number): void {
    this.drops[reason < this.drops.length ? reason : D_FLOW_DROP]++;
  }

  /** The frame in `arrival` came from the port with this ifindex. */
  ingress(inPort: number) {
    const x = this.#arrival;
    if (!this.tables.ports.has(inPort)) return this.drop(D_NO_PORT);
    if (!this.#extract(x, inPort)) return this.drop(D_MALFORMED);
    if (x.key[K_IP_FRAG] !== FRAG_NONE) this.fragments.track(x.key, x.frame.body, x.layout, this.#now());
    const entry = this.flows.match(x.keyWords, inPort);
    if (entry < 0) {
      if (entry === -2) this.drop(D_RACED);
      this.#up(x, UPCALL_MISS, inPort);
      return;
    }
    const at = entry * FLOW_VALUE_SIZE;
    const slot = readU32le(this.flows.values, at + A_COUNTER_SLOT);
    if (slot < this.packets.length) {
      this.packets[slot]++;
      this.bytes[slot] += x.frame.end - x.frame.start;
    }
    this.#run(x, this.flows.values, at, inPort);
  }

  /** Sends the frame in `execution` through `action`. */
  execute(action: Uint8Array) {
    const x = this.#execution;
    const inPort = readU32le(action, A_OWNER_PORT);
    if (!this.#extract(x, inPort)) return this.drop(D_MALFORMED);
    this.#run(x, action, 0, inPort);
  }

  /** The frame in `arrival` came by an underlay interface. @returns false if it is none of ours. */
  underlay(): boolean {
    const x = this.#arrival;
    const frame = x.frame;
    if (frame.tagTpid !== 0) return false;
    const outer = this.#outer;
    const verdict = outer.parse(frame.bytes, frame.start, frame.end, this.tables);
    if (verdict === OUTER_FOREIGN_GRE) this.drop(D_FOREIGN_GRE);
    if (verdict === OUTER_FOREIGN || verdict === OUTER_FOREIGN_GRE) return false;
    if (verdict === OUTER_DROP) this.drop(outer.reason);
    else if (verdict === OUTER_PATH_MTU) this.#pathMtu(x, outer.peer, outer.mtu);
    else this.#decapsulated(x);
    return true;
  }

  #extract(x: Context, inPort: number): boolean {
    x.frame.untag();
    const ok = extractKey(x.frame.body, x.frame.length, inPort, x.frame.keyVlan, x.key, 0, x.layout);
    x.l3 = HEADROOM + x.layout.l3;
    x.l4 = x.layout.l4 === 0 ? 0 : HEADROOM + x.layout.l4;
    return ok;
  }

  #run(x: Context, action: Uint8Array, a: number, inPort: number) {
    const output = action[a + A_OUTPUT];
    if (output === OUT_UPCALL) return this.#up(x, UPCALL_ACTION, inPort);

    const rewrite = u16le(action, a + A_REWRITE);
    // Before a drop too: a router on the way to it answers what is too old.
    if (rewrite & RW_TTL && x.key[K_IP_TTL] <= action[a + A_TTL_DEC]) return this.#up(x, UPCALL_TTL, inPort);
    if (output === OUT_DROP) return this.drop(u16le(action, a + A_REASON) || D_FLOW_DROP);
    const target = readU32le(action, a + A_OUT_PORT);
    const size = segmentLength(x.frame, x.l3, x.l4, x.key[K_IP_PROTO]);
    const mtu = u16le(action, a + A_MTU);
    if (mtu !== 0 && size > mtu) return this.#up(x, UPCALL_TOO_BIG, inPort);
    let tunnel: TunnelEntry | undefined;
    if (output === OUT_TUNNEL) {
      tunnel = this.tables.tunnels.get(target);
      if (tunnel === undefined || tunnel.spec.ifindexes.length === 0) return this.drop(D_NO_TUNNEL);
      const tagged = rewrite & RW_VLAN_PUSH || (x.frame.tagTpid !== 0 && (rewrite & RW_VLAN_POP) === 0);
      if (exceeds(tunnel, size, tagged ? 4 : 0)) return this.#up(x, UPCALL_TOO_BIG, inPort);
    }
    if (u16le(action, a + A_FLAGS) & AF_REPORT_TCP_FLAGS && endsConnection(x)) this.#up(x, UPCALL_TCP_FLAGS, inPort);

    if (!applyRewrite(x.frame, x.key, x.layout, action, a)) return this.drop(D_REWRITE);
    if (output === OUT_PORT) this.#toPort(target, x.frame);
    else if (tunnel !== undefined) this.#toTunnel(x, tunnel, readU32le(action, a + A_TUNNEL_KEY));
    else if (output === OUT_LIST) this.#toList(x, this.tables.lists.get(target), size, inPort);
    else this.drop(D_FLOW_DROP);
  }

  #toPort(ifindex: number, frame: WorkFrame) {
    if (this.tables.ports.has(ifindex)) this.#sink.toPort(ifindex, frame);
    else this.drop(D_NO_EGRESS);
  }

  #toList(x: Context, list: ListSpec | undefined, size: number, inPort: number) {
    if (list === undefined) return this.drop(D_NO_LIST);
    // What is executed was paid for when it came up.
    const budget = x === this.#execution ? undefined : this.tables.ports.get(inPort)?.bum;
    const copies = list.ports.length + list.remotes.length;
    if (budget !== undefined && !budget.take(this.#now(), copies * BUM_INTERVAL, BUM_BURST)) return this.drop(D_BUM);
    for (const port of list.ports) if (port !== inPort) this.#toPort(port, x.frame);
    this.#toRemotes(x, list.remotes, size, 0);
  }

  /** @param mark beside the keys: 0 or KEY_FORWARDED */
  #toRemotes(x: Context, remotes: ListSpec['remotes'], size: number, mark: number) {
    const tag = x.frame.tagTpid !== 0 ? 4 : 0;
    for (const remote of remotes) {
      const tunnel = this.tables.tunnels.get(remote.peer);
      if (tunnel === undefined || tunnel.spec.ifindexes.length === 0) this.drop(D_NO_TUNNEL);
      else if (exceeds(tunnel, size, tag)) this.drop(D_TOO_BIG);
      else this.#toTunnel(x, tunnel, (remote.key | mark) >>> 0);
    }
  }

  /** The frame itself stays as it is, but for its tag, which moves into the bytes, and its checksum, which is completed. */
  #toTunnel(x: Context, tunnel: TunnelEntry, key: number) {
    const { frame } = x;
    const etherType = readU16(x.key, K_ETHER_TYPE);
    const isIp = etherType === 0x0800 || etherType === 0x86dd;
    const h = this.#header;
    h.local = tunnel.spec.local;
    h.remote = tunnel.spec.remote;
    h.ipv6 = tunnel.ipv6;
    h.key = key;
    h.hash = flowHash(x.key);
    h.ecn = isIp ? ecnOf(frame.bytes, x.l3, etherType) : 0;
    frame.insertTag();
    if (frame.gsoSize === 0) {
      completeChecksum(frame, x.key[K_IP_PROTO]);
      this.#encapsulate(frame, tunnel, null, 0, 0);
      return;
    }
    const count = isIp ? this.#segmenter.begin(frame, x.l3, x.l4, etherType === 0x0800, x.key[K_IP_PROTO]) : 0;
    if (count === 0) return this.drop(D_ENCAP);
    for (let i = 0; i < count; i++) {
      const segmenter = this.#segmenter;
      segmenter.buildHeaders(i);
      this.#encapsulate(segmenter.out, tunnel, frame, segmenter.payloadAt(i), segmenter.payloadSize(i));
    }
  }

  #encapsulate(frame: WorkFrame, tunnel: TunnelEntry, whole: WorkFrame | null, at: number, size: number) {
    const from = writeOuter(frame.bytes, frame.start, frame.end + size, this.#header);
    if (from < 0) return this.drop(D_OVERFLOW);
    const { ifindexes } = tunnel.spec;
    const ifindex = ifindexes[wayOf(this.#header.hash, ifindexes.length)];
    this.#sink.toUnderlay(ifindex, tunnel, frame.bytes, from, frame.end, whole, at, size);
  }

  #decapsulated(x: Context) {
    const { frame } = x;
    const outer = this.#outer;
    const shift = outer.inner - frame.start;
    frame.start = outer.inner;
    frame.end = outer.end;
    if (frame.partial) {
      frame.csumStart -= shift;
      if (frame.csumStart < 14) frame.partial = false;
    }
    // Segments of the outer packet, not of the inner one: a merge that no tunnel of ours makes.
    if (frame.gsoSize !== 0 && !frame.partial) return this.drop(D_DECAP);
    if (outer.key === FLOW_STATE_KEY && !outer.forwarded) return this.#flowState(x);
    const egress = this.tables.egress.get(outer.key);
    if (egress === undefined) return this.drop(D_UNKNOWN_KEY);
    for (const port of egress.ports) this.#toPort(port, frame);
    if (egress.remotes !== undefined && egress.remotes.length > 0) this.#forward(x, egress.remotes);
  }

  /** What came for a port that has moved goes on to where it is, once. */
  #forward(x: Context, remotes: ListSpec['remotes']) {
    if (this.#outer.forwarded) {
      for (const _ of remotes) this.drop(D_FORWARDED);
      return;
    }
    moveToFront(x.frame);
    if (!this.#extract(x, 0)) return this.drop(D_MALFORMED);
    this.#toRemotes(x, remotes, segmentLength(x.frame, x.l3, x.l4, x.key[K_IP_PROTO]), KEY_FORWARDED);
  }

  #flowState(x: Context) {
    moveToFront(x.frame);
    if (!extractKey(x.frame.body, x.frame.length, 0, 0, x.key, 0, x.layout)) return this.drop(D_INNER);
    x.l3 = HEADROOM + x.layout.l3;
    x.l4 = x.layout.l4 === 0 ? 0 : HEADROOM + x.layout.l4;
    this.#up(x, UPCALL_FLOW_STATE, 0);
  }

  #pathMtu(x: Context, peer: number, mtu: number) {
    if (!this.#pathMtuBudget.take(this.#now(), PATH_MTU_INTERVAL, PATH_MTU_BURST)) return this.drop(D_BUDGET);
    const u = x.upcall;
    x.key.fill(0);
    x.l3 = x.frame.start + 14;
    x.l4 = 0;
    u.peer = peer;
    u.mtu = mtu;
    this.#deliver(x, UPCALL_PATH_MTU, 0, UPCALL_WHOLE);
    u.peer = 0;
    u.mtu = 0;
  }

  #up(x: Context, reason: number, inPort: number) {
    const verdict = this.#charge(reason, inPort, x.frame.length);
    if (verdict === UPCALL_REFUSED) return this.drop(D_BUDGET);
    if (verdict === UPCALL_CUT) this.drop(D_CUT);
    this.#deliver(x, reason, inPort, verdict);
  }

  #charge(reason: number, inPort: number, length: number): number {
    const now = this.#now();
    if (reason === UPCALL_FLOW_STATE) {
      return this.#flowStateBudget.take(now, FLOW_STATE_INTERVAL, FLOW_STATE_BURST) ? UPCALL_WHOLE : UPCALL_REFUSED;
    }
    return this.tables.ports.get(inPort)?.upcalls.charge(reason, length, now) ?? UPCALL_REFUSED;
  }

  #deliver(x: Context, reason: number, inPort: number, verdict: number): void {
    const u = x.upcall;
    x.up.copyFrom(x.frame);
    x.up.insertTag();
    x.up.writeVnetHeader(u.vnetHeader, 0);
    u.reason = reason;
    u.inPort = inPort;
    u.key.set(x.key);
    u.frame = x.up.view();
    u.length = u.frame.length;
    if (verdict === UPCALL_CUT) u.frame = u.frame.subarray(0, CUT_BYTES);
    u.segmentLength = segmentLength(x.frame, x.l3, x.l4, x.key[K_IP_PROTO]);
    u.time = this.#now();
    this.upcalls[reason]++;
    this.#sink.upcall(u);
  }
}

/** Has the bytes begin where those of a loaded frame do: keys are taken from there, and outer headers need the room. */
function moveToFront(frame: WorkFrame): void {
  frame.body.copyWithin(0, frame.start - HEADROOM, frame.end - HEADROOM);
  frame.end -= frame.start - HEADROOM;
  frame.start = HEADROOM;
}

function exceeds(tunnel: TunnelEntry, size: number, tag: number): boolean {
  return size > tunnel.spec.mtu - tag;
}
