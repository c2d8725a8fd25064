/**
 * The string formats of the schemas. Each has one canonical spelling, in which values are stored: equal things are equal
 * strings, so indexes and unique names can compare them.
 */
import { canonicalTunnelZoneHostId, canonicalUuid } from './ids.ts';
import { canonicalAddressOrPrefix, canonicalAddressWithPrefix, canonicalIp, canonicalSubnet } from './ip.ts';
import { canonicalMac } from './mac.ts';

export interface Format {
  /** Canonical spelling, or undefined when `text` is not of this format. */
  readonly canonical: (text: string) => string | undefined;
  /** Completes "must be …". */
  readonly expected: string;
}

export const FORMATS = {
  uuid: { canonical: canonicalUuid, expected: 'a UUID' },
  'tunnel-zone-host-id': { canonical: canonicalTunnelZoneHostId, expected: 'two UUIDs, zone:host' },
  mac: { canonical: canonicalMac, expected: 'a MAC address such as 02:00:00:00:00:01' },
  ip: { canonical: canonicalIp, expected: 'an IPv4 or IPv6 address' },
  /** A set of addresses: host bits are cleared. */
  subnet: { canonical: canonicalSubnet, expected: 'a CIDR such as 10.0.0.0/24 or fd00::/64' },
  /** One address, or a set of them: a full-length prefix is written as the address. */
  'address-or-prefix': {
    canonical: canonicalAddressOrPrefix,
    expected: 'an IPv4 or IPv6 address, or a CIDR such as 10.0.0.0/24',
  },
  /** An interface's address together with its prefix length: host bits are kept. */
  'address-with-prefix': {
    canonical: canonicalAddressWithPrefix,
    expected: 'an address with prefix length such as 10.0.0.1/24 or fd00::1/64',
  },
} as const satisfies Record<string, Format>;

export type FormatName = keyof typeof FORMATS;
