/** Frames out of a capture file of tcpdump, for checks that look at every single one. */
import { readFile } from 'node:fs/promises';

const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const MAGIC_MICROSECONDS = 0xa1b2c3d4;

export interface CapturedFrame {
  /** When it was seen, seconds since 1970; of all captures of this machine by the same clock. */
  readonly time: number;
  readonly bytes: Buffer;
}

/** Reads a file in the byte order of this machine (classic libpcap format, microseconds); a record that is cut off ends it. */
export async function readCapture(file: string): Promise<CapturedFrame[]> {
  return parseCapture(await readFile(file));
}

export function parseCapture(content: Buffer): CapturedFrame[] {
  if (content.length < FILE_HEADER || content.readUInt32LE(0) !== MAGIC_MICROSECONDS) return [];
  const frames: CapturedFrame[] = [];
  for (let at = FILE_HEADER; at + RECORD_HEADER <= content.length; ) {
    const end = at + RECORD_HEADER + content.readUInt32LE(at + 8);
    if (end > content.length) break;
    frames.push({
      time: content.readUInt32LE(at) + content.readUInt32LE(at + 4) / 1e6,
      bytes: content.subarray(at + RECORD_HEADER, end),
    });
    at = end;
  }
  return frames;
}
