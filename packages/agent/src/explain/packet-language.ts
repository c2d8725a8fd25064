/**
 * The language in which people name packets: `udp,ip_src=10.1.0.11,ip_dst=10.2.0.13,tp_dst=53`. Words and fields are
 * close to those of ovs-ofctl(8), old and new spellings alike. The same text describes a packet to build and a filter.
 */
import { ipFormat, ipIsV4, ipParse, macFormat, macParse } from '@weft/packet';
import { AgentError } from '../errors.ts';

/** What was said about a packet. Absent: not said. Addresses in canonical text. */
export interface PacketFields {
  eth_src?: string;
  eth_dst?: string;
  eth_type?: number;
  vlan?: number;
  ip_src?: string;
  ip_dst?: string;
  ip_proto?: number;
  ip_ttl?: number;
  ip_tos?: number;
  tp_src?: number;
  tp_dst?: number;
  icmp_type?: number;
  icmp_code?: number;
  icmp_id?: number;
  tcp_flags?: number;
  frag?: 'no' | 'first' | 'later';
  arp_op?: number;
  arp_spa?: string;
  arp_tpa?: string;
  arp_sha?: string;
  arp_tha?: string;
  nd_target?: string;
  len?: number;
}

/** Bytes of the longest packet that can be described. */
export const MAX_LENGTH = 65_535;
const MAX_TEXT = 1024;

const TCP_FLAGS: Readonly<Record<string, number>> = {
  fin: 1,
  syn: 2,
  rst: 4,
  psh: 8,
  ack: 16,
  urg: 32,
  ece: 64,
  cwr: 128,
};

/** Words that stand alone, and what they say. */
const WORDS: Readonly<Record<string, PacketFields>> = {
  ip: { eth_type: 0x0800 },
  ip6: { eth_type: 0x86dd },
  ipv6: { eth_type: 0x86dd },
  arp: { eth_type: 0x0806 },
  icmp: { eth_type: 0x0800, ip_proto: 1 },
  icmp6: { eth_type: 0x86dd, ip_proto: 58 },
  tcp: { ip_proto: 6 },
  udp: { ip_proto: 17 },
  sctp: { ip_proto: 132 },
  tcp6: { eth_type: 0x86dd, ip_proto: 6 },
  udp6: { eth_type: 0x86dd, ip_proto: 17 },
};

const ALIASES: Readonly<Record<string, keyof PacketFields>> = {
  dl_src: 'eth_src',
  dl_dst: 'eth_dst',
  dl_type: 'eth_type',
  dl_vlan: 'vlan',
  vlan_vid: 'vlan',
  nw_src: 'ip_src',
  nw_dst: 'ip_dst',
  ipv6_src: 'ip_src',
  ipv6_dst: 'ip_dst',
  nw_proto: 'ip_proto',
  nw_ttl: 'ip_ttl',
  nw_tos: 'ip_tos',
  tcp_src: 'tp_src',
  tcp_dst: 'tp_dst',
  udp_src: 'tp_src',
  udp_dst: 'tp_dst',
  nw_frag: 'frag',
  ip_frag: 'frag',
  arp_oper: 'arp_op',
};

const KINDS: Readonly<Record<keyof PacketFields, (text: string) => string | number>> = {
  eth_src: mac,
  eth_dst: mac,
  eth_type: number(0, 0xffff),
  vlan: number(0, 4095),
  ip_src: ip,
  ip_dst: ip,
  ip_proto: number(0, 255),
  ip_ttl: number(0, 255),
  ip_tos: number(0, 255),
  tp_src: number(0, 65_535),
  tp_dst: number(0, 65_535),
  icmp_type: number(0, 255),
  icmp_code: number(0, 255),
  icmp_id: number(0, 65_535),
  tcp_flags: tcpFlags,
  frag: (text) => (text === 'no' || text === 'first' || text === 'later' ? text : fail('no, first or later')),
  arp_op: (text) => (text === 'request' ? 1 : text === 'reply' ? 2 : number(1, 255)(text)),
  arp_spa: ip,
  arp_tpa: ip,
  arp_sha: mac,
  arp_tha: mac,
  nd_target: ip,
  len: number(14, MAX_LENGTH),
};

/** Names of all fields, for messages and completion. */
export const PACKET_FIELDS = Object.keys(KINDS) as (keyof PacketFields)[];

/** Reads a description. @throws AgentError WEFT_AGENT_PACKET, naming the part that is wrong */
export function parsePacket(text: string): PacketFields {
  if (text.length > MAX_TEXT) throw wrong(`it is longer than ${MAX_TEXT} characters`);
  const fields: PacketFields = {};
  const set = (name: keyof PacketFields, value: string | number, part: string): void => {
    const before = fields[name];
    if (before !== undefined && before !== value) throw wrong(`"${part}" contradicts ${name}=${before}`);
    (fields as Record<string, unknown>)[name] = value;
  };
  for (const raw of text.split(',')) {
    const part = raw.trim();
    if (part === '') continue;
    const equals = part.indexOf('=');
    const word = (equals < 0 ? part : part.slice(0, equals)).trim().toLowerCase();
    if (equals < 0) {
      const said = WORDS[word];
      if (said === undefined) throw wrong(`"${part}" is neither a kind of packet nor a field with a value`);
      for (const [name, value] of Object.entries(said)) set(name as keyof PacketFields, value, part);
      continue;
    }
    const name = ALIASES[word] ?? word;
    const kind = Object.hasOwn(KINDS, name) ? KINDS[name as keyof PacketFields] : undefined;
    if (kind === undefined) throw wrong(`there is no field "${word}"; the fields are ${PACKET_FIELDS.join(', ')}`);
    const given = part.slice(equals + 1).trim();
    try {
      set(name as keyof PacketFields, kind(given), part);
    } catch (error) {
      if (error instanceof AgentError) throw error;
      throw wrong(`"${part}": ${given} is not ${(error as Error).message}`);
    }
  }
  implied(fields);
  return fields;
}

/** What follows from what was said: families, and the protocol of ports and ICMP fields. */
function implied(fields: PacketFields): void {
  const families = new Set<4 | 6>();
  for (const address of [fields.ip_src, fields.ip_dst, fields.nd_target]) {
    if (address !== undefined) families.add(address.includes(':') ? 6 : 4);
  }
  if (families.size > 1) throw wrong('its addresses are of both IP versions');
  const arp = fields.arp_op ?? fields.arp_spa ?? fields.arp_tpa ?? fields.arp_sha ?? fields.arp_tha;
  if (arp !== undefined) fields.eth_type ??= 0x0806;
  if (fields.nd_target !== undefined) {
    fields.ip_proto ??= 58;
    fields.icmp_type ??= 135;
  }
  const wanted = families.has(6) ? 0x86dd : families.has(4) ? 0x0800 : undefined;
  if (wanted !== undefined) {
    fields.eth_type ??= wanted;
    if (fields.eth_type !== wanted) throw wrong('its addresses do not belong to its ethertype');
  }
  if (fields.tcp_flags !== undefined) fields.ip_proto ??= 6;
  if (fields.icmp_type !== undefined || fields.icmp_code !== undefined || fields.icmp_id !== undefined) {
    fields.ip_proto ??= fields.eth_type === 0x86dd ? 58 : 1;
  }
}

function wrong(message: string): AgentError {
  return new AgentError('WEFT_AGENT_PACKET', `the packet is not understood: ${message}`);
}

function fail(what: string): never {
  throw new Error(what);
}

function mac(text: string): string {
  try {
    return macFormat(macParse(text));
  } catch {
    return fail('a MAC address');
  }
}

function ip(text: string): string {
  try {
    const bytes = ipParse(text);
    return ipIsV4(bytes) || text.includes(':') ? ipFormat(bytes) : fail('an IP address');
  } catch {
    return fail('an IP address');
  }
}

function number(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^(0x[0-9a-fA-F]+|\d+)$/.test(text) ? Number(text) : Number.NaN;
    return value >= least && value <= most ? value : fail(`a number from ${least} to ${most}`);
  };
}

function tcpFlags(text: string): number {
  if (/^(0x[0-9a-fA-F]+|\d+)$/.test(text)) return number(0, 255)(text);
  let flags = 0;
  for (const name of text.toLowerCase().split(/[+|]/)) {
    flags |= TCP_FLAGS[name] ?? fail(`flags like syn+ack (${Object.keys(TCP_FLAGS).join(', ')})`);
  }
  return flags;
}
