/**
 * Installed flows and what hangs on them: the user-space table, tags, learned MACs, replicate lists, counters, rules. Changes
 * gather in two batches, deletions first, and go to the datapath with one call each. What a flow has counted is read when
 * the datapath has forgotten it, or has its new action: then nothing more can be counted for the rules that it had passed.
 */
import type { Datapath } from '@weft/datapath';
import {
  A_OUT_PORT,
  A_OUTPUT,
  ACTION_SIZE,
  FLOW_FIRST_KEY,
  FLOW_VALUE_SIZE,
  K_MASK_CLASS,
  KEY_SIZE,
  keyInPort,
  OUT_LIST,
  readU32le,
  setActionId,
} from '@weft/flow';
import { FlowTable } from '../flows/flow-table.ts';
import type { RuleCounts } from '../flows/rule-counts.ts';
import { TagIndex } from '../flows/tag-index.ts';
import type { FlowStates } from './connections/flow-states.ts';
import type { FlowBases } from './flow-bases.ts';
import type { LearnedMacs } from './learned-macs.ts';
import type { ReplicateLists } from './lists.ts';

const BATCH = 1024;

export class Installer {
  readonly table: FlowTable;
  readonly tags: TagIndex;
  readonly rules: RuleCounts;
  /** Per slot: when it was installed, and when its counter was last seen to move; ms. */
  readonly createdAt: Float64Array;
  readonly activeAt: Float64Array;
  /** Per slot: when the flow must go at the latest; 0: never. */
  readonly expiresAt: Float64Array;
  /** Counter values when the slot was taken. */
  readonly bases: FlowBases;
  private readonly macOf: Int32Array;
  private readonly perPort = new Map<number, number>();
  private readonly datapath: Datapath;
  private readonly macs: LearnedMacs;
  private readonly lists: ReplicateLists;
  private readonly states: FlowStates;
  private readonly putKeys = new Uint8Array(BATCH * KEY_SIZE);
  private readonly putValues = new Uint8Array(BATCH * FLOW_VALUE_SIZE);
  private readonly putSlots = new Int32Array(BATCH);
  /** List of rules that count once the put is in the datapath; held. */
  private readonly putRules = new Int32Array(BATCH);
  private putCount = 0;
  private readonly deleteKeys = new Uint8Array(BATCH * KEY_SIZE);
  private readonly deleteSlots = new Int32Array(BATCH);
  private deleteCount = 0;
  private nextId = 1;
  /** Inserts that the datapath refused because its table was full. */
  refused = 0;
  installed = 0;
  deleted = 0;

  constructor(
    datapath: Datapath,
    macs: LearnedMacs,
    lists: ReplicateLists,
    rules: RuleCounts,
    states: FlowStates,
    bases: FlowBases,
  ) {
    const capacity = datapath.options.maxFlows;
    this.bases = bases;
    this.datapath = datapath;
    this.macs = macs;
    this.lists = lists;
    this.rules = rules;
    this.states = states;
    this.table = new FlowTable(capacity, datapath.firstKeys);
    this.tags = new TagIndex(capacity);
    this.createdAt = new Float64Array(capacity);
    this.activeAt = rules.activeAt;
    this.expiresAt = new Float64Array(capacity);
    this.macOf = new Int32Array(capacity).fill(-1);
  }

  flowsOfPort(inPort: number): number {
    return this.perPort.get(inPort) ?? 0;
  }

  takeId(): number {
    return this.nextId++;
  }

  /**
   * Takes over a flow that is in the datapath already, and whose first packet is one of it; its tags are unknown until it has been
   * simulated again.
   * @returns the slot, or -1: no room, or its counter slot is taken (the caller deletes it from the datapath).
   */
  adopt(masked: Uint8Array, value: Uint8Array, counterSlot: number, id: number, now: number): number {
    const slot = this.table.add(value, FLOW_FIRST_KEY, masked[K_MASK_CLASS], counterSlot);
    if (slot < 0) return -1;
    this.table.actions.set(value.subarray(0, ACTION_SIZE), slot * ACTION_SIZE);
    this.nextId = Math.max(this.nextId, id + 1);
    this.countPort(keyInPort(masked), 1);
    this.holdList(slot);
    this.createdAt[slot] = now;
    this.activeAt[slot] = now;
    this.expiresAt[slot] = 0;
    this.macOf[slot] = -1;
    this.rules.adopt(slot);
    return slot;
  }

  /** Slot for a new flow of class `cls`, or -1 if the table is full. Its value is to be written by `write` at once. */
  allocate(firstKey: Uint8Array, cls: number, now: number): number {
    let slot = this.table.add(firstKey, 0, cls);
    if (slot < 0 && this.deleteCount > 0) {
      // Slots of flows that wait to be deleted are free once they are.
      this.flush();
      slot = this.table.add(firstKey, 0, cls);
    }
    if (slot < 0) return -1;
    this.countPort(keyInPort(firstKey), 1);
    this.createdAt[slot] = now;
    this.activeAt[slot] = now;
    this.datapath.readCounter(slot, this.bases.packets, this.bases.bytes);
    this.macOf[slot] = -1;
    return slot;
  }

  /**
   * Sets a slot's action, first key, tags, MAC and rules, and queues it for the datapath. The action gets a fresh id each time:
   * an element that the kernel recycles for a newer version of the same flow must not pass for the older one.
   */
  write(
    slot: number,
    action: Uint8Array,
    firstKey: Uint8Array,
    mac: number,
    expiresAt: number,
    tags: readonly number[],
    rules: number,
  ): void {
    this.releaseList(slot);
    setActionId(action, this.takeId());
    this.table.actions.set(action.subarray(0, ACTION_SIZE), slot * ACTION_SIZE);
    this.table.firstKeys.set(firstKey.subarray(0, KEY_SIZE), slot * KEY_SIZE);
    this.holdList(slot);
    this.expiresAt[slot] = expiresAt;
    this.reference(slot, mac, tags);
    // A new flow has no others before; packets that meet it on their way up count already.
    if (this.rules.of(slot) < 0) this.rules.assign(slot, rules);
    this.queuePut(slot, rules);
    this.installed++;
  }

  /** Replaces what a flow stands on and which rules it passes; its action is right as it is. */
  retag(slot: number, mac: number, tags: readonly number[], rules: number): void {
    this.reference(slot, mac, tags);
    this.rules.assign(slot, rules);
  }

  private reference(slot: number, mac: number, tags: readonly number[]): void {
    this.tags.assign(slot, tags);
    const before = this.macOf[slot];
    if (before === mac) return;
    if (mac >= 0) this.macs.reference(mac);
    if (before >= 0) this.macs.release(before, this.activeAt[slot]);
    this.macOf[slot] = mac;
  }

  /** Takes a flow out; the datapath follows with the next flush. */
  remove(slot: number, now: number): void {
    if (this.deleteCount === BATCH) this.flush();
    this.table.maskedKey(slot, this.deleteKeys, this.deleteCount * KEY_SIZE);
    this.deleteSlots[this.deleteCount++] = slot;
    // A put of the same slot that still waits must not come after the deletion.
    for (let i = 0; i < this.putCount; i++) if (this.putSlots[i] === slot) this.cancelPut(i--);
    this.countPort(keyInPort(this.table.firstKeys, slot * KEY_SIZE), -1);
    this.tags.drop(slot);
    this.states.drop(slot);
    if (this.macOf[slot] >= 0) this.macs.release(this.macOf[slot], now);
    this.macOf[slot] = -1;
    this.releaseList(slot);
    this.table.unlink(slot);
    this.deleted++;
  }

  private cancelPut(i: number): void {
    const last = --this.putCount;
    this.rules.release(this.putRules[i]);
    this.putSlots[i] = this.putSlots[last];
    this.putRules[i] = this.putRules[last];
    this.putKeys.copyWithin(i * KEY_SIZE, last * KEY_SIZE, (last + 1) * KEY_SIZE);
    this.putValues.copyWithin(i * FLOW_VALUE_SIZE, last * FLOW_VALUE_SIZE, (last + 1) * FLOW_VALUE_SIZE);
  }

  private queuePut(slot: number, rules: number): void {
    if (this.putCount === BATCH) this.flush();
    const i = this.putCount++;
    this.putSlots[i] = slot;
    this.putRules[i] = rules;
    this.rules.hold(rules);
    const { actions, firstKeys } = this.table;
    this.table.maskedKey(slot, this.putKeys, i * KEY_SIZE);
    const at = i * FLOW_VALUE_SIZE;
    this.putValues.set(actions.subarray(slot * ACTION_SIZE, (slot + 1) * ACTION_SIZE), at);
    this.putValues.set(firstKeys.subarray(slot * KEY_SIZE, (slot + 1) * KEY_SIZE), at + FLOW_FIRST_KEY);
  }

  /** Sends what is queued. */
  flush(): void {
    if (this.deleteCount > 0) {
      const n = this.deleteCount;
      this.deleteCount = 0;
      this.datapath.deleteFlows(this.deleteKeys, n);
      for (let i = 0; i < n; i++) {
        this.rules.vacate(this.deleteSlots[i]);
        this.table.release(this.deleteSlots[i]);
      }
    }
    if (this.putCount > 0) {
      const n = this.putCount;
      this.putCount = 0;
      const done = this.datapath.putFlows({ keys: this.putKeys, values: this.putValues, count: n });
      for (let i = 0; i < n; i++) {
        if (i < done) this.rules.assign(this.putSlots[i], this.putRules[i]);
        this.rules.release(this.putRules[i]);
      }
      // What did not fit is no flow: its packets come up again.
      const failed = this.putSlots.slice(done, n);
      this.refused += failed.length;
      for (const slot of failed) this.remove(slot, 0);
    }
  }

  private holdList(slot: number): void {
    const { actions } = this.table;
    const at = slot * ACTION_SIZE;
    if (actions[at + A_OUTPUT] === OUT_LIST) this.lists.reference(readU32le(actions, at + A_OUT_PORT));
  }

  private releaseList(slot: number): void {
    const { actions } = this.table;
    const at = slot * ACTION_SIZE;
    if (actions[at + A_OUTPUT] === OUT_LIST) this.lists.release(readU32le(actions, at + A_OUT_PORT));
    actions[at + A_OUTPUT] = 0;
  }

  private countPort(port: number, by: number): void {
    const n = (this.perPort.get(port) ?? 0) + by;
    if (n === 0) this.perPort.delete(port);
    else this.perPort.set(port, n);
  }
}
