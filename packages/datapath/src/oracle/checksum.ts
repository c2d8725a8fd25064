/** Completion of partial checksums: what a network card, or the kernel before it, would do. */
import { checksumComplete } from '@weft/packet';
import type { WorkFrame } from './frame.ts';

/** CRC32c (Castagnoli, reflected polynomial 0x82f63b78) by table, for SCTP (RFC 9260 appendix A). */
const CRC32C = buildTable();

function buildTable(): Uint32Array {
  const table = new Uint32Array(256);
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    table[n] = c >>> 0;
  }
  return table;
}

/** CRC32c of `bytes[from … end)`. */
export function crc32c(bytes: Uint8Array, from: number, end: number): number {
  let c = 0xffffffff;
  for (let i = from; i < end; i++) c = CRC32C[(c ^ bytes[i]) & 0xff] ^ (c >>> 8);
  return ~c >>> 0;
}

/** SCTP asks for its CRC by the same flag as the others for their sum; the place of the field tells them apart (RFC 9260 §3.1). */
const SCTP_CHECKSUM = 8;

/**
 * Completes the checksum of a frame with a partial one; does nothing to others. Not for super-packets: each of their
 * segments gets its own.
 * @param proto IP protocol of the frame
 */
export function completeChecksum(frame: WorkFrame, proto: number): void {
  if (!frame.partial) return;
  const from = frame.start + frame.csumStart;
  if (proto === 132 && frame.csumOffset === SCTP_CHECKSUM) {
    const field = from + SCTP_CHECKSUM;
    frame.bytes.fill(0, field, field + 4);
    const crc = crc32c(frame.bytes, from, frame.end);
    // Sent least significant byte first (RFC 9260 appendix A).
    for (let i = 0; i < 4; i++) frame.bytes[field + i] = crc >>> (8 * i);
  } else {
    checksumComplete(frame.bytes, from, frame.csumOffset, frame.end, frame.csumOffset === 6);
  }
  frame.partial = false;
  frame.csumStart = 0;
  frame.csumOffset = 0;
}
