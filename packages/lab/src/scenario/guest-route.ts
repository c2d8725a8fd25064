/** A route inside a VM. */
import { canonicalIp, canonicalSubnet } from '@weft/topology';
import type { Reader } from './reader.ts';

const ROUTE_TYPES = ['unicast', 'blackhole', 'unreachable', 'prohibit', 'throw', 'local'];
const ROUTE_WORDS = ['via', 'dev', 'metric', 'mtu', 'src', 'proto', 'scope', 'onlink', 'table', 'nexthop', 'advmss'];

/** What `ip route add` takes: a prefix or `default`, then more words, of which a next hop is looked at. */
export function readGuestRoute(reader: Reader): string {
  const expected = 'must be a route in the words of `ip route`, such as "default via 10.0.0.1"';
  const route = reader.string(/^[0-9a-z:./ ]+$/, expected);
  const words = route.trim().split(/ +/);
  if (ROUTE_TYPES.includes(words[0]!)) words.shift();
  const [prefix = '', ...rest] = words;
  if (prefix !== 'default' && canonicalSubnet(prefix) === undefined) reader.fail(expected);
  const via = rest.indexOf('via');
  if (via >= 0 && canonicalIp(rest[via + 1] ?? '') === undefined) reader.fail(`${expected}: "via" needs an address`);
  if (rest.length > 0 && !ROUTE_WORDS.includes(rest[0]!)) reader.fail(`${expected}: "${rest[0]}" is none of them`);
  return route;
}
