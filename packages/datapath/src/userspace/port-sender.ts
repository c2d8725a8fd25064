/**
 * Frames to local interfaces over one packet socket, offload state in front of each. TCP segments that follow each other go as
 * one super-packet (`oracle/merge.ts`): the guest's stack, and its acknowledgements on their way back, cost more than the path.
 */
import { close, openPacketSocket, PacketBatch, VNET_HEADER_SIZE } from '@weft/sys';
import { copyFrame, MAX_FRAME, Run, Segment, WorkFrame } from '../oracle/index.ts';

const SLOTS = 64;
/** Connections whose segments are put together at the same time. */
const RUNS = 8;

export class PortSender {
  readonly #batch = new PacketBatch(SLOTS, MAX_FRAME + 4);
  readonly #fd: number;
  readonly #failed: (errno: number) => void;
  readonly #segment = new Segment();
  readonly #runs = Array.from({ length: RUNS }, () => new Run());
  readonly #scratch = new WorkFrame();
  /** Runs in use since the last flush, and the one that is given up next when all are. */
  #used = 0;
  #oldest = 0;
  #count = 0;

  /** @param failed called once for each frame that the kernel would not take. */
  constructor(failed: (errno: number) => void) {
    this.#failed = failed;
    this.#fd = openPacketSocket({ protocol: 0, vnetHeader: true, auxdata: false });
  }

  /** Queues a copy of the frame, its tag in the bytes; the frame itself is left as it is. */
  add(ifindex: number, frame: WorkFrame): void {
    const segment = this.#segment;
    const mergeable = segment.read(frame);
    if (mergeable) {
      if (this.#appended(ifindex, frame)) return;
    } else if (this.#used > 0) {
      // Whatever it is, a connection's later segments must not overtake it.
      this.#endRuns();
    }
    const i = this.#append(ifindex, frame);
    if (!mergeable || (segment.flags & 0x08) !== 0 || !segment.isIntact(frame)) return;
    const run = this.#freeRun();
    run.begin(segment, frame, this.#batch.bytes, this.#batch.offset(i));
    run.ifindex = ifindex;
    run.slot = i;
  }

  /** Puts the segment in `#segment` behind the one that it follows, if that one is still here. */
  #appended(ifindex: number, frame: WorkFrame): boolean {
    const { bytes } = this.#batch;
    for (let r = 0; r < this.#used; r++) {
      const run = this.#runs[r];
      if (!run.isOf(ifindex, this.#segment, frame.bytes, bytes)) continue;
      if (!run.continues(this.#segment, frame, bytes) || !this.#segment.isIntact(frame)) {
        this.#end(run);
        continue;
      }
      const more = run.append(this.#segment, frame, bytes);
      this.#batch.length[run.slot] = run.length;
      if (!more) this.#end(run);
      return true;
    }
    return false;
  }

  #freeRun(): Run {
    for (let r = 0; r < this.#used; r++) if (this.#runs[r].segments === 0) return this.#runs[r];
    if (this.#used < RUNS) return this.#runs[this.#used++];
    const run = this.#runs[this.#oldest];
    this.#oldest = (this.#oldest + 1) % RUNS;
    this.#end(run);
    return run;
  }

  #end(run: Run): void {
    if (run.segments > 1) {
      const at = this.#batch.offset(run.slot);
      run.finish(this.#batch.bytes, this.#scratch, at - VNET_HEADER_SIZE);
    }
    run.segments = 0;
  }

  #endRuns(): void {
    for (let r = 0; r < this.#used; r++) this.#end(this.#runs[r]);
    this.#used = 0;
    this.#oldest = 0;
  }

  /** @returns slot of the copy */
  #append(ifindex: number, frame: WorkFrame): number {
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
    return i;
  }

  /** Sends what is queued. */
  flush(): void {
    const count = this.#count;
    if (count === 0) return;
    this.#endRuns();
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
