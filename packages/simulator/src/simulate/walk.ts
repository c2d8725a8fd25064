/**
 * The state of one simulation under way: the packet as it is now, what was read and looked up so far, what came out. One
 * object per simulator, reused; the files beside this one are the devices that it is handed through.
 *
 * Longer than other files because it is one set of reused fields: what begins, resets and sums them up stands where they are.
 */
import {
  DROP_REASONS,
  extractKey,
  F_IN_PORT,
  F_PAYLOAD,
  type FrameLayout,
  K_IP_DST,
  K_IP_SRC,
  K_VLAN,
  KEY_SIZE,
  newFrameLayout,
  readU16,
  TAG_BRIDGE,
  TAG_CHAIN,
  TAG_PORT,
  TAG_ROUTER,
  tag,
} from '@weft/flow';
import { type ConnectionRecord, TUPLE_WORDS } from '@weft/flowstate';
import { Layers } from '@weft/packet';
import {
  MAX_OUTPUTS,
  MAX_STATES,
  MAX_TAGS,
  type Recorder,
  type SimPort,
  type Simulation,
  type StateView,
  VERDICT_DROP,
  VERDICT_FORWARD,
  VERDICT_POSTPONE,
} from '../contract.ts';
import type { SimChain } from '../view/chain.ts';
import type { SimBridge, SimRouter } from '../view/devices.ts';
import { KIND_BRIDGE, KIND_CHAIN, KIND_ROUTER, type VirtualTopology } from '../view/topology.ts';
import { GroupMemo } from './groups.ts';
import { newSimulation, resetSimulation } from './simulation.ts';
import { STEP_DROP, STEP_GENERATE, STEP_MISSING, STEP_OUTPUT } from './steps.ts';
import { findState, Track } from './track.ts';

/** Tags that were seen are remembered in an open table of this many slots. */
const TAG_SLOTS = 4 * MAX_TAGS;
/** Life of a flow that drops because of something that looks like a passing state (ms). */
export const ERROR_DROP_MS = 5000;
/** Branches of one packet's floods that may go on into another device. */
const MAX_BRANCHES = 64;

const NO_EGRESS_PORT = DROP_REASONS.indexOf('no_egress_port');
const DEVICE_LIMIT = DROP_REASONS.indexOf('device_limit');
const CAP_CONNECTIONS = DROP_REASONS.indexOf('cap_connections');
const REWRITE_FAILED = DROP_REASONS.indexOf('rewrite_failed');

/** Own tags of things by handle, computed once. */
class OwnTags {
  private values = new Uint32Array(1024);
  private readonly kind: number;

  constructor(kind: number) {
    this.kind = kind;
  }

  of(handle: number): number {
    if (handle < this.values.length && this.values[handle] !== 0) return this.values[handle];
    return this.compute(handle);
  }

  private compute(handle: number): number {
    if (handle >= this.values.length) {
      const grown = new Uint32Array(handle * 2);
      grown.set(this.values);
      this.values = grown;
    }
    return (this.values[handle] = tag(this.kind, handle));
  }
}

export class Walk {
  readonly view: VirtualTopology;
  readonly rec: Recorder | null;
  readonly maxDevices: number;
  readonly state: StateView;

  /** The packet's key as it is at this point of its way. */
  readonly key = new Uint8Array(KEY_SIZE);
  ttlDec = 0;
  /** The key as the packet came. */
  original: Uint8Array = this.key;
  /** The frame: as it came, or with the packet translated that it quotes. */
  frame: Uint8Array;
  private frameAsCame: Uint8Array;
  length = 0;
  readonly layout: FrameLayout = newFrameLayout();
  now = 0;
  out: Simulation = newSimulation();

  /** Devices on this path, and branches taken so far. */
  depth = 0;
  private branches = 0;
  private postponed = false;
  private failed = false;
  /** Port by which the packet entered the present device; 0: the device sent it. */
  inPort = 0;
  /** Ports and devices that the packet has come to on this path, in order; valid up to `passedCount`. */
  readonly passed: Int32Array;
  passedCount = 0;
  readonly groupMemo = new GroupMemo();
  /** Bridge whose flood is being carried out, 0: none. */
  flood = 0;
  /** Port at which the packet entered the simulation, 0: generated. */
  origin = 0;
  /** Connection of the packet on the device at hand. */
  track: Track;
  /** The filter being run; what lets a translation begin: the rule being carried out, or with `keep` its filter. */
  filter = 0;
  rule = 0;
  keep = false;
  /** Why a translation could not be carried out. */
  natReason = 0;
  /** The filter at hand has translated the packet as a rule of it once began to that said that it is to finish. */
  hasKept = false;
  /** Where the headers of a packet quoted in an ICMP error stand. */
  readonly quoted = new Layers();

  /** The last router: port of entry (0: none yet), the packet's key there, and its ttlDec. */
  routerPort: SimPort | null = null;
  readonly routerKey = new Uint8Array(KEY_SIZE);

  private readonly portTags = new OwnTags(TAG_PORT);
  private readonly bridgeTags = new OwnTags(TAG_BRIDGE);
  private readonly routerTags = new OwnTags(TAG_ROUTER);
  private readonly chainTags = new OwnTags(TAG_CHAIN);
  private readonly saved: Uint8Array;
  private readonly savedRouterKeys: Uint8Array;
  private readonly scratch = new Uint8Array(KEY_SIZE);
  private layoutValid = false;
  private readonly tagSlots = new Uint32Array(TAG_SLOTS);
  private readonly tagStamps = new Uint32Array(TAG_SLOTS);
  private stamp = 0;
  private outStamps = new Uint32Array(1024);
  /** By depth: a flood comes back to a device from those behind it. */
  private readonly tracks: Track[];

  constructor(view: VirtualTopology, maxDevices: number, recorder: Recorder | null, state: StateView) {
    this.view = view;
    this.state = state;
    this.tracks = Array.from({ length: maxDevices + 2 }, () => new Track());
    this.track = this.tracks[0];
    this.maxDevices = maxDevices;
    this.rec = recorder;
    this.frame = new Uint8Array(0);
    this.frameAsCame = this.frame;
    // A device, and a port on either side of it.
    this.passed = new Int32Array((maxDevices + 2) * 3);
    this.saved = new Uint8Array((maxDevices + 2) * KEY_SIZE);
    this.savedRouterKeys = new Uint8Array((maxDevices + 2) * KEY_SIZE);
  }

  begin(key: Uint8Array, frame: Uint8Array, length: number, origin: number, now: number, out: Simulation): void {
    resetSimulation(out);
    this.out = out;
    for (let i = 0; i < KEY_SIZE; i++) this.key[i] = key[i];
    this.original = key;
    this.ttlDec = 0;
    this.frame = frame;
    this.frameAsCame = frame;
    this.length = length;
    this.now = now;
    this.depth = 0;
    this.branches = 0;
    this.postponed = false;
    this.failed = false;
    this.inPort = 0;
    this.passedCount = 0;
    this.groupMemo.forget();
    this.flood = 0;
    this.origin = origin;
    this.routerPort = null;
    this.layoutValid = false;
    this.track = this.tracks[0];
    this.track.begin(0);
    out.fields = F_IN_PORT;
    this.stamp = (this.stamp + 1) >>> 0;
    if (this.stamp === 0) {
      // After 2^32 simulations old stamps would look fresh.
      this.tagStamps.fill(0);
      this.outStamps.fill(0);
      this.stamp = 1;
    }
  }

  finish(): void {
    const { out } = this;
    if (!this.postponed && out.createdCount > 0) this.findAudience();
    if (this.postponed) {
      out.verdict = VERDICT_POSTPONE;
      out.generated.length = 0;
      out.cacheable = false;
    } else if (this.failed || out.outputCount === 0) {
      out.verdict = VERDICT_DROP;
      out.outputCount = 0;
      if (out.reason === 0) out.reason = NO_EGRESS_PORT;
      for (let i = 0; i < KEY_SIZE; i++) out.key[i] = this.original[i];
      out.ttlDec = this.ttlDec;
    } else {
      out.verdict = VERDICT_FORWARD;
      out.reason = 0;
      out.where = 0;
      out.shortLived = 0;
    }
    if (out.divergent || out.generated.length > 0 || (out.fields & F_PAYLOAD) !== 0) out.cacheable = false;
  }

  /** Notes that these fields were read. */
  read(fields: number): void {
    this.out.fields |= fields;
  }

  tag(value: number): void {
    const mask = TAG_SLOTS - 1;
    const { tagSlots, tagStamps, stamp, out } = this;
    let slot = value & mask;
    while (tagStamps[slot] === stamp) {
      if (tagSlots[slot] === value) return;
      slot = (slot + 1) & mask;
    }
    if (out.tagCount === MAX_TAGS) {
      out.cacheable = false;
      return;
    }
    tagStamps[slot] = stamp;
    tagSlots[slot] = value;
    out.tags[out.tagCount++] = value;
  }

  /** Drops the packet, or in a flood this branch of it. The first reason counts. */
  drop(reason: number, where: number): void {
    if (this.rec !== null) this.rec.step(STEP_DROP, where, reason, 0, this.key);
    if (this.out.reason !== 0) return;
    this.out.reason = reason;
    this.out.where = where;
  }

  /** Drops the whole packet, whatever other branches do. */
  fail(reason: number, where: number): void {
    this.failed = true;
    this.out.reason = 0;
    this.drop(reason, where);
    this.out.shortLived = ERROR_DROP_MS;
  }

  postpone(where: number): void {
    this.postponed = true;
    this.out.where = where;
  }

  need(interest: string, where: number): void {
    if (this.rec !== null) this.rec.step(STEP_MISSING, where, 0, 0, this.key);
    if (!this.out.needs.includes(interest)) this.out.needs.push(interest);
    this.postpone(where);
  }

  /** The port, looked up and tagged; undefined when it is missing (then the packet is postponed) or absent. */
  port(handle: number): SimPort | undefined {
    this.tag(this.portTags.of(handle));
    this.view.touch(handle, this.now);
    const port = this.view.ports[handle];
    if (port === undefined) this.missingPort(handle);
    return port;
  }

  private missingPort(handle: number): void {
    const interest = `o/Port/${this.view.handles.id(handle)}`;
    if (!this.view.raw.has(interest)) this.need(interest, handle);
  }

  bridge(handle: number): SimBridge | undefined {
    this.tag(this.bridgeTags.of(handle));
    this.view.touch(handle, this.now);
    return this.view.bridges[handle] ?? (this.request(handle, KIND_BRIDGE) ? this.view.bridges[handle] : undefined);
  }

  router(handle: number): SimRouter | undefined {
    this.tag(this.routerTags.of(handle));
    this.view.touch(handle, this.now);
    return this.view.routers[handle] ?? (this.request(handle, KIND_ROUTER) ? this.view.routers[handle] : undefined);
  }

  chain(handle: number): SimChain | undefined {
    this.tag(this.chainTags.of(handle));
    this.view.touch(handle, this.now);
    return this.view.chains[handle] ?? (this.request(handle, KIND_CHAIN) ? this.view.chains[handle] : undefined);
  }

  /** The packet has come to a device: whatever is asked of its connection from here on is about that. */
  beginDevice(device: number): void {
    this.track = this.tracks[Math.min(this.depth, this.tracks.length - 1)];
    this.track.begin(device);
  }

  /** Looks a tuple up, and notes what came of it. @returns record << 1 | direction, or -1 */
  lookUpState(words: Int32Array, at: number): number {
    const { out } = this;
    const match = findState(this, words, at);
    if (match < 0) {
      this.miss(words, at);
      return match;
    }
    for (let i = 0; i < out.stateCount; i++) if (out.states[i] === match) return match;
    if (out.stateCount < MAX_STATES) out.states[out.stateCount++] = match;
    else this.fail(CAP_CONNECTIONS, this.track.device);
    return match;
  }

  private miss(words: Int32Array, at: number): void {
    const { missed, missedCount } = this.out;
    for (let m = 0; m < missedCount; m++) {
      let n = 0;
      while (n < TUPLE_WORDS && missed[m * TUPLE_WORDS + n] === words[at + n]) n++;
      if (n === TUPLE_WORDS) return;
    }
    if (missedCount === MAX_STATES) return;
    for (let i = 0; i < TUPLE_WORDS; i++) missed[missedCount * TUPLE_WORDS + i] = words[at + i];
    this.out.missedCount++;
  }

  /** A connection that begins, to be filled in; null: too many, the packet is dropped. @param rule handle of what lets it begin */
  create(rule: number): ConnectionRecord | null {
    const { out } = this;
    if (out.createdCount === MAX_STATES) {
      this.fail(CAP_CONNECTIONS, this.track.device);
      return null;
    }
    out.createdRules[out.createdCount] = rule;
    return out.created[out.createdCount++];
  }

  /** Place in `created` of the connection with this forward tuple, or -1: this packet has begun none such. */
  createdAs(words: Int32Array): number {
    const { created, createdCount } = this.out;
    for (let i = 0; i < createdCount; i++) {
      const own = created[i].words;
      let n = 0;
      while (n < TUPLE_WORDS && words[n] === own[n]) n++;
      if (n === TUPLE_WORDS) return i;
    }
    return -1;
  }

  /** There is no room for the device at hand: its connections cannot be told. */
  failFull(): void {
    this.fail(CAP_CONNECTIONS, this.track.device);
  }

  /** Takes the last one back. */
  uncreate(): void {
    this.out.createdCount--;
  }

  /** Who is to be told of what begins has to be known before it does. */
  private findAudience(): void {
    const { out, view } = this;
    const before = out.needs.length;
    if (this.origin !== 0) view.audience(this.origin, out.needs);
    for (let i = 0; i < out.outputCount; i++) view.audience(out.outputs[i], out.needs);
    if (out.needs.length > before) this.postpone(this.origin);
  }

  get isPostponed(): boolean {
    return this.postponed;
  }

  get isOver(): boolean {
    return this.failed;
  }

  private request(handle: number, kind: number): boolean {
    if (this.view.request(handle, kind, this.out.needs)) return true;
    if (this.rec !== null) this.rec.step(STEP_MISSING, handle, 0, 0, this.key);
    this.postpone(handle);
    return false;
  }

  /** Notes a port or device that the packet has come to. */
  pass(handle: number): void {
    this.passed[this.passedCount++] = handle;
  }

  hasPassed(handle: number): boolean {
    for (let i = 0; i < this.passedCount; i++) if (this.passed[i] === handle) return true;
    return false;
  }

  /** Counts a device on this path; false, and the packet is dropped, if it is one too many. */
  enter(device: number): boolean {
    this.out.devices++;
    this.pass(device);
    if (++this.depth <= this.maxDevices) return true;
    this.fail(DEVICE_LIMIT, device);
    return false;
  }

  /** Counts a branch into another device; false: too many, the packet is dropped. */
  branch(device: number): boolean {
    if (++this.branches <= MAX_BRANCHES) return true;
    this.fail(DEVICE_LIMIT, device);
    return false;
  }

  /** Saves the packet before copies of it are changed: one at a time per device on the path. */
  save(): void {
    const at = this.depth * KEY_SIZE;
    for (let i = 0; i < KEY_SIZE; i++) {
      this.saved[at + i] = this.key[i];
      this.savedRouterKeys[at + i] = this.routerKey[i];
    }
  }

  /** The packet as it was saved at this depth, again and again. @param frame as it was then */
  restore(frame: Uint8Array): void {
    const at = this.depth * KEY_SIZE;
    let translated = false;
    for (let i = 0; i < KEY_SIZE; i++) {
      if (i >= K_IP_SRC && i < K_IP_DST + 16 && this.key[i] !== this.saved[at + i]) translated = true;
      this.key[i] = this.saved[at + i];
      this.routerKey[i] = this.savedRouterKeys[at + i];
    }
    if (translated) this.groupMemo.forget();
    this.frame = frame;
  }

  /** The packet leaves by an exterior port. A second copy by the same port is none. */
  output(port: SimPort): void {
    const { out, stamp } = this;
    const { handle } = port;
    if (handle >= this.outStamps.length) {
      const grown = new Uint32Array(handle * 2);
      grown.set(this.outStamps);
      this.outStamps = grown;
    }
    if (this.outStamps[handle] === stamp) return;
    this.outStamps[handle] = stamp;
    if (out.outputCount === MAX_OUTPUTS) {
      this.fail(DEVICE_LIMIT, handle);
      return;
    }
    if (out.outputCount > 0 && !this.sameFrameAsFirst()) {
      this.drop(REWRITE_FAILED, handle);
      return;
    }
    if (this.rec !== null) this.rec.step(STEP_OUTPUT, handle, this.flood, 0, this.key);
    const n = out.outputCount++;
    out.outputs[n] = handle;
    out.outputFlood[n] = this.flood;
    if (n === 0) {
      for (let i = 0; i < KEY_SIZE; i++) out.key[i] = this.key[i];
      out.ttlDec = this.ttlDec;
      out.frame = this.frame === this.frameAsCame ? null : this.frame;
      return;
    }
    if (!out.divergent && !this.sameAsFirst()) this.diverge(n);
    if (out.divergent) {
      out.outputKeys.set(this.key, n * KEY_SIZE);
      out.outputTtlDec[n] = this.ttlDec;
    }
  }

  /** Copies of an ICMP error about which the devices on their ways disagree cannot leave as one packet. */
  private sameFrameAsFirst(): boolean {
    const first = this.out.frame ?? this.frameAsCame;
    const { frame } = this;
    if (frame === first) return true;
    const { have } = this;
    for (let i = 0; i < have; i++) if (frame[i] !== first[i]) return false;
    return true;
  }

  private sameAsFirst(): boolean {
    const { out, key } = this;
    if (out.ttlDec !== this.ttlDec) return false;
    for (let i = 0; i < KEY_SIZE; i++) if (out.key[i] !== key[i]) return false;
    return true;
  }

  /** The first output that differs: from here on each has its own key. */
  private diverge(count: number): void {
    const { out } = this;
    out.divergent = true;
    if (out.outputKeys.length === 0) {
      out.outputKeys = new Uint8Array(MAX_OUTPUTS * KEY_SIZE);
      out.outputTtlDec = new Uint8Array(MAX_OUTPUTS);
    }
    for (let i = 0; i < count; i++) {
      out.outputKeys.set(out.key, i * KEY_SIZE);
      out.outputTtlDec[i] = out.ttlDec;
    }
  }

  /** A device sends a frame by its port. */
  generate(frame: Uint8Array, port: SimPort, kind: number): void {
    if (this.rec !== null) this.rec.step(STEP_GENERATE, port.handle, kind, 0, this.key);
    this.out.generated.push({ frame, port: port.handle, kind });
  }

  /** Where the headers stand in the frame; false if they are not in it. Marks the payload as read. */
  headers(): boolean {
    this.read(F_PAYLOAD);
    if (!this.layoutValid) {
      this.layoutValid = extractKey(this.frame, this.length, 0, 0, this.scratch, 0, this.layout);
    }
    return this.layoutValid;
  }

  /** Bytes of the frame that are here. */
  get have(): number {
    return Math.min(this.frame.length, this.length);
  }

  untagged(): boolean {
    return readU16(this.key, K_VLAN) === 0;
  }

  /** VLAN id of the frame, 0: untagged (or priority-tagged). */
  vlanId(): number {
    return readU16(this.key, K_VLAN) & 0x0fff;
  }
}
