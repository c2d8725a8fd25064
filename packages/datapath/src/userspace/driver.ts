/**
 * The `userspace` datapath: packet sockets on ports and underlay, everything else in {@link Engine}. It needs no BPF but for
 * keeping the host out, forwards only while {@link UserspaceDatapath.poll} runs, and leaves nothing to a next process:
 * its table is this process's memory.
 *
 * Longer than other files because it is the whole contract of a datapath, most of it in a few lines each.
 */
import { mkdirSync } from 'node:fs';
import { dropReason, FLOW_VALUE_SIZE, KEY_SIZE } from '@weft/flow';
import {
  acquirePidFile,
  close,
  EPOLLIN,
  Epoll,
  EventFd,
  isErrno,
  monotonicUs,
  NetlinkSocket,
  openPacketSocket,
  PACKET_HOST,
  PACKET_OUTGOING,
  PacketBatch,
  type PidFile,
  VNET_HEADER_SIZE,
} from '@weft/sys';
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
} from '../contract.ts';
import { prepareUnderlay } from '../ebpf/devices.ts';
import { DatapathError } from '../errors.ts';
import { HEADROOM, MAX_FRAME, tunnelOverhead, VXLAN_PORT, WORK_FRAME_SIZE, WorkFrame } from '../oracle/index.ts';
import { Engine } from './engine.ts';
import { attachFilter, tunnelFilter } from './filter.ts';
import { Gather } from './gather.ts';
import { closeGroDevice, openGroDevice } from './gro-device.ts';
import { isolate, removeDropProgram } from './isolate.ts';
import { PortSender } from './port-sender.ts';
import { openQuietSockets } from './quiet-sockets.ts';
import { limitSuperPackets } from './super-packets.ts';
import { PortEntry, Tables } from './tables.ts';
import { UnderlaySender } from './underlay-sender.ts';
import { UpcallQueue } from './upcall-queue.ts';

const RX_SLOTS = 64;
const D_SEND = dropReason('redirect_failed');
const D_MALFORMED = dropReason('malformed');
const D_RING_FULL = dropReason('ring_full');

interface Receiver {
  readonly fd: number;
  readonly ifindex: number;
  readonly underlay: boolean;
}

const NOTHING_ADOPTED: Adopted = { ports: [], tunnels: [], egress: [], lists: [], forEachFlow() {} };

export class UserspaceDatapath implements Datapath {
  readonly kind = 'userspace';
  readonly options: DatapathOptions;
  readonly #tables: Tables;
  readonly #engine: Engine;
  readonly #netlink: NetlinkSocket;
  readonly #epoll = new Epoll();
  readonly #wake = new EventFd();
  readonly #rx = new PacketBatch(RX_SLOTS, MAX_FRAME);
  /** Frame of each slot: packets are worked on where they were received. */
  readonly #frames = framesOf(this.#rx);
  readonly #receivers = new Map<number, Receiver>();
  readonly #portSender: PortSender;
  readonly #underlaySender: UnderlaySender;
  readonly #quiet: number[];
  /** There is a device that has the kernel merge arrivals over VXLAN. */
  readonly #merging: boolean;
  readonly #lock: PidFile;
  /** Ports that carry our drop program, attached or not. */
  readonly #isolated = new Map<number, boolean>();
  readonly #queue = new UpcallQueue();
  readonly #gather = new Gather();
  #handler: ((upcall: Upcall) => void) | null = null;
  #inHandler = false;
  #delivered = 0;
  /** What of the batch is still to be done, when `max` upcalls came before its end. */
  #pending: Receiver | null = null;
  #next = 0;
  #received = 0;
  #closed = false;

  constructor(options: DatapathOptions) {
    this.options = options;
    mkdirSync(options.stateDir, { recursive: true, mode: 0o700 });
    this.#lock = acquirePidFile(`${options.stateDir}/userspace-${options.instance}.pid`);
    const vxlanPort = options.vxlanPort ?? VXLAN_PORT;
    const failed = () => this.#engine.drop(D_SEND);
    this.#tables = new Tables(options.encap, vxlanPort);
    this.#engine = new Engine(
      this.#tables,
      options.maxFlows,
      {
        toPort: (ifindex, frame) => this.#portSender.add(ifindex, frame),
        toUnderlay: (ifindex, tunnel, bytes, from, end, whole, at, size) =>
          this.#underlaySender.add(ifindex, tunnel, bytes, from, end, whole, at, size),
        upcall: (u) => this.#upcall(u),
      },
      () => monotonicUs() * 1000,
    );
    const opened: { close(): void }[] = [];
    const open = <T extends { close(): void }>(resource: T): T => {
      opened.push(resource);
      return resource;
    };
    try {
      this.#netlink = open(new NetlinkSocket());
      this.#portSender = open(new PortSender(failed));
      this.#underlaySender = open(new UnderlaySender(failed));
      this.#merging = options.encap === 'vxlan' && openGroDevice(this.#netlink, options.instance, vxlanPort);
      this.#quiet = this.#merging ? [] : openQuietSockets(options.encap, vxlanPort);
      this.#epoll.add(this.#wake.fd, EPOLLIN);
    } catch (error) {
      for (const resource of opened) resource.close();
      this.#releaseMemory();
      throw error;
    }
  }

  #releaseMemory(): void {
    this.#epoll.close();
    this.#wake.close();
    this.#rx.close();
    this.#lock.release();
  }

  get wakeFd(): number {
    return this.#wake.fd;
  }

  overhead(ipv6Underlay: boolean): number {
    return tunnelOverhead(this.options.encap, ipv6Underlay);
  }

  /** Nothing outlives the process: always empty. */
  adopted(): Adopted {
    return NOTHING_ADOPTED;
  }

  /** Attached ports, and whether a drop program keeps the host's stack off them (else only its IPv6, ARP and forwarding are off). */
  isolation(ifindex: number): boolean | undefined {
    return this.#isolated.get(ifindex);
  }

  attachPort(spec: PortSpec): void {
    this.#check();
    const before = this.#tables.ports.get(spec.ifindex);
    if (before === undefined) {
      this.#isolated.set(spec.ifindex, isolate(this.#netlink, spec.ifindex, spec.name));
      limitSuperPackets(this.#netlink, spec.ifindex);
      const fd = openPacketSocket({ ifindex: spec.ifindex, vnetHeader: true, promiscuous: true });
      this.#receive(fd, spec.ifindex, false);
    }
    this.#tables.ports.set(spec.ifindex, new PortEntry(spec));
  }

  detachPort(ifindex: number): void {
    this.#check();
    this.#tables.ports.delete(ifindex);
    this.#engine.fragments.forget(ifindex);
    this.#stop(ifindex, false);
  }

  attachUnderlay(ifindex: number): void {
    this.#check();
    for (const r of this.#receivers.values()) if (r.underlay && r.ifindex === ifindex) return;
    prepareUnderlay(this.#netlink, ifindex, this.options.encap);
    const fd = openPacketSocket({ ifindex, vnetHeader: true });
    attachFilter(fd, tunnelFilter(this.options.encap, this.#tables.vxlanPort));
    this.#receive(fd, ifindex, true);
  }

  detachUnderlay(ifindex: number): void {
    this.#check();
    this.#underlaySender.forget(ifindex);
    this.#stop(ifindex, true);
  }

  #receive(fd: number, ifindex: number, underlay: boolean): void {
    this.#receivers.set(fd, { fd, ifindex, underlay });
    this.#epoll.add(fd, EPOLLIN);
  }

  #stop(ifindex: number, underlay: boolean): void {
    for (const r of this.#receivers.values()) {
      if (r.ifindex !== ifindex || r.underlay !== underlay) continue;
      if (this.#pending === r) this.#pending = null;
      this.#receivers.delete(r.fd);
      this.#epoll.remove(r.fd);
      close(r.fd);
    }
  }

  setLocalAddresses(addresses: readonly Uint8Array[]): void {
    this.#tables.setLocalAddresses(addresses);
  }

  setTunnel(spec: TunnelSpec): void {
    this.#tables.setTunnel(spec);
  }

  deleteTunnel(peer: number): void {
    this.#tables.deleteTunnel(peer);
  }

  setEgress(spec: EgressSpec): void {
    this.#tables.egress.set(spec.key, { key: spec.key, ports: [...spec.ports], remotes: [...(spec.remotes ?? [])] });
  }

  deleteEgress(key: number): void {
    this.#tables.egress.delete(key);
  }

  setList(spec: ListSpec): void {
    this.#tables.lists.set(spec.id, { id: spec.id, ports: [...spec.ports], remotes: [...spec.remotes] });
  }

  deleteList(id: number): void {
    this.#tables.lists.delete(id);
  }

  putFlows(batch: FlowBatch): number {
    for (let i = 0; i < batch.count; i++) {
      if (!this.#engine.flows.put(batch.keys, i * KEY_SIZE, batch.values, i * FLOW_VALUE_SIZE)) return i;
    }
    return batch.count;
  }

  deleteFlows(keys: Uint8Array, count: number): void {
    for (let i = 0; i < count; i++) this.#engine.flows.delete(keys, i * KEY_SIZE);
  }

  readCounters(packets: Float64Array, bytes: Float64Array, first = 0): void {
    const from = this.#engine;
    const n = Math.min(packets.length, bytes.length, from.packets.length - first);
    for (let i = 0; i < n; i++) {
      packets[i] += from.packets[first + i];
      bytes[i] += from.bytes[first + i];
    }
  }

  readCounter(slot: number, packets: Float64Array, bytes: Float64Array): void {
    packets[slot] = this.#engine.packets[slot];
    bytes[slot] = this.#engine.bytes[slot];
  }

  poll(timeoutMs: number, max: number, handler: (upcall: Upcall) => void): number {
    this.#check();
    this.#handler = handler;
    this.#delivered = 0;
    const deadline = timeoutMs < 0 ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
    try {
      this.#drainQueue(max);
      this.#processBatch(max);
      while (this.#delivered < max && !this.#closed) {
        const wait = this.#delivered > 0 ? 0 : remaining(deadline);
        const woken = this.#round(wait, max);
        this.#flush();
        if (woken || this.#delivered > 0 || remaining(deadline) === 0) break;
      }
    } finally {
      this.#handler = null;
      if (!this.#closed) this.#flush();
    }
    return this.#delivered;
  }

  /** Waits once and takes one batch from each socket that has something. @returns true after a wake. */
  #round(timeoutMs: number, max: number): boolean {
    const n = this.#epoll.wait(timeoutMs);
    if (n > 0 && timeoutMs !== 0) this.#gather.pause();
    let woken = false;
    for (let i = 0; i < n; i++) {
      const fd = this.#epoll.token(i);
      if (fd === this.#wake.fd) {
        this.#wake.consume();
        woken = true;
        continue;
      }
      const receiver = this.#receivers.get(fd);
      if (receiver === undefined || this.#pending !== null) continue;
      this.#receiveBatch(receiver);
      this.#processBatch(max);
      if (this.#closed) break;
    }
    return woken;
  }

  #receiveBatch(receiver: Receiver): void {
    // Payloads on their way out stand in the slots that are to be filled again.
    this.#underlaySender.flush();
    this.#next = 0;
    this.#received = 0;
    try {
      this.#received = this.#rx.recv(receiver.fd, true);
    } catch (error) {
      // Told once when an interface goes down or away; the socket is kept, it may come back.
      if (!isErrno(error, 'ENETDOWN', 'ENODEV', 'ENXIO')) throw error;
    }
    this.#pending = receiver;
    if (receiver.underlay) this.#gather.took(this.#received);
  }

  #processBatch(max: number): void {
    while (this.#pending !== null && this.#next < this.#received) {
      if (this.#delivered >= max) return;
      this.#process(this.#pending, this.#next++);
    }
    this.#pending = null;
  }

  #process(receiver: Receiver, i: number): void {
    const rx = this.#rx;
    const type = rx.packetType[i];
    if (receiver.underlay ? type !== PACKET_HOST : type === PACKET_OUTGOING) return;
    const frame = this.#frames[i];
    this.#engine.arrival = frame;
    if (rx.wireLength[i] > rx.length[i] || !frame.place(rx.length[i])) {
      this.#engine.drop(D_MALFORMED);
      return;
    }
    frame.readVnetHeader(rx.bytes, rx.offset(i) - VNET_HEADER_SIZE);
    if (rx.vlanTci[i] >= 0) {
      frame.tagTci = rx.vlanTci[i];
      frame.tagTpid = rx.vlanTpid[i];
    }
    if (receiver.underlay) this.#engine.underlay();
    else this.#engine.ingress(receiver.ifindex);
  }

  /** Straight to the handler inside `poll`; outside, or from within the handler, it waits for the next `poll`. */
  #upcall(u: Upcall): void {
    if (this.#handler === null || this.#inHandler) {
      if (!this.#queue.push(u)) this.#engine.drop(D_RING_FULL);
      return;
    }
    this.#handle(u);
  }

  #handle(u: Upcall): void {
    this.#delivered++;
    this.#inHandler = true;
    try {
      this.#handler!(u);
    } finally {
      this.#inHandler = false;
    }
  }

  #drainQueue(max: number): void {
    while (this.#delivered < max) {
      const u = this.#queue.shift();
      if (u === undefined) return;
      this.#handle(u);
    }
  }

  execute(batch: readonly Execution[]): void {
    this.#check();
    for (const e of batch) {
      const frame = this.#engine.execution;
      if (!frame.load(e.frame, 0, e.frame.length)) {
        this.#engine.drop(D_MALFORMED);
        continue;
      }
      if (e.vnetHeader !== null) frame.readVnetHeader(e.vnetHeader, 0);
      this.#engine.execute(e.action);
    }
    this.#flush();
  }

  #flush(): void {
    this.#portSender.flush();
    this.#underlaySender.flush();
  }

  stats(): DatapathStats {
    return {
      drops: this.#engine.drops.slice(),
      upcalls: this.#engine.upcalls.slice(),
      flows: this.#engine.flows.size,
    };
  }

  close(options: { destroy?: boolean } = {}): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const r of this.#receivers.values()) close(r.fd);
    this.#receivers.clear();
    for (const fd of this.#quiet) close(fd);
    this.#portSender.close();
    this.#underlaySender.close();
    if (options.destroy) for (const ifindex of this.#isolated.keys()) removeDropProgram(this.#netlink, ifindex);
    if (this.#merging) closeGroDevice(this.#netlink, this.options.instance);
    this.#netlink.close();
    this.#releaseMemory();
  }

  #check(): void {
    if (this.#closed) throw new DatapathError('WEFT_DATAPATH_CLOSED', 'the datapath was used after close()');
  }
}

function framesOf(rx: PacketBatch): WorkFrame[] {
  return Array.from({ length: rx.size }, (_, i) => {
    const at = rx.offset(i) - HEADROOM;
    return new WorkFrame(rx.bytes.subarray(at, at + WORK_FRAME_SIZE), rx.address(i) - HEADROOM);
  });
}

/** Whole ms to wait until the deadline, at least 0; -1 if there is none. */
function remaining(deadline: number): number {
  if (deadline === Number.POSITIVE_INFINITY) return -1;
  return Math.max(0, Math.ceil(deadline - performance.now()));
}
