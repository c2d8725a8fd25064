/** IP addresses between text and network-order bytes, for netlink attributes. */
import { isIPv4, isIPv6 } from 'node:net';
import { WeftSysError } from './errors.ts';
import { AF_INET, AF_INET6 } from './socket.ts';

/** 4 or 16 bytes of an address in text; no zone, no prefix. Throws WEFT_SYS_ARGUMENT. */
export function ipBytes(text: string): Uint8Array {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  if (!isIPv6(text) || text.includes('%'))
    throw new WeftSysError('WEFT_SYS_ARGUMENT', `'${text}' is not an IP address`);
  let body = text;
  const lastColon = text.lastIndexOf(':');
  if (text.includes('.')) {
    const [a, b, c, d] = ipBytes(text.slice(lastColon + 1)) as unknown as [number, number, number, number];
    body = `${text.slice(0, lastColon + 1)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  }
  const [head, tail] = body.split('::') as [string, string | undefined];
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const bytes = new Uint8Array(16);
  const put = (group: string, at: number) => {
    const value = Number.parseInt(group, 16);
    bytes[at] = value >> 8;
    bytes[at + 1] = value & 0xff;
  };
  left.forEach((group, i) => {
    put(group, i * 2);
  });
  right.forEach((group, i) => {
    put(group, 16 - (right.length - i) * 2);
  });
  return bytes;
}

/** Text of 4 or 16 bytes, IPv6 as RFC 5952 has it. Throws WEFT_SYS_ARGUMENT for another length. */
export function ipText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length !== 16) throw new WeftSysError('WEFT_SYS_ARGUMENT', `${bytes.length} bytes are no IP address`);
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[i * 2]! << 8) | bytes[i * 2 + 1]!);
  let runStart = -1;
  let runLength = 1; // a single zero group is not shortened
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > runLength) {
      runStart = i;
      runLength = n;
    }
    i += n;
  }
  const hex = groups.map((g) => g.toString(16));
  if (runStart < 0) return hex.join(':');
  return `${hex.slice(0, runStart).join(':')}::${hex.slice(runStart + runLength).join(':')}`;
}

/** AF_INET or AF_INET6 by length. */
export function ipFamily(bytes: Uint8Array): number {
  return bytes.length === 4 ? AF_INET : AF_INET6;
}

/** An address with its prefix length: `10.0.0.1/24`; without `/n` the whole address. Host bits stay. */
export function parsePrefix(text: string): { address: Uint8Array; prefixLength: number } {
  const slash = text.indexOf('/');
  const address = ipBytes(slash < 0 ? text : text.slice(0, slash));
  const bits = address.length * 8;
  const prefixLength = slash < 0 ? bits : Number(text.slice(slash + 1));
  if (slash >= 0 && (!/^\d{1,3}$/.test(text.slice(slash + 1)) || prefixLength > bits)) {
    throw new WeftSysError('WEFT_SYS_ARGUMENT', `'${text}' is not an address with a prefix length`);
  }
  return { address, prefixLength };
}

/** Six bytes of a MAC address `02:00:…`. Throws WEFT_SYS_ARGUMENT. */
export function macBytes(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new WeftSysError('WEFT_SYS_ARGUMENT', `'${text}' is not a MAC address`);
  }
  return Uint8Array.from(text.split(':'), (h) => Number.parseInt(h, 16));
}

/** Text of a link-layer address: `02:00:00:00:00:01`. */
export function macText(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(':');
}
