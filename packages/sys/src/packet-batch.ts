/** Many frames per system call over AF_PACKET: recvmmsg(2) and sendmmsg(2) on one preallocated arena. */
import { ERRNO, SysError, WeftSysError } from './errors.ts';
import { cfunc, errno } from './libc.ts';
import { NativeBuffer } from './memory.ts';
import { AF_PACKET, SO_MARK, SOCKADDR_LL_SIZE, SOL_PACKET, SOL_SOCKET } from './socket.ts';

/** struct virtio_net_hdr: what PACKET_VNET_HDR puts in front of a frame (include/uapi/linux/virtio_net.h). */
export const VNET_HEADER_SIZE = 10;
export const VIRTIO_NET_HDR_F_NEEDS_CSUM = 1;
export const VIRTIO_NET_HDR_F_DATA_VALID = 2;
export const VIRTIO_NET_HDR_GSO_NONE = 0;
export const VIRTIO_NET_HDR_GSO_TCPV4 = 1;
export const VIRTIO_NET_HDR_GSO_UDP = 3;
export const VIRTIO_NET_HDR_GSO_TCPV6 = 4;
export const VIRTIO_NET_HDR_GSO_UDP_L4 = 5;
export const VIRTIO_NET_HDR_GSO_ECN = 0x80;

/** Byte offsets inside struct virtio_net_hdr; 16-bit fields are little-endian (host order). */
export const VNET = { flags: 0, gsoType: 1, hdrLen: 2, gsoSize: 4, csumStart: 6, csumOffset: 8 } as const;

/** tp_status bits of PACKET_AUXDATA (include/uapi/linux/if_packet.h). */
export const TP_STATUS_CSUMNOTREADY = 1 << 3;
export const TP_STATUS_VLAN_VALID = 1 << 4;
export const TP_STATUS_VLAN_TPID_VALID = 1 << 6;
export const TP_STATUS_CSUM_VALID = 1 << 7;
export const TP_STATUS_GSO_TCP = 1 << 8;

/** sll_pkttype of a received frame. */
export const PACKET_HOST = 0;
export const PACKET_BROADCAST = 1;
export const PACKET_MULTICAST = 2;
export const PACKET_OTHERHOST = 3;
export const PACKET_OUTGOING = 4;

/** Free bytes before every frame: the virtio_net_hdr ends here, and a VLAN tag or a tunnel header can be put in front. */
export const FRAME_HEADROOM = 128;

const MMSGHDR_SIZE = 64;
const IOVEC_SIZE = 16;
const NAME_STRIDE = 32;
const CONTROL_STRIDE = 64;
const PACKET_AUXDATA = 8;
const CMSG_HEADER = 16;
const AUXDATA_SIZE = 20;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;

const sendmmsg = cfunc('sendmmsg', 'int', ['int', 'size_t', 'uint', 'int']);
const recvmmsg = cfunc('recvmmsg', 'int', ['int', 'size_t', 'uint', 'int', 'size_t']);

/**
 * A fixed number of frame slots in native memory, with the message headers that the kernel needs to fill or send them.
 *
 * Frame i is `bytes[offset(i) … offset(i) + length[i])`. One batch is used by one thread, either way at a time:
 * {@link recv} overwrites slots 0…n-1; for sending write frames into slots, set the columns, call {@link send}.
 *
 * ```
 * slot i:  | headroom … virtio_net_hdr(10) | frame (capacity bytes) |
 *                                          ^ offset(i), 64-byte aligned
 * ```
 */
export class PacketBatch {
  /** Slots. */
  readonly size: number;
  /** Most bytes of a frame. */
  readonly capacity: number;
  /** Every slot; use with {@link offset}. */
  readonly bytes: Uint8Array;
  /** Same memory as {@link bytes}. */
  readonly view: DataView;
  /** Frame length in bytes, without virtio_net_hdr. Received: as captured, at most `capacity`. */
  readonly length: Uint32Array;
  /** Interface the frame came from or goes to. Sending with 0 uses the socket's own binding. */
  readonly ifindex: Int32Array;
  /** Received: PACKET_HOST, …_BROADCAST and so on. */
  readonly packetType: Uint8Array;
  /** Received: ethertype in host order, as the kernel's receive path saw it. */
  readonly protocol: Uint16Array;
  /** Received: TP_STATUS_* bits; 0 without auxdata. CSUMNOTREADY: the checksum field holds only the pseudo-header sum. */
  readonly auxStatus: Uint32Array;
  /** Received: length on the wire; above `length` when the slot was too small. */
  readonly wireLength: Uint32Array;
  /** Received: tag control of the VLAN tag that the kernel took out of the bytes, or -1 when there was none. */
  readonly vlanTci: Int32Array;
  /** Received: TPID of that tag (0x8100, 0x88a8), 0 when there was none. */
  readonly vlanTpid: Uint16Array;
  /** Sending: skb->mark for the frame; 0 sets none. */
  readonly mark: Uint32Array;
  /** Sending: outcome per frame after {@link send}: 0 sent, else a positive errno. */
  readonly status: Int32Array;

  readonly #frames: NativeBuffer;
  readonly #headers: NativeBuffer;
  readonly #hv: DataView;
  readonly #stride: number;
  readonly #iov: number;
  readonly #names: number;
  readonly #controls: number;

  /**
   * @param size slots per batch, at most 1024 (UIO_MAXIOV: the kernel sends no more per call)
   * @param capacity bytes per frame, at most 128 KiB; 65,550 holds any GSO super-packet
   */
  constructor(size: number, capacity: number) {
    if (!(size >= 1 && size <= 1024) || !(capacity >= 14 && capacity <= 131072)) {
      throw new WeftSysError(
        'WEFT_SYS_ARGUMENT',
        `a packet batch has 1–1024 slots of 14–131072 bytes, not ${size} × ${capacity}`,
      );
    }
    this.size = size;
    this.capacity = capacity;
    this.#stride = (FRAME_HEADROOM + capacity + 63) & ~63;
    this.#frames = NativeBuffer.alloc(size * this.#stride);
    this.bytes = this.#frames.bytes;
    this.view = this.#frames.view;
    this.length = new Uint32Array(size);
    this.ifindex = new Int32Array(size);
    this.packetType = new Uint8Array(size);
    this.protocol = new Uint16Array(size);
    this.auxStatus = new Uint32Array(size);
    this.wireLength = new Uint32Array(size);
    this.vlanTci = new Int32Array(size).fill(-1);
    this.vlanTpid = new Uint16Array(size);
    this.mark = new Uint32Array(size);
    this.status = new Int32Array(size);

    this.#iov = size * MMSGHDR_SIZE;
    this.#names = this.#iov + size * IOVEC_SIZE;
    this.#controls = this.#names + size * NAME_STRIDE;
    this.#headers = NativeBuffer.alloc(this.#controls + size * CONTROL_STRIDE);
    this.#hv = this.#headers.view;
    for (let i = 0; i < size; i++) this.#initMessage(i);
  }

  /** Pointers never change: write them once. struct msghdr: name 0, namelen 8, iov 16, iovlen 24, control 32, controllen 40, flags 48. */
  #initMessage(i: number): void {
    const m = i * MMSGHDR_SIZE;
    const base = this.#headers.address;
    this.#setPointer(m, base + this.#names + i * NAME_STRIDE);
    this.#setPointer(m + 16, base + this.#iov + i * IOVEC_SIZE);
    this.#setPointer(m + 24, 1);
    this.#setPointer(m + 32, base + this.#controls + i * CONTROL_STRIDE);
  }

  #setPointer(at: number, value: number): void {
    this.#hv.setUint32(at, value % 0x100000000, true);
    this.#hv.setUint32(at + 4, Math.floor(value / 0x100000000), true);
  }

  /** Offset of frame `i` in {@link bytes} and {@link view}. Its virtio_net_hdr is at `offset(i) - 10`. */
  offset(i: number): number {
    return i * this.#stride + FRAME_HEADROOM;
  }

  /** Address of frame `i`, for system calls of one's own; valid until {@link close}. */
  address(i: number): number {
    return this.#frames.address + this.offset(i);
  }

  /** Frame `i` as bytes (allocates a view: not for the hot path). */
  frame(i: number): Uint8Array {
    return this.bytes.subarray(this.offset(i), this.offset(i) + this.length[i]!);
  }

  /** Copies a frame into slot `i` with the given destination, and clears its virtio_net_hdr. */
  put(i: number, frame: Uint8Array, ifindex = 0, mark = 0): void {
    if (frame.length > this.capacity) {
      throw new WeftSysError('WEFT_SYS_ARGUMENT', `frame of ${frame.length} bytes in slots of ${this.capacity}`);
    }
    const at = this.offset(i);
    this.bytes.set(frame, at);
    this.bytes.fill(0, at - VNET_HEADER_SIZE, at);
    this.length[i] = frame.length;
    this.ifindex[i] = ifindex;
    this.mark[i] = mark;
  }

  /** Writes the virtio_net_hdr of slot `i`: partial checksum and segmentation as the kernel is to see them. */
  setVnetHeader(
    i: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
    csumStart: number,
    csumOffset: number,
  ): void {
    const at = this.offset(i) - VNET_HEADER_SIZE;
    const v = this.view;
    v.setUint8(at + VNET.flags, flags);
    v.setUint8(at + VNET.gsoType, gsoType);
    v.setUint16(at + VNET.hdrLen, hdrLen, true);
    v.setUint16(at + VNET.gsoSize, gsoSize, true);
    v.setUint16(at + VNET.csumStart, csumStart, true);
    v.setUint16(at + VNET.csumOffset, csumOffset, true);
  }

  /**
   * Receives up to `max` frames without blocking into slots 0….
   * @param vnetHeader whether the socket was opened with it
   * @returns number of frames; 0 when none waits. Throws SysError (ENETDOWN once after the interface went down)
   */
  recv(fd: number, vnetHeader: boolean, max = this.size): number {
    const count = Math.min(max, this.size);
    const prefix = vnetHeader ? VNET_HEADER_SIZE : 0;
    const hv = this.#hv;
    for (let i = 0; i < count; i++) {
      const m = i * MMSGHDR_SIZE;
      hv.setUint32(m + 8, SOCKADDR_LL_SIZE, true);
      hv.setUint32(m + 40, CONTROL_STRIDE, true);
      hv.setUint32(m + 48, 0, true);
      const iov = this.#iov + i * IOVEC_SIZE;
      this.#setPointer(iov, this.#frames.address + this.offset(i) - prefix);
      hv.setUint32(iov + 8, this.capacity + prefix, true);
    }
    const n = recvmmsg(fd, this.#headers.address, count, MSG_DONTWAIT | MSG_TRUNC, 0);
    if (n < 0) {
      const e = errno();
      if (e === ERRNO.EAGAIN || e === ERRNO.EINTR) return 0;
      throw new SysError('recvmmsg', e, `fd ${fd}`);
    }
    for (let i = 0; i < n; i++) this.#readMeta(i, prefix);
    return n;
  }

  #readMeta(i: number, prefix: number): void {
    const hv = this.#hv;
    const m = i * MMSGHDR_SIZE;
    const name = this.#names + i * NAME_STRIDE;
    const received = hv.getUint32(m + 56, true);
    const length = received > prefix ? received - prefix : 0;
    // MSG_TRUNC in the flags makes msg_len the real length, also where the slot was too small.
    this.length[i] = Math.min(length, this.capacity);
    this.wireLength[i] = length;
    this.protocol[i] = hv.getUint16(name + 2, false);
    this.ifindex[i] = hv.getInt32(name + 4, true);
    this.packetType[i] = hv.getUint8(name + 10);
    this.auxStatus[i] = 0;
    this.vlanTci[i] = -1;
    this.vlanTpid[i] = 0;
    const controls = this.#controls + i * CONTROL_STRIDE;
    const controlLength = Math.min(hv.getUint32(m + 40, true), CONTROL_STRIDE);
    if (
      controlLength >= CMSG_HEADER + AUXDATA_SIZE &&
      hv.getInt32(controls + 8, true) === SOL_PACKET &&
      hv.getInt32(controls + 12, true) === PACKET_AUXDATA
    ) {
      const aux = controls + CMSG_HEADER;
      const status = hv.getUint32(aux, true);
      this.auxStatus[i] = status;
      if (status & TP_STATUS_VLAN_VALID) {
        this.vlanTci[i] = hv.getUint16(aux + 16, true);
        this.vlanTpid[i] = status & TP_STATUS_VLAN_TPID_VALID ? hv.getUint16(aux + 18, true) : 0x8100;
      }
    }
  }

  /**
   * Sends slots `first … first + count`, each to its `ifindex` with its `mark`.
   * A frame that the kernel refuses (EMSGSIZE, ENOBUFS, ENXIO, ENETDOWN, EINVAL …) gets its errno in {@link status} and
   * the rest still goes out; when the socket's send buffer is full, all remaining frames get EAGAIN.
   * @param vnetHeader whether the socket was opened with it
   * @returns number of frames sent. Throws SysError only for a bad socket (EBADF, ENOTSOCK)
   */
  send(fd: number, count: number, vnetHeader: boolean, first = 0): number {
    const end = Math.min(first + count, this.size);
    const prefix = vnetHeader ? VNET_HEADER_SIZE : 0;
    for (let i = first; i < end; i++) this.#prepareSend(i, prefix);
    let sent = 0;
    let i = first;
    while (i < end) {
      const n = sendmmsg(fd, this.#headers.address + i * MMSGHDR_SIZE, end - i, MSG_DONTWAIT);
      if (n > 0) {
        this.status.fill(0, i, i + n);
        sent += n;
        i += n;
        continue;
      }
      const e = errno();
      if (e === ERRNO.EINTR) continue;
      if (e === ERRNO.EBADF || e === ERRNO.ENOTSOCK) throw new SysError('sendmmsg', e, `fd ${fd}`);
      if (e === ERRNO.EAGAIN) {
        this.status.fill(e, i, end);
        break;
      }
      this.status[i++] = e;
    }
    return sent;
  }

  #prepareSend(i: number, prefix: number): void {
    const hv = this.#hv;
    const m = i * MMSGHDR_SIZE;
    const ifindex = this.ifindex[i]!;
    const mark = this.mark[i]!;
    if (ifindex !== 0) {
      const name = this.#names + i * NAME_STRIDE;
      hv.setUint16(name, AF_PACKET, true);
      // Protocol 0: the kernel takes the ethertype from the frame (packet_parse_headers).
      hv.setUint16(name + 2, 0, false);
      hv.setInt32(name + 4, ifindex, true);
      hv.setUint32(m + 8, SOCKADDR_LL_SIZE, true);
    } else {
      // With length 0 the kernel ignores the name pointer, which therefore may stay.
      hv.setUint32(m + 8, 0, true);
    }
    const iov = this.#iov + i * IOVEC_SIZE;
    this.#setPointer(iov, this.#frames.address + this.offset(i) - prefix);
    hv.setUint32(iov + 8, Math.min(this.length[i]!, this.capacity) + prefix, true);
    if (mark !== 0) {
      const control = this.#controls + i * CONTROL_STRIDE;
      this.#setPointer(control, CMSG_HEADER + 4);
      hv.setInt32(control + 8, SOL_SOCKET, true);
      hv.setInt32(control + 12, SO_MARK, true);
      hv.setUint32(control + CMSG_HEADER, mark, true);
      hv.setUint32(m + 40, CMSG_HEADER + 8, true);
    } else {
      hv.setUint32(m + 40, 0, true);
    }
    hv.setUint32(m + 48, 0, true);
  }

  /** Frees the native memory; every view of it becomes empty. */
  close(): void {
    this.#frames.close();
    this.#headers.close();
  }
}
