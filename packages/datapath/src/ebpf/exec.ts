/** Frames that user space sends through a compiled action: the action into a slot of a table, the frame into the helper veth, the slot as its mark. */
import { A_ID_HEAD, A_ID_TAIL, ACTION_SIZE } from '@weft/flow';
import {
  type BpfMap,
  close as closeFd,
  openPacketSocket,
  PacketBatch,
  SO_SNDBUFFORCE,
  SOL_SOCKET,
  setsockopt,
  VNET_HEADER_SIZE,
} from '@weft/sys';
import type { Execution } from '../contract.ts';
import { EXEC_ACTION, EXEC_SIZE, EXEC_SLOTS, MARK_EXEC } from './layout.ts';

/** Frames per system call. */
const BATCH = 64;
/** Any super-packet with its Ethernet header and two tags. */
const FRAME_BYTES = 65_600;
const SEND_BUFFER = 16 << 20;

export class Executor {
  readonly #map: BpfMap;
  readonly #ifindex: number;
  readonly #fd: number;
  readonly #batch = new PacketBatch(BATCH, FRAME_BYTES);
  readonly #keys = new Uint8Array(BATCH * 4);
  readonly #keyView = new DataView(this.#keys.buffer);
  readonly #values = new Uint8Array(BATCH * EXEC_SIZE);
  readonly #valueView = new DataView(this.#values.buffer);
  /** Starts anywhere: frames of a process before us may still be on their way. */
  #sequence = (Math.random() * 0x40000000) >>> 0;

  /** @param ifindex end of the helper veth into which frames are sent */
  constructor(map: BpfMap, ifindex: number) {
    this.#map = map;
    this.#ifindex = ifindex;
    this.#fd = openPacketSocket({ protocol: 0, vnetHeader: true, auxdata: false, receiveBuffer: 4096 });
    try {
      setsockopt(this.#fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER);
    } catch {
      // Without CAP_NET_ADMIN in the initial namespace the default has to do.
    }
  }

  /** @returns frames that could not be sent. */
  execute(executions: readonly Execution[]): number {
    let failed = 0;
    for (let first = 0; first < executions.length; first += BATCH) {
      failed += this.#send(executions, first, Math.min(BATCH, executions.length - first));
    }
    return failed;
  }

  #send(executions: readonly Execution[], first: number, count: number): number {
    const batch = this.#batch;
    let n = 0;
    let failed = 0;
    for (let i = first; i < first + count; i++) {
      const { frame, vnetHeader, action } = executions[i];
      if (frame.length > FRAME_BYTES) {
        failed++;
        continue;
      }
      this.#sequence = (this.#sequence + 1) & 0x7fffffff;
      const mark = (MARK_EXEC | this.#sequence) >>> 0;
      this.#keyView.setUint32(n * 4, this.#sequence % EXEC_SLOTS, true);
      this.#writeValue(n * EXEC_SIZE, mark, action);
      const at = batch.offset(n);
      batch.bytes.set(frame, at);
      if (vnetHeader) batch.bytes.set(vnetHeader.subarray(0, VNET_HEADER_SIZE), at - VNET_HEADER_SIZE);
      else batch.bytes.fill(0, at - VNET_HEADER_SIZE, at);
      batch.length[n] = frame.length;
      batch.ifindex[n] = this.#ifindex;
      batch.mark[n] = mark;
      n++;
    }
    if (n === 0) return failed;
    this.#map.updateBatch(this.#keys, this.#values, n);
    return failed + n - batch.send(this.#fd, n, true);
  }

  #writeValue(at: number, mark: number, action: Uint8Array): void {
    const v = this.#valueView;
    v.setUint32(at, mark, true);
    v.setUint32(at + 4, 0, true);
    this.#values.set(action.subarray(0, ACTION_SIZE), at + EXEC_ACTION);
    for (const id of [A_ID_HEAD, A_ID_TAIL]) {
      v.setUint32(at + EXEC_ACTION + id, mark, true);
      v.setUint32(at + EXEC_ACTION + id + 4, 0, true);
    }
  }

  close(): void {
    closeFd(this.#fd);
    this.#batch.close();
  }
}
