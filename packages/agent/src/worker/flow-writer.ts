/** From a simulation and its physical output to an installed flow: mask class, compiled action, tags. */
import {
  A_COUNTER_SLOT,
  A_OWNER_CLASS,
  ACTION_SIZE,
  actionReads,
  classFor,
  compileAction,
  F_ETHER_TYPE,
  F_IP_DST,
  F_IP_PROTO,
  F_IP_SRC,
  F_TP_DST,
  F_TP_SRC,
  KEY_SIZE,
  maskKey,
  TAG_INGRESS,
  tag,
  writeU32le,
} from '@weft/flow';
import { type Simulation, VERDICT_DROP } from '@weft/simulator';
import { type Core, countDrop } from './core.ts';
import type { Output } from './translate.ts';

/** A decision that is logged is logged for each connection: a flow of its own has a first packet of its own. */
const LOGGED_FIELDS = F_ETHER_TYPE | F_IP_SRC | F_IP_DST | F_IP_PROTO | F_TP_SRC | F_TP_DST;

export class FlowWriter {
  private readonly core: Core;
  private readonly masked = new Uint8Array(KEY_SIZE);
  private readonly action = new Uint8Array(ACTION_SIZE);
  private readonly tagList: number[] = [];

  constructor(core: Core) {
    this.core = core;
  }

  /**
   * Installs the flow of a cacheable simulation, or replaces the one with its masked key. Over the caps it is not installed: the
   * port's packets go on coming up, within its budget.
   * @param mac entry of the source MAC for the flow to hold, or −1. @param lifetime ms, 0: no limit
   * @param rules list of the rules that the simulation has passed (see `RuleCounts.intern`)
   * @returns its slot, or -1
   */
  install(
    sim: Simulation,
    output: Output,
    key: Uint8Array,
    inPort: number,
    mac: number,
    lifetime: number,
    rules: number,
    now: number,
  ): number {
    const { core, masked } = this;
    const { installer } = core;
    const cls = this.compile(sim, output, key, inPort);
    maskKey(key, 0, cls, masked, 0);
    let slot = installer.table.find(masked);
    if (slot < 0) {
      const full = installer.flowsOfPort(inPort) >= core.limits.maxFlowsPerPort;
      slot = full ? -1 : installer.allocate(key, cls, now);
      if (slot < 0) {
        countDrop(core.counters, 'cap_flows');
        return -1;
      }
    }
    writeU32le(this.action, A_COUNTER_SLOT, slot);
    const expires = lifetime > 0 ? now + lifetime : 0;
    installer.write(slot, this.action, key, mac, expires, this.tags(sim, output, inPort), rules);
    return slot;
  }

  /**
   * Brings an installed flow in line with a new simulation of its first packet; writes only what differs. A short-lived flow keeps
   * the end that it had. @returns the slot that it has now, or -1
   */
  rewrite(
    slot: number,
    sim: Simulation,
    output: Output,
    key: Uint8Array,
    inPort: number,
    mac: number,
    lifetime: number,
    rules: number,
    now: number,
  ): number {
    const { installer } = this.core;
    const before = installer.expiresAt[slot];
    const expires = lifetime === 0 ? 0 : before > 0 ? before : now + lifetime;
    const cls = this.compile(sim, output, key, inPort);
    if (cls !== installer.table.classOf(slot)) {
      // Another mask is another key in the table: the old flow goes, the new one comes with the same flush.
      installer.remove(slot, now);
      return this.install(sim, output, key, inPort, mac, expires > 0 ? expires - now : 0, rules, now);
    }
    writeU32le(this.action, A_COUNTER_SLOT, slot);
    const tags = this.tags(sim, output, inPort);
    if (!this.sameAction(slot)) installer.write(slot, this.action, key, mac, expires, tags, rules);
    else {
      installer.retag(slot, mac, tags, rules);
      installer.expiresAt[slot] = expires;
    }
    return slot;
  }

  /**
   * The flow that `install` would write, and nothing else: for explanations.
   * @returns mask class, action (of the writer's own buffer, valid until the next call) and tags (the same)
   */
  preview(
    sim: Simulation,
    output: Output,
    key: Uint8Array,
    inPort: number,
  ): { cls: number; action: Uint8Array; tags: readonly number[] } {
    const cls = this.compile(sim, output, key, inPort);
    return { cls, action: this.action, tags: this.tags(sim, output, inPort) };
  }

  /**
   * Compiles the action. @returns the mask class: what was read, and what the rewrite takes for granted of the packet's old fields
   * (checksum deltas).
   */
  private compile(sim: Simulation, output: Output, key: Uint8Array, inPort: number): number {
    const dropped = sim.verdict === VERDICT_DROP;
    compileAction(key, dropped ? key : sim.key, this.action, {
      output: output.output,
      outPort: output.outPort,
      tunnelKey: output.tunnelKey,
      flags: output.flags,
      reason: output.reason,
      // A drop behind routers has their TTL check before it: what is too old for them is answered, not dropped.
      ttlDec: sim.ttlDec,
      ownerPort: inPort,
    });
    const told = sim.ruleLogCount > 0 ? LOGGED_FIELDS : 0;
    const cls = classFor(sim.fields | told | actionReads(this.action));
    this.action[A_OWNER_CLASS] = cls;
    return cls;
  }

  /** True if the compiled action equals the installed one but for the flow id at both ends. */
  private sameAction(slot: number): boolean {
    const { actions } = this.core.installer.table;
    const at = slot * ACTION_SIZE;
    for (let i = 8; i < ACTION_SIZE - 8; i++) if (actions[at + i] !== this.action[i]) return false;
    return true;
  }

  private tags(sim: Simulation, output: Output, inPort: number): readonly number[] {
    const { tagList } = this;
    tagList.length = 0;
    for (let i = 0; i < sim.tagCount; i++) tagList.push(sim.tags[i]);
    for (const t of output.tags) if (!tagList.includes(t)) tagList.push(t);
    tagList.push(tag(TAG_INGRESS, inPort));
    return tagList;
  }
}
