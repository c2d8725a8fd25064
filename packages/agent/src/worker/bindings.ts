/**
 * Ports bound to this host: which virtual port is which interface, in the datapath and in the shared tables. A binding is
 * live when the port object names this host and an interface that exists; it is announced in `t/active/<port>`.
 */
import type { Datapath, PortSpec } from '@weft/datapath';
import { macParse } from '@weft/packet';
import { isFilteredPort } from '@weft/simulator';
import { IFF_LOWER_UP } from '@weft/sys';
import type { Port } from '@weft/topology';
import type { Effects } from './effects.ts';
import type { PeerMacView } from './peer-macs.ts';
import { Refusals } from './refusals.ts';
import type { UnderlayView } from './underlay.ts';

export interface BindingLimits {
  readonly upcallRate: number;
  readonly upcallBurst: number;
}

/** Stands for the members of a tunnel key that the datapath did not take. */
const REFUSED = '';

interface Binding {
  readonly port: Port;
  readonly ifindex: number;
  readonly mac: string;
}

export class Bindings {
  private readonly datapath: Datapath;
  private readonly underlay: UnderlayView;
  private readonly effects: Effects;
  private readonly hostId: string;
  private readonly limits: BindingLimits;
  private readonly peerMacs: PeerMacView;
  /** Port objects that name this host, by id. */
  private readonly ports = new Map<string, Port>();
  private readonly live = new Map<string, Binding>();
  /** Ports of which all hosts were told that they are active here (true), or are not. */
  private readonly announced = new Map<string, boolean>();
  private readonly byIfindex = new Map<number, string>();
  private readonly egress = new Map<number, string>();
  private readonly floodKeys = new Map<string, number>();
  /** Ports whose interface cannot be attached, with what was said of it: told once, tried again with every reconciliation. */
  private readonly refused = new Map<string, string>();
  private readonly keyRefusals: Refusals;
  private attachedBefore = new Set<number>();

  constructor(
    datapath: Datapath,
    underlay: UnderlayView,
    effects: Effects,
    peerMacs: PeerMacView,
    hostId: string,
    limits: BindingLimits,
  ) {
    this.datapath = datapath;
    this.underlay = underlay;
    this.effects = effects;
    this.peerMacs = peerMacs;
    this.hostId = hostId;
    this.limits = limits;
    this.keyRefusals = new Refusals(effects, 'tunnel_key.refused');
    for (const spec of datapath.adopted().egress) this.egress.set(spec.key, spec.ports.join());
  }

  setPort(id: string, port: Port | null): void {
    if (port === null) {
      this.ports.delete(id);
      this.refused.delete(id);
    } else this.ports.set(id, port);
  }

  /** Forgets ports that are not in `ids`. */
  retainPorts(ids: ReadonlySet<string>): void {
    for (const id of [...this.ports.keys()]) if (!ids.has(id)) this.ports.delete(id);
  }

  /** Flood key of a bridge with local ports, 0: gone. */
  setFloodKey(bridge: string, key: number): void {
    if (key === 0) this.floodKeys.delete(bridge);
    else this.floodKeys.set(bridge, key);
  }

  /** Bridges of the ports that name this host. */
  bridges(): Set<string> {
    const out = new Set<string>();
    for (const port of this.ports.values()) if (port.bridgeId) out.add(port.bridgeId);
    return out;
  }

  /** ifindex of a live binding, 0 if the port is not live here. */
  ifindex(portId: string): number {
    return this.live.get(portId)?.ifindex ?? 0;
  }

  /** Port id bound to an interface, '' if none. */
  portAt(ifindex: number): string {
    return this.byIfindex.get(ifindex) ?? '';
  }

  /** Interfaces to which frames with this tunnel key are delivered, as programmed into the datapath. */
  egressPorts(key: number): number[] {
    return (this.egress.get(key) ?? '').split(',').filter(Boolean).map(Number);
  }

  /** MAC of the device behind the port, '' if unknown. */
  deviceMac(portId: string): string {
    return this.live.get(portId)?.mac ?? '';
  }

  /** Tunnel keys that end here, and those that the datapath refused. */
  keyCounts(): { readonly installed: number; readonly refused: number } {
    const refused = this.keyRefusals.size;
    return { installed: this.egress.size - refused, refused };
  }

  list(): { portId: string; interfaceName: string; ifindex: number; live: boolean }[] {
    return [...this.ports.values()].map((port) => ({
      portId: port.id,
      interfaceName: port.interfaceName ?? '',
      ifindex: this.ifindex(port.id),
      live: this.live.has(port.id),
    }));
  }

  /**
   * Brings interfaces and tables in line with the port objects and the interfaces there are.
   * `beforeDetach` is called with the ifindex of each binding that ends, while it still stands: its flows have to go first.
   * @returns ids of ports that came or went.
   */
  reconcile(beforeDetach: (ifindex: number, portId: string) => void, now: number): string[] {
    const changed: string[] = [];
    const wanted = this.wanted();
    for (const [id, binding] of [...this.live]) {
      const still = wanted.get(id);
      if (still && still.ifindex === binding.ifindex) continue;
      beforeDetach(binding.ifindex, id);
      this.live.delete(id);
      this.byIfindex.delete(binding.ifindex);
      changed.push(id);
      if (!still) this.announce(id, false, 0);
      this.effects.log('port.unbound', { port: id, ifindex: binding.ifindex });
    }
    for (const [id, { port, ifindex }] of wanted) {
      const had = this.live.get(id);
      const mac = this.peerMacs.get(ifindex);
      if (had?.ifindex === ifindex && had.mac === mac) {
        this.live.set(id, { port, ifindex, mac });
        continue;
      }
      if (!this.attach(port, ifindex, mac)) continue;
      this.live.set(id, { port, ifindex, mac });
      this.byIfindex.set(ifindex, id);
      changed.push(id);
      if (!had) this.effects.log('port.bound', { port: id, interface: port.interfaceName, ifindex });
    }
    for (const [id, { port, ifindex }] of this.live)
      this.announce(id, this.leadsOut(port, ifindex), port.tunnelKey ?? 0);
    this.reconcileEgress(now);
    this.detachStale();
    return changed;
  }

  /** What leaves a router by a wire that is dead goes nowhere: others have to know. Behind a bridge port is one guest and no other way. */
  private leadsOut(port: Port, ifindex: number): boolean {
    return port.bridgeId !== undefined || ((this.underlay.link(ifindex)?.flags ?? 0) & IFF_LOWER_UP) !== 0;
  }

  /** Tells all hosts that the port is active here, or is not any more. */
  private announce(id: string, active: boolean, key: number): void {
    if (this.announced.get(id) === active) return;
    if (active) {
      this.announced.set(id, true);
      this.effects.putEntry(`active/${id}`, this.hostId, String(key));
      return;
    }
    // Also at first: an earlier process may have said otherwise.
    this.effects.removeEntry(`active/${id}`, this.hostId);
    const binding = this.live.get(id);
    if (binding === undefined) {
      this.announced.delete(id);
      return;
    }
    this.announced.set(id, false);
    this.effects.log('port.no_carrier', { port: id, interface: binding.port.interfaceName });
  }

  /** One interface that went away in this moment, or that the kernel refuses, is no reason to stop for all. */
  private attach(port: Port, ifindex: number, mac: string): boolean {
    try {
      this.datapath.attachPort(this.spec(port, ifindex, mac));
      this.refused.delete(port.id);
      return true;
    } catch (error) {
      const { message } = error as Error;
      if (this.refused.get(port.id) !== message) {
        this.refused.set(port.id, message);
        const fields = { port: port.id, interface: port.interfaceName, ifindex, error: message };
        this.effects.log('port.attach_failed', fields);
      }
      return false;
    }
  }

  private wanted(): Map<string, { port: Port; ifindex: number }> {
    const out = new Map<string, { port: Port; ifindex: number }>();
    for (const port of this.ports.values()) {
      if (port.hostId !== this.hostId || !port.interfaceName) continue;
      const link = this.underlay.linkByName(port.interfaceName);
      if (link) out.set(port.id, { port, ifindex: link.ifindex });
    }
    return out;
  }

  private spec(port: Port, ifindex: number, mac: string): PortSpec {
    return {
      ifindex,
      name: port.interfaceName!,
      portId: port.id,
      mac: mac === '' ? null : macParse(mac),
      peerable: mac !== '',
      upcallRate: this.limits.upcallRate,
      upcallBurst: this.limits.upcallBurst,
    };
  }

  /** Port keys deliver to the port; a flood key to the bridge's live ports that have no filter of their own. */
  private reconcileEgress(now: number): void {
    const wanted = new Map<number, number[]>();
    for (const { port, ifindex } of this.live.values()) {
      if (port.tunnelKey) wanted.set(port.tunnelKey, [ifindex]);
      const flood = port.bridgeId ? this.floodKeys.get(port.bridgeId) : undefined;
      if (flood && !isFilteredPort(port) && port.adminStateUp) {
        const members = wanted.get(flood);
        if (members) members.push(ifindex);
        else wanted.set(flood, [ifindex]);
      }
    }
    // Deletions first: they make room.
    for (const key of [...this.egress.keys()]) {
      if (wanted.has(key)) continue;
      this.datapath.deleteEgress(key);
      this.egress.delete(key);
    }
    this.keyRefusals.begin();
    for (const [key, ports] of wanted) {
      ports.sort((a, b) => a - b);
      if (this.egress.get(key) === ports.join()) continue;
      const done = this.keyRefusals.attempt(`${key}`, () => this.datapath.setEgress({ key, ports }));
      // Half of it may stand: it is tried again, and deleted when it is not wanted any more.
      this.egress.set(key, done ? ports.join() : REFUSED);
    }
    this.keyRefusals.retain((key) => wanted.has(Number(key)));
    this.keyRefusals.end(now);
  }

  /** Interfaces that an earlier process, or an earlier binding, left attached. */
  private detachStale(): void {
    for (const ifindex of this.attachedBefore) {
      if (this.byIfindex.has(ifindex)) continue;
      this.datapath.detachPort(ifindex);
    }
    this.attachedBefore = new Set(this.byIfindex.keys());
  }

  /** Interfaces of adopted ports are candidates for detaching once the topology is known. */
  adoptAttached(ifindexes: Iterable<number>): void {
    for (const ifindex of ifindexes) this.attachedBefore.add(ifindex);
  }
}
