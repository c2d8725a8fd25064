/** MAC addresses and masks as text; canonical form is lower-case `aa:bb:cc:dd:ee:ff`. */

/** Accepts colons, dashes or MidoNet's mask notation `ffff.ff00.0000`. */
export function canonicalMac(text: string): string | undefined {
  const colons = /^([0-9a-f]{2})([:-])([0-9a-f]{2})(\2[0-9a-f]{2}){4}$/i;
  const dots = /^([0-9a-f]{4})\.([0-9a-f]{4})\.([0-9a-f]{4})$/i;
  if (!colons.test(text) && !dots.test(text)) return undefined;
  return text.toLowerCase().replace(/[:.-]/g, '').match(/../g)!.join(':');
}

/** The individual/group bit of IEEE 802. */
function isMulticastMac(mac: string): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
}

/** A MAC that one interface can own: neither a group address nor all zeros. */
export function isAssignableMac(mac: string): boolean {
  return !isMulticastMac(mac) && mac !== '00:00:00:00:00:00';
}

/** The IPv6 link-local address (16 bytes) that an interface with this MAC forms by RFC 4291, appendix A. */
export function linkLocalOf(mac: string): Uint8Array {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = mac.split(':').map((part) => Number.parseInt(part, 16));
  return Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f);
}

/** Prefix of the MACs given to router ports, so that they are recognisable on the wire; three random bytes follow. */
export const ROUTER_PORT_MAC_PREFIX = 'ac:ca:ba';

/** A router port's MAC from 3 random bytes. */
export function routerPortMac(random: Uint8Array): string {
  const hex = Array.from(random.subarray(0, 3), (b) => b.toString(16).padStart(2, '0'));
  return [ROUTER_PORT_MAC_PREFIX, ...hex].join(':');
}
