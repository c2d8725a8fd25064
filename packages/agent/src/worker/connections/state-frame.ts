/**
 * A flow-state datagram as the tunnels carry it, under the tunnel key that no port has: Ethernet, IPv4 and UDP around it, with addresses
 * that mean nothing (MidoNet's), so that captures and fabrics see an ordinary packet.
 */
import { ipv4FillChecksum, setU16, u16 } from '@weft/packet';

const ETHERNET = 14;
const IPV4 = 20;
const UDP = 8;
/** Bytes before the datagram. */
export const STATE_HEADERS = ETHERNET + IPV4 + UDP;
const PORT = 2925;

const TEMPLATE = Uint8Array.of(
  ...[0xac, 0xca, 0xba, 0x00, 0x15, 0x02],
  ...[0xac, 0xca, 0xba, 0x00, 0x15, 0x01],
  ...[0x08, 0x00],
  // DSCP EF: what waits for it is the first packet of a connection.
  ...[0x45, 184, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0],
  ...[169, 254, 15, 1],
  ...[169, 254, 15, 2],
  ...[PORT >> 8, PORT & 0xff, PORT >> 8, PORT & 0xff, 0, 0, 0, 0],
);

/** Writes the frame of a datagram into `out`. Returns its length. No UDP checksum: the datagram is authenticated. */
export function writeStateFrame(datagram: Uint8Array, length: number, out: Uint8Array): number {
  out.set(TEMPLATE, 0);
  setU16(out, ETHERNET + 2, IPV4 + UDP + length);
  ipv4FillChecksum(out, ETHERNET);
  setU16(out, ETHERNET + IPV4 + 4, UDP + length);
  out.set(datagram.subarray(0, length), STATE_HEADERS);
  return STATE_HEADERS + length;
}

/** Bytes of the datagram in a frame (from STATE_HEADERS on), or -1: it is none of ours. */
export function stateDatagramLength(frame: Uint8Array): number {
  if (frame.length < STATE_HEADERS || u16(frame, 12) !== 0x0800 || frame[ETHERNET] !== 0x45) return -1;
  if (frame[ETHERNET + 9] !== 17 || u16(frame, ETHERNET + IPV4 + 2) !== PORT) return -1;
  const length = u16(frame, ETHERNET + IPV4 + 4) - UDP;
  return length < 0 || STATE_HEADERS + length > frame.length ? -1 : length;
}
