/*
 * Big-endian access. Reads beyond the buffer yield 0 rather than throwing (a typed array's `undefined` becomes 0 under
 * `|`): safety comes from the `…Check` functions, speed from having no test here.
 */

/** Byte at `off`. */
export function u8(buf: Uint8Array, off: number): number {
  return buf[off] | 0;
}

/** 16-bit big-endian at `off`. */
export function u16(buf: Uint8Array, off: number): number {
  return (buf[off] << 8) | buf[off + 1];
}

/** 24-bit big-endian at `off`. */
export function u24(buf: Uint8Array, off: number): number {
  return (buf[off] << 16) | (buf[off + 1] << 8) | buf[off + 2];
}

/** 32-bit big-endian at `off`, in [0, 2^32). */
export function u32(buf: Uint8Array, off: number): number {
  return ((buf[off] << 24) | (buf[off + 1] << 16) | (buf[off + 2] << 8) | buf[off + 3]) >>> 0;
}

/** Writes the low 16 bits of `v`, big-endian. */
export function setU16(buf: Uint8Array, off: number, v: number): void {
  buf[off] = v >>> 8;
  buf[off + 1] = v;
}

/** Writes the low 24 bits of `v`, big-endian. */
export function setU24(buf: Uint8Array, off: number, v: number): void {
  buf[off] = v >>> 16;
  buf[off + 1] = v >>> 8;
  buf[off + 2] = v;
}

/** Writes the low 32 bits of `v`, big-endian. */
export function setU32(buf: Uint8Array, off: number, v: number): void {
  buf[off] = v >>> 24;
  buf[off + 1] = v >>> 16;
  buf[off + 2] = v >>> 8;
  buf[off + 3] = v;
}

/** Copies `len` bytes. For the short runs of addresses a loop beats `set(subarray())`, which allocates. */
export function copyBytes(src: Uint8Array, srcOff: number, dst: Uint8Array, dstOff: number, len: number): void {
  for (let i = 0; i < len; i++) dst[dstOff + i] = src[srcOff + i];
}

/** Whether `len` bytes are equal. */
export function equalBytes(a: Uint8Array, aOff: number, b: Uint8Array, bOff: number, len: number): boolean {
  for (let i = 0; i < len; i++) if (a[aOff + i] !== b[bOff + i]) return false;
  return true;
}

/** Bytes of a hex text; blanks and line breaks are skipped. For vectors in tests and messages. */
export function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.replace(/\s+/g, '').match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** Lower-case hex of `buf[off, end)`. */
export function toHex(buf: Uint8Array, off = 0, end = buf.length): string {
  let s = '';
  for (let i = off; i < end; i++) s += buf[i].toString(16).padStart(2, '0');
  return s;
}
