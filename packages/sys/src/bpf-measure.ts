/** Measuring eBPF programs: run times under real traffic, and traffic made inside the kernel. */
import { SysError } from './errors.ts';
import { errno, SYS, syscall } from './libc.ts';
import { NativeBuffer } from './memory.ts';

const PROG_TEST_RUN = 10;
const OBJ_GET_INFO_BY_FD = 15;
const ENABLE_STATS = 32;
const F_TEST_XDP_LIVE_FRAMES = 2;
const INFO_SIZE = 232;

function call(command: number, what: string, bytes: number, fill: (v: DataView) => void): number {
  using attr = NativeBuffer.alloc(128);
  fill(attr.view);
  const result = syscall(SYS.bpf, command, attr.address, bytes);
  if (result === -1) throw new SysError('bpf', errno(), what);
  return result;
}

/**
 * Makes the kernel measure every program's runs (as sysctl kernel.bpf_stats_enabled) until the returned descriptor is closed. Costs two
 * readings of the clock per run. Throws SysError (EPERM).
 */
export function enableProgramStats(): number {
  return call(ENABLE_STATS, 'enable statistics', 4, () => {});
}

/** struct bpf_prog_info of a program. */
function programInfo<T>(programFd: number, read: (info: DataView) => T): T {
  using info = NativeBuffer.alloc(INFO_SIZE);
  call(OBJ_GET_INFO_BY_FD, 'program info', 16, (v) => {
    v.setUint32(0, programFd, true);
    v.setUint32(4, INFO_SIZE, true);
    v.setBigUint64(8, BigInt(info.address), true);
  });
  return read(info.view);
}

/** Time in ns and number of a program's runs while statistics were enabled. Throws SysError (EBADF). */
export function programRuns(programFd: number): { ns: number; count: number } {
  // run_time_ns 192, run_cnt 200.
  return programInfo(programFd, (info) => ({
    ns: Number(info.getBigUint64(192, true)),
    count: Number(info.getBigUint64(200, true)),
  }));
}

/** Instructions that the verifier went through for a program (of 1,000,000 that it would). Throws SysError (EBADF). */
export function verifiedInstructions(programFd: number): number {
  return programInfo(programFd, (info) => info.getUint32(216, true)); // verified_insns
}

/**
 * Runs an XDP program `repeat` times on copies of a frame and does with them what it says (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18):
 * XDP_PASS puts them into the receive path of `ifindex`, in batches, as a driver would. The copies are used again without being
 * restored: the program must rewrite what its last use may have changed.
 */
export function xdpTraffic(programFd: number, frame: Uint8Array, ifindex: number, repeat: number, batch = 64): void {
  const at = 64;
  using memory = NativeBuffer.alloc(at + frame.length);
  memory.bytes.set(frame, at);
  // struct xdp_md: data 0, data_end 4, data_meta 8, ingress_ifindex 12, rx_queue_index 16, egress_ifindex 20.
  memory.view.setUint32(4, frame.length, true);
  memory.view.setUint32(12, ifindex, true);
  call(PROG_TEST_RUN, 'traffic', 80, (v) => {
    v.setUint32(0, programFd, true);
    v.setUint32(8, frame.length, true);
    v.setBigUint64(16, BigInt(memory.address + at), true);
    v.setUint32(32, repeat, true);
    v.setUint32(40, 24, true);
    v.setBigUint64(48, BigInt(memory.address), true);
    v.setUint32(64, F_TEST_XDP_LIVE_FRAMES, true);
    v.setUint32(72, batch, true);
  });
}
