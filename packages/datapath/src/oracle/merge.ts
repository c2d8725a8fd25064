/**
 * Merging of consecutive TCP segments into a super-packet, the reverse of `segment.ts`: cut again, it gives the very segments that
 * it was made of. The rules are those of Linux' GRO (net/ipv4/tcp_offload.c, af_inet.c), the stricter one where it has two.
 */
import { setU16, u16, u32 } from '@weft/packet';
import { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6, VNET } from '@weft/sys';
import { copyFrame, setU16le, type WorkFrame } from './frame.ts';
import { sumL4, sumWords, swap16 } from './sum.ts';

const TCP = 6;
const ACK = 0x10;
const PSH = 0x08;
const DF = 0x4000;
const ETHERNET = 14;
/** What interfaces of VMs take uncut (`super-packets.ts`), with room for headers. */
const MAX_MERGED = 64_000;

/** The headers of one frame, if it is a TCP segment with payload that may be merged: no tag, no IP options, no fragment, ACK and PSH alone. */
export class Segment {
  ipv4 = false;
  /** Offsets in the frame's bytes. */
  l4 = 0;
  payload = 0;
  end = 0;
  flags = 0;

  /** @returns false if the frame is none. Its checksums are not looked at. */
  read(frame: WorkFrame): boolean {
    const { bytes: b, start, end } = frame;
    if (frame.tagTpid !== 0 || frame.gsoSize !== 0 || frame.partial || end - start < ETHERNET + 40 || start & 1)
      return false;
    const l3 = start + ETHERNET;
    const type = u16(b, l3 - 2);
    if (type === 0x0800) {
      if (b[l3] !== 0x45 || b[l3 + 9] !== TCP || u16(b, l3 + 6) !== DF || u16(b, l3 + 2) !== end - l3) return false;
      this.l4 = l3 + 20;
    } else if (type === 0x86dd) {
      if (b[l3] >>> 4 !== 6 || b[l3 + 6] !== TCP || u16(b, l3 + 4) !== end - l3 - 40) return false;
      this.l4 = l3 + 40;
    } else return false;
    const { l4 } = this;
    if (l4 + 20 > end) return false;
    this.payload = l4 + (b[l4 + 12] >>> 4) * 4;
    this.flags = b[l4 + 13];
    this.ipv4 = type === 0x0800;
    this.end = end;
    return this.payload >= l4 + 20 && this.payload < end && (this.flags & ~PSH) === ACK && (b[l4 + 12] & 15) === 0;
  }

  /** Whether the checksums of IP header and segment are right: a merged packet counts as verified. */
  isIntact(frame: WorkFrame): boolean {
    const l3 = frame.start + ETHERNET;
    if (this.ipv4 && sumWords(frame, l3, 20) !== 0xffff) return false;
    return sumL4(frame, l3, this.l4, this.end - this.l4, this.ipv4, TCP) === 0xffff;
  }
}

/** Segments that are being put together at `bytes[at …]`. */
export class Run {
  /** 0: none. */
  segments = 0;
  ifindex = 0;
  slot = 0;
  #at = 0;
  #length = 0;
  #size = 0;
  #l4 = 0;
  #payload = 0;
  #ipv4 = false;
  #next = 0;
  #id = 0;

  get length(): number {
    return this.#length;
  }

  /** Begins with an intact segment, whose copy stands at `bytes[at …]`. */
  begin(segment: Segment, frame: WorkFrame, bytes: Uint8Array, at: number): void {
    this.segments = 1;
    this.#at = at;
    this.#length = frame.end - frame.start;
    this.#size = segment.end - segment.payload;
    this.#l4 = segment.l4 - frame.start;
    this.#payload = segment.payload - frame.start;
    this.#ipv4 = segment.ipv4;
    this.#next = (u32(bytes, at + this.#l4 + 4) + this.#size) | 0;
    this.#id = segment.ipv4 ? u16(bytes, at + ETHERNET + 4) : 0;
  }

  /** Whether the frame, any TCP packet with these ports, belongs to the same connection as far as order goes. */
  isOf(ifindex: number, segment: Segment, b: Uint8Array, bytes: Uint8Array): boolean {
    return this.segments > 0 && this.ifindex === ifindex && u32(b, segment.l4) === u32(bytes, this.#at + this.#l4);
  }

  /** Whether an intact `segment` of `frame` is the next one: same headers but for what the place in the stream changes. */
  continues(segment: Segment, frame: WorkFrame, bytes: Uint8Array): boolean {
    const b = frame.bytes;
    const { start } = frame;
    const size = segment.end - segment.payload;
    const at = this.#at;
    if (
      segment.ipv4 !== this.#ipv4 ||
      segment.payload - start !== this.#payload ||
      size > this.#size ||
      this.#length + size > MAX_MERGED ||
      (u32(b, segment.l4 + 4) | 0) !== this.#next
    )
      return false;
    if (!equal(b, start, bytes, at, ETHERNET + 2)) return false;
    const l3 = start + ETHERNET;
    const to = at + ETHERNET;
    if (this.#ipv4) {
      if (u16(b, l3 + 4) !== ((this.#id + this.segments) & 0xffff)) return false;
      if (!equal(b, l3 + 6, bytes, to + 6, 4) || !equal(b, l3 + 12, bytes, to + 12, 8)) return false;
    } else if (!equal(b, l3 + 2, bytes, to + 2, 2) || !equal(b, l3 + 6, bytes, to + 6, 34)) return false;
    const tcp = at + this.#l4;
    // Ports; acknowledged; window; urgent pointer and options.
    return (
      equal(b, segment.l4, bytes, tcp, 4) &&
      equal(b, segment.l4 + 8, bytes, tcp + 8, 5) &&
      equal(b, segment.l4 + 14, bytes, tcp + 14, 2) &&
      equal(b, segment.l4 + 18, bytes, tcp + 18, segment.payload - segment.l4 - 18)
    );
  }

  /** Takes what `continues`. @returns false if nothing can follow it: it was shorter than the others, or pushed. */
  append(segment: Segment, frame: WorkFrame, bytes: Uint8Array): boolean {
    const size = segment.end - segment.payload;
    copyFrame(frame.bytes, segment.payload, bytes, this.#at + this.#length, size);
    this.#length += size;
    this.segments++;
    this.#next = (this.#next + size) | 0;
    bytes[this.#at + this.#l4 + 13] = segment.flags;
    return size === this.#size && (segment.flags & PSH) === 0;
  }

  /** Makes the merged packet one: lengths, IP checksum, the pseudo-header's sum for L4, and its virtio_net_hdr at `vnet`. */
  finish(bytes: Uint8Array, sums: WorkFrame, vnet: number): void {
    const l3 = this.#at + ETHERNET;
    const l4 = this.#at + this.#l4;
    const length = this.#length - this.#l4;
    if (this.#ipv4) {
      setU16(bytes, l3 + 2, this.#length - ETHERNET);
      setU16(bytes, l3 + 10, 0);
    } else setU16(bytes, l3 + 4, this.#length - ETHERNET - 40);
    sums.load(bytes, this.#at, this.#l4);
    const s3 = sums.start + ETHERNET;
    if (this.#ipv4) setU16(bytes, l3 + 10, ~swap16(sumWords(sums, s3, 20)) & 0xffff);
    setU16(bytes, l4 + 16, swap16(sumL4(sums, s3, s3, 0, this.#ipv4, TCP)));
    const pseudo = u16(bytes, l4 + 16) + length;
    setU16(bytes, l4 + 16, (pseudo & 0xffff) + (pseudo >>> 16));
    bytes[vnet + VNET.flags] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
    bytes[vnet + VNET.gsoType] = this.#ipv4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
    setU16le(bytes, vnet + VNET.hdrLen, this.#payload);
    setU16le(bytes, vnet + VNET.gsoSize, this.#size);
    setU16le(bytes, vnet + VNET.csumStart, this.#l4);
    setU16le(bytes, vnet + VNET.csumOffset, 16);
  }
}

function equal(a: Uint8Array, at: number, b: Uint8Array, bAt: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[at + i] !== b[bAt + i]) return false;
  return true;
}
