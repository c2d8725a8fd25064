/** An outside network of a scenario: what of it can be judged without the rest of the file. */
import { canonicalAddressWithPrefix, canonicalIp, canonicalSubnet, overlaps, parseCidr, parseIp } from '@weft/topology';
import { isLabName } from '../names.ts';
import type { Reader } from './reader.ts';
import type { External, ExternalLink, ExternalRoute } from './types.ts';

/** One digit in the name of the interface, whose 15 characters have to do for the rest too. */
const MAX_LINKS = 10;
const NAME_EXPECTED = 'must be 1 to 12 of a-z, 0-9 and -, beginning with a letter';

const readName = (reader: Reader): string => {
  const name = reader.string(undefined, NAME_EXPECTED);
  return isLabName(name) ? name : reader.fail(NAME_EXPECTED);
};

export function readExternal(reader: Reader): External {
  const fields = reader.map(['name', 'addresses', 'forward', 'behind', 'mtu', 'links', 'routes']);
  const behind = fields.optional('behind', readName);
  if (behind !== undefined) {
    for (const field of ['links', 'routes'] as const) {
      if (fields.has(field)) fields.get(field).fail('has no meaning behind another outside network');
    }
  }
  const links = fields.optional('links', (list) => list.list().map(readLink), []);
  if (behind === undefined && (links.length < 1 || links.length > MAX_LINKS)) {
    reader.fail(`must have 1 to ${MAX_LINKS} links, or be behind another outside network`);
  }
  return {
    name: readName(fields.get('name')),
    addresses: fields
      .get('addresses')
      .list()
      .map((item) => item.canonical(hostAddress, 'must be an address such as 198.51.100.1/32')),
    forward: fields.optional('forward', (field) => field.boolean(), false),
    behind,
    mtu: fields.optional('mtu', (field) => field.integer(1280, 65_535), 1500),
    links,
    routes: fields.optional('routes', (list) => list.list().map((item) => readRoute(item, links)), []),
  };
}

function readLink(reader: Reader): ExternalLink {
  const fields = reader.map(['host', 'tenant', 'router', 'addresses', 'peer', 'default']);
  const addresses = fields
    .get('addresses')
    .list()
    .map((item) => item.canonical(withLength, 'must be an address with prefix length such as 203.0.113.1/30'));
  if (addresses.length === 0) fields.get('addresses').fail('must name an address');
  const peers = fields.get('peer').list();
  const peer = peers.map((item) => item.canonical(canonicalIp, 'must be an IPv4 or IPv6 address'));
  peer.forEach((address, i) => {
    if (subnetOfLink(address, addresses) === undefined) peers[i]!.fail(`${address} is in no subnet of the link`);
    if (addresses.some((own) => own.split('/')[0] === address)) peers[i]!.fail(`${address} is the router's own`);
    if (peer.findIndex((other) => familyOf(other) === familyOf(address)) !== i) {
      peers[i]!.fail(`is a second IPv${familyOf(address)} address of the far end`);
    }
  });
  return {
    host: readName(fields.get('host')),
    tenant: readName(fields.get('tenant')),
    router: readName(fields.get('router')),
    addresses,
    peer,
    default: fields.optional('default', (field) => field.boolean(), true),
  };
}

function readRoute(reader: Reader, links: readonly ExternalLink[]): ExternalRoute {
  const fields = reader.map(['dst', 'via']);
  const dst = fields.get('dst').canonical(canonicalSubnet, 'must be a CIDR such as 192.0.2.0/28');
  const family = parseCidr(dst)!.family;
  const numbers = fields.get('via').list();
  if (numbers.length === 0) fields.get('via').fail('must name a link by its number, the first is 0');
  const via = numbers.map((item) => {
    const link = item.integer(0, links.length - 1);
    if (gatewayOf(links[link]!, family) === undefined) item.fail(`is a link without IPv${family} addresses`);
    return link;
  });
  return { dst, via };
}

/** The router's address on a link, as the far end sees it; undefined: the link does not carry that IP version. */
export function gatewayOf(link: ExternalLink, family: 4 | 6): string | undefined {
  const peer = link.peer.find((address) => familyOf(address) === family);
  const own = peer && subnetOfLink(peer, link.addresses);
  return own?.split('/')[0];
}

/** The router's address with prefix length, in whose subnet `address` is. */
export function subnetOfLink(address: string, addresses: readonly string[]): string | undefined {
  const one = parseCidr(`${address}/${parseIp(address)!.length * 8}`)!;
  return addresses.find((own) => overlaps(one, parseCidr(own)!));
}

function familyOf(ip: string): 4 | 6 {
  return parseIp(ip)!.length === 4 ? 4 : 6;
}

/** An address by itself: with the prefix length of a host, or none. */
function hostAddress(text: string): string | undefined {
  const cidr = canonicalAddressWithPrefix(text);
  const parsed = cidr === undefined ? undefined : parseCidr(cidr);
  return parsed !== undefined && parsed.length === parsed.bytes.length * 8 ? cidr!.split('/')[0] : undefined;
}

function withLength(text: string): string | undefined {
  return text.includes('/') ? canonicalAddressWithPrefix(text) : undefined;
}
