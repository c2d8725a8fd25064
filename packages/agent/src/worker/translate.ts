/**
 * From virtual to physical: the egress ports of a simulation become one datapath output on this host: a local interface, a
 * tunnel to the host of the port under the port's key, or a replicate list with one copy per host under the flood key.
 */
import type { ListSpec } from '@weft/datapath';
import {
  AF_PEER,
  AF_REPORT_TCP_FLAGS,
  dropReason,
  K_ETH_DST,
  K_ETHER_TYPE,
  K_IP_PROTO,
  K_VLAN,
  OUT_DROP,
  OUT_LIST,
  OUT_PORT,
  OUT_TUNNEL,
  readU16,
  TAG_ACTIVE,
  TAG_HOST,
  tag,
} from '@weft/flow';
import { IPPROTO_TCP, macEquals, macParse } from '@weft/packet';
import { isFiltered, type SimPort, type Simulation, type VirtualTopologyView } from '@weft/simulator';
import type { Bindings } from './bindings.ts';
import type { ReplicateLists } from './lists.ts';
import type { Tunnels } from './tunnels.ts';

/** A physical output. Reused: valid until the next translation. */
export interface Output {
  /** OUT_… */
  output: number;
  outPort: number;
  tunnelKey: number;
  flags: number;
  /** Index of DROP_REASONS if `output` is OUT_DROP. */
  reason: number;
  /** L3 bytes that fit on every way that the packet takes; 0: no limit. */
  mtu: number;
  /** What the translation stood on beside the simulation's tags. */
  readonly tags: number[];
}

export function newOutput(): Output {
  return { output: OUT_DROP, outPort: 0, tunnelKey: 0, flags: 0, reason: 0, mtu: 0, tags: [] };
}

const PORT_UNBOUND = dropReason('port_unbound');
const PEER_UNREACHABLE = dropReason('peer_unreachable');
const HAIRPIN = dropReason('hairpin');

/** Tag of "port is live on this host". */
export function localPortTag(port: number): number {
  return tag(TAG_ACTIVE, port, 1);
}

/** Tag of "there is a tunnel to this host". */
export function tunnelTag(hostHandle: number): number {
  return tag(TAG_HOST, hostHandle);
}

export class Translator {
  private readonly view: VirtualTopologyView;
  private readonly bindings: Bindings;
  private readonly tunnels: Tunnels;
  private readonly lists: Pick<ReplicateLists, 'intern'>;
  private readonly hostId: string;

  /** @param lists where replicate lists get their numbers; a trace gives its own, so that none is made in the datapath */
  constructor(
    view: VirtualTopologyView,
    bindings: Bindings,
    tunnels: Tunnels,
    lists: Pick<ReplicateLists, 'intern'>,
    hostId: string,
  ) {
    this.view = view;
    this.bindings = bindings;
    this.tunnels = tunnels;
    this.lists = lists;
    this.hostId = hostId;
  }

  /**
   * Translates output number `index` of a divergent simulation, or all of a plain one (`index` −1), into `out`. `inPort`: the
   * interface that the packet came by, to which no flood goes back; 0: a device of this host sends it.
   */
  translate(sim: Simulation, index: number, inPort: number, out: Output): void {
    reset(out);
    if (index >= 0) this.unicast(sim.outputs[index], sim.outputKeys, index * 64, out);
    else if (sim.outputCount === 1) this.unicast(sim.outputs[0], sim.key, 0, out);
    else this.flood(sim, inPort, out);
  }

  private unicast(handle: number, key: Uint8Array, keyBase: number, out: Output): void {
    const port = this.view.port(handle);
    if (!port) {
      drop(out, PORT_UNBOUND);
      return;
    }
    if (port.hostId === this.hostId) {
      out.tags.push(localPortTag(handle));
      const ifindex = this.bindings.ifindex(port.id);
      if (ifindex === 0) {
        drop(out, PORT_UNBOUND);
        return;
      }
      out.output = OUT_PORT;
      out.outPort = ifindex;
      if (this.mayUsePeer(port, key, keyBase)) out.flags |= AF_PEER;
      return;
    }
    out.tags.push(tunnelTag(this.view.handle(port.hostId)));
    const peer = this.tunnels.peer(port.hostId);
    if (peer === 0 || port.tunnelKey === 0) {
      drop(out, PEER_UNREACHABLE);
      return;
    }
    out.output = OUT_TUNNEL;
    out.outPort = peer;
    out.tunnelKey = port.tunnelKey;
    out.mtu = this.tunnels.mtu(peer);
  }

  /** `redirect_peer` is right only for untagged IP unicast to the very device at the other end. */
  private mayUsePeer(port: SimPort, key: Uint8Array, base: number): boolean {
    const type = readU16(key, base + K_ETHER_TYPE);
    if ((type !== 0x0800 && type !== 0x86dd) || readU16(key, base + K_VLAN) !== 0) return false;
    const mac = this.bindings.deviceMac(port.id);
    return mac !== '' && macEquals(key, base + K_ETH_DST, macParse(mac), 0);
  }

  private flood(sim: Simulation, inPort: number, out: Output): void {
    const local: number[] = [];
    /** Per peer: ports behind its flood key (by bridge), to be sent once if the set is what the peer delivers to. */
    const plain = new Map<string, { peer: number; host: string; bridge: number; ports: SimPort[] }>();
    const remotes: { peer: number; key: number }[] = [];
    for (let i = 0; i < sim.outputCount; i++) {
      const handle = sim.outputs[i];
      const port = this.view.port(handle);
      if (!port) continue;
      if (port.hostId === this.hostId) {
        out.tags.push(localPortTag(handle));
        const ifindex = this.bindings.ifindex(port.id);
        if (ifindex !== 0 && ifindex !== inPort) local.push(ifindex);
        continue;
      }
      out.tags.push(tunnelTag(this.view.handle(port.hostId)));
      const peer = this.tunnels.peer(port.hostId);
      if (peer === 0 || port.tunnelKey === 0) continue;
      const bridge = sim.outputFlood[i];
      if (bridge === 0 || isFiltered(port) || this.view.floodKey(bridge) === 0) {
        remotes.push({ peer, key: port.tunnelKey });
        continue;
      }
      const name = `${peer}/${bridge}`;
      const group = plain.get(name);
      if (group) group.ports.push(port);
      else plain.set(name, { peer, host: port.hostId, bridge, ports: [port] });
    }
    for (const { peer, host, bridge, ports } of plain.values()) {
      if (this.floodMembers(bridge, host) === ports.length) remotes.push({ peer, key: this.view.floodKey(bridge) });
      else for (const port of ports) remotes.push({ peer, key: port.tunnelKey });
    }
    this.finishFlood(local, remotes, out);
  }

  /** How many ports of the bridge the host's flood key delivers to: the same rule as in `Bindings`. */
  private floodMembers(bridge: number, host: string): number {
    let n = 0;
    for (const handle of this.view.bridgePorts(bridge) ?? []) {
      const port = this.view.port(handle);
      if (port?.hostId === host && !isFiltered(port) && port.adminUp) n++;
    }
    return n;
  }

  private finishFlood(local: number[], remotes: ListSpec['remotes'], out: Output): void {
    if (local.length === 0 && remotes.length === 0) {
      drop(out, HAIRPIN);
      return;
    }
    for (const { peer } of remotes) {
      const mtu = this.tunnels.mtu(peer);
      out.mtu = out.mtu === 0 ? mtu : Math.min(out.mtu, mtu);
    }
    if (local.length === 1 && remotes.length === 0) {
      out.output = OUT_PORT;
      out.outPort = local[0];
    } else if (local.length === 0 && remotes.length === 1) {
      out.output = OUT_TUNNEL;
      out.outPort = remotes[0].peer;
      out.tunnelKey = remotes[0].key;
    } else {
      out.output = OUT_LIST;
      out.outPort = this.lists.intern(local, remotes);
    }
  }
}

function drop(out: Output, reason: number): void {
  out.output = OUT_DROP;
  out.reason = reason;
}

/** The output of a simulation that dropped: nothing was translated. */
export function setDrop(out: Output, reason: number): void {
  reset(out);
  out.reason = reason;
}

/** How a TCP connection ends shows in flags that a hit would hide: flows that belong to one have them reported. */
export function reportTcpFlags(sim: Simulation, key: Uint8Array, out: Output): void {
  if (sim.stateCount + sim.createdCount > 0 && key[K_IP_PROTO] === IPPROTO_TCP) out.flags |= AF_REPORT_TCP_FLAGS;
}

function reset(out: Output): void {
  out.output = OUT_DROP;
  out.outPort = 0;
  out.tunnelKey = 0;
  out.flags = 0;
  out.reason = 0;
  out.mtu = 0;
  out.tags.length = 0;
}
