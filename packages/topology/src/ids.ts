/** Object ids: lower-case UUIDs (RFC 9562); ids of derived objects are computed, so that the same input gives the same id. */
import { createHash } from 'node:crypto';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function canonicalUuid(text: string): string | undefined {
  const lower = text.toLowerCase();
  return UUID.test(lower) ? lower : undefined;
}

/** Name space of Weft's version 5 UUIDs. */
const NAMESPACE = Buffer.from('5d1f6c7e0b1a4f0e9a5c3a7e77656674', 'hex');

/** A version 5 (SHA-1, name-based) UUID of `parts`. */
export function derivedUuid(...parts: readonly string[]): string {
  const hash = createHash('sha1').update(NAMESPACE).update(parts.join('\n')).digest().subarray(0, 16);
  hash[6] = (hash[6]! & 0x0f) | 0x50;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** Id of a host's membership in a tunnel zone: at most one per pair, found without a search. */
export function tunnelZoneHostId(tunnelZoneId: string, hostId: string): string {
  return `${tunnelZoneId}:${hostId}`;
}

export function canonicalTunnelZoneHostId(text: string): string | undefined {
  const [zone = '', host = '', ...rest] = text.split(':');
  const ids = [canonicalUuid(zone), canonicalUuid(host)];
  return rest.length === 0 && ids[0] && ids[1] ? `${ids[0]}:${ids[1]}` : undefined;
}
