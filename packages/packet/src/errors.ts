/** Codes of this package's errors: what each means and what to do. */
export const ERRORS = {
  WEFT_PACKET_TRUNCATED:
    'A header or payload ends before its own length fields say so. Capture the whole frame, or drop it.',
  WEFT_PACKET_MALFORMED: 'A header contradicts its standard (version, header length, reserved value). Drop the frame.',
  WEFT_PACKET_UNSUPPORTED:
    'A header is legal but beyond what is walked (too many extension headers or VLAN tags). Drop the frame.',
  WEFT_PACKET_FIELD: 'A value to be written does not fit its field. Correct the caller.',
  WEFT_PACKET_SPACE: 'The buffer is too small for what is to be written. Give a larger one.',
  WEFT_ADDRESS_INVALID:
    'A MAC, IP address or CIDR is not written in its standard form. Correct the text; leading zeros in IPv4 are refused.',
  WEFT_PCAP_INVALID: 'A capture file is damaged or not in the classic pcap format. Write it with tcpdump -w.',
} as const;

/** One of the codes of {@link ERRORS}. */
export type PacketErrorCode = keyof typeof ERRORS;

/** The only error that this package throws. */
export class PacketError extends Error {
  readonly code: PacketErrorCode;
  /** Protocol or format at fault: 'ethernet', 'ipv4', 'mac', … */
  readonly layer: string;
  /** Byte offset in the buffer (character offset in a text) where it was seen. */
  readonly offset: number;

  constructor(code: PacketErrorCode, layer: string, offset: number, message: string) {
    super(message);
    this.name = 'PacketError';
    this.code = code;
    this.layer = layer;
    this.offset = offset;
  }
}

/*
 * Faults. A `…Check` function returns a size (≥ 0) or one of these, so that packet workers can refuse a
 * frame without allocating an exception.
 */

/** The header or its payload ends too early. */
export const FAULT_TRUNCATED = -1;
/** The header contradicts its standard. */
export const FAULT_MALFORMED = -2;
/** Legal, but beyond the bounds of what is walked. */
export const FAULT_UNSUPPORTED = -3;

const FAULT_CODES: readonly PacketErrorCode[] = [
  'WEFT_PACKET_MALFORMED',
  'WEFT_PACKET_TRUNCATED',
  'WEFT_PACKET_MALFORMED',
  'WEFT_PACKET_UNSUPPORTED',
];

/**
 * The bridge from `…Check` to exceptions: passes a size through, throws {@link PacketError} for a fault.
 * @param checked what a `…Check` function returned
 */
export function orThrow(checked: number, layer: string, offset: number): number {
  if (checked >= 0) return checked;
  const code = FAULT_CODES[-checked] ?? 'WEFT_PACKET_MALFORMED';
  throw new PacketError(code, layer, offset, `${layer} header at byte ${offset}: ${ERRORS[code]}`);
}

/** Throws unless `size` bytes fit into `buf` at `off`: writes beyond a typed array vanish silently. */
export function needSpace(buf: Uint8Array, off: number, size: number, layer: string): void {
  if (off < 0 || off + size > buf.length) {
    throw new PacketError(
      'WEFT_PACKET_SPACE',
      layer,
      off,
      `${layer}: ${size} bytes do not fit at byte ${off} of ${buf.length}.`,
    );
  }
}

/** Throws unless `value` is an integer in [0, max]. */
export function needRange(value: number, max: number, layer: string, field: string, off: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max) {
    throw new PacketError(
      'WEFT_PACKET_FIELD',
      layer,
      off,
      `${layer}: ${field} must be an integer from 0 to ${max}, not ${value}.`,
    );
  }
}

/** A text from outside in quotes, shortened, for a message. */
export function quoteText(text: unknown): string {
  const s = String(text);
  return JSON.stringify(s.length > 60 ? `${s.slice(0, 60)}…` : s);
}
