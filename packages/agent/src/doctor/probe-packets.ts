/**
 * Probes of an underlay path, as bytes. A probe is a TCP SYN (RFC 9293) that carries data, to a port where nobody listens: the
 * peer's stack answers each with a reset that acknowledges every byte, without a rate limit and without a program on the other
 * side, and the fabric spreads them over its paths by their ports as it does with tunnels. Or it is an echo request (RFC 792, 4443),
 * for peers that let no TCP in. All carry DF: a router that cannot forward one says so, or drops it.
 */
import { checksum, checksumOf, ipIsV4, ipParse, pseudoSum4, pseudoSum6, sumBytes } from '@weft/packet';

const TCP = 6;
const ICMP = 1;
const ICMPV6 = 58;
const TCP_SYN = 0x02;
const TCP_RST = 0x04;
const TCP_ACK = 0x10;
const TTL = 64;

export type ProbeKind = 'tcp' | 'echo';

/** Who probes whom. Addresses are text. */
export interface ProbeTarget {
  readonly local: string;
  readonly remote: string;
  /** Where nobody listens by TCP: the tunnels' own port. */
  readonly port: number;
}

/** What came back. `id` is the probe's: source port or echo id. */
export type Answer =
  | { readonly kind: 'passed'; readonly id: number; readonly bytes: number }
  | { readonly kind: 'too-big'; readonly id: number; readonly mtu: number };

/** Bytes of IP header. */
export const headerBytes = (family: 4 | 6): number => (family === 6 ? 40 : 20);

/** A probe of `size` bytes in all, IP header included. `id`: source port of TCP, id of echo; the answer names it. */
export function buildProbe(kind: ProbeKind, target: ProbeTarget, id: number, size: number): Uint8Array {
  const local = ipParse(target.local);
  const remote = ipParse(target.remote);
  const v4 = ipIsV4(remote);
  const at = headerBytes(v4 ? 4 : 6);
  const packet = new Uint8Array(size);
  const view = new DataView(packet.buffer);
  const protocol = kind === 'tcp' ? TCP : v4 ? ICMP : ICMPV6;
  if (v4) {
    view.setUint16(0, 0x4500);
    view.setUint16(2, size);
    view.setUint16(6, 0x4000); // DF
    packet[8] = TTL;
    packet[9] = protocol;
    packet.set(local.subarray(12), 12);
    packet.set(remote.subarray(12), 16);
    view.setUint16(10, checksum(packet, 0, 20));
  } else {
    packet[0] = 0x60;
    view.setUint16(4, size - at);
    packet[6] = protocol;
    packet[7] = TTL;
    packet.set(local, 8);
    packet.set(remote, 24);
  }
  const length = size - at;
  const pseudo = v4 ? pseudoSum4(packet, 12, protocol, length) : pseudoSum6(packet, 8, protocol, length);
  if (kind === 'tcp') {
    view.setUint16(at, id);
    view.setUint16(at + 2, target.port);
    // The sequence number holds the size, so that a quotation in an ICMP error can be told from an older probe's.
    view.setUint32(at + 4, sequenceOf(size));
    packet[at + 12] = 5 << 4;
    packet[at + 13] = TCP_SYN;
    view.setUint16(at + 14, 1024);
    view.setUint16(at + 16, checksumOf(sumBytes(packet, at, length, pseudo)));
  } else {
    packet[at] = v4 ? 8 : 128;
    view.setUint16(at + 4, id);
    view.setUint16(at + 6, size & 0xffff);
    view.setUint16(at + 2, checksumOf(sumBytes(packet, at, length, v4 ? 0 : pseudo)));
  }
  return packet;
}

const sequenceOf = (size: number): number => 0x57_45_00_00 + size;

/** Reads a TCP segment: the reset that answers a probe acknowledges all of it. Undefined: something else. */
export function readReset(bytes: Uint8Array, at: number, port: number): Answer | undefined {
  if (bytes.length < at + 20) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint16(at) !== port || (bytes[at + 13] & (TCP_RST | TCP_ACK)) !== (TCP_RST | TCP_ACK)) return undefined;
  // seq + SYN + data; the data is the size less IP and TCP headers, which the caller knows.
  const acknowledged = view.getUint32(at + 8) - 1;
  return { kind: 'passed', id: view.getUint16(at + 2), bytes: acknowledged };
}

/** Size of the probe that an acknowledgement belongs to, or 0. */
export function acknowledgedSize(acknowledged: number, family: 4 | 6): number {
  // acknowledged = 0x57450000 + size + (size − headers)
  const size = (acknowledged - 0x57_45_00_00 + headerBytes(family) + 20) / 2;
  return Number.isInteger(size) && size > 0 && size <= 65_535 ? size : 0;
}

/** Reads an ICMP or ICMPv6 message at `at`: an echo reply, or a packet-too-big about one of our probes. */
export function readIcmp(bytes: Uint8Array, at: number, family: 4 | 6, remote: string): Answer | undefined {
  if (bytes.length < at + 8) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const type = bytes[at];
  if (type === (family === 4 ? 0 : 129)) {
    return { kind: 'passed', id: view.getUint16(at + 4), bytes: view.getUint16(at + 6) };
  }
  const tooBig = family === 4 ? type === 3 && bytes[at + 1] === 4 : type === 2;
  const quoted = at + 8;
  const inner = quoted + headerBytes(family);
  if (!tooBig || bytes.length < inner + 8) return undefined;
  const destination = ipParse(remote);
  const there = family === 4 ? quoted + 16 : quoted + 24;
  const wanted = family === 4 ? destination.subarray(12) : destination;
  if (wanted.some((byte, i) => bytes[there + i] !== byte)) return undefined;
  if (family === 4 && (bytes[quoted] & 0x0f) !== 5) return undefined;
  const protocol = family === 4 ? bytes[quoted + 9] : bytes[quoted + 6];
  const mtu = family === 4 ? view.getUint16(at + 6) : view.getUint32(at + 4);
  if (protocol === TCP) return { kind: 'too-big', id: view.getUint16(inner), mtu };
  if (protocol === (family === 4 ? ICMP : ICMPV6)) return { kind: 'too-big', id: view.getUint16(inner + 4), mtu };
  return undefined;
}
