import { setU16, u16 } from '../bytes.ts';

type QuadParser = (text: string, start: number, end: number, out: Uint8Array, off: number) => number;

function hexDigit(c: number): number {
  if (c >= 48 && c <= 57) return c - 48;
  const lower = c | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

/**
 * Reads an IPv6 text (RFC 4291 §2.2: groups, one '::', a trailing dotted quad) into 16 bytes of `out`.
 * Groups of one to four digits, '::' for at least one group (RFC 5952 §4.2.2 allows it to be read for one).
 * @returns -1 when it is one, else the offset of the first wrong character
 */
export function ip6ParseInto(text: string, out: Uint8Array, quad: QuadParser): number {
  const end = text.length;
  let at = 0;
  let filled = 0;
  let gap = -1;
  if (text.startsWith('::')) {
    gap = 0;
    at = 2;
  }
  while (at < end) {
    if (filled >= 16) return at;
    const first = at;
    let value = 0;
    let digit: number;
    while (at < end && at - first < 5 && (digit = hexDigit(text.charCodeAt(at))) >= 0) {
      value = value * 16 + digit;
      at++;
    }
    if (at < end && text.charCodeAt(at) === 46) {
      if (filled > 12) return first;
      const wrong = quad(text, first, end, out, filled);
      if (wrong >= 0) return wrong;
      filled += 4;
      at = end;
      break;
    }
    if (at === first || at - first > 4) return first;
    setU16(out, filled, value);
    filled += 2;
    if (at === end) break;
    if (text.charCodeAt(at) !== 58) return at;
    at++;
    if (at < end && text.charCodeAt(at) === 58) {
      if (gap >= 0) return at;
      gap = filled;
      at++;
    } else if (at === end) {
      return at - 1;
    }
  }
  if (gap < 0) return filled === 16 ? -1 : end;
  if (filled >= 16) return end;
  out.copyWithin(16 - (filled - gap), gap, filled);
  out.fill(0, gap, 16 - (filled - gap));
  return -1;
}

/**
 * RFC 5952: lower case, no leading zeros, '::' for the longest run of at least two zero groups (the first of equals).
 */
export function ip6Format(buf: Uint8Array, off: number): string {
  let runAt = -1;
  let runLength = 1;
  for (let i = 0; i < 8; ) {
    if (u16(buf, off + 2 * i) !== 0) {
      i++;
      continue;
    }
    const from = i;
    while (i < 8 && u16(buf, off + 2 * i) === 0) i++;
    if (i - from > runLength) {
      runAt = from;
      runLength = i - from;
    }
  }
  let text = '';
  for (let i = 0; i < 8; i++) {
    if (i === runAt) {
      text += '::';
      i += runLength - 1;
      continue;
    }
    if (text !== '' && !text.endsWith(':')) text += ':';
    text += u16(buf, off + 2 * i).toString(16);
  }
  return text;
}
