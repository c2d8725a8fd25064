import { copyBytes, u16, u32 } from '../bytes.ts';
import { needRange, PacketError, quoteText } from '../errors.ts';

/** Bytes of a MAC address (EUI-48). */
export const MAC_SIZE = 6;
/** ff:ff:ff:ff:ff:ff */
export const MAC_BROADCAST: Uint8Array = new Uint8Array(6).fill(0xff);
/** 00:00:00:00:00:00 */
export const MAC_ZERO: Uint8Array = new Uint8Array(6);

/** What builders accept as a MAC: 6 bytes, 'aa:bb:cc:dd:ee:ff', or a number below 2^48. */
export type MacLike = Uint8Array | string | number;

const MAC_TEXT = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i;

/**
 * Reads 'aa:bb:cc:dd:ee:ff' (either case, colons only, two digits a byte).
 * @throws PacketError WEFT_ADDRESS_INVALID
 */
export function macParse(text: string): Uint8Array {
  if (typeof text !== 'string' || !MAC_TEXT.test(text)) {
    throw new PacketError(
      'WEFT_ADDRESS_INVALID',
      'mac',
      0,
      `${quoteText(text)} is not a MAC address: write six pairs of hex digits with colons, such as 02:00:00:00:00:01.`,
    );
  }
  const mac = new Uint8Array(6);
  for (let i = 0; i < 6; i++) mac[i] = Number.parseInt(text.slice(3 * i, 3 * i + 2), 16);
  return mac;
}

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

/** 'aa:bb:cc:dd:ee:ff', lower case, of the 6 bytes at `off`. */
export function macFormat(buf: Uint8Array, off = 0): string {
  return `${HEX[buf[off] | 0]}:${HEX[buf[off + 1] | 0]}:${HEX[buf[off + 2] | 0]}:${HEX[buf[off + 3] | 0]}:${HEX[buf[off + 4] | 0]}:${HEX[buf[off + 5] | 0]}`;
}

/** The MAC at `off` as an integer below 2^48 (exact in a double): a cheap key for a Map. */
export function macToNumber(buf: Uint8Array, off = 0): number {
  return u16(buf, off) * 0x1_0000_0000 + u32(buf, off + 2);
}

/** Writes `mac` (an integer below 2^48) as 6 bytes at `off`. */
export function macWriteNumber(mac: number, buf: Uint8Array, off: number): void {
  const high = Math.floor(mac / 0x1_0000_0000);
  buf[off] = high >>> 8;
  buf[off + 1] = high;
  buf[off + 2] = mac >>> 24;
  buf[off + 3] = mac >>> 16;
  buf[off + 4] = mac >>> 8;
  buf[off + 5] = mac;
}

/**
 * 6 bytes of an integer below 2^48.
 * @throws PacketError WEFT_PACKET_FIELD when out of range
 */
export function macFromNumber(mac: number): Uint8Array {
  needRange(mac, 0xffff_ffff_ffff, 'mac', 'number', 0);
  const buf = new Uint8Array(6);
  macWriteNumber(mac, buf, 0);
  return buf;
}

/** 6 bytes of whatever a builder was given. Bytes are passed through, not copied. */
export function macOf(mac: MacLike): Uint8Array {
  if (typeof mac === 'string') return macParse(mac);
  if (typeof mac === 'number') return macFromNumber(mac);
  if (!(mac instanceof Uint8Array) || mac.length !== 6) {
    throw new PacketError('WEFT_ADDRESS_INVALID', 'mac', 0, 'A MAC address in bytes has six of them.');
  }
  return mac;
}

/** Group bit (I/G): multicast and broadcast (IEEE 802-2014 §8.2). */
export function macIsMulticast(buf: Uint8Array, off = 0): boolean {
  return (buf[off] & 1) !== 0;
}

/** ff:ff:ff:ff:ff:ff */
export function macIsBroadcast(buf: Uint8Array, off = 0): boolean {
  return (buf[off] & buf[off + 1] & buf[off + 2] & buf[off + 3] & buf[off + 4] & buf[off + 5]) === 0xff;
}

/** All zero: never a valid sender. */
export function macIsZero(buf: Uint8Array, off = 0): boolean {
  return (buf[off] | buf[off + 1] | buf[off + 2] | buf[off + 3] | buf[off + 4] | buf[off + 5]) === 0;
}

/** Whether two MACs are equal. */
export function macEquals(a: Uint8Array, aOff: number, b: Uint8Array, bOff: number): boolean {
  return (
    a[aOff] === b[bOff] &&
    a[aOff + 1] === b[bOff + 1] &&
    a[aOff + 2] === b[bOff + 2] &&
    a[aOff + 3] === b[bOff + 3] &&
    a[aOff + 4] === b[bOff + 4] &&
    a[aOff + 5] === b[bOff + 5]
  );
}

/** Copies a MAC. */
export function macCopy(src: Uint8Array, srcOff: number, dst: Uint8Array, dstOff: number): void {
  copyBytes(src, srcOff, dst, dstOff, 6);
}
