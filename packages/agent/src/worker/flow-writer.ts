/** From a simulation and its physical output to an installed flow: mask class, compiled action, tags. */
import { ACTION_SIZE, classFor, compileAction, FLOW_VALUE_SIZE, KEY_SIZE, maskKey, TAG_INGRESS, tag } from '@weft/flow';
import { type Simulation, VERDICT_DROP } from '@weft/simulator';
import { type Core, countDrop } from './core.ts';
import type { Output } from './translate.ts';

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
   */
  install(
    sim: Simulation,
    output: Output,
    key: Uint8Array,
    inPort: number,
    mac: number,
    lifetime: number,
    now: number,
  ): void {
    const { core, masked } = this;
    const { installer } = core;
    const cls = classFor(sim.fields);
    maskKey(key, 0, cls, masked, 0);
    let slot = installer.table.find(masked);
    if (slot < 0) {
      const full = installer.flowsOfPort(inPort) >= core.limits.maxFlowsPerPort;
      slot = full ? -1 : installer.allocate(masked, now, core.packets, core.bytes);
      if (slot < 0) {
        countDrop(core.counters, 'cap_flows');
        return;
      }
    }
    this.compile(sim, output, key, slot, inPort, cls);
    installer.write(slot, this.action, key, mac, lifetime > 0 ? now + lifetime : 0, this.tags(sim, output, inPort));
  }

  /** Brings an installed flow in line with a new simulation of its first packet; writes only what differs. */
  rewrite(
    slot: number,
    sim: Simulation,
    output: Output,
    key: Uint8Array,
    inPort: number,
    mac: number,
    now: number,
  ): void {
    const { installer } = this.core;
    const cls = classFor(sim.fields);
    if (cls !== installer.table.keys[(slot + 1) * KEY_SIZE - 1]) {
      // Another mask is another key in the table: the old flow goes, the new one comes with the same flush.
      const expires = installer.expiresAt[slot];
      installer.remove(slot, now);
      this.install(sim, output, key, inPort, mac, expires > 0 ? expires - now : 0, now);
      return;
    }
    this.compile(sim, output, key, slot, inPort, cls);
    const tags = this.tags(sim, output, inPort);
    if (this.sameAction(slot)) installer.retag(slot, mac, tags);
    else installer.write(slot, this.action, key, mac, 0, tags);
  }

  private compile(sim: Simulation, output: Output, key: Uint8Array, slot: number, inPort: number, cls: number): void {
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
      ownerClass: cls,
      counterSlot: slot,
    });
  }

  /** True if the compiled action equals the installed one but for the flow id at both ends. */
  private sameAction(slot: number): boolean {
    const { values } = this.core.installer.table;
    const at = slot * FLOW_VALUE_SIZE;
    for (let i = 8; i < ACTION_SIZE - 8; i++) if (values[at + i] !== this.action[i]) return false;
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
