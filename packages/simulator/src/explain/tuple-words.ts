/** What a connection is known by, as plain data and in words. */
import {
  KIND_CONNTRACK,
  KIND_DNAT,
  KIND_SNAT,
  T_DST,
  T_PORTS,
  T_SRC,
  tupleProtocol,
  wordsToAddress,
} from '@weft/flowstate';
import { IPPROTO_ICMP, IPPROTO_ICMPV6, ipFormat, ipProtocolName } from '@weft/packet';
import type { ConnectionKind, ExplainedTuple } from './explanation.ts';

export const CONNECTION_KINDS: Readonly<Record<number, ConnectionKind>> = {
  [KIND_CONNTRACK]: 'tracking',
  [KIND_SNAT]: 'snat',
  [KIND_DNAT]: 'dnat',
};

const NAMES: Readonly<Record<number, string>> = {
  [KIND_CONNTRACK]: 'connection',
  [KIND_SNAT]: 'source translation of',
  [KIND_DNAT]: 'destination translation of',
};

/** What a connection of a kind is called, before its tuple. */
export function kindName(kind: number): string {
  return NAMES[kind] ?? 'connection';
}

/** The tuple with this first word, whose ports, source and destination stand at `words[at + 1 …]`. */
export function explainedTuple(words: Int32Array, at: number, meta: number): ExplainedTuple {
  const protocol = tupleProtocol(meta);
  const address = new Uint8Array(16);
  const text = (from: number) => {
    wordsToAddress(words, from, address, 0);
    return ipFormat(address);
  };
  const ends = { protocol: ipProtocolName(protocol), src: text(at + T_SRC), dst: text(at + T_DST) };
  const ports = words[at + T_PORTS];
  if (protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6) return { ...ends, id: ports & 0xffff };
  return ports === 0 ? ends : { ...ends, srcPort: ports >>> 16, dstPort: ports & 0xffff };
}

/** The packets that the tuple's answers answer. */
export function reversed({ src, dst, srcPort, dstPort, ...rest }: ExplainedTuple): ExplainedTuple {
  const ports = srcPort === undefined || dstPort === undefined ? {} : { srcPort: dstPort, dstPort: srcPort };
  return { ...rest, src: dst, dst: src, ...ports };
}

export function tupleWords({ protocol, src, dst, srcPort, dstPort, id }: ExplainedTuple): string {
  const text = `${protocol} ${endWords(src, srcPort)} > ${endWords(dst, dstPort)}`;
  return id === undefined ? text : `${text} id ${id}`;
}

/** An address with its port, if there is one. */
export function endWords(address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
