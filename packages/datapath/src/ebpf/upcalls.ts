/** Ring buffer records -> upcalls. One object is reused; frames are views of the ring itself. */
import { K_IP_PROTO } from '@weft/flow';
import { RingBuffer, VNET, VNET_HEADER_SIZE } from '@weft/sys';
import type { Upcall } from '../contract.ts';
import { RECORD } from './layout.ts';

/** Records that a dead agent left are worthless after this time: their packets were sent again or given up. */
export const STALE_NS = 1e9;

export class Upcalls {
  readonly ring: RingBuffer;
  /** Records thrown away because they were written long before this process started. */
  stale = 0;
  readonly #startedNs: number;
  readonly #vnet = new Uint8Array(VNET_HEADER_SIZE);
  readonly #vnetView = new DataView(this.#vnet.buffer);
  readonly #upcall: Upcall;

  /** @param now monotonic ns */
  constructor(fd: number, size: number, now: number) {
    this.ring = new RingBuffer(fd, size);
    this.#startedNs = now;
    this.#upcall = {
      reason: 0,
      inPort: 0,
      key: this.ring.bytes.subarray(0, 0),
      frame: this.ring.bytes.subarray(0, 0),
      length: 0,
      segmentLength: 0,
      vnetHeader: this.#vnet,
      time: 0,
      peer: 0,
      mtu: 0,
    };
  }

  /** Hands over at most `max` and returns how many there were. */
  consume(max: number, handler: (upcall: Upcall) => void): number {
    let stale = 0;
    const n = this.ring.consume(max, (at) => {
      if (this.#read(at)) handler(this.#upcall);
      else stale++;
    });
    this.stale += stale;
    return n - stale;
  }

  #read(at: number): boolean {
    const { view, bytes } = this.ring;
    const u = this.#upcall;
    u.time = view.getUint32(at + RECORD.time, true) + view.getUint32(at + RECORD.time + 4, true) * 0x1_0000_0000;
    if (u.time < this.#startedNs - STALE_NS) return false;
    const captured = view.getUint32(at + RECORD.captured, true);
    u.reason = view.getUint8(at + RECORD.reason);
    u.inPort = view.getUint32(at + RECORD.inPort, true);
    u.length = view.getUint32(at + RECORD.length, true);
    u.segmentLength = view.getUint32(at + RECORD.segment, true);
    u.peer = view.getUint32(at + RECORD.peer, true);
    u.mtu = view.getUint16(at + RECORD.mtu, true);
    u.key = bytes.subarray(at + RECORD.key, at + RECORD.data);
    u.frame = bytes.subarray(at + RECORD.data, at + RECORD.data + captured);
    this.#vnetHeader(at, captured);
    return true;
  }

  /** What PACKET_VNET_HDR needs to send the frame as it came: partial checksum, segment size, where the headers end. */
  #vnetHeader(at: number, captured: number): void {
    const { view } = this.ring;
    const v = this.#vnetView;
    this.#vnet.fill(0);
    const needsCsum = view.getUint8(at + RECORD.needsCsum);
    const gsoSize = view.getUint16(at + RECORD.gsoSize, true);
    if (needsCsum === 0 && gsoSize === 0) return;
    const start = view.getUint16(at + RECORD.csumStart, true);
    v.setUint8(VNET.flags, needsCsum);
    v.setUint16(VNET.csumStart, start, true);
    v.setUint16(VNET.csumOffset, view.getUint16(at + RECORD.csumOffset, true), true);
    if (gsoSize === 0) return;
    v.setUint8(VNET.gsoType, view.getUint8(at + RECORD.gsoType));
    v.setUint16(VNET.gsoSize, gsoSize, true);
    const l4 = needsCsum ? start : 0;
    if (l4 === 0 || l4 + 13 > captured) return;
    const tcp = view.getUint8(at + RECORD.key + K_IP_PROTO) === 6;
    v.setUint16(VNET.hdrLen, l4 + (tcp ? (view.getUint8(at + RECORD.data + l4 + 12) >>> 4) * 4 : 8), true);
  }

  close(): void {
    this.ring.close();
  }
}
