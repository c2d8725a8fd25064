/** Packets made by hand: right ones, and ones whose headers lie. */
import { parseIp } from '@weft/topology';
import { macBytes } from './frames.ts';

export interface IpOptions {
  readonly source: string;
  readonly target: string;
  readonly protocol: number;
  readonly payload: Uint8Array;
  /** TTL or hop limit; default 64. */
  readonly ttl?: number;
  /** IPv4: identification; default 0. */
  readonly id?: number;
  /** IPv4: flags and fragment offset as one number; default 0. */
  readonly fragment?: number;
  /** Added to the length that the header claims. */
  readonly lengthError?: number;
}

/** An IPv4 packet without options, or an IPv6 packet without extension headers, by the addresses' version. */
export function ipPacket(options: IpOptions): Uint8Array {
  const { protocol, payload, ttl = 64, fragment = 0, lengthError = 0 } = options;
  const source = parseIp(options.source)!;
  const target = parseIp(options.target)!;
  const header = Buffer.alloc(source.length === 4 ? 20 : 40);
  if (source.length === 4) {
    header[0] = 0x45;
    header.writeUInt16BE(20 + payload.length + lengthError, 2);
    header.writeUInt16BE(options.id ?? 0, 4);
    header.writeUInt16BE(fragment, 6);
    header[8] = ttl;
    header[9] = protocol;
    header.set(source, 12);
    header.set(target, 16);
    header.writeUInt16BE(internetChecksum(header), 10);
  } else {
    header[0] = 0x60;
    header.writeUInt16BE(payload.length + lengthError, 4);
    header[6] = protocol;
    header[7] = ttl;
    header.set(source, 8);
    header.set(target, 24);
  }
  return Buffer.concat([header, payload]);
}

/** A UDP datagram without a checksum. `lengthError` is added to the length that its header claims. */
export function udpDatagram(sourcePort: number, targetPort: number, payload: Uint8Array, lengthError = 0): Uint8Array {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(sourcePort, 0);
  header.writeUInt16BE(targetPort, 2);
  header.writeUInt16BE(8 + payload.length + lengthError, 4);
  return Buffer.concat([header, payload]);
}

const ICMPV6 = 58;

/** ICMPv6 as neighbours speak it (RFC 4861): with the hop limit 255. `body` begins with type and code; its checksum is filled in. */
export function icmpv6Packet(source: string, target: string, body: Uint8Array): Uint8Array {
  const payload = Buffer.from(body);
  const length = [0, 0, payload.length >> 8, payload.length & 0xff];
  const pseudo = Buffer.from([...parseIp(source)!, ...parseIp(target)!, ...length, 0, 0, 0, ICMPV6]);
  payload.writeUInt16BE(internetChecksum(Buffer.concat([pseudo, payload])), 2);
  return ipPacket({ source, target, protocol: ICMPV6, payload, ttl: 255 });
}

/** Type 135 (RFC 4861 §4.3), with the sender's own MAC address as option. */
export function neighbourSolicitation(source: string, target: string, mac: string): Uint8Array {
  const body = Buffer.alloc(32);
  body[0] = 135;
  body.set(parseIp(target)!, 8);
  body.set([1, 1, ...macBytes(mac)], 24);
  return icmpv6Packet(source, target, body);
}

/** ARP for IPv4 over Ethernet (RFC 826), padded to the shortest frame. */
export function arpReply(senderMac: string, sender: string, targetMac: string, target: string): Uint8Array {
  const ends = [...macBytes(senderMac), ...parseIp(sender)!, ...macBytes(targetMac), ...parseIp(target)!];
  return Uint8Array.from([0, 1, 8, 0, 6, 4, 0, 2, ...ends, ...new Uint8Array(18)]);
}

/** RFC 1071, over bytes whose own checksum field is 0. */
export function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += i & 1 ? bytes[i]! : bytes[i]! << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}
