/** The eBPF driver: tables pinned on a bpffs, programs at the interfaces, upcalls through a ring buffer. */
import { closeSync, constants, mkdirSync, openSync, statfsSync } from 'node:fs';
import { DROP_REASONS, dropReason } from '@weft/flow';
import {
  EPOLLIN,
  Epoll,
  EventFd,
  linkDel,
  linkGet,
  monotonicNs,
  NetlinkSocket,
  openCurrentNetns,
  runIn,
  tryLock,
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
import { DatapathError } from '../errors.ts';
import { ClassFilters } from './class-filters.ts';
import { addFlowCounters, perCpuSums, readFlowCounter } from './counters.ts';
import { bringUp, cutOff, ensureGroDevice, ensureHelper, groName, helperNames, prepareUnderlay } from './devices.ts';
import { Executor } from './exec.ts';
import { Flows } from './flows.ts';
import {
  BUDGET_SIZE,
  decodePort,
  encodeEgress,
  encodeFragmentKey,
  encodePort,
  encodePortInfo,
  FRAGMENT_SLOTS,
  PORT_INFO_SIZE,
  u32At,
  u32Key,
} from './layout.ts';
import { Links, type Role } from './links.ts';
import { Lists } from './lists.ts';
import {
  type EbpfObject,
  type Features,
  layoutHash,
  OBJECT_DIRECTORY,
  openObject,
  type ProgramName,
  RING_BYTES,
  tableLayout,
} from './object.ts';
import { Tunnels } from './tunnels.ts';
import { Upcalls } from './upcalls.ts';
import { beginStart } from './upgrade/directories.ts';
import { removePins } from './upgrade/pins.ts';
import { Transition } from './upgrade/transition.ts';

const UPCALL_REASONS = 16;
/** statfs(2) of a bpffs (include/uapi/linux/magic.h). */
const BPF_FS_MAGIC = 0xcafe_4a11;
const STALE_RECORD = dropReason('stale_record');
const REDIRECT_FAILED = dropReason('redirect_failed');
const ONE = new Uint8Array([1, 0, 0, 0]);

/** Beside the contract's: for tests and for hosts with peculiarities. */
export interface EbpfOptions extends DatapathOptions {
  /** Directory of the object files; default `bpf/build` of this package. */
  readonly objects?: string;
  /** Object file; default `weft.bpf.o`. */
  readonly objectName?: string;
  /** Attach by clsact even where tcx is to be had. */
  readonly clsact?: boolean;
  /** Never use bpf_redirect_peer. Default false. */
  readonly noPeer?: boolean;
  /** Take the kernel's helpers for less than they are: `{ decapL3: false }`. For tests. */
  readonly features?: Partial<Features>;
  /** Make no VXLAN device for GRO. Default false. */
  readonly noGroDevice?: boolean;
}

const PROGRAM_OF: Readonly<Record<Role, ProgramName>> = {
  port: 'weft_port',
  closed: 'weft_closed',
  underlay: 'weft_underlay',
  helper: 'weft_helper',
  gro: 'weft_closed',
};

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/**
 * Implements the contract in the network namespace of the thread that opens it; calls may then come from a thread in any
 * namespace. Needs root and a bpffs at `stateDir`.
 */
export class EbpfDatapath implements Datapath {
  readonly kind = 'ebpf' as const;
  readonly options: EbpfOptions;
  readonly #object: EbpfObject;
  /** The memory of the flows' counters. */
  readonly #counterWords: Uint32Array;
  readonly #lock: number;
  readonly #netns: number;
  readonly #nl: NetlinkSocket;
  readonly #links: Links;
  readonly #flows: Flows;
  readonly #lists: Lists;
  readonly #exec: Executor;
  readonly #upcalls: Upcalls;
  readonly #epoll = new Epoll(4);
  readonly #wake = new EventFd();
  readonly #ports = new Map<number, PortSpec>();
  readonly #tunnels: Tunnels;
  readonly #egress = new Map<number, EgressSpec>();
  readonly #locals = new Set<string>();
  readonly #adopted: Adopted;
  #sendFailures = 0;
  #closed = false;

  /**
   * Loads the programs, adopts what an earlier process pinned, and swaps its programs for these.
   * Throws WEFT_DATAPATH_LOCKED, WEFT_DATAPATH_OBJECT, WEFT_SYS_BPF_LOAD, WEFT_SYS_CALL.
   */
  constructor(options: EbpfOptions) {
    if (!/^[a-z0-9]{1,8}$/.test(options.instance)) {
      throw new DatapathError(
        'WEFT_DATAPATH_OPTIONS',
        `'${options.instance}' is not an instance name: 1–8 of a–z, 0–9`,
      );
    }
    this.options = options;
    const objects = options.objects ?? OBJECT_DIRECTORY;
    mkdirSync(options.stateDir, { recursive: true, mode: 0o700 });
    if (statfsSync(options.stateDir).type !== BPF_FS_MAGIC) {
      throw new DatapathError(
        'WEFT_DATAPATH_OPTIONS',
        `${options.stateDir} is not on a bpffs: programs and tables cannot be pinned there; mount -t bpf bpf DIRECTORY`,
      );
    }
    this.#lock = openSync(options.stateDir, constants.O_RDONLY | constants.O_DIRECTORY);
    if (!tryLock(this.#lock)) {
      closeSync(this.#lock);
      throw new DatapathError('WEFT_DATAPATH_LOCKED', `${options.stateDir} belongs to a running process`);
    }
    const undo: (() => void)[] = [() => closeSync(this.#lock), () => this.#epoll.close(), () => this.#wake.close()];
    try {
      this.#netns = openCurrentNetns();
      undo.push(() => closeSync(this.#netns));
      this.#nl = new NetlinkSocket();
      undo.push(() => this.#nl.close());
      const isNew = !linkGet(this.#nl, helperNames(options.instance)[0]);
      const helper = ensureHelper(this.#nl, options.instance);
      if (isNew) undo.push(() => linkDel(this.#nl, helper.near));
      const layout = tableLayout(objects);
      const start = beginStart(options.stateDir, layoutHash(options, layout, objects));
      const object = openObject(
        options,
        start.path,
        layout,
        { helper_ifindex: helper.near, use_peer: options.noPeer ? 0 : 1 },
        objects,
        options.objectName ?? 'weft.bpf.o',
        options.features,
      );
      undo.push(() => object.close());
      const transition = new Transition(options.stateDir, layout, object);
      undo.push(() => transition.close());
      if (start.source !== undefined) transition.fill(start.source);
      this.#object = { ...object, directory: start.commit(transition.filled) };
      this.#counterWords = new Uint32Array(this.#object.counters.buffer);
      const { map, program, directory } = this.#object;
      this.#links = new Links(options.stateDir, directory, this.#nl, options.clsact ?? false);
      undo.push(() => this.#links.close());
      this.#flows = new Flows(map.weft_flows, new ClassFilters(this.#object.filters), this.#object.firstKeys.bytes);
      this.#lists = new Lists(map.weft_lists, map.weft_replicas);
      this.#tunnels = new Tunnels(map);
      this.#adopted = { ...this.#adopt(), ...transition.report };
      if (transition.filled) this.#writeAnew();
      this.#links.attach('helper', helper.far, program.weft_helper);
      bringUp(this.#nl, helper.far);
      bringUp(this.#nl, helper.near);
      this.#openGroDevice();
      for (const role of ['port', 'closed', 'underlay'] as const) {
        for (const ifindex of this.#links.of(role)) this.#links.attach(role, ifindex, program[PROGRAM_OF[role]]);
      }
      // Only over tables that were filled: with empty ones a port's program would drop what the other build's forwards.
      if (transition.begun) {
        for (const { role, ifindex } of this.#links.foreign()) {
          this.#links.attach(role, ifindex, program[PROGRAM_OF[role]]);
        }
        transition.finish();
        this.#links.sweepForeign(options.stateDir);
      }
      transition.close();
      this.#exec = new Executor(map.weft_execs, helper.near);
      undo.push(() => this.#exec.close());
      this.#upcalls = new Upcalls(map.weft_ring.fd, RING_BYTES, monotonicNs());
      this.#epoll.add(map.weft_ring.fd, EPOLLIN);
      this.#epoll.add(this.#wake.fd, EPOLLIN);
    } catch (error) {
      // Kernel state stays as it was found (pins, links): this process's hold on it goes, and the helper if it was not there.
      for (const f of undo.reverse()) f();
      throw error;
    }
  }

  /** What this kernel's helpers know. */
  get features(): Features {
    return this.#object.features;
  }

  get firstKeys(): Uint8Array {
    return this.#object.firstKeys.bytes;
  }

  /** The tables and programs themselves, for tests and diagnosis. */
  get object(): EbpfObject {
    return this.#object;
  }

  #openGroDevice(): void {
    if (this.options.encap !== 'vxlan' || this.options.noGroDevice) return;
    const ifindex = ensureGroDevice(this.#nl, this.options.instance, this.options.vxlanPort ?? 4789);
    if (ifindex === 0) return;
    this.#links.attach('gro', ifindex, this.#object.program.weft_closed);
    bringUp(this.#nl, ifindex);
  }

  /** Reads the tables back, and drops what belongs to interfaces that are gone. */
  #adopt(): Adopted {
    const { map } = this.#object;
    for (const { role, ifindex } of this.#links.vanished) if (role === 'port') this.#forgetPort(ifindex);
    const info = new Uint8Array(PORT_INFO_SIZE);
    const gone: number[] = [];
    map.weft_ports.forEach((key, value) => {
      const ifindex = u32At(key, 0);
      // With clsact there is no link to ask.
      if (this.#links.role(ifindex) !== 'port' && !linkGet(this.#nl, ifindex)) gone.push(ifindex);
      else if (map.weft_port_info.lookup(key, info)) this.#ports.set(ifindex, decodePort(value, info));
    });
    for (const ifindex of gone) this.#forgetPort(ifindex);
    map.weft_egress.forEach((key, value) => {
      const port = u32At(value, 4);
      const number = u32At(key, 0);
      this.#egress.set(number, port !== 0 ? { key: number, ports: [port] } : this.#lists.egress(number));
    });
    map.weft_locals.forEach((key) => {
      this.#locals.add(hex(key));
    });
    return {
      ports: [...this.#ports.values()],
      tunnels: this.#tunnels.specs(),
      egress: [...this.#egress.values()],
      lists: this.#lists.adopted(),
      forEachFlow: (visit) => this.#flows.forEach(visit),
    };
  }

  /** Records that another build wrote may lack what this one's have. */
  #writeAnew(): void {
    const { map } = this.#object;
    for (const spec of this.#ports.values()) {
      map.weft_port_info.update(u32Key(spec.ifindex), encodePortInfo(spec));
      map.weft_ports.update(u32Key(spec.ifindex), encodePort(spec));
    }
    for (const spec of this.#tunnels.specs()) this.setTunnel(spec);
    for (const spec of this.#egress.values()) {
      map.weft_egress.update(u32Key(spec.key), encodeEgress(spec.key, onlyPort(spec)));
    }
  }

  adopted(): Adopted {
    return this.#adopted;
  }

  overhead(ipv6Underlay: boolean): number {
    return (ipv6Underlay ? 40 : 20) + (this.options.encap === 'vxlan' ? 16 : 8) + 14;
  }

  #within<T>(fn: () => T): T {
    if (this.#closed) throw new DatapathError('WEFT_DATAPATH_CLOSED', 'the datapath is closed');
    return runIn({ fd: this.#netns }, fn);
  }

  attachPort(spec: PortSpec): void {
    const { map, program } = this.#object;
    this.#within(() => {
      cutOff(this.#nl, spec.ifindex);
      const budget = new Uint8Array(BUDGET_SIZE);
      if (!map.weft_budgets.lookup(u32Key(spec.ifindex), budget)) map.weft_budgets.update(u32Key(spec.ifindex), budget);
      map.weft_port_info.update(u32Key(spec.ifindex), encodePortInfo(spec));
      this.#ports.set(spec.ifindex, spec);
      map.weft_ports.update(u32Key(spec.ifindex), encodePort(spec));
      this.#links.attach('port', spec.ifindex, program.weft_port);
      bringUp(this.#nl, spec.ifindex);
      this.#links.sweepForeign(this.options.stateDir);
    });
  }

  detachPort(ifindex: number): void {
    this.#within(() => {
      if (linkGet(this.#nl, ifindex)) this.#links.attach('closed', ifindex, this.#object.program.weft_closed);
      else this.#links.detach(ifindex);
    });
    this.#forgetPort(ifindex);
  }

  #forgetPort(ifindex: number): void {
    const { map } = this.#object;
    this.#ports.delete(ifindex);
    map.weft_ports.delete(u32Key(ifindex));
    map.weft_port_info.delete(u32Key(ifindex));
    map.weft_budgets.delete(u32Key(ifindex));
    // Its number may become another port's.
    for (let i = 0; i < FRAGMENT_SLOTS; i++) map.weft_fragments.delete(encodeFragmentKey(ifindex, i));
  }

  attachUnderlay(ifindex: number): void {
    this.#within(() => {
      this.#links.attach('underlay', ifindex, this.#object.program.weft_underlay);
      prepareUnderlay(this.#nl, ifindex, this.options.encap);
      this.#links.sweepForeign(this.options.stateDir);
    });
  }

  detachUnderlay(ifindex: number): void {
    this.#within(() => this.#links.detach(ifindex));
  }

  setLocalAddresses(addresses: readonly Uint8Array[]): void {
    const wanted = new Map(addresses.map((a) => [hex(a), a]));
    for (const [text, address] of wanted) {
      if (this.#locals.has(text)) continue;
      this.#object.map.weft_locals.update(address, ONE);
      this.#locals.add(text);
    }
    for (const text of this.#locals) {
      if (wanted.has(text)) continue;
      this.#object.map.weft_locals.delete(Buffer.from(text, 'hex'));
      this.#locals.delete(text);
    }
  }

  setTunnel(spec: TunnelSpec): void {
    this.#tunnels.set(spec);
  }

  deleteTunnel(peer: number): void {
    this.#tunnels.delete(peer);
  }

  setEgress(spec: EgressSpec): void {
    const port = onlyPort(spec);
    if (port === 0) this.#lists.setEgress(spec);
    this.#object.map.weft_egress.update(u32Key(spec.key), encodeEgress(spec.key, port));
    if (port !== 0) this.#lists.deleteEgress(spec.key);
    this.#egress.set(spec.key, spec);
  }

  deleteEgress(key: number): void {
    this.#object.map.weft_egress.delete(u32Key(key));
    this.#lists.deleteEgress(key);
    this.#egress.delete(key);
  }

  setList(spec: ListSpec): void {
    this.#lists.set(spec);
  }

  deleteList(id: number): void {
    this.#lists.delete(id);
  }

  putFlows(batch: FlowBatch): number {
    return this.#flows.put(batch);
  }

  deleteFlows(keys: Uint8Array, count: number): void {
    this.#flows.delete(keys, count);
  }

  readCounters(packets: Float64Array, bytes: Float64Array, first = 0): void {
    addFlowCounters(this.#object, this.options.maxFlows, packets, bytes, first);
  }

  readCounter(slot: number, packets: Float64Array, bytes: Float64Array): void {
    readFlowCounter(this.#counterWords, this.#object.cpus, this.options.maxFlows, slot, packets, bytes);
  }

  poll(timeoutMs: number, max: number, handler: (upcall: Upcall) => void): number {
    const n = this.#upcalls.consume(max, handler);
    if (n > 0 || timeoutMs === 0) {
      if (this.#closed || n >= max) return n;
      this.#wake.consume();
      return n;
    }
    this.#epoll.wait(timeoutMs);
    this.#wake.consume();
    return this.#upcalls.consume(max, handler);
  }

  get wakeFd(): number {
    return this.#wake.fd;
  }

  execute(batch: readonly Execution[]): void {
    this.#sendFailures += this.#exec.execute(batch);
  }

  stats(): DatapathStats {
    const drops = perCpuSums(this.#object.map.weft_drops, DROP_REASONS.length);
    drops[STALE_RECORD] += this.#upcalls.stale;
    drops[REDIRECT_FAILED] += this.#sendFailures;
    const upcalls = perCpuSums(this.#object.map.weft_upcalls, UPCALL_REASONS);
    return { drops, upcalls, flows: this.#flows.size };
  }

  close(options: { destroy?: boolean } = {}): void {
    if (this.#closed) return;
    if (options.destroy) {
      this.#within(() => {
        this.#links.destroy();
        linkDel(this.#nl, helperNames(this.options.instance)[0]);
        linkDel(this.#nl, groName(this.options.instance));
      });
      removePins(this.#object.directory);
    }
    this.#closed = true;
    this.#links.close();
    this.#epoll.close();
    this.#upcalls.close();
    this.#exec.close();
    this.#wake.close();
    this.#object.close();
    this.#nl.close();
    closeSync(this.#netns);
    closeSync(this.#lock);
  }
}

/** The one port that a tunnel key delivers to; 0: it has a list of members. */
function onlyPort({ ports, remotes = [] }: EgressSpec): number {
  return ports.length === 1 && remotes.length === 0 ? ports[0] : 0;
}
