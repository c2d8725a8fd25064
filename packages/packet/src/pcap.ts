import { needRange, PacketError } from './errors.ts';

/* Classic capture files as libpcap writes them: written with nanoseconds, read in both resolutions and byte orders. */

/** First word of a file with nanoseconds; the file is in the writer's byte order (here little-endian). */
export const PCAP_MAGIC_NANO = 0xa1b2_3c4d;
/** First word of a file with microseconds. */
export const PCAP_MAGIC_MICRO = 0xa1b2_c3d4;
export const PCAP_HEADER_SIZE = 24;
export const PCAP_RECORD_SIZE = 16;
/** Link type of Ethernet frames. */
export const PCAP_ETHERNET = 1;
/** Most bytes of a frame that are kept (tcpdump's bound); more in a file means damage. */
export const PCAP_SNAPLEN = 262_144;

/** A captured frame. */
export interface PcapRecord {
  /** since 1970 */
  seconds: number;
  /** 0–999,999,999 */
  nanoseconds: number;
  /** captured bytes */
  frame: Uint8Array;
  /** bytes that the frame had on the wire */
  originalLength: number;
}

/** A capture file, read. */
export interface PcapFile {
  /** PCAP_ETHERNET or another of libpcap's LINKTYPE_ numbers */
  linkType: number;
  records: PcapRecord[];
  /** whether the file ends amid a record, as after a killed writer; the records before it are good */
  cut: boolean;
}

/** The 24 bytes that open a file. */
export function pcapHeader(linkType: number = PCAP_ETHERNET): Uint8Array {
  const out = new Uint8Array(PCAP_HEADER_SIZE);
  const view = new DataView(out.buffer);
  view.setUint32(0, PCAP_MAGIC_NANO, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, PCAP_SNAPLEN, true);
  view.setUint32(20, linkType, true);
  return out;
}

/**
 * One record: its header and the frame, cut at PCAP_SNAPLEN.
 * @param seconds since 1970
 * @param nanoseconds 0–999,999,999
 * @param originalLength bytes on the wire; default those of `frame`
 * @throws PacketError WEFT_PACKET_FIELD
 */
export function pcapRecord(
  seconds: number,
  nanoseconds: number,
  frame: Uint8Array,
  originalLength: number = frame.length,
): Uint8Array {
  needRange(seconds, 0xffff_ffff, 'pcap', 'seconds', 0);
  needRange(nanoseconds, 999_999_999, 'pcap', 'nanoseconds', 4);
  needRange(originalLength, 0xffff_ffff, 'pcap', 'original length', 12);
  const kept = Math.min(frame.length, PCAP_SNAPLEN);
  const out = new Uint8Array(PCAP_RECORD_SIZE + kept);
  const view = new DataView(out.buffer);
  view.setUint32(0, seconds, true);
  view.setUint32(4, nanoseconds, true);
  view.setUint32(8, kept, true);
  view.setUint32(12, originalLength, true);
  out.set(frame.subarray(0, kept), PCAP_RECORD_SIZE);
  return out;
}

/**
 * Reads a whole file. Frames are views of `file`, not copies.
 * @throws PacketError WEFT_PCAP_INVALID
 */
export function pcapRead(file: Uint8Array): PcapFile {
  if (file.length < PCAP_HEADER_SIZE) throw invalid(0, 'it is shorter than a file header.');
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let little = true;
  let magic = view.getUint32(0, true);
  if (magic !== PCAP_MAGIC_NANO && magic !== PCAP_MAGIC_MICRO) {
    little = false;
    magic = view.getUint32(0, false);
  }
  if (magic !== PCAP_MAGIC_NANO && magic !== PCAP_MAGIC_MICRO)
    throw invalid(0, 'it does not begin with its magic number.');
  if (view.getUint16(4, little) !== 2) throw invalid(4, 'its version is not 2.');
  const unit = magic === PCAP_MAGIC_NANO ? 1 : 1000;
  const records: PcapRecord[] = [];
  let at = PCAP_HEADER_SIZE;
  while (file.length - at >= PCAP_RECORD_SIZE) {
    const size = view.getUint32(at + 8, little);
    if (size > PCAP_SNAPLEN) throw invalid(at + 8, `a record claims ${size} bytes.`);
    const start = at + PCAP_RECORD_SIZE;
    if (file.length - start < size) break;
    const nanoseconds = view.getUint32(at + 4, little) * unit;
    if (nanoseconds > 999_999_999) throw invalid(at + 4, 'a time has more than a second of fraction.');
    records.push({
      seconds: view.getUint32(at, little),
      nanoseconds,
      frame: file.subarray(start, start + size),
      originalLength: view.getUint32(at + 12, little),
    });
    at = start + size;
  }
  // The upper bits of the link type tell about a frame check sequence.
  return { linkType: view.getUint32(20, little) & 0xffff, records, cut: at !== file.length };
}

function invalid(offset: number, what: string): PacketError {
  return new PacketError('WEFT_PCAP_INVALID', 'pcap', offset, `This is not a classic pcap file: ${what}`);
}
