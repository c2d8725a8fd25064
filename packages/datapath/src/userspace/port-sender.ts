/** Frames to local interfaces over one packet socket, offload state in front of each. */
import { close, openPacketSocket, PacketBatch, VNET_HEADER_SIZE } from '@weft/sys';
import { copyFrame, MAX_FRAME, type WorkFrame } from '../oracle/index.ts';

const SLOTS = 32;

export class PortSender {
  readonly #batch = new PacketBatch(SLOTS, MAX_FRAME + 4);
  readonly #fd: number;
  readonly #failed: (errno: number) => void;
  #count = 0;

  /** @param failed called once for each frame that the kernel would not take. */
  constructor(failed: (errno: number) => void) {
    this.#failed = failed;
    this.#fd = openPacketSocket({ protocol: 0, vnetHeader: true, auxdata: false });
  }

  /** Queues a copy of the frame, its tag in the bytes; the frame itself is left as it is. */
  add(ifindex: number, frame: WorkFrame): void {
    if (this.#count === SLOTS) this.flush();
    const i = this.#count++;
    const batch = this.#batch;
    const at = batch.offset(i);
    const length = frame.end - frame.start;
    const tagged = frame.tagTpid !== 0;
    if (tagged) {
      copyFrame(frame.bytes, frame.start, batch.bytes, at, 12);
      batch.view.setUint16(at + 12, frame.tagTpid);
      batch.view.setUint16(at + 14, frame.tagTci);
      copyFrame(frame.bytes, frame.start + 12, batch.bytes, at + 16, length - 12);
    } else {
      copyFrame(frame.bytes, frame.start, batch.bytes, at, length);
    }
    frame.writeVnetHeader(batch.bytes, at - VNET_HEADER_SIZE, tagged ? 4 : 0);
    batch.length[i] = tagged ? length + 4 : length;
    batch.ifindex[i] = ifindex;
  }

  /** Sends what is queued. */
  flush(): void {
    const count = this.#count;
    if (count === 0) return;
    this.#count = 0;
    if (this.#batch.send(this.#fd, count, true) === count) return;
    for (let i = 0; i < count; i++) if (this.#batch.status[i] !== 0) this.#failed(this.#batch.status[i]);
  }

  close(): void {
    this.flush();
    close(this.#fd);
    this.#batch.close();
  }
}
