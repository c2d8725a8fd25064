/** What outputs refer to: ports, tunnels, egress keys, lists, and this host's own tunnel addresses. */
import { isV4Mapped } from '@weft/flow';
import { equalBytes } from '@weft/packet';
import type { EgressSpec, ListSpec, PortSpec, TunnelSpec } from '../contract.ts';
import type { Encap, OuterTables } from '../oracle/index.ts';
import { Gcra, UpcallBudget } from './budget.ts';

export class PortEntry {
  readonly spec: PortSpec;
  readonly upcalls: UpcallBudget;
  readonly bum = new Gcra();

  constructor(spec: PortSpec) {
    this.spec = spec;
    this.upcalls = new UpcallBudget(spec.upcallRate, spec.upcallBurst);
  }
}

export class TunnelEntry {
  readonly spec: TunnelSpec;
  readonly ipv6: boolean;

  constructor(spec: TunnelSpec) {
    // Copies: the caller may reuse its arrays.
    this.spec = { ...spec, local: spec.local.slice(), remote: spec.remote.slice(), ifindexes: [...spec.ifindexes] };
    this.ipv6 = !isV4Mapped(spec.remote, 0);
  }
}

function addressHash(address: Uint8Array): number {
  let h = 0;
  for (let i = 0; i < 16; i++) h = Math.imul(h ^ address[i], 0x01000193);
  return h;
}

export class Tables implements OuterTables {
  readonly encap: Encap;
  readonly vxlanPort: number;
  readonly ports = new Map<number, PortEntry>();
  readonly tunnels = new Map<number, TunnelEntry>();
  readonly egress = new Map<number, EgressSpec>();
  readonly lists = new Map<number, ListSpec>();
  #local: Uint8Array[] = [];
  /** Hash of the remote address → tunnels that have it. */
  readonly #remotes = new Map<number, TunnelEntry[]>();

  constructor(encap: Encap, vxlanPort: number) {
    this.encap = encap;
    this.vxlanPort = vxlanPort;
  }

  setLocalAddresses(addresses: readonly Uint8Array[]): void {
    this.#local = addresses.map((a) => a.slice());
  }

  isLocal(address: Uint8Array): boolean {
    for (const local of this.#local) if (equalBytes(local, 0, address, 0, 16)) return true;
    return false;
  }

  peerOf(address: Uint8Array): number {
    const entries = this.#remotes.get(addressHash(address));
    if (entries === undefined) return 0;
    for (const e of entries) if (equalBytes(e.spec.remote, 0, address, 0, 16)) return e.spec.peer;
    return 0;
  }

  setTunnel(spec: TunnelSpec): void {
    this.deleteTunnel(spec.peer);
    const entry = new TunnelEntry(spec);
    this.tunnels.set(spec.peer, entry);
    const hash = addressHash(entry.spec.remote);
    this.#remotes.set(hash, [...(this.#remotes.get(hash) ?? []), entry]);
  }

  deleteTunnel(peer: number): void {
    const entry = this.tunnels.get(peer);
    if (entry === undefined) return;
    this.tunnels.delete(peer);
    const hash = addressHash(entry.spec.remote);
    const rest = (this.#remotes.get(hash) ?? []).filter((e) => e !== entry);
    if (rest.length === 0) this.#remotes.delete(hash);
    else this.#remotes.set(hash, rest);
  }
}
