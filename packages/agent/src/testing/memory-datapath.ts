/**
 * A datapath without packets: tables in memory, upcalls queued by `inject`, executions recorded. For tests of the engine,
 * where what counts is which flows stand installed, not what the kernel does with them.
 */
import type {
  Adopted,
  Datapath,
  DatapathOptions,
  DatapathStats,
  EgressSpec,
  Execution,
  FlowBatch,
  ListSpec,
  PortSpec,
  TunnelSpec,
  Upcall,
} from '@weft/datapath';
import {
  A_COUNTER_SLOT,
  A_FLAGS,
  ACTION_SIZE,
  AF_REPORT_TCP_FLAGS,
  DROP_REASONS,
  extractKey,
  FLOW_VALUE_SIZE,
  KEY_SIZE,
  newFrameLayout,
  readU32le,
  UPCALL_FLOW_STATE,
  UPCALL_MISS,
  UPCALL_TCP_FLAGS,
} from '@weft/flow';
import { TCP_FIN, TCP_RST } from '@weft/packet';
import type { NatBlock } from '../worker/connections/nat-pools.ts';
import { tcpFlagsOf } from '../worker/opening-segment.ts';
import type { StateIdentity } from '../worker/protocol.ts';
import { MemoryFlows } from './memory-flows.ts';

/** What survives the engine, as pinned maps and files survive an agent. */
export class MemoryState {
  readonly ports = new Map<number, PortSpec>();
  readonly tunnels = new Map<number, TunnelSpec>();
  readonly egress = new Map<number, EgressSpec>();
  readonly lists = new Map<number, ListSpec>();
  readonly flows: MemoryFlows;
  /** By counter slot: what the agent keeps first keys in. */
  readonly firstKeys: Uint8Array;
  /** Per counter slot, as the kernel counts. */
  readonly packets: Float64Array;
  readonly bytes: Float64Array;
  /** The file of rule counts. */
  ruleState: Uint8Array | null = null;
  /** The mapped memory of connections, once an engine has run. */
  connections: ArrayBuffer | null = null;
  /** Keys and incarnation of the last start. */
  identity: StateIdentity | null = null;
  /** The file of NAT blocks, and when it was written. */
  natBlocks: { readonly blocks: readonly NatBlock[]; readonly at: number } | null = null;

  constructor(maxFlows: number) {
    this.flows = new MemoryFlows(maxFlows);
    this.firstKeys = new Uint8Array(maxFlows * KEY_SIZE);
    this.packets = new Float64Array(maxFlows);
    this.bytes = new Float64Array(maxFlows);
  }

  /** What another process finds that starts now. @param flows whether the datapath still has its flows */
  copy(flows = true): MemoryState {
    const copy = new MemoryState(this.flows.capacity);
    for (const name of ['ports', 'tunnels', 'egress', 'lists'] as const) {
      for (const [k, v] of this[name]) (copy[name] as Map<number, unknown>).set(k, v);
    }
    if (flows) {
      this.flows.forEach((slot) => {
        copy.flows.put(this.flows.keyOf(slot), 0, this.flows.valueOf(slot), 0);
      });
    }
    copy.packets.set(this.packets);
    copy.bytes.set(this.bytes);
    copy.ruleState = this.ruleState;
    copy.connections = this.connections === null ? null : this.connections.slice(0);
    copy.identity = this.identity;
    copy.natBlocks = this.natBlocks;
    return copy;
  }
}

export class MemoryDatapath implements Datapath {
  readonly kind = 'userspace';
  readonly options: DatapathOptions;
  readonly wakeFd = -1;
  readonly state: MemoryState;
  readonly firstKeys: Uint8Array;
  /** Executed frames with their actions, oldest first. */
  readonly executed: { frame: Uint8Array; action: Uint8Array }[] = [];
  /** In which order: `put` once per flow written, `send` once per frame. */
  readonly order: ('put' | 'send')[] = [];
  /** Called at the end of each poll: a test lets packets come up while others are handled. */
  afterPoll: () => void = () => {};
  /** Rooms of the tables; what does not fit is refused as the kernel does. */
  maxTunnels = Number.POSITIVE_INFINITY;
  maxEgress = Number.POSITIVE_INFINITY;
  private readonly upcalls: Upcall[] = [];
  private readonly layout = newFrameLayout();

  constructor(state: MemoryState, options: Partial<DatapathOptions> = {}) {
    this.state = state;
    this.firstKeys = state.firstKeys;
    this.options = {
      instance: 'test',
      encap: 'vxlan',
      maxFlows: state.flows.capacity,
      stateDir: '/nowhere',
      ...options,
    };
  }

  /**
   * A frame enters by an interface: a hit is answered with the flow's value, a miss is queued as an upcall.
   * @returns the value (FLOW_VALUE_SIZE bytes) of the flow that took it, or null.
   */
  inject(ifindex: number, frame: Uint8Array): Uint8Array | null {
    const key = new Uint8Array(KEY_SIZE);
    if (!extractKey(frame, frame.length, ifindex, 0, key, 0, this.layout)) return null;
    const slot = this.state.flows.match(key);
    if (slot >= 0) {
      const value = this.state.flows.valueOf(slot).slice();
      const counter = readU32le(value, A_COUNTER_SLOT);
      this.state.packets[counter]++;
      this.state.bytes[counter] += frame.length;
      const ends = tcpFlagsOf(key, frame) & (TCP_FIN | TCP_RST);
      if (ends !== 0 && value[A_FLAGS] & AF_REPORT_TCP_FLAGS) this.up(UPCALL_TCP_FLAGS, ifindex, key, frame);
      return value;
    }
    this.up(UPCALL_MISS, ifindex, key, frame);
    return null;
  }

  /** A frame arrives from another host under the key of flow state. */
  arriveState(frame: Uint8Array): void {
    this.up(UPCALL_FLOW_STATE, 0, new Uint8Array(KEY_SIZE), frame);
  }

  private up(reason: number, inPort: number, key: Uint8Array, frame: Uint8Array): void {
    this.upcalls.push({
      reason,
      inPort,
      key,
      frame,
      length: frame.length,
      segmentLength: frame.length - this.layout.l3,
      vnetHeader: new Uint8Array(10),
      time: 0,
      peer: 0,
      mtu: 0,
    });
  }

  overhead(ipv6Underlay: boolean): number {
    return ipv6Underlay ? 70 : 50;
  }

  adopted(): Adopted {
    const { ports, tunnels, egress, lists, flows } = this.state;
    return {
      ports: [...ports.values()],
      tunnels: [...tunnels.values()],
      egress: [...egress.values()],
      lists: [...lists.values()],
      forEachFlow(visit) {
        flows.forEach((slot) => {
          visit(flows.keyOf(slot), flows.valueOf(slot));
        });
      },
    };
  }

  attachPort(spec: PortSpec): void {
    this.state.ports.set(spec.ifindex, spec);
  }
  detachPort(ifindex: number): void {
    this.state.ports.delete(ifindex);
  }
  attachUnderlay(): void {}
  detachUnderlay(): void {}
  setLocalAddresses(): void {}
  setTunnel(spec: TunnelSpec): void {
    refuseBeyond(this.maxTunnels, this.state.tunnels, spec.peer);
    this.state.tunnels.set(spec.peer, spec);
  }
  deleteTunnel(peer: number): void {
    this.state.tunnels.delete(peer);
  }
  setEgress(spec: EgressSpec): void {
    refuseBeyond(this.maxEgress, this.state.egress, spec.key);
    this.state.egress.set(spec.key, spec);
  }
  deleteEgress(key: number): void {
    this.state.egress.delete(key);
  }
  setList(spec: ListSpec): void {
    this.state.lists.set(spec.id, spec);
  }
  deleteList(id: number): void {
    this.state.lists.delete(id);
  }

  putFlows(batch: FlowBatch): number {
    const { flows } = this.state;
    for (let i = 0; i < batch.count; i++) {
      if (!flows.put(batch.keys, i * KEY_SIZE, batch.values, i * FLOW_VALUE_SIZE)) return i;
      this.order.push('put');
    }
    return batch.count;
  }

  deleteFlows(keys: Uint8Array, count: number): void {
    for (let i = 0; i < count; i++) this.state.flows.delete(keys, i * KEY_SIZE);
  }

  readCounters(packets: Float64Array, bytes: Float64Array, first = 0): void {
    const { state } = this;
    const n = Math.min(packets.length, bytes.length, state.packets.length - first);
    for (let i = 0; i < n; i++) {
      packets[i] += state.packets[first + i];
      bytes[i] += state.bytes[first + i];
    }
  }

  readCounter(slot: number, packets: Float64Array, bytes: Float64Array): void {
    packets[slot] = this.state.packets[slot];
    bytes[slot] = this.state.bytes[slot];
  }

  poll(_timeoutMs: number, max: number, handler: (upcall: Upcall) => void): number {
    const batch = this.upcalls.splice(0, max);
    for (const upcall of batch) handler(upcall);
    this.afterPoll();
    return batch.length;
  }

  execute(batch: readonly Execution[]): void {
    for (const { frame, action } of batch) {
      this.order.push('send');
      this.executed.push({ frame: frame.slice(), action: action.slice(0, ACTION_SIZE) });
    }
  }

  stats(): DatapathStats {
    return { drops: new Float64Array(DROP_REASONS.length), upcalls: new Float64Array(8), flows: this.state.flows.size };
  }

  close(): void {}
}

function refuseBeyond(room: number, table: ReadonlyMap<number, unknown>, key: number): void {
  if (!table.has(key) && table.size >= room) throw new Error('bpf map update: E2BIG');
}
