/** The kinds of values that fields have, as words of a command and as JSON of the API. */
import { CliError } from '../errors.ts';
import type { ValueType } from './types.ts';

function refuse(word: string, field: string, expected: string): never {
  throw new CliError('WEFT_CLI_SYNTAX', `Syntax error at: ${word} (${field} takes ${expected})`);
}

const show = (value: unknown): string | undefined =>
  value === undefined || value === null ? undefined : String(value);

/** Words with spaces are quoted, so that a printed line can be read back. */
export const text: ValueType = {
  parse: (word) => word,
  print: (value) => {
    const shown = show(value);
    return shown !== undefined && /[\s'"\\]|^$/.test(shown) ? `"${shown.replace(/["\\]/g, '\\$&')}"` : shown;
  },
};

/** An id of another object. `router0:port0`-like aliases exist in interactive use only. */
export const reference: ValueType = {
  parse: (word, field) => (isUuid(word) ? word.toLowerCase() : refuse(word, field, 'the id of an object')),
  print: show,
};

export const integer: ValueType = {
  parse: (word, field) => (/^-?\d{1,15}$/.test(word) ? Number(word) : refuse(word, field, 'a whole number')),
  print: show,
};

export const flag: ValueType = {
  parse: (word, field) => {
    if (/^(true|yes|on|1)$/i.test(word)) return true;
    return /^(false|no|off|0)$/i.test(word) ? false : refuse(word, field, 'true or false');
  },
  print: show,
};

/** `adminStateUp` is spoken of as `state up` and `state down`. */
export const adminState: ValueType = {
  parse: (word, field) => (word === 'up' ? true : word === 'down' ? false : refuse(word, field, 'up or down')),
  print: (value) => (value === undefined || value === null ? undefined : value ? 'up' : 'down'),
};

/** Comma separated. */
export const list: ValueType = {
  parse: (word) => word.split(',').filter((part) => part !== ''),
  print: (value) => (Array.isArray(value) && value.length > 0 ? value.join(',') : undefined),
};

/** Lower case in commands; the API has its own spelling. */
export const word: ValueType = {
  parse: (given) => given,
  print: (value) => show(value)?.toLowerCase(),
};

/** `80`, `1000-2000` ↔ {start, end}. */
export const portRange: ValueType = {
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

function named(names: Readonly<Record<string, number>>, expected: string): ValueType {
  return {
    parse: (given, field) => {
      const known = names[given.toLowerCase()];
      if (known !== undefined) return known;
      return /^(0x[0-9a-f]{1,4}|\d{1,5})$/i.test(given) ? Number(given) : refuse(given, field, expected);
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
  parse: (given) => (given.includes('/') ? given : `${given}/${given.includes(':') ? 128 : 32}`),
  print: show,
};

export function isUuid(given: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(given);
}
