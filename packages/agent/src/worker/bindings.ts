/**
 * Ports bound to this host: which virtual port is which interface, in the datapath and in the shared tables. A binding is
 * live when the port object names this host and an interface that exists; it is announced in `t/active/<port>`.
 */
import type { Datapath, EgressSpec, PortSpec } from '@weft/datapath';
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
/** So long what still comes for a port that has moved away is sent on to where it is, unless its move is declared done before. */
const FORWARD_MS = 60_000;

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
  /** Number of a host's tunnel; 0: there is none. */
  private readonly peerOf: (hostId: string) => number;
  /** Port objects that name this host as theirs, as the next or as the last one, by id. */
  private readonly ports = new Map<string, Port>();
  /** Ports that are about to come: attached, so that they lose no time, and not live. */
  private readonly prepared = new Map<string, Binding>();
  /** Ports that have moved away, to which host, and until when what comes for them is sent on. */
  private readonly departed = new Map<string, { readonly host: string; readonly until: number }>();
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
    peerOf: (hostId: string) => number,
  ) {
    this.datapath = datapath;
    this.underlay = underlay;
    this.effects = effects;
    this.peerMacs = peerMacs;
    this.hostId = hostId;
    this.limits = limits;
    this.peerOf = peerOf;
    this.keyRefusals = new Refusals(effects, 'tunnel_key.refused');
    for (const spec of datapath.adopted().egress) this.egress.set(spec.key, membersOf(spec));
  }

  setPort(id: string, port: Port | null): void {
    if (port === null) {
      this.ports.delete(id);
      this.refused.delete(id);
    } else this.ports.set(id, port);
  }

  /** Flood key of a bridge with local ports, 0: gone. */
  setFloodKey(bridge: string, key: number): void {
    if (key === 0) this.floodKeys.delete(bridge);
    else this.floodKeys.set(bridge, key);
  }

  /** Bridges of the ports that are here, or are about to come. */
  bridges(): Set<string> {
    const out = new Set<string>();
    for (const port of this.ports.values()) if (port.bridgeId && this.isOrWillBeHere(port)) out.add(port.bridgeId);
    return out;
  }

  private isOrWillBeHere(port: Port): boolean {
    return port.hostId === this.hostId || port.nextHostId === this.hostId;
  }

  /** Interface that is attached for a port that is about to come; 0: none is. */
  preparedIfindex(portId: string): number {
    return this.prepared.get(portId)?.ifindex ?? 0;
  }

  /** Whether a port that is or was here goes to another host, which is to be told of all that is known of it. */
  isLeaving(portId: string): boolean {
    const port = this.ports.get(portId);
    if (port?.hostId === this.hostId) return port.nextHostId !== undefined;
    return port?.hostId !== undefined && port.previousHostId === this.hostId;
  }

  /** Host that a live port was on before, if it has moved. */
  previousHost(portId: string): string | undefined {
    const previous = this.ports.get(portId)?.previousHostId;
    return previous === this.hostId ? undefined : previous;
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
    const [ports] = (this.egress.get(key) ?? '').split('>');
    return ports.split(',').filter(Boolean).map(Number);
  }

  /** Host that frames with this tunnel key are sent on to, because their port has moved there; '': none. */
  egressHost(key: number): string {
    if (!(this.egress.get(key) ?? '').includes('>')) return '';
    for (const [id, { host }] of this.departed) if (this.ports.get(id)?.tunnelKey === key) return host;
    return '';
  }

  /** The port whose interface is attached, live or about to be; '' if it is none. */
  attachedAt(ifindex: number): { readonly portId: string; readonly interfaceName: string } {
    for (const bindings of [this.live, this.prepared]) {
      for (const [portId, binding] of bindings) {
        if (binding.ifindex !== ifindex) continue;
        const { interfaceName, nextInterfaceName } = binding.port;
        return { portId, interfaceName: (bindings === this.live ? interfaceName : nextInterfaceName) ?? '' };
      }
    }
    return { portId: '', interfaceName: String(ifindex) };
  }

  /** MAC of the device behind the port, '' if unknown. */
  deviceMac(portId: string): string {
    return this.live.get(portId)?.mac ?? '';
  }

  /** Tunnel keys that end here, those that the datapath refused, and those whose frames are sent on to where their port has moved. */
  keyCounts(): { readonly installed: number; readonly refused: number; readonly forwarded: number } {
    const refused = this.keyRefusals.size;
    let forwarded = 0;
    for (const members of this.egress.values()) if (members.includes('>')) forwarded++;
    return { installed: this.egress.size - refused, refused, forwarded };
  }

  list(): { portId: string; interfaceName: string; ifindex: number; live: boolean }[] {
    const here = [...this.ports.values()].filter((port) => port.hostId === this.hostId);
    return here.map((port) => ({
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
    const wanted = this.wanted((port) => port.hostId === this.hostId && port.interfaceName);
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
    for (const [id, { port, name, ifindex }] of wanted) {
      const had = this.live.get(id);
      const mac = this.peerMacs.get(ifindex);
      if (had?.ifindex === ifindex && had.mac === mac) {
        this.live.set(id, { port, ifindex, mac });
        continue;
      }
      if (!this.attach(port, name, ifindex, mac)) continue;
      this.live.set(id, { port, ifindex, mac });
      this.prepared.delete(id);
      this.byIfindex.set(ifindex, id);
      changed.push(id);
      if (!had) this.effects.log('port.bound', { port: id, interface: port.interfaceName, ifindex });
    }
    for (const [id, { port, ifindex }] of this.live)
      this.announce(id, this.leadsOut(port, ifindex), port.tunnelKey ?? 0);
    this.reconcilePrepared();
    this.reconcileDeparted(now);
    this.reconcileEgress(now);
    this.detachStale();
    return changed;
  }

  /** Interfaces for ports that are about to come. One that is another port's is none. */
  private reconcilePrepared(): void {
    const wanted = this.wanted((port) => port.nextHostId === this.hostId && port.nextInterfaceName);
    for (const id of this.prepared.keys()) if (!wanted.has(id)) this.prepared.delete(id);
    for (const [id, { port, name, ifindex }] of wanted) {
      const had = this.prepared.get(id);
      const mac = this.peerMacs.get(ifindex);
      if (this.byIfindex.has(ifindex)) this.prepared.delete(id);
      else if ((had?.ifindex === ifindex && had.mac === mac) || this.attach(port, name, ifindex, mac)) {
        this.prepared.set(id, { port, ifindex, mac });
      }
    }
  }

  private reconcileDeparted(now: number): void {
    for (const [id, port] of this.ports) {
      const { hostId, previousHostId } = port;
      if (previousHostId !== this.hostId || hostId === undefined || hostId === this.hostId) this.departed.delete(id);
      else if (this.departed.get(id)?.host !== hostId) {
        this.departed.set(id, { host: hostId, until: now + FORWARD_MS });
      }
    }
    for (const id of this.departed.keys()) if (!this.ports.has(id)) this.departed.delete(id);
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
  private attach(port: Port, name: string, ifindex: number, mac: string): boolean {
    try {
      this.datapath.attachPort(this.spec(port, name, ifindex, mac));
      this.refused.delete(port.id);
      return true;
    } catch (error) {
      const { message } = error as Error;
      if (this.refused.get(port.id) !== message) {
        this.refused.set(port.id, message);
        const fields = { port: port.id, interface: name, ifindex, error: message };
        this.effects.log('port.attach_failed', fields);
      }
      return false;
    }
  }

  /** Ports with their interfaces, as far as these are there. @param nameOf name of the interface, if the port is meant */
  private wanted(
    nameOf: (port: Port) => string | false | undefined,
  ): Map<string, { port: Port; name: string; ifindex: number }> {
    const out = new Map<string, { port: Port; name: string; ifindex: number }>();
    for (const port of this.ports.values()) {
      const name = nameOf(port);
      const link = name ? this.underlay.linkByName(name) : undefined;
      if (name && link) out.set(port.id, { port, name, ifindex: link.ifindex });
    }
    return out;
  }

  private spec(port: Port, name: string, ifindex: number, mac: string): PortSpec {
    return {
      ifindex,
      name,
      portId: port.id,
      mac: mac === '' ? null : macParse(mac),
      peerable: mac !== '',
      upcallRate: this.limits.upcallRate,
      upcallBurst: this.limits.upcallBurst,
    };
  }

  /**
   * Port keys deliver to the port, also to one that is about to come: other hosts may hear of that before this one does. A flood key delivers
   * to the bridge's live ports that have no filter of their own. What comes for a port that has moved goes on to its host.
   */
  private reconcileEgress(now: number): void {
    const wanted = new Map<number, number[]>();
    const remotes = new Map<number, number>();
    for (const { port, ifindex } of this.prepared.values()) if (port.tunnelKey) wanted.set(port.tunnelKey, [ifindex]);
    for (const [id, { host, until }] of this.departed) {
      const key = this.ports.get(id)?.tunnelKey;
      const peer = now < until ? this.peerOf(host) : 0;
      if (key !== undefined && peer !== 0) remotes.set(key, peer);
    }
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
      if (wanted.has(key) || remotes.has(key)) continue;
      this.datapath.deleteEgress(key);
      this.egress.delete(key);
    }
    this.keyRefusals.begin();
    const specs = [...wanted].map(([key, ports]): EgressSpec => ({ key, ports: ports.sort((a, b) => a - b) }));
    for (const [key, peer] of remotes) specs.push({ key, ports: [], remotes: [{ peer, key }] });
    for (const spec of specs) {
      const members = membersOf(spec);
      if (this.egress.get(spec.key) === members) continue;
      const done = this.keyRefusals.attempt(`${spec.key}`, () => this.datapath.setEgress(spec));
      // Half of it may stand: it is tried again, and deleted when it is not wanted any more.
      this.egress.set(spec.key, done ? members : REFUSED);
    }
    this.keyRefusals.retain((key) => wanted.has(Number(key)) || remotes.has(Number(key)));
    this.keyRefusals.end(now);
  }

  /** Interfaces that an earlier process, or an earlier binding, left attached. */
  private detachStale(): void {
    const attached = new Set(this.byIfindex.keys());
    for (const { ifindex } of this.prepared.values()) attached.add(ifindex);
    for (const ifindex of this.attachedBefore) if (!attached.has(ifindex)) this.datapath.detachPort(ifindex);
    this.attachedBefore = attached;
  }

  /** Interfaces of adopted ports are candidates for detaching once the topology is known. */
  adoptAttached(ifindexes: Iterable<number>): void {
    for (const ifindex of ifindexes) this.attachedBefore.add(ifindex);
  }
}

/** An entry in words that can be compared: `interfaces`, or `interfaces>peer`. */
function membersOf({ ports, remotes = [] }: EgressSpec): string {
  return remotes.length === 0 ? ports.join() : `${ports.join()}>${remotes.map(({ peer }) => peer).join()}`;
}
