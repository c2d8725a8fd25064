/**
 * Copies of the frames that arrive at interfaces, by packet sockets: they see a frame before the programs at ingress do, and get a
 * copy of it. What becomes of the frame itself is no different for it, and copies that nobody reads in time are dropped, not it.
 */
import {
  close,
  openPacketSocket,
  PacketBatch,
  packetStatistics,
  VIRTIO_NET_HDR_GSO_NONE,
  VNET,
  VNET_HEADER_SIZE,
} from '@weft/sys';

/** Slots of the shared batch; each holds any super-packet. */
const SLOTS = 16;
const CAPACITY = 65_550;
/** Frames looked at per poll and interface: bounds what a busy interface takes of the main thread. */
const PER_POLL = 512;
const RECEIVE_BUFFER = 2 << 20;

export interface TappedFrame {
  readonly ifindex: number;
  /** With its VLAN tag in the bytes; the caller's own copy. */
  readonly frame: Uint8Array;
  /** Bytes of the whole frame. */
  readonly length: number;
  /** Payload bytes of each segment of a super-packet, 0: it is none. */
  readonly gsoSize: number;
}

export class Tap {
  private readonly sockets = new Map<number, number>();
  private readonly batch = new PacketBatch(SLOTS, CAPACITY);
  /** Copies that the kernel had no room for. */
  missed = 0;

  /** Watches an interface. @throws SysError: it is gone, or this process may not. */
  open(ifindex: number): void {
    if (this.sockets.has(ifindex)) return;
    this.sockets.set(ifindex, openPacketSocket({ ifindex, vnetHeader: true, receiveBuffer: RECEIVE_BUFFER }));
  }

  /** Hands on what has arrived since. */
  poll(take: (frame: TappedFrame) => void): void {
    for (const [ifindex, fd] of this.sockets) {
      for (let seen = 0; seen < PER_POLL; ) {
        const n = this.receive(fd);
        for (let i = 0; i < n; i++) take(this.frame(ifindex, i));
        seen += n;
        if (n < SLOTS) break;
      }
      this.missed += packetStatistics(fd).drops;
    }
  }

  /** An interface that goes down says so once, and is silent from then on. */
  private receive(fd: number): number {
    try {
      return this.batch.recv(fd, true);
    } catch {
      return 0;
    }
  }

  private frame(ifindex: number, i: number): TappedFrame {
    const { batch } = this;
    const bytes = batch.frame(i);
    const vnet = batch.offset(i) - VNET_HEADER_SIZE;
    const gso = batch.view.getUint8(vnet + VNET.gsoType) !== VIRTIO_NET_HDR_GSO_NONE;
    const gsoSize = gso ? batch.view.getUint16(vnet + VNET.gsoSize, true) : 0;
    const tci = batch.vlanTci[i];
    const tagged = tci >= 0;
    const frame = new Uint8Array(bytes.length + (tagged ? 4 : 0));
    if (tagged) {
      frame.set(bytes.subarray(0, 12));
      new DataView(frame.buffer).setUint16(12, batch.vlanTpid[i] || 0x8100);
      new DataView(frame.buffer).setUint16(14, tci);
      frame.set(bytes.subarray(12), 16);
    } else frame.set(bytes);
    return { ifindex, frame, length: Math.max(frame.length, batch.wireLength[i] + (tagged ? 4 : 0)), gsoSize };
  }

  close(): void {
    for (const fd of this.sockets.values()) close(fd);
    this.sockets.clear();
  }
}
