import { copyBytes, equalBytes } from '../bytes.ts';
import { ipIsV4 } from './ip.ts';

/** ff02::1, all nodes on the link. */
export const IP6_ALL_NODES: Uint8Array = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
/** ff02::2, all routers on the link. */
export const IP6_ALL_ROUTERS: Uint8Array = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);

const SOLICITED = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff);

/** Solicited-node multicast address ff02::1:ffXX:XXXX of the IPv6 address at `off` (RFC 4291 §2.7.1). */
export function ip6SolicitedNode(ip: Uint8Array, off = 0): Uint8Array {
  const out = new Uint8Array(16);
  out.set(SOLICITED);
  copyBytes(ip, off + 13, out, 13, 3);
  return out;
}

/** Whether the IPv6 address at `off` is a solicited-node multicast address. */
export function ip6IsSolicitedNode(ip: Uint8Array, off = 0): boolean {
  return equalBytes(ip, off, SOLICITED, 0, 13);
}

/**
 * MAC of a multicast IP address in the 16-byte form: 33:33 + the last four bytes (RFC 2464 §7), or
 * 01:00:5e + the last 23 bits (RFC 1112 §6.4).
 */
export function multicastMac(ip: Uint8Array, off = 0): Uint8Array {
  if (ipIsV4(ip, off)) return Uint8Array.of(0x01, 0, 0x5e, ip[off + 13] & 0x7f, ip[off + 14], ip[off + 15]);
  return Uint8Array.of(0x33, 0x33, ip[off + 12], ip[off + 13], ip[off + 14], ip[off + 15]);
}

/** MAC to which a solicitation for the IPv6 address at `off` goes: 33:33:ff + its last three bytes. */
export function solicitedNodeMac(ip: Uint8Array, off = 0): Uint8Array {
  return Uint8Array.of(0x33, 0x33, 0xff, ip[off + 13], ip[off + 14], ip[off + 15]);
}

/** Link-local address fe80::/64 with the modified EUI-64 of a MAC (RFC 4291 appendix A). */
export function linkLocalFromMac(mac: Uint8Array, off = 0): Uint8Array {
  return ip6FromEui64(Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0), mac, off);
}

/** Address with the first 8 bytes of `prefix` and the modified EUI-64 of a MAC: what SLAAC without privacy gives. */
export function ip6FromEui64(prefix: Uint8Array, mac: Uint8Array, off = 0): Uint8Array {
  const out = new Uint8Array(16);
  copyBytes(prefix, 0, out, 0, 8);
  out[8] = mac[off] ^ 2;
  out[9] = mac[off + 1];
  out[10] = mac[off + 2];
  out[11] = 0xff;
  out[12] = 0xfe;
  copyBytes(mac, off + 3, out, 13, 3);
  return out;
}
