/** What the kernel counts of each interface (proc(5), /proc/net/dev). */
import { readFileSync } from 'node:fs';

export interface InterfaceCounters {
  readonly packets: number;
  readonly bytes: number;
}

/** Packets and bytes received per interface of this network namespace. One read, however many interfaces. */
export function receivedPerInterface(): Map<string, InterfaceCounters> {
  return parseInterfaceCounters(readFileSync('/proc/self/net/dev', 'latin1'));
}

/** Two lines of headings, then `name: bytes packets …`. Lines of another form are left out. */
export function parseInterfaceCounters(text: string): Map<string, InterfaceCounters> {
  const out = new Map<string, InterfaceCounters>();
  for (const line of text.split('\n').slice(2)) {
    const end = line.lastIndexOf(':');
    if (end < 0) continue;
    const [bytes, packets] = line
      .slice(end + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    if (Number.isFinite(bytes) && Number.isFinite(packets)) {
      out.set(line.slice(0, end).trim(), { packets: packets!, bytes: bytes! });
    }
  }
  return out;
}
