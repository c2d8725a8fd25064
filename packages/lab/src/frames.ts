/** Frames made by hand, sent from where a guest or an intruder would send them. */
import { close, ifNameToIndex, openPacketSocket, runIn, write } from '@weft/sys';
import { LabError } from './errors.ts';

/** Sends Ethernet frames as they are from an interface of a namespace. */
export function sendFrames(namespace: string, device: string, frames: readonly Uint8Array[]): void {
  const fd = runIn(namespace, () => {
    const ifindex = ifNameToIndex(device);
    if (ifindex === 0) throw new LabError('WEFT_LAB_COMMAND', `there is no interface ${device} in ${namespace}`);
    return openPacketSocket({ ifindex, protocol: 0 });
  });
  try {
    for (const frame of frames) {
      try {
        write(fd, frame);
      } catch (error) {
        // Someone on the way out has dropped it: lost like any other.
        if ((error as { errnoName?: string }).errnoName !== 'ENOBUFS') throw error;
      }
    }
  } finally {
    close(fd);
  }
}

export function macBytes(mac: string): number[] {
  return mac.split(':').map((part) => Number.parseInt(part, 16));
}

/** Ethernet header (with an 802.1Q tag unless `vlan` is undefined) and payload. */
export function ethernetFrame(
  destination: string,
  source: string,
  vlan: number | undefined,
  ethertype: number,
  payload: Uint8Array,
): Uint8Array {
  const tag = vlan === undefined ? [] : [0x81, 0x00, vlan >> 8, vlan & 0xff];
  const header = [...macBytes(destination), ...macBytes(source), ...tag, ethertype >> 8, ethertype & 0xff];
  return Uint8Array.from([...header, ...payload]);
}

/** The capture filter that passes frames between these two MACs of this VLAN (or none) and ethertype. */
export function frameFilter(destination: string, source: string, vlan: number | undefined, ethertype: number): string {
  const proto = `0x${ethertype.toString(16)}`;
  const place = vlan === undefined ? `ether proto ${proto}` : `vlan ${vlan} and ether proto ${proto}`;
  return `ether dst ${destination} and ether src ${source} and ${place}`;
}
