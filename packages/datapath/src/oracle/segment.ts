/**
 * Segmentation of super-packets, for outputs that cannot hand them to the kernel whole (tunnels): TCP as in RFC 9293 with the
 * flag rules of Linux' tcp_gso_segment, UDP as in __udp_gso_segment (one datagram per `gsoSize` bytes).
 */
import { checksumOf, pseudoSum4, pseudoSum6, setU16, setU32, sumBytes, u16, u32 } from '@weft/packet';
import { VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_HDR_GSO_UDP_L4 } from '@weft/sys';
import { copyFrame, HEADROOM, WorkFrame } from './frame.ts';
import { sumWords, swap16 } from './sum.ts';

const TCP_FIN_PSH = 0x09;
const TCP_CWR = 0x80;

/** First byte of the L4 payload, from L4 on; -1 if the header is not all there or not TCP or UDP. */
export function l4HeaderLength(bytes: Uint8Array, l4: number, end: number, proto: number): number {
  if (proto === 6) {
    if (l4 + 20 > end) return -1;
    const length = (bytes[l4 + 12] >>> 4) * 4;
    return length >= 20 && l4 + length <= end ? length : -1;
  }
  return proto === 17 && l4 + 8 <= end ? 8 : -1;
}

/** Cuts one super-packet after the other; the segment built last stands in `out`. */
export class Segmenter {
  readonly out = new WorkFrame();
  #frame: WorkFrame | null = null;
  #l3 = 0;
  #l4 = 0;
  #payload = 0;
  #ipv4 = false;
  #proto = 0;
  #count = 0;

  /**
   * @param l3 where L3 begins in `frame.bytes`; @param l4 where L4 begins there
   * @returns number of segments; 0 if the frame is no super-packet that can be cut (legacy UFO, contradictory headers).
   */
  begin(frame: WorkFrame, l3: number, l4: number, ipv4: boolean, proto: number): number {
    this.#count = 0;
    const type = frame.gsoType;
    const tcp = type === (ipv4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6) && proto === 6;
    if (!tcp && !(type === VIRTIO_NET_HDR_GSO_UDP_L4 && proto === 17)) return 0;
    if (frame.gsoSize === 0 || l4 <= l3) return 0;
    const header = l4HeaderLength(frame.bytes, l4, frame.end, proto);
    if (header < 0) return 0;
    this.#frame = frame;
    this.#l3 = l3;
    this.#l4 = l4;
    this.#payload = l4 + header;
    this.#ipv4 = ipv4;
    this.#proto = proto;
    this.#count = Math.ceil((frame.end - this.#payload) / frame.gsoSize);
    return this.#count;
  }

  /** First byte of segment `i`'s payload in the super-packet. */
  payloadAt(i: number): number {
    return this.#payload + i * this.#frame!.gsoSize;
  }

  /** Bytes of segment `i`'s payload. */
  payloadSize(i: number): number {
    return Math.min(this.#frame!.gsoSize, this.#frame!.end - this.payloadAt(i));
  }

  /** Builds segment `i` (0 … count − 1) in `out`, checksums complete. */
  build(i: number): void {
    this.buildHeaders(i);
    const { out } = this;
    const size = this.payloadSize(i);
    copyFrame(this.#frame!.bytes, this.payloadAt(i), out.bytes, out.end, size);
    out.end += size;
  }

  /** As {@link build}, without the payload, which is left where it is: `payloadAt`, `payloadSize`. */
  buildHeaders(i: number): void {
    const frame = this.#frame!;
    const out = this.out;
    const head = this.#payload - frame.start;
    const size = this.payloadSize(i);
    out.place(head);
    const b = out.bytes;
    for (let k = 0; k < head; k++) b[HEADROOM + k] = frame.bytes[frame.start + k];

    const l3 = HEADROOM + this.#l3 - frame.start;
    const l4 = HEADROOM + this.#l4 - frame.start;
    const length = out.end - l4 + size;
    if (this.#ipv4) {
      setU16(b, l3 + 2, l4 - l3 + length);
      setU16(b, l3 + 4, u16(b, l3 + 4) + i);
      setU16(b, l3 + 10, 0);
      setU16(b, l3 + 10, checksumOf(sumBytes(b, l3, l4 - l3)));
    } else {
      setU16(b, l3 + 4, l4 - l3 + length - 40);
    }
    if (this.#proto === 6) {
      setU32(b, l4 + 4, u32(b, l4 + 4) + i * frame.gsoSize);
      if (i < this.#count - 1) b[l4 + 13] &= ~TCP_FIN_PSH;
      if (i > 0) b[l4 + 13] &= ~TCP_CWR;
      setU16(b, l4 + 16, 0);
      setU16(b, l4 + 16, this.#checksum(i, l3, l4, length));
    } else {
      setU16(b, l4 + 4, length);
      setU16(b, l4 + 6, 0);
      setU16(b, l4 + 6, this.#checksum(i, l3, l4, length) || 0xffff);
    }
  }

  /** Of pseudo-header, L4 header and payload; the header is a multiple of 4 long, so that the sums just add up. */
  #checksum(i: number, l3: number, l4: number, length: number): number {
    const { out } = this;
    const frame = this.#frame!;
    const from = this.payloadAt(i);
    const head = out.end - l4;
    const size = length - head;
    if ((l3 | l4 | from) & 1) {
      const pseudo = this.#ipv4
        ? pseudoSum4(out.bytes, l3 + 12, this.#proto, length)
        : pseudoSum6(out.bytes, l3 + 8, this.#proto, length);
      return checksumOf(sumBytes(frame.bytes, from, size, sumBytes(out.bytes, l4, head, pseudo)));
    }
    const addresses = this.#ipv4 ? sumWords(out, l3 + 12, 8) : sumWords(out, l3 + 8, 32);
    const sum = sumWords(out, l4, head, addresses + swap16(length) + (this.#proto << 8));
    return ~swap16(sumWords(frame, from, size, sum)) & 0xffff;
  }
}

/**
 * L3 bytes of the largest packet that this frame puts on a wire: of a super-packet its headers from L3 on and one segment's
 * payload, else all behind L2.
 */
export function segmentLength(frame: WorkFrame, l3: number, l4: number, proto: number): number {
  const all = frame.end - l3;
  if (frame.gsoSize === 0 || l4 <= l3) return all;
  const header = l4HeaderLength(frame.bytes, l4, frame.end, proto);
  return header < 0 ? all : Math.min(all, l4 + header - l3 + frame.gsoSize);
}
