/** Captured frames taken apart, as far as checks of connections look at them: IPv4 with TCP, UDP or ICMP. */
import { formatIp } from '@weft/topology';

const ETHERNET = 14;
const ICMP = 1;
const TCP = 6;
const UDP = 17;

export interface Dissected {
  readonly sourceMac: string;
  readonly source: string;
  readonly target: string;
  readonly protocol: number;
  /** 0 in later fragments and other protocols; of ICMP: type and code. */
  readonly sourcePort: number;
  readonly targetPort: number;
  /** Flags of TCP (RFC 9293 §3.1), else 0. */
  readonly flags: number;
  /** Identifier of an ICMP echo, else 0. */
  readonly echoId: number;
  /** The packet that an ICMP error quotes. */
  readonly quoted: Omit<Dissected, 'quoted'> | undefined;
}

export const TCP_SYN = 0x02;
export const TCP_ACK = 0x10;

/** Undefined: no untagged IPv4 frame, or one that is cut off. */
export function dissect(frame: Buffer): Dissected | undefined {
  if (frame.length < ETHERNET + 20 || frame.readUInt16BE(12) !== 0x0800) return undefined;
  const sourceMac = [...frame.subarray(6, 12)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
  return packet(frame.subarray(ETHERNET), sourceMac, true);
}

function packet(bytes: Buffer, sourceMac: string, isOuter: boolean): Dissected | undefined {
  const header = (bytes[0]! & 0x0f) * 4;
  if (bytes[0]! >> 4 !== 4 || header < 20 || bytes.length < header + 8) return undefined;
  const protocol = bytes[9]!;
  const isLater = (bytes.readUInt16BE(6) & 0x1fff) !== 0;
  const l4 = bytes.subarray(header);
  const hasPorts = !isLater && (protocol === TCP || protocol === UDP);
  const isIcmp = !isLater && protocol === ICMP;
  const isEcho = isIcmp && (l4[0] === 0 || l4[0] === 8);
  const isError = isIcmp && (l4[0] === 3 || l4[0] === 11 || l4[0] === 12);
  return {
    sourceMac,
    source: formatIp(bytes.subarray(12, 16)),
    target: formatIp(bytes.subarray(16, 20)),
    protocol,
    sourcePort: hasPorts ? l4.readUInt16BE(0) : isIcmp ? l4[0]! : 0,
    targetPort: hasPorts ? l4.readUInt16BE(2) : isIcmp ? l4[1]! : 0,
    flags: hasPorts && protocol === TCP && l4.length >= 14 ? l4[13]! : 0,
    echoId: isEcho ? l4.readUInt16BE(4) : 0,
    quoted: isOuter && isError && l4.length >= 28 ? packet(l4.subarray(8), '', false) : undefined,
  };
}
