/** The tables that say how peers are reached: tunnels, the ways of each, and who is behind which outer address. */
import type { TunnelSpec } from '../contract.ts';
import {
  decodeTunnel,
  encodeHop,
  encodeTunnel,
  encodeTunnelInfo,
  HOP_SIZE,
  hopNumber,
  MAX_HOPS,
  TUNNEL_INFO_SIZE,
  tunnelHops,
  u32At,
  u32Key,
} from './layout.ts';
import type { EbpfObject } from './object.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

export class Tunnels {
  readonly #map: EbpfObject['map'];
  readonly #specs = new Map<number, TunnelSpec>();

  /** Reads back what an earlier process left. */
  constructor(map: EbpfObject['map']) {
    this.#map = map;
    const host = new Uint8Array(TUNNEL_INFO_SIZE);
    map.weft_tunnels.forEach((key, value) => {
      host.fill(0);
      map.weft_tunnel_info.lookup(key, host);
      const peer = u32At(key, 0);
      const hops: Uint8Array[] = [];
      for (let i = 0; i < tunnelHops(value); i++) {
        const hop = new Uint8Array(HOP_SIZE);
        if (map.weft_hops.lookup(u32Key(hopNumber(peer, i)), hop)) hops.push(hop);
      }
      this.#specs.set(peer, decodeTunnel(value, host, hops));
    });
  }

  specs(): TunnelSpec[] {
    return [...this.#specs.values()];
  }

  set(spec: TunnelSpec): void {
    const map = this.#map;
    const old = this.#specs.get(spec.peer);
    map.weft_tunnel_info.update(u32Key(spec.peer), encodeTunnelInfo(spec));
    // Ways before the tunnel that counts them.
    const hops = Math.min(spec.ifindexes.length, MAX_HOPS);
    for (let i = 0; i < hops; i++) map.weft_hops.update(u32Key(hopNumber(spec.peer, i)), encodeHop(spec, i));
    map.weft_tunnels.update(u32Key(spec.peer), encodeTunnel(spec));
    const peer = u32Key(spec.peer).slice();
    map.weft_peers.update(spec.remote, peer);
    this.#specs.set(spec.peer, spec);
    if (old && hex(old.remote) !== hex(spec.remote)) this.#forgetRemote(old.remote);
  }

  delete(peer: number): void {
    const map = this.#map;
    const old = this.#specs.get(peer);
    if (!old) return;
    this.#specs.delete(peer);
    map.weft_tunnels.delete(u32Key(peer));
    for (let i = 0; i < MAX_HOPS; i++) map.weft_hops.delete(u32Key(hopNumber(peer, i)));
    map.weft_tunnel_info.delete(u32Key(peer));
    this.#forgetRemote(old.remote);
  }

  /** Two peers may share an address for a moment while hosts swap theirs: only the last one's goes. */
  #forgetRemote(remote: Uint8Array): void {
    const text = hex(remote);
    for (const spec of this.#specs.values()) if (hex(spec.remote) === text) return;
    this.#map.weft_peers.delete(remote);
  }
}
