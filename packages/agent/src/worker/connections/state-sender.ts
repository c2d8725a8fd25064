/** Puts flow-state datagrams into frames and on their way through the tunnels. */
import { ACTION_SIZE, compileAction, FLOW_STATE_KEY, KEY_SIZE, OUT_TUNNEL } from '@weft/flow';
import { DATAGRAM_SIZE } from '@weft/flowstate';
import type { ExecutionQueue } from '../execution-queue.ts';
import { STATE_HEADERS, writeStateFrame } from './state-frame.ts';

export class StateSender {
  private readonly queue: ExecutionQueue;
  private readonly frame = new Uint8Array(STATE_HEADERS + DATAGRAM_SIZE);
  private readonly key = new Uint8Array(KEY_SIZE);
  private readonly action = new Uint8Array(ACTION_SIZE);

  constructor(queue: ExecutionQueue) {
    this.queue = queue;
  }

  /** @param peer number of the peer's tunnel */
  send(peer: number, bytes: Uint8Array, length: number): void {
    const size = writeStateFrame(bytes, length, this.frame);
    compileAction(this.key, this.key, this.action, { output: OUT_TUNNEL, outPort: peer, tunnelKey: FLOW_STATE_KEY });
    this.queue.add(this.frame.subarray(0, size), null).set(this.action);
  }
}
