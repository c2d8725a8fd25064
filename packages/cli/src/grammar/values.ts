/** The kinds of values that fields have, as words of a command and as JSON of the API. */
import { CliError } from '../errors.ts';
import type { Names, ReferenceTarget, ValueType } from './types.ts';

function refuse(word: string, field: string, expected: string): never {
  throw new CliError('WEFT_CLI_SYNTAX', `Syntax error at: ${word} (${field} takes ${expected})`);
}

const show = (value: unknown): string | undefined =>
  value === undefined || value === null ? undefined : String(value);

/** Words with spaces are quoted, so that a printed line can be read back. */
export function quoteWord(shown: string): string {
  return /[\s'"\\]|^$/.test(shown) ? `"${shown.replace(/["\\]/g, '\\$&')}"` : shown;
}

function textOf(takes: string): ValueType {
  return {
    takes,
    parse: (word) => word,
    print: (value) => {
      const shown = show(value);
      return shown === undefined ? undefined : quoteWord(shown);
    },
  };
}

export const text = textOf('a text');
export const mac = textOf('a MAC address such as 02:00:00:00:00:01');
export const address = textOf('an IPv4 or IPv6 address');

const parseId = (word: string, field: string, names: Names | undefined): string => {
  if (isUuid(word)) return word.toLowerCase();
  return names?.idOf(word) ?? refuse(word, field, names ? 'an id or an alias' : 'the id of an object');
};

/** The object's own id: never printed as an alias. */
export const id: ValueType = {
  takes: 'an id (UUID)',
  parse: (word, field) => (isUuid(word) ? word.toLowerCase() : refuse(word, field, 'an id (UUID)')),
  print: show,
};

/** An id of another object; aliases such as `router0:port0` exist in interactive use only. */
export function reference(refersTo: ReferenceTarget): ValueType {
  const kind = refersTo === 'any' ? 'bridge, router or port' : refersTo === 'device' ? 'bridge or router' : refersTo;
  return {
    takes: `the id of a ${kind}`,
    refersTo,
    parse: parseId,
    print: (value, names) => (typeof value === 'string' ? (names?.aliasOf(value) ?? value) : show(value)),
  };
}

/** Ids of objects, comma separated. */
export function references(refersTo: ReferenceTarget): ValueType {
  return {
    takes: `ids of ${refersTo}s, comma separated`,
    refersTo,
    parse: (given, field, names) => {
      const ids = given.split(',').filter((part) => part !== '');
      return ids.length === 0 ? refuse(given, field, 'at least one id') : ids.map((one) => parseId(one, field, names));
    },
    print: (value, names) =>
      Array.isArray(value) && value.length > 0
        ? value.map((one: unknown) => names?.aliasOf(String(one)) ?? String(one)).join(',')
        : undefined,
  };
}

export const integer: ValueType = {
  takes: 'a whole number',
  parse: (word, field) => (/^-?\d{1,15}$/.test(word) ? Number(word) : refuse(word, field, 'a whole number')),
  print: show,
};

export const flag: ValueType = {
  takes: 'true or false',
  words: ['true', 'false'],
  parse: (word, field) => {
    if (/^(true|yes|on|1)$/i.test(word)) return true;
    return /^(false|no|off|0)$/i.test(word) ? false : refuse(word, field, 'true or false');
  },
  print: show,
};

/** `adminStateUp` is spoken of as `state up` and `state down`. */
export const adminState: ValueType = {
  takes: 'up or down',
  words: ['up', 'down'],
  parse: (word, field) => (word === 'up' ? true : word === 'down' ? false : refuse(word, field, 'up or down')),
  print: (value) => (value === undefined || value === null ? undefined : value ? 'up' : 'down'),
};

/** Comma separated; `[a,b]` as MidoNet prints lists is read too. */
function listOf(takes: string): ValueType {
  return {
    takes,
    parse: (word) =>
      word
        .replace(/^\[(.*)\]$/, '$1')
        .split(',')
        .map((part) => part.trim())
        .filter((part) => part !== ''),
    print: (value) => (Array.isArray(value) && value.length > 0 ? value.map(String).join(',') : undefined),
  };
}

export const ips = listOf('addresses, comma separated: 10.0.0.5,fd00::5');
export const addresses = listOf('addresses with prefix length, comma separated: 10.0.0.1/24,fd00::1/64');

/** One of these, in any case; printed in lower case. */
export function oneOf(words: readonly string[]): ValueType {
  const takes = `one of ${words.join(', ')}`;
  return {
    takes,
    words,
    parse: (word, field) => {
      const wanted = word.toLowerCase().replaceAll('-', '_');
      return words.find((one) => one.replaceAll('-', '_') === wanted) ?? refuse(word, field, takes);
    },
    print: (value) => show(value)?.toLowerCase(),
  };
}

/** `80`, `1000-2000` ↔ {start, end}. */
export const portRange: ValueType = {
  takes: 'a port or a range such as 1000-2000',
  parse: (given, field) => {
    const match = /^(\d{1,5})(?:[-:](\d{1,5}))?$/.exec(given);
    if (!match) return refuse(given, field, 'a port or a range such as 1000-2000');
    return { start: Number(match[1]), end: Number(match[2] ?? match[1]) };
  },
  print: (value) => {
    if (typeof value !== 'object' || value === null) return undefined;
    const { start, end } = value as { start: number; end: number };
    return start === end ? String(start) : `${start}-${end}`;
  },
};

const TARGETS =
  'address[-address][:port[-port]], comma separated; an IPv6 address with ports in brackets: [fd00::1]:80';

/** `192.0.2.1-192.0.2.9:1024-65535`, `[fd00::1-fd00::9]:80` ↔ {addressFrom, addressTo, portFrom, portTo}. */
export const natTargets: ValueType = {
  takes: TARGETS,
  parse: (word, field) =>
    word.split(',').map((target) => {
      // Without brackets, colons of IPv6 belong to the address.
      const match =
        /^\[([\da-f:.]+)(?:-([\da-f:.]+))?\](?::(\d{1,5})(?:-(\d{1,5}))?)?$/i.exec(target) ??
        /^([\d.]+)(?:-([\d.]+))?(?::(\d{1,5})(?:-(\d{1,5}))?)?$/.exec(target) ??
        /^(?=.*:.*:)([\da-f:.]+)(?:-([\da-f:.]+))?$/i.exec(target);
      if (!match) return refuse(word, field, TARGETS);
      const [, addressFrom, addressTo, portFrom, portTo] = match;
      return {
        addressFrom,
        addressTo: addressTo ?? addressFrom,
        portFrom: Number(portFrom ?? 0),
        portTo: Number(portTo ?? portFrom ?? 0),
      };
    }),
  print: (value) => {
    if (!Array.isArray(value) || value.length === 0) return undefined;
    return value
      .map(({ addressFrom, addressTo, portFrom, portTo }: Record<string, string | number>) => {
        const addresses = addressFrom === addressTo ? addressFrom : `${addressFrom}-${addressTo}`;
        if (portTo === 0) return addresses;
        const ports = portFrom === portTo ? portFrom : `${portFrom}-${portTo}`;
        return String(addressFrom).includes(':') ? `[${addresses}]:${ports}` : `${addresses}:${ports}`;
      })
      .join(',');
  },
};

/** `a=1,b=2` ↔ {a: '1', b: '2'}. */
export const pairs: ValueType = {
  takes: 'keys and values: a=1,b=2',
  parse: (given, field) =>
    Object.fromEntries(
      given.split(',').map((pair) => {
        const at = pair.indexOf('=');
        return at > 0 ? [pair.slice(0, at), pair.slice(at + 1)] : refuse(given, field, 'keys and values: a=1,b=2');
      }),
    ),
  print: (value) => {
    if (typeof value !== 'object' || value === null) return undefined;
    const all = Object.entries(value).map(([key, one]) => `${key}=${one}`);
    return all.length === 0 ? undefined : quoteWord(all.join(','));
  },
};

const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  tcp: 6,
  udp: 17,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  ospf: 89,
  vrrp: 112,
  sctp: 132,
  udplite: 136,
};

const ETHERTYPES: Readonly<Record<string, number>> = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd };

function named(names: Readonly<Record<string, number>>, takes: string): ValueType {
  return {
    takes,
    words: Object.keys(names),
    parse: (given, field) => {
      const known = names[given.toLowerCase()];
      if (known !== undefined) return known;
      return /^(0x[0-9a-f]{1,4}|\d{1,5})$/i.test(given) ? Number(given) : refuse(given, field, takes);
    },
    print: (value) => {
      const name = Object.keys(names).find((candidate) => names[candidate] === value);
      return name ?? show(value);
    },
  };
}

export const protocol = named(PROTOCOLS, 'a protocol such as tcp, or its number');
export const ethertype = named(ETHERTYPES, 'an ethertype such as ipv4 or 0x88cc');

/** A prefix; a bare address is a prefix of its full length. */
export const prefix: ValueType = {
  takes: 'a prefix such as 10.0.0.0/24, or an address',
  parse: (given) => (given.includes('/') ? given : `${given}/${given.includes(':') ? 128 : 32}`),
  print: show,
};

/** Given by the system; its form is of no interest to the language. */
export const shown: ValueType = {
  takes: 'nothing',
  parse: (word) => word,
  print: (value) => {
    if (Array.isArray(value)) return value.length > 0 ? value.map(String).join(',') : undefined;
    const printed = show(value);
    return printed === undefined ? undefined : quoteWord(printed);
  },
};

export function isUuid(given: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(given);
}
