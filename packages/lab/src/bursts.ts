/** Many frames at once: as fast as one sendmmsg(2) after the other puts them on a link. */
import { close, ifNameToIndex, openPacketSocket, PacketBatch, runIn } from '@weft/sys';
import { LabError } from './errors.ts';

const SLOTS = 256;
const SLOT_BYTES = 2048;

/** A socket at an interface of a namespace, and a batch of frames that can be sent again and again. */
export class BurstSender {
  readonly #fd: number;
  readonly #batch = new PacketBatch(SLOTS, SLOT_BYTES);
  #count = 0;

  constructor(namespace: string, device: string) {
    this.#fd = runIn(namespace, () => {
      const ifindex = ifNameToIndex(device);
      if (ifindex === 0) throw new LabError('WEFT_LAB_COMMAND', `there is no interface ${device} in ${namespace}`);
      return openPacketSocket({ ifindex, protocol: 0 });
    });
  }

  /** The frames of the next sends, at most 256 of at most 2048 bytes. */
  load(frames: readonly Uint8Array[]): void {
    for (const [i, frame] of frames.entries()) this.#batch.put(i, frame);
    this.#count = frames.length;
  }

  /** Sends what is loaded. @returns how many went out; the rest found the link's queue full, or was dropped on its way out */
  send(): number {
    return this.#batch.send(this.#fd, this.#count, false);
  }

  close(): void {
    this.#batch.close();
    close(this.#fd);
  }
}

/** Sends frames back to back, each once. */
export function sendBurst(namespace: string, device: string, frames: readonly Uint8Array[]): void {
  const sender = new BurstSender(namespace, device);
  try {
    for (let i = 0; i < frames.length; i += SLOTS) {
      sender.load(frames.slice(i, i + SLOTS));
      sender.send();
    }
  } finally {
    sender.close();
  }
}
