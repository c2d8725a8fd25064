/** What a test does with a testbed: install flows from example frames, send, and say exactly what must come out where. */
import assert from 'node:assert/strict';
import {
  ACTION_SIZE,
  type ActionOptions,
  classFor,
  compileAction,
  DROP_REASONS,
  type DropReason,
  dropReason,
  extractKey,
  FLOW_FIRST_KEY,
  FLOW_VALUE_SIZE,
  KEY_SIZE,
  maskKey,
  newFrameLayout,
} from '@weft/flow';
import { describe as describeFrame } from '@weft/packet';
import type { Datapath, PortSpec, Upcall } from '../contract.ts';
import type { Testbed } from './testbed.ts';
import type { Arrival, Wire } from './wire.ts';

/** Longest wait for something that must come. */
const PATIENCE_MS = 3000;
/** Wait for what must not come. */
const SILENCE_MS = 25;

export interface InstalledFlow {
  readonly key: Uint8Array;
  readonly slot: number;
  readonly id: number;
}

export interface FlowRequest extends Omit<ActionOptions, 'flowId' | 'ownerPort' | 'ownerClass' | 'counterSlot'> {
  /** Where packets of the flow come in. */
  readonly port: PortSpec;
  /** A packet of the flow, as on the wire. */
  readonly frame: Uint8Array;
  /** Its key; default: what is extracted from the frame. */
  readonly key?: Uint8Array;
  /** Fields read (F_ bits), which choose the mask class; default: all. */
  readonly read?: number;
  /** Turns the packet's key into the key it leaves with. */
  readonly rewrite?: (key: Uint8Array) => void;
}

export class Bench {
  readonly testbed: Testbed;
  /** Copies of all upcalls since the last {@link takeUpcalls}. */
  #upcalls: Upcall[] = [];
  #installed: Uint8Array[] = [];
  #nextSlot = 0;
  #nextId = 1;
  #dropsBefore: Float64Array;

  constructor(testbed: Testbed) {
    this.testbed = testbed;
    this.#dropsBefore = this.driver.stats().drops.slice();
  }

  get driver(): Datapath {
    return this.testbed.driver;
  }

  /** Full key of a frame that comes in by `ifindex`. */
  key(frame: Uint8Array, ifindex: number): Uint8Array {
    const key = new Uint8Array(KEY_SIZE);
    assert.ok(extractKey(frame, frame.length, ifindex, 0, key, 0, newFrameLayout()), 'the example frame is malformed');
    return key;
  }

  /** Compiled action for a frame, as for `execute`. */
  action(request: Omit<FlowRequest, 'read'>, extra: Partial<ActionOptions> = {}): Uint8Array {
    const original = request.key ?? this.key(request.frame, request.port.ifindex);
    const final = original.slice();
    request.rewrite?.(final);
    const out = new Uint8Array(ACTION_SIZE);
    const { port, frame, key, rewrite, ...options } = request;
    assert.ok(compileAction(original, final, out, { ownerPort: port.ifindex, ...options, ...extra }));
    return out;
  }

  /** Bytes of a flow: masked key and value, not yet installed. */
  compile(request: FlowRequest): InstalledFlow & { value: Uint8Array } {
    const original = request.key ?? this.key(request.frame, request.port.ifindex);
    const cls = classFor(request.read ?? 0x7fff);
    const key = new Uint8Array(KEY_SIZE);
    maskKey(original, 0, cls, key, 0);
    const value = new Uint8Array(FLOW_VALUE_SIZE);
    const slot = this.#nextSlot++ % this.testbed.options.maxFlows;
    const id = this.#nextId++;
    const { read, ...rest } = request;
    value.set(this.action(rest, { flowId: id, ownerClass: cls, counterSlot: slot }));
    value.set(original, FLOW_FIRST_KEY);
    return { key, value, slot, id };
  }

  /** Compiles and installs one flow. */
  flow(request: FlowRequest): InstalledFlow {
    const flow = this.compile(request);
    assert.equal(this.driver.putFlows({ keys: flow.key, values: flow.value, count: 1 }), 1, 'the flow was not taken');
    this.#installed.push(flow.key);
    return flow;
  }

  /** Deletes all flows made by {@link flow}. */
  deleteAll(): void {
    for (const key of this.#installed) this.driver.deleteFlows(key, 1);
    this.#installed = [];
  }

  /** Deletes all flows, forgets arrivals, upcalls and drops so far. */
  reset(): void {
    this.deleteAll();
    this.settle();
    for (const wire of [...this.testbed.vms, ...this.testbed.underlay]) wire.take();
    this.#upcalls = [];
    this.#dropsBefore = this.driver.stats().drops.slice();
  }

  /** One turn of the driver's loop. */
  turn(timeoutMs = 0): void {
    this.driver.poll(timeoutMs, 256, (u) => {
      this.#upcalls.push({ ...u, key: u.key.slice(), frame: u.frame.slice(), vnetHeader: u.vnetHeader.slice() });
    });
  }

  /** Polls with a handler of the test's own until `ready` or patience ends. */
  pollUntil(max: number, handler: (u: Upcall) => void, ready: () => boolean): void {
    const deadline = performance.now() + PATIENCE_MS;
    while (!ready() && performance.now() < deadline) this.driver.poll(1, max, handler);
  }

  /** Turns the loop until nothing happens for a while. */
  settle(ms: number = SILENCE_MS): void {
    const until = performance.now() + ms;
    do this.turn(2);
    while (performance.now() < until);
  }

  /** Turns the loop until `ready` or patience ends. */
  until(ready: () => boolean): boolean {
    const deadline = performance.now() + PATIENCE_MS;
    while (!ready()) {
      if (performance.now() > deadline) return false;
      this.turn(2);
    }
    return true;
  }

  /** What arrives at the wire: waits for `count` frames, then a little for one too many. */
  arrivals(wire: Wire, count: number): Arrival[] {
    const got: Arrival[] = [];
    this.until(() => {
      got.push(...wire.take());
      return got.length >= count;
    });
    this.settle();
    got.push(...wire.take());
    assert.equal(got.length, count, `${wire.name}: expected ${count} frames, got ${list(got)}`);
    return got;
  }

  /** Exactly these frames arrive, in this order; every other VM's wire stays silent. */
  expect(expected: ReadonlyMap<Wire, readonly Uint8Array[]>): void {
    for (const [wire, frames] of expected) {
      const got = this.arrivals(wire, frames.length);
      frames.forEach((frame, i) => {
        assert.deepEqual(
          hex(got[i].frame),
          hex(frame),
          `${wire.name}: got ${describeFrame(got[i].frame)}, expected ${describeFrame(frame)}`,
        );
      });
    }
    this.settle();
    for (const wire of [...this.testbed.vms, ...this.testbed.underlay]) {
      if (!expected.has(wire)) this.silent(wire);
    }
  }

  /** Nothing has arrived at the wire. */
  silent(wire: Wire): void {
    const got = wire.take();
    assert.equal(got.length, 0, `${wire.name}: nothing was to come, got ${list(got)}`);
  }

  /** Waits for exactly `count` upcalls and takes them. */
  takeUpcalls(count: number): Upcall[] {
    this.until(() => this.#upcalls.length >= count);
    this.settle();
    const got = this.#upcalls;
    this.#upcalls = [];
    assert.equal(
      got.length,
      count,
      `expected ${count} upcalls, got ${got.map((u) => `${u.reason} (${describeFrame(u.frame)})`)}`,
    );
    return got;
  }

  /** Takes the upcalls that are there. */
  drainUpcalls(): Upcall[] {
    const got = this.#upcalls;
    this.#upcalls = [];
    return got;
  }

  /** Drops by reason since the last reset or call. */
  dropsSince(): Float64Array {
    const now = this.driver.stats().drops;
    const out = now.map((n, i) => n - this.#dropsBefore[i]);
    this.#dropsBefore = now.slice();
    return out;
  }

  /** Drops since the last reset are exactly these. */
  expectDrops(expected: Partial<Record<DropReason, number>>): void {
    const now = () => this.driver.stats().drops;
    this.until(() => Object.entries(expected).every(([r, n]) => this.#since(now(), r as DropReason) >= n));
    this.settle();
    const got: Record<string, number> = {};
    const drops = now();
    for (const reason of DROP_REASONS) {
      const n = this.#since(drops, reason);
      if (n !== 0) got[reason] = n;
    }
    assert.deepEqual(got, expected);
    this.#dropsBefore = drops.slice();
  }

  #since(drops: Float64Array, reason: DropReason): number {
    return drops[dropReason(reason)] - this.#dropsBefore[dropReason(reason)];
  }

  /** Packets and bytes that a flow has forwarded. */
  counters(flow: InstalledFlow): { packets: number; bytes: number } {
    const packets = new Float64Array(this.testbed.options.maxFlows);
    const bytes = new Float64Array(this.testbed.options.maxFlows);
    this.driver.readCounters(packets, bytes);
    const [all, allBytes] = [packets[flow.slot], bytes[flow.slot]];
    this.driver.readCounter(flow.slot, packets, bytes);
    assert.deepEqual([packets[flow.slot], bytes[flow.slot]], [all, allBytes], 'one slot read alone');
    const [few, fewBytes] = [new Float64Array(2), new Float64Array(2)];
    this.driver.readCounters(few, fewBytes, flow.slot);
    assert.deepEqual([few[0], fewBytes[0]], [all, allBytes], 'slots read from one on');
    assert.deepEqual(
      [few[1], fewBytes[1]],
      [packets[flow.slot + 1] ?? 0, bytes[flow.slot + 1] ?? 0],
      'and the one behind',
    );
    return { packets: packets[flow.slot], bytes: bytes[flow.slot] };
  }
}

function list(arrivals: readonly Arrival[]): string {
  return `${arrivals.length}: ${arrivals.map((a) => describeFrame(a.frame)).join('; ')}`;
}

/** Text for comparisons: a difference in a failing test is readable. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('hex')
    .replace(/(.{32})/g, '$1\n');
}
