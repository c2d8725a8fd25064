/** The far end of a wire: raw frames in and out, exact bytes. */
import { close, openPacketSocket, PacketBatch, VNET_HEADER_SIZE } from '@weft/sys';

const SLOTS = 64;
const CAPACITY = 66_000;

/** One frame as it arrived, its tag put back into the bytes. */
export interface Arrival {
  readonly frame: Uint8Array;
  /** 10 bytes; all 0 when nothing was left to a card. */
  readonly vnetHeader: Uint8Array;
}

let batch: PacketBatch | null = null;

/** One batch for all wires: they are used one at a time. */
function arena(): PacketBatch {
  batch ??= new PacketBatch(SLOTS, CAPACITY);
  return batch;
}

export class Wire {
  readonly name: string;
  readonly ifindex: number;
  readonly #fd: number;
  readonly #filter: (frame: Uint8Array) => boolean;

  /** Opens in the calling thread's namespace. @param filter frames that are of interest. */
  constructor(name: string, ifindex: number, filter: (frame: Uint8Array) => boolean = () => true) {
    this.name = name;
    this.ifindex = ifindex;
    this.#filter = filter;
    this.#fd = openPacketSocket({ ifindex, vnetHeader: true, promiscuous: true });
  }

  /** Puts a frame on the wire. @param vnetHeader what a VM's driver leaves to the card. */
  send(frame: Uint8Array, vnetHeader?: Uint8Array): void {
    const b = arena();
    b.put(0, frame);
    if (vnetHeader) b.bytes.set(vnetHeader, b.offset(0) - VNET_HEADER_SIZE);
    if (b.send(this.#fd, 1, true) !== 1) throw new Error(`${this.name}: sending failed with errno ${b.status[0]}`);
  }

  /** Takes what has arrived. */
  take(): Arrival[] {
    const b = arena();
    const out: Arrival[] = [];
    for (;;) {
      const n = b.recv(this.#fd, true);
      for (let i = 0; i < n; i++) {
        const frame = tagged(b, i);
        const at = b.offset(i) - VNET_HEADER_SIZE;
        if (this.#filter(frame)) out.push({ frame, vnetHeader: b.bytes.slice(at, at + VNET_HEADER_SIZE) });
      }
      if (n < SLOTS) return out;
    }
  }

  close(): void {
    close(this.#fd);
  }
}

function tagged(b: PacketBatch, i: number): Uint8Array {
  const bytes = b.frame(i);
  if (b.vlanTci[i] < 0) return bytes.slice();
  const out = new Uint8Array(bytes.length + 4);
  out.set(bytes.subarray(0, 12));
  out.set([b.vlanTpid[i] >> 8, b.vlanTpid[i], b.vlanTci[i] >> 8, b.vlanTci[i]], 12);
  out.set(bytes.subarray(12), 16);
  return out;
}
