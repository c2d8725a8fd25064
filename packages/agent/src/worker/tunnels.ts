/**
 * Tunnels to the other hosts: from the tunnel zones (who is where) and the underlay (how to get there) to the datapath's
 * table of peers. Peer numbers are kept over restarts, since installed flows name them.
 */
import type { Datapath, TunnelSpec } from '@weft/datapath';
import { ipEquals, ipFormat, ipIsV4, ipParse } from '@weft/packet';
import type { Effects } from './effects.ts';
import { Refusals } from './refusals.ts';
import type { UnderlayView } from './underlay.ts';

/** RFC 8200 §5 and RFC 791: below this, a path MTU report is not believed. */
const MIN_TUNNEL_MTU = 1280;
const PATH_MTU_AGE_MS = 600_000;

interface Membership {
  readonly zone: string;
  readonly host: string;
  readonly address: string;
}

interface PathMtu {
  readonly mtu: number;
  readonly expires: number;
}

export class Tunnels {
  private readonly datapath: Datapath;
  private readonly underlay: UnderlayView;
  private readonly effects: Effects;
  private readonly localHost: string;
  private readonly zones = new Map<string, string>();
  private readonly members = new Map<string, Membership>();
  private readonly numbers = new Map<string, number>();
  private readonly installed = new Map<string, TunnelSpec>();
  private readonly byPeer = new Map<number, TunnelSpec>();
  private readonly learnedMtu = new Map<number, PathMtu>();
  private readonly attached = new Set<number>();
  private nextNumber = 1;
  private local: Uint8Array[] = [];
  /** Zones have been delivered: only then may adopted tunnels be judged stale. */
  private known = false;
  private readonly refusals: Refusals;
  private readonly underlayRefusals: Refusals;
  private unreachable = 0;
  /** A host has gained or lost its tunnel. */
  onChange: (host: string) => void = () => {};

  constructor(datapath: Datapath, underlay: UnderlayView, effects: Effects, localHost: string) {
    this.datapath = datapath;
    this.underlay = underlay;
    this.effects = effects;
    this.localHost = localHost;
    this.refusals = new Refusals(effects, 'tunnel.refused');
    this.underlayRefusals = new Refusals(effects, 'underlay.refused');
    for (const spec of datapath.adopted().tunnels) {
      this.numbers.set(spec.hostId, spec.peer);
      this.installed.set(spec.hostId, spec);
      this.byPeer.set(spec.peer, spec);
      this.nextNumber = Math.max(this.nextNumber, spec.peer + 1);
    }
  }

  /** Takes in the zones (`type` gre or vxlan; others carry no overlay). */
  setZone(id: string, type: string | null): void {
    if (type === null) this.zones.delete(id);
    else this.zones.set(id, type);
  }

  /** The next zones are the whole content. */
  clearZones(): void {
    this.zones.clear();
  }

  clearMembers(): void {
    this.members.clear();
  }

  setMember(id: string, member: Membership | null): void {
    if (member === null) this.members.delete(id);
    else this.members.set(id, member);
  }

  /** Whether a host is in a tunnel zone. */
  isMember(host: string): boolean {
    for (const member of this.members.values()) if (member.host === host) return true;
    return false;
  }

  markKnown(): void {
    this.known = true;
  }

  /** Peer number of a host with a tunnel; 0 if there is none. */
  peer(host: string): number {
    return this.installed.has(host) ? this.numbers.get(host)! : 0;
  }

  host(peer: number): string {
    return this.byPeer.get(peer)?.hostId ?? '';
  }

  /** L3 bytes of an inner packet that fit to this peer; 0 if there is no tunnel. Asked for every first packet. */
  mtu(peer: number): number {
    return this.byPeer.get(peer)?.mtu ?? 0;
  }

  /** Hosts of our zones: with a tunnel, without a way to them, refused by the datapath. */
  counts(): { readonly up: number; readonly down: number; readonly refused: number } {
    return { up: this.installed.size, down: this.unreachable, refused: this.refusals.size };
  }

  list(): readonly TunnelSpec[] {
    return [...this.installed.values()];
  }

  /** A router of the underlay refused one of our packets: remember it for ten minutes. @returns true if that is news. */
  notePathMtu(peer: number, mtu: number, now: number): boolean {
    const bounded = Math.max(mtu, MIN_TUNNEL_MTU);
    const known = this.learnedMtu.get(peer);
    if (known && known.mtu < bounded) return false;
    this.learnedMtu.set(peer, { mtu: bounded, expires: now + PATH_MTU_AGE_MS });
    return known?.mtu !== bounded;
  }

  /** Brings the datapath in line. @returns hosts that gained or lost their tunnel. */
  reconcile(now: number): string[] {
    if (!this.known) return [];
    const wanted = this.compute(now);
    const changed: string[] = [];
    for (const host of [...this.installed.keys()]) {
      if (wanted.has(host)) continue;
      this.remove(host);
      changed.push(host);
    }
    this.refusals.begin();
    for (const [host, spec] of wanted) {
      const had = this.installed.get(host);
      if (had && sameTunnel(had, spec)) continue;
      if (!this.refusals.attempt(host, () => this.datapath.setTunnel(spec))) {
        // What stands there may be half of the new one.
        if (had) {
          this.remove(host);
          changed.push(host);
        }
        continue;
      }
      this.installed.set(host, spec);
      this.byPeer.set(spec.peer, spec);
      if (!had) {
        changed.push(host);
        this.onChange(host);
      }
      this.effects.log('tunnel.up', {
        host,
        remote: ipFormat(spec.remote),
        interfaces: spec.ifindexes.map((i) => this.underlay.link(i)?.name ?? i),
        mtu: spec.mtu,
      });
    }
    this.refusals.retain((host) => wanted.has(host));
    this.refusals.end(now);
    return changed;
  }

  private remove(host: string): void {
    const peer = this.numbers.get(host)!;
    this.datapath.deleteTunnel(peer);
    this.installed.delete(host);
    this.byPeer.delete(peer);
    this.onChange(host);
    this.effects.log('tunnel.down', { host });
  }

  private compute(now: number): Map<string, TunnelSpec> {
    const out = new Map<string, TunnelSpec>();
    const locals = new Map<string, Uint8Array>();
    const mine = [...this.members.values()]
      .filter((m) => m.host === this.localHost && this.zones.get(m.zone) === this.datapath.options.encap)
      .sort((a, b) => (a.zone < b.zone ? -1 : 1));
    for (const m of mine) locals.set(m.zone, ipParse(m.address));
    this.underlayRefusals.begin();
    this.updateLocal([...locals.values()]);
    this.unreachable = 0;
    const usedInterfaces = new Set<number>();
    const present = new Set([...this.members.values()].map((m) => `${m.zone}/${m.host}`));
    for (const member of this.members.values()) {
      if (member.host === this.localHost || !locals.has(member.zone)) continue;
      // The first zone shared with the peer decides (zones in order of their id, the same on every host).
      const first = mine.find((m) => present.has(`${m.zone}/${member.host}`))?.zone;
      if (first !== member.zone) continue;
      const path = this.underlay.path(member.address);
      if (path.hops.length === 0) {
        this.unreachable++;
        continue;
      }
      for (const { ifindex } of path.hops) usedInterfaces.add(ifindex);
      const remote = ipParse(member.address);
      const peer = this.number(member.host);
      let mtu = path.mtu - this.datapath.overhead(!ipIsV4(remote));
      const learned = this.learnedMtu.get(peer);
      if (learned && learned.expires > now) mtu = Math.min(mtu, learned.mtu);
      else if (learned) this.learnedMtu.delete(peer);
      out.set(member.host, {
        peer,
        hostId: member.host,
        local: locals.get(member.zone)!,
        remote,
        ifindexes: path.hops.map(({ ifindex }) => ifindex),
        gateways: path.hops.map(({ gateway }) => (gateway === '' ? null : ipParse(gateway))),
        mtu,
      });
    }
    this.attach(usedInterfaces);
    this.underlayRefusals.end(now);
    return out;
  }

  private number(host: string): number {
    let n = this.numbers.get(host);
    if (n === undefined) this.numbers.set(host, (n = this.nextNumber++));
    return n;
  }

  private updateLocal(addresses: Uint8Array[]): void {
    const same = addresses.length === this.local.length && addresses.every((a, i) => ipEquals(a, 0, this.local[i], 0));
    if (same) return;
    if (this.underlayRefusals.attempt('addresses', () => this.datapath.setLocalAddresses(addresses))) {
      this.local = addresses;
    }
  }

  /** Tunnel packets may still arrive by an interface that no route uses any more: it stays attached until it is gone. */
  private attach(used: Set<number>): void {
    for (const ifindex of used) {
      if (this.attached.has(ifindex)) continue;
      const attach = () => this.datapath.attachUnderlay(ifindex);
      if (this.underlayRefusals.attempt(this.underlay.link(ifindex)?.name ?? `${ifindex}`, attach)) {
        this.attached.add(ifindex);
      }
    }
    for (const ifindex of this.attached) if (!this.underlay.link(ifindex)) this.attached.delete(ifindex);
    this.underlayRefusals.retain((name) => name === 'addresses' || this.underlay.linkByName(name) !== undefined);
  }
}

function sameTunnel(a: TunnelSpec, b: TunnelSpec): boolean {
  return (
    a.mtu === b.mtu &&
    a.ifindexes.join() === b.ifindexes.join() &&
    hopsOf(a) === hopsOf(b) &&
    ipEquals(a.local, 0, b.local, 0) &&
    ipEquals(a.remote, 0, b.remote, 0)
  );
}

function hopsOf(spec: TunnelSpec): string {
  return (spec.gateways ?? []).map((gateway) => (gateway ? ipFormat(gateway) : '')).join();
}
