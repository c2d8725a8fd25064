/**
 * Frames on their way out, gathered so that the datapath sends them with few system calls. Frames are copied into one
 * arena, because an upcall's bytes are valid only while it is handled; order is kept.
 */
import type { Datapath, Execution } from '@weft/datapath';
import { ACTION_SIZE } from '@weft/flow';

const MAX = 1024;
const VNET = 10;

interface MutableExecution extends Execution {
  frame: Uint8Array;
  vnetHeader: Uint8Array | null;
  readonly action: Uint8Array;
}

export class ExecutionQueue {
  private readonly datapath: Datapath;
  private readonly arena: Uint8Array;
  private used = 0;
  private readonly pool: MutableExecution[] = [];
  private readonly vnetViews: Uint8Array[] = [];
  private batch: MutableExecution[] = [];
  private readonly ahead: (() => ExecutionQueue) | undefined;
  executed = 0;

  /**
   * @param arenaBytes room for frames; what does not fit is sent before its time
   * @param ahead called before frames are sent: the queue of what must leave ahead of them, with the same system calls
   */
  constructor(datapath: Datapath, arenaBytes = 4 << 20, ahead?: () => ExecutionQueue) {
    this.datapath = datapath;
    this.ahead = ahead;
    this.arena = new Uint8Array(arenaBytes);
    const actions = new Uint8Array(MAX * ACTION_SIZE);
    const vnets = new Uint8Array(MAX * VNET);
    for (let i = 0; i < MAX; i++) {
      const action = actions.subarray(i * ACTION_SIZE, (i + 1) * ACTION_SIZE);
      this.pool.push({ frame: this.arena, vnetHeader: null, action });
      this.vnetViews.push(vnets.subarray(i * VNET, (i + 1) * VNET));
    }
  }

  /** Frames that wait. */
  get size(): number {
    return this.batch.length;
  }

  /** Queues a frame and returns the buffer for its compiled action, to be filled before the next call. */
  add(frame: Uint8Array, vnetHeader: Uint8Array | null): Uint8Array {
    if (this.batch.length === MAX || this.used + frame.length > this.arena.length) this.flush();
    const i = this.batch.length;
    const entry = this.pool[i];
    this.arena.set(frame, this.used);
    entry.frame = this.arena.subarray(this.used, this.used + frame.length);
    this.used += frame.length;
    entry.vnetHeader = null;
    if (vnetHeader !== null && hasContent(vnetHeader)) {
      this.vnetViews[i].set(vnetHeader.subarray(0, VNET));
      entry.vnetHeader = this.vnetViews[i];
    }
    this.batch.push(entry);
    return entry.action;
  }

  /** Takes back the frame queued last. */
  cancel(): void {
    const entry = this.batch.pop();
    if (entry) this.used -= entry.frame.length;
  }

  flush(): void {
    if (this.batch.length === 0) return;
    const ahead = this.ahead?.();
    const batch = this.take();
    this.datapath.execute(ahead === undefined || ahead.size === 0 ? batch : ahead.take().concat(batch));
  }

  /** All that waits; its bytes are valid until the next frame is added. */
  private take(): MutableExecution[] {
    const { batch } = this;
    this.batch = [];
    this.used = 0;
    this.executed += batch.length;
    return batch;
  }
}

function hasContent(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return true;
  return false;
}
