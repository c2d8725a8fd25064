/** The tables' keys and values as bytes, as `bpf/maps.h` and `bpf/upcall.h` lay them out (a test compares with the object's BTF). */
import { ACTION_SIZE } from '@weft/flow';
import type { PortSpec, TunnelSpec } from '../contract.ts';

/** Little-endian writer and reader of one struct. */
export type Struct = { readonly bytes: Uint8Array; readonly view: DataView };

export function struct(size: number): Struct {
  const bytes = new Uint8Array(size);
  return { bytes, view: new DataView(bytes.buffer) };
}

/** Scratch key of maps with 32-bit keys. */
const key32 = struct(4);

/** The bytes of a 32-bit key; reused by the next call. */
export function u32Key(value: number): Uint8Array {
  key32.view.setUint32(0, value, true);
  return key32.bytes;
}

export function u32At(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] | (bytes[offset + 1] << 8) | (bytes[offset + 2] << 16) | (bytes[offset + 3] << 24)) >>> 0;
}

function text(bytes: Uint8Array, offset: number, size: number): string {
  const end = bytes.indexOf(0, offset);
  return Buffer.from(bytes.subarray(offset, end < 0 ? offset + size : Math.min(end, offset + size))).toString('utf8');
}

function setText(bytes: Uint8Array, offset: number, size: number, value: string): void {
  bytes.fill(0, offset, offset + size);
  bytes.set(Buffer.from(value, 'utf8').subarray(0, size - 1), offset);
}

// struct weft_port
export const PORT_SIZE = 32;
const PORT = { ifindex: 0, peerable: 5, mac: 6, interval: 16, burst: 24 } as const;
// struct weft_budget
export const BUDGET_SIZE = 40;
// struct weft_port_info
export const PORT_INFO_SIZE = 72;
const PORT_INFO = { name: 0, portId: 16, rate: 64, burst: 68 } as const;

export function encodePort(spec: PortSpec): Uint8Array {
  const { bytes, view } = struct(PORT_SIZE);
  // One upcall per interval; a rate of 0 lets none pass.
  const interval = spec.upcallRate > 0 ? Math.max(1, Math.round(1e9 / spec.upcallRate)) : 1e18;
  view.setUint32(PORT.ifindex, spec.ifindex, true);
  view.setUint8(PORT.peerable, spec.peerable && spec.mac !== null ? 1 : 0);
  if (spec.mac) bytes.set(spec.mac.subarray(0, 6), PORT.mac);
  view.setBigUint64(PORT.interval, BigInt(interval), true);
  view.setBigUint64(
    PORT.burst,
    spec.upcallRate > 0 ? BigInt(interval) * BigInt(Math.max(1, spec.upcallBurst)) : 0n,
    true,
  );
  return bytes;
}

export function encodePortInfo(spec: PortSpec): Uint8Array {
  const { bytes, view } = struct(PORT_INFO_SIZE);
  setText(bytes, PORT_INFO.name, 16, spec.name);
  setText(bytes, PORT_INFO.portId, 48, spec.portId);
  view.setUint32(PORT_INFO.rate, spec.upcallRate, true);
  view.setUint32(PORT_INFO.burst, spec.upcallBurst, true);
  return bytes;
}

export function decodePort(port: Uint8Array, info: Uint8Array): PortSpec {
  const mac = port.slice(PORT.mac, PORT.mac + 6);
  return {
    ifindex: u32At(port, PORT.ifindex),
    name: text(info, PORT_INFO.name, 16),
    portId: text(info, PORT_INFO.portId, 48),
    mac: mac.some((b) => b !== 0) ? mac : null,
    peerable: port[PORT.peerable] === 1,
    upcallRate: u32At(info, PORT_INFO.rate),
    upcallBurst: u32At(info, PORT_INFO.burst),
  };
}

// struct weft_filter: classes, padding to 64 bytes, 16 words for each class
export const FILTER_ROWS = 1024;
export const FILTER_SIZE = 576;
export const FILTER_CLASS_WORDS = 16;
/** Words of a row before the first class's. */
export const FILTER_HEAD_WORDS = 16;

/** Ways to one peer. */
export const MAX_HOPS = 4;
// include/linux/socket.h
const AF_INET = 2;
const AF_INET6 = 10;

// struct weft_tunnel
export const TUNNEL_SIZE = 72;
const TUNNEL = { peer: 0, mtu: 4, ipv6: 6, count: 7, hop: 8, local: 32, remote: 48, peerTail: 64 } as const;
// struct weft_hop
export const HOP_SIZE = 32;
const HOP = { number: 0, ifindex: 4, family: 8, address: 12, numberTail: 28 } as const;
// struct weft_tunnel_info
export const TUNNEL_INFO_SIZE = 48;

function isMapped(address: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (address[i] !== 0) return false;
  return address[10] === 0xff && address[11] === 0xff;
}

export function encodeTunnel(spec: TunnelSpec): Uint8Array {
  const { bytes, view } = struct(TUNNEL_SIZE);
  view.setUint32(TUNNEL.peer, spec.peer, true);
  view.setUint16(TUNNEL.mtu, spec.mtu === 0 ? 0xffff : Math.min(spec.mtu, 0xffff), true);
  view.setUint8(TUNNEL.ipv6, isMapped(spec.remote) ? 0 : 1);
  const count = Math.min(spec.ifindexes.length, MAX_HOPS);
  view.setUint8(TUNNEL.count, count);
  // The first way stands here too: interface, family, address.
  if (count > 0) bytes.set(encodeHop(spec, 0).subarray(HOP.ifindex, HOP.numberTail), TUNNEL.hop);
  bytes.set(spec.local.subarray(0, 16), TUNNEL.local);
  bytes.set(spec.remote.subarray(0, 16), TUNNEL.remote);
  view.setUint32(TUNNEL.peerTail, spec.peer, true);
  return bytes;
}

/** Number of way `place` to a peer. */
export function hopNumber(peer: number, place: number): number {
  return peer * MAX_HOPS + place;
}

/** Way `place` of a tunnel. A peer on the link is its own next hop. */
export function encodeHop(spec: TunnelSpec, place: number): Uint8Array {
  const { bytes, view } = struct(HOP_SIZE);
  view.setUint32(HOP.number, hopNumber(spec.peer, place), true);
  view.setUint32(HOP.numberTail, hopNumber(spec.peer, place), true);
  view.setUint32(HOP.ifindex, spec.ifindexes[place], true);
  if (!spec.gateways) return bytes;
  const next = spec.gateways[place] ?? spec.remote;
  const v4 = isMapped(next);
  view.setUint32(HOP.family, v4 ? AF_INET : AF_INET6, true);
  bytes.set(v4 ? next.subarray(12, 16) : next, HOP.address);
  return bytes;
}

/** Ways of a stored tunnel. */
export function tunnelHops(tunnel: Uint8Array): number {
  return Math.min(MAX_HOPS, tunnel[TUNNEL.count]);
}

export function encodeTunnelInfo(spec: TunnelSpec): Uint8Array {
  const { bytes } = struct(TUNNEL_INFO_SIZE);
  setText(bytes, 0, 48, spec.hostId);
  return bytes;
}

/** Next hop in a stored way, null if it is the peer itself, undefined if the FIB is asked. */
function decodeGateway(hop: Uint8Array, remote: Uint8Array): Uint8Array | null | undefined {
  const family = u32At(hop, HOP.family);
  if (family === 0) return undefined;
  const address = new Uint8Array(16);
  if (family === AF_INET) {
    address.fill(0xff, 10, 12);
    address.set(hop.subarray(HOP.address, HOP.address + 4), 12);
  } else {
    address.set(hop.subarray(HOP.address, HOP.address + 16));
  }
  return address.every((b, i) => b === remote[i]) ? null : address;
}

/** @param hops stored ways to the peer, in order */
export function decodeTunnel(tunnel: Uint8Array, info: Uint8Array, hops: readonly Uint8Array[]): TunnelSpec {
  const mtu = tunnel[TUNNEL.mtu] | (tunnel[TUNNEL.mtu + 1] << 8);
  const remote = tunnel.subarray(TUNNEL.remote, TUNNEL.remote + 16);
  const gateways = hops.map((hop) => decodeGateway(hop, remote)).filter((gateway) => gateway !== undefined);
  return {
    peer: u32At(tunnel, TUNNEL.peer),
    hostId: text(info, 0, 48),
    local: tunnel.slice(TUNNEL.local, TUNNEL.local + 16),
    remote: tunnel.slice(TUNNEL.remote, TUNNEL.remote + 16),
    ifindexes: hops.map((hop) => u32At(hop, HOP.ifindex)),
    ...(gateways.length > 0 ? { gateways } : {}),
    mtu: mtu === 0xffff ? 0 : mtu,
  };
}

// struct weft_egress: key, port, pad, key_tail
export const EGRESS_SIZE = 16;

/** @param port ifindex, or 0: the members of list (LIST_EGRESS, key) */
export function encodeEgress(key: number, port: number): Uint8Array {
  const { bytes, view } = struct(EGRESS_SIZE);
  view.setUint32(0, key, true);
  view.setUint32(4, port, true);
  view.setUint32(12, key, true);
  return bytes;
}

export const LIST_FLOOD = 0;
export const LIST_EGRESS = 1;
/** Index of the element that holds the number of members. */
export const LIST_HEAD = 0xffff;
export const LIST_MAX = 4096;
/** Entries of weft_fragments that one port may have. */
export const FRAGMENT_SLOTS = 256;
// struct weft_fragment_key: in_port, slot
export const FRAGMENT_KEY_SIZE = 8;
// struct weft_fragment
export const FRAGMENT_SIZE = 72;
export const FRAGMENT = { time: 0, timeTail: 64 } as const;

export function encodeFragmentKey(ifindex: number, slot: number): Uint8Array {
  const { bytes, view } = struct(FRAGMENT_KEY_SIZE);
  view.setUint32(0, ifindex, true);
  view.setUint32(4, slot, true);
  return bytes;
}

// struct weft_list_key: id, kind, index
export const LIST_KEY_SIZE = 8;
// struct weft_member: id, kind_index, target, remote, id_tail
export const MEMBER_SIZE = 20;

export function encodeListKey(kind: number, id: number, index: number): Uint8Array {
  const { bytes, view } = struct(LIST_KEY_SIZE);
  view.setUint32(0, id, true);
  view.setUint16(4, kind, true);
  view.setUint16(6, index, true);
  return bytes;
}

export function encodeMember(kind: number, id: number, index: number, target: number, remote: boolean): Uint8Array {
  const { bytes, view } = struct(MEMBER_SIZE);
  view.setUint32(0, id, true);
  view.setUint32(4, ((kind << 16) | index) >>> 0, true);
  view.setUint32(8, target, true);
  view.setUint32(12, remote ? 1 : 0, true);
  view.setUint32(16, id, true);
  return bytes;
}

/** A stored element of a list, with what its key says. */
export function decodeMember(key: Uint8Array, value: Uint8Array) {
  return {
    id: u32At(key, 0),
    kind: key[4] | (key[5] << 8),
    index: key[6] | (key[7] << 8),
    target: u32At(value, 8),
    remote: u32At(value, 12) !== 0,
  };
}

// struct weft_replica: mark, peer, key, mark_tail
export const REPLICA_SIZE = 16;

export function encodeReplica(mark: number, peer: number, key: number): Uint8Array {
  const { bytes, view } = struct(REPLICA_SIZE);
  view.setUint32(0, mark, true);
  view.setUint32(4, peer, true);
  view.setUint32(8, key, true);
  view.setUint32(12, mark, true);
  return bytes;
}

export const MARK_EXEC = 0x80000000;
export const MARK_REPLICA = 0x40000000;
export const EXEC_SLOTS = 4096;
export const REPLICA_SLOTS = 65536;
// struct weft_exec: mark, pad, action
export const EXEC_ACTION = 8;
export const EXEC_SIZE = EXEC_ACTION + ACTION_SIZE;

/** struct weft_record. */
export const RECORD = {
  time: 0,
  inPort: 8,
  length: 12,
  captured: 16,
  segment: 20,
  peer: 24,
  mtu: 28,
  reason: 30,
  needsCsum: 31,
  csumStart: 32,
  csumOffset: 34,
  gsoSize: 36,
  gsoSegs: 38,
  gsoType: 40,
  key: 48,
  data: 112,
} as const;
