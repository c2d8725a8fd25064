/** Explicit congestion notification across a tunnel, RFC 6040: normal mode on entry, the combination table on exit. */

export const NOT_ECT = 0;
export const ECT_1 = 1;
export const ECT_0 = 2;
export const CE = 3;

/** ECN of the IP packet whose header begins at `l3`, 0 if `etherType` is neither IPv4 nor IPv6. */
export function ecnOf(bytes: Uint8Array, l3: number, etherType: number): number {
  if (etherType === 0x0800) return bytes[l3 + 1] & 3;
  return etherType === 0x86dd ? (bytes[l3 + 1] >>> 4) & 3 : 0;
}

/** ECN that the inner packet leaves with (§4.2, figure 4), or -1: it must be dropped. */
export function combineEcn(inner: number, outer: number): number {
  if (outer === CE) return inner === NOT_ECT ? -1 : CE;
  return outer === ECT_1 && inner === ECT_0 ? ECT_1 : inner;
}

/** Writes the ECN bits of an IP packet; the IPv4 header checksum follows. */
export function setEcn(bytes: Uint8Array, l3: number, etherType: number, ecn: number): void {
  if (etherType === 0x86dd) {
    bytes[l3 + 1] = (bytes[l3 + 1] & 0xcf) | (ecn << 4);
    return;
  }
  const old = (bytes[l3] << 8) | bytes[l3 + 1];
  bytes[l3 + 1] = (bytes[l3 + 1] & 0xfc) | ecn;
  const check = (bytes[l3 + 10] << 8) | bytes[l3 + 11];
  let s = 0xffff + (~check & 0xffff) + (~old & 0xffff) + ((bytes[l3] << 8) | bytes[l3 + 1]);
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16);
  bytes[l3 + 10] = (~s >>> 8) & 0xff;
  bytes[l3 + 11] = ~s & 0xff;
}
