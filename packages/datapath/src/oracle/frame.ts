/**
 * The one packet in work: its bytes with room in front, the tag that the kernel keeps beside them, and its offload state
 * (partial checksum, segmentation) as struct virtio_net_hdr gives it. Reused for every packet.
 */
import { VLAN_PRESENT } from '@weft/flow';
import {
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_ECN,
  VIRTIO_NET_HDR_GSO_NONE,
  VNET,
  VNET_HEADER_SIZE,
} from '@weft/sys';
import { type Words, wordsOf } from './sum.ts';

/** Free bytes in front of a freshly loaded frame: a tag, outer Ethernet, IPv6, UDP and VXLAN fit (74). */
export const HEADROOM = 128;
/** Most bytes of a frame: the longest IP packet, Ethernet and two tags. */
export const MAX_FRAME = 65_536 + 22;

/** Bytes that a frame's memory takes. */
export const WORK_FRAME_SIZE = (HEADROOM + MAX_FRAME + 3) & ~3;

export class WorkFrame implements Words {
  readonly bytes: Uint8Array;
  /** Address of the bytes for system calls; 0: they have none. */
  readonly address: number;
  /** The same bytes, for sums. */
  readonly halves: Uint16Array;
  readonly words: Int32Array;
  /** The bytes from where a loaded frame begins. */
  readonly body: Uint8Array;
  /** First byte of the frame in `bytes`, and the byte behind its last. */
  start = HEADROOM;
  end = HEADROOM;
  /** The tag beside the bytes: TCI with its DEI bit, TPID (0: no tag). */
  tagTci = 0;
  tagTpid = 0;
  /** VIRTIO_NET_HDR_GSO_… without the ECN bit. */
  gsoType = VIRTIO_NET_HDR_GSO_NONE;
  gsoEcn = false;
  /** Bytes of L4 payload in each segment. */
  gsoSize = 0;
  /** The L4 checksum field holds only the pseudo-header's sum. */
  partial = false;
  /** Where summing begins and where the field is, from the frame's first byte and from there. */
  csumStart = 0;
  csumOffset = 0;

  /** @param bytes WORK_FRAME_SIZE bytes to work in, at a multiple of 4; default: memory of its own. @param address where they are */
  constructor(bytes: Uint8Array = new Uint8Array(WORK_FRAME_SIZE), address = 0) {
    this.bytes = bytes;
    this.address = address;
    this.body = bytes.subarray(HEADROOM);
    const { halves, words } = wordsOf(this.bytes);
    this.halves = halves;
    this.words = words;
  }

  get length(): number {
    return this.end - this.start;
  }

  /** VLAN as it stands in the flow key: 0 or the TCI with VLAN_PRESENT. */
  get keyVlan(): number {
    return this.tagTpid === 0 ? 0 : this.tagTci | VLAN_PRESENT;
  }

  /** Loads `from[offset … + length]` without tag and offload state. False if it is longer than MAX_FRAME. */
  load(from: Uint8Array, offset: number, length: number): boolean {
    if (!this.place(length)) return false;
    copyFrame(from, offset, this.bytes, HEADROOM, length);
    return true;
  }

  /** As {@link load}, of `length` bytes that stand at HEADROOM already. */
  place(length: number): boolean {
    if (length > MAX_FRAME) return false;
    this.start = HEADROOM;
    this.end = HEADROOM + length;
    this.tagTci = 0;
    this.tagTpid = 0;
    this.clearOffload();
    return true;
  }

  /** Copies everything of another frame, whose bytes then begin at HEADROOM. */
  copyFrom(other: WorkFrame): void {
    this.load(other.bytes, other.start, other.end - other.start);
    this.tagTci = other.tagTci;
    this.tagTpid = other.tagTpid;
    this.copyOffload(other);
  }

  copyOffload(other: WorkFrame): void {
    this.gsoType = other.gsoType;
    this.gsoEcn = other.gsoEcn;
    this.gsoSize = other.gsoSize;
    this.partial = other.partial;
    this.csumStart = other.csumStart;
    this.csumOffset = other.csumOffset;
  }

  clearOffload(): void {
    this.gsoType = VIRTIO_NET_HDR_GSO_NONE;
    this.gsoEcn = false;
    this.gsoSize = 0;
    this.partial = false;
    this.csumStart = 0;
    this.csumOffset = 0;
  }

  /** Takes the offload state from a virtio_net_hdr. What points outside the frame is ignored. */
  readVnetHeader(from: Uint8Array, offset: number): void {
    this.clearOffload();
    const type = from[offset + VNET.gsoType];
    if (from[offset + VNET.flags] & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
      this.csumStart = u16le(from, offset + VNET.csumStart);
      this.csumOffset = u16le(from, offset + VNET.csumOffset);
      this.partial = this.csumStart + this.csumOffset + 2 <= this.end - this.start;
    }
    const size = u16le(from, offset + VNET.gsoSize);
    if ((type & ~VIRTIO_NET_HDR_GSO_ECN) !== VIRTIO_NET_HDR_GSO_NONE && size > 0) {
      this.gsoType = type & ~VIRTIO_NET_HDR_GSO_ECN;
      this.gsoEcn = (type & VIRTIO_NET_HDR_GSO_ECN) !== 0;
      this.gsoSize = size;
    }
  }

  /**
   * Writes the virtio_net_hdr with which this frame can be sent.
   * @param shift bytes that the sender puts into the frame before L3 (a tag): offsets grow by them.
   */
  writeVnetHeader(to: Uint8Array, offset: number, shift = 0): void {
    for (let i = offset; i < offset + VNET_HEADER_SIZE; i++) to[i] = 0;
    if (this.partial) {
      to[offset + VNET.flags] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
      setU16le(to, offset + VNET.csumStart, this.csumStart + shift);
      setU16le(to, offset + VNET.csumOffset, this.csumOffset);
    }
    if (this.gsoType !== VIRTIO_NET_HDR_GSO_NONE) {
      to[offset + VNET.gsoType] = this.gsoType | (this.gsoEcn ? VIRTIO_NET_HDR_GSO_ECN : 0);
      setU16le(to, offset + VNET.gsoSize, this.gsoSize);
      // A hint how much to keep in one piece: L4's fixed header (both have their checksum field near its end).
      setU16le(to, offset + VNET.hdrLen, Math.min(this.csumStart + this.csumOffset + 4, this.end - this.start) + shift);
    }
  }

  /** Moves the first tag out of the bytes if none is beside them yet, as the kernel does on receipt. */
  untag(): void {
    if (this.tagTpid !== 0 || this.end - this.start < 18) return;
    const at = this.start;
    const tpid = (this.bytes[at + 12] << 8) | this.bytes[at + 13];
    if (tpid !== 0x8100 && tpid !== 0x88a8) return;
    this.tagTpid = tpid;
    this.tagTci = (this.bytes[at + 14] << 8) | this.bytes[at + 15];
    const atBody = this.start === HEADROOM;
    if (atBody) {
      // The body must go on beginning at HEADROOM: move what follows the tag.
      this.bytes.copyWithin(at + 12, at + 16, this.end);
      this.end -= 4;
    } else {
      this.bytes.copyWithin(at + 4, at, at + 12);
      this.start += 4;
    }
    if (this.partial) this.csumStart -= 4;
    if (this.partial && this.csumStart < 14) this.partial = false;
  }

  /** Puts the tag beside the bytes, if there is one, into them. */
  insertTag(): void {
    if (this.tagTpid === 0) return;
    this.start -= 4;
    const at = this.start;
    this.bytes.copyWithin(at, at + 4, at + 16);
    this.bytes[at + 12] = this.tagTpid >>> 8;
    this.bytes[at + 13] = this.tagTpid;
    this.bytes[at + 14] = this.tagTci >>> 8;
    this.bytes[at + 15] = this.tagTci;
    if (this.partial) this.csumStart += 4;
    this.tagTpid = 0;
    this.tagTci = 0;
  }

  /** The frame's bytes as a view (allocates). */
  view(): Uint8Array {
    return this.bytes.subarray(this.start, this.end);
  }
}

/** Short runs by loop (a view costs more), long ones by memmove. */
export function copyFrame(from: Uint8Array, at: number, to: Uint8Array, toAt: number, length: number): void {
  if (from.buffer === to.buffer) {
    if (from === to) to.copyWithin(toAt, at, at + length);
    else to.set(from.subarray(at, at + length), toAt);
    return;
  }
  if (length <= 128) {
    for (let i = 0; i < length; i++) to[toAt + i] = from[at + i];
    return;
  }
  to.set(at === 0 && length === from.length ? from : from.subarray(at, at + length), toAt);
}

export function u16le(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

export function setU16le(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}
