/**
 * bpf(2): maps, pins, links, test runs (include/uapi/linux/bpf.h). Loading is in libbpf.ts, ring buffers in bpf-ring.ts.
 *
 * Longer than other files because it is one system call: its commands share one attribute buffer, laid out here and nowhere else.
 */

import { ERRNO, isErrno, SysError, WeftSysError } from './errors.ts';
import { close } from './fd.ts';
import { errno, SYS, syscall } from './libc.ts';
import { NativeBuffer } from './memory.ts';

const CMD = {
  MAP_LOOKUP_ELEM: 1,
  MAP_UPDATE_ELEM: 2,
  MAP_DELETE_ELEM: 3,
  MAP_GET_NEXT_KEY: 4,
  OBJ_PIN: 6,
  OBJ_GET: 7,
  PROG_TEST_RUN: 10,
  OBJ_GET_INFO_BY_FD: 15,
  MAP_LOOKUP_BATCH: 24,
  MAP_UPDATE_BATCH: 26,
  MAP_DELETE_BATCH: 27,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  LINK_DETACH: 34,
} as const;

export const BPF_ANY = 0;
export const BPF_NOEXIST = 1;
export const BPF_EXIST = 2;

/** Attach types of tcx programs. */
export const BPF_TCX_INGRESS = 46;
export const BPF_TCX_EGRESS = 47;
/** Place a link before all others of its hook (or after, or relative to another one). */
export const BPF_F_BEFORE = 1 << 3;
export const BPF_F_AFTER = 1 << 4;
const BPF_F_REPLACE = 1 << 2;

const MAP_TYPE_PERCPU = new Set([5, 6, 10]);
const PATH_MAX = 4096;
const ATTR_SIZE = 128;

/** One attr per thread: the calls are synchronous, and the kernel copies it. */
const attr = NativeBuffer.alloc(ATTR_SIZE);

function clearAttr(): DataView {
  attr.bytes.fill(0, 0, ATTR_SIZE);
  return attr.view;
}

function setPointer(view: DataView, offset: number, address: number): void {
  view.setUint32(offset, address >>> 0, true);
  view.setUint32(offset + 4, Math.floor(address / 0x1_0000_0000), true);
}

function bpf(command: number, size: number): number {
  return syscall(SYS.bpf, command, attr.address, size);
}

function bpfOrThrow(command: number, size: number, what: string): number {
  const result = bpf(command, size);
  if (result === -1) throw new SysError('bpf', errno(), what);
  return result;
}

/** CPUs that per-CPU maps have room for: "0-3,8" of /sys/devices/system/cpu/possible as the highest number + 1. */
export function parsePossibleCpus(text: string): number {
  const last = /(\d+)\s*$/.exec(text);
  if (!last) throw new WeftSysError('WEFT_SYS_PROTOCOL', `'${text}' is not a list of CPUs`);
  return Number(last[1]) + 1;
}

/** What the kernel says of a map (struct bpf_map_info). */
export type MapInfo = { type: number; keySize: number; valueSize: number; maxEntries: number; flags: number };

function info(fd: number, size: number, what: string): DataView {
  using buffer = NativeBuffer.alloc(size);
  const a = clearAttr();
  a.setUint32(0, fd, true);
  a.setUint32(4, size, true);
  setPointer(a, 8, buffer.address);
  bpfOrThrow(CMD.OBJ_GET_INFO_BY_FD, 16, what);
  return new DataView(buffer.bytes.slice(0, size).buffer);
}

/** Describes a map. Throws SysError (EBADF, EINVAL). */
export function mapInfo(fd: number): MapInfo {
  const v = info(fd, 80, 'map info');
  return {
    type: v.getUint32(0, true),
    keySize: v.getUint32(8, true),
    valueSize: v.getUint32(12, true),
    maxEntries: v.getUint32(16, true),
    flags: v.getUint32(20, true),
  };
}

/** What the kernel says of a tcx link. `ifindex` 0: its interface is gone. */
export type LinkInfo = { id: number; programId: number; ifindex: number; attachType: number };

/** Describes a tcx link. Throws SysError (EBADF, EINVAL). */
export function linkInfo(fd: number): LinkInfo {
  const v = info(fd, 32, 'link info');
  return {
    id: v.getUint32(4, true),
    programId: v.getUint32(8, true),
    ifindex: v.getUint32(16, true),
    attachType: v.getUint32(20, true),
  };
}

/** Kernel's id of a loaded program. */
export function programId(fd: number): number {
  return info(fd, 232, 'program info').getUint32(4, true);
}

/** Entries that a batch call got through before it stopped, and the errno why (0: all of them). */
export type BatchResult = { count: number; errno: number };

/**
 * A map by descriptor. Keys and values are bytes in the map's own layout (per-CPU values: one per possible CPU, each
 * padded to 8 bytes). Calls copy through native memory: the kernel takes addresses, and the heap moves.
 */
export class BpfMap {
  readonly fd: number;
  readonly info: MapInfo;
  /** Bytes of a value as system calls see it. */
  readonly valueBytes: number;
  readonly #scratch: NativeBuffer;
  readonly #valueAt: number;
  #batch: NativeBuffer | undefined;
  #closed = false;

  /** @param fd is owned from now on; @param possibleCpus needed for per-CPU types only */
  constructor(fd: number, possibleCpus = 1) {
    this.fd = fd;
    this.info = mapInfo(fd);
    const { type, keySize, valueSize } = this.info;
    this.valueBytes = MAP_TYPE_PERCPU.has(type) ? ((valueSize + 7) & ~7) * possibleCpus : valueSize;
    this.#valueAt = (keySize * 2 + 15) & ~7;
    this.#scratch = NativeBuffer.alloc(this.#valueAt + this.valueBytes);
  }

  #element(command: number, key: Uint8Array, flags: number): number {
    this.#scratch.bytes.set(key.subarray(0, this.info.keySize));
    const a = clearAttr();
    a.setUint32(0, this.fd, true);
    setPointer(a, 8, this.#scratch.address);
    // What a command does not use must be 0.
    if (command !== CMD.MAP_DELETE_ELEM) setPointer(a, 16, this.#scratch.address + this.#valueAt);
    a.setUint32(24, flags, true);
    return bpf(command, 32);
  }

  /** Copies the value of `key` into `out`. Returns false when there is none. Throws SysError. */
  lookup(key: Uint8Array, out: Uint8Array): boolean {
    if (this.#element(CMD.MAP_LOOKUP_ELEM, key, 0) === -1) {
      const e = errno();
      if (e === ERRNO.ENOENT) return false;
      throw new SysError('bpf', e, 'map lookup');
    }
    out.set(this.#scratch.bytes.subarray(this.#valueAt, this.#valueAt + this.valueBytes));
    return true;
  }

  /** Sets the value of `key`. Throws SysError (E2BIG: full; EEXIST, ENOENT by flags). */
  update(key: Uint8Array, value: Uint8Array, flags = BPF_ANY): void {
    this.#scratch.bytes.set(value.subarray(0, this.valueBytes), this.#valueAt);
    if (this.#element(CMD.MAP_UPDATE_ELEM, key, flags) === -1) throw new SysError('bpf', errno(), 'map update');
  }

  /** Removes `key`. Returns false when there was none. Throws SysError. */
  delete(key: Uint8Array): boolean {
    if (this.#element(CMD.MAP_DELETE_ELEM, key, 0) !== -1) return true;
    const e = errno();
    if (e === ERRNO.ENOENT) return false;
    throw new SysError('bpf', e, 'map delete');
  }

  #batchBuffer(bytes: number): NativeBuffer {
    if (this.#batch === undefined || this.#batch.byteLength < bytes) {
      this.#batch?.close();
      this.#batch = NativeBuffer.alloc(Math.max(bytes, 64 * 1024));
    }
    return this.#batch;
  }

  #batchCall(command: number, keys: number, values: number, count: number): BatchResult {
    const a = clearAttr();
    setPointer(a, 16, keys);
    setPointer(a, 24, values);
    a.setUint32(32, count, true);
    a.setUint32(36, this.fd, true);
    if (bpf(command, 56) !== -1) return { count, errno: 0 };
    const e = errno();
    if (e === ERRNO.EINVAL || e === ERRNO.EFAULT || e === ERRNO.EPERM || e === ERRNO.EBADF) {
      throw new SysError('bpf', e, 'map batch');
    }
    return { count: Math.min(count, attr.view.getUint32(32, true)), errno: e };
  }

  /**
   * Inserts or replaces entries `first … first + count` of packed keys and values, up to the first that fails.
   * @returns how many are in, and why it stopped (E2BIG: full). Throws SysError for what no entry is to blame for.
   */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number, first = 0): BatchResult {
    if (count === 0) return { count: 0, errno: 0 };
    const { keySize } = this.info;
    const valuesAt = (keySize * count + 7) & ~7;
    const buffer = this.#batchBuffer(valuesAt + this.valueBytes * count);
    buffer.bytes.set(keys.subarray(first * keySize, (first + count) * keySize));
    buffer.bytes.set(values.subarray(first * this.valueBytes, (first + count) * this.valueBytes), valuesAt);
    return this.#batchCall(CMD.MAP_UPDATE_BATCH, buffer.address, buffer.address + valuesAt, count);
  }

  /**
   * Removes all `count` packed keys; absent ones are stepped over, and their numbers handed to `absent`.
   * @returns how many were there. Throws SysError.
   */
  deleteBatch(keys: Uint8Array, count: number, absent?: (index: number) => void): number {
    if (count === 0) return 0;
    const { keySize } = this.info;
    const buffer = this.#batchBuffer(keySize * count);
    buffer.bytes.set(keys.subarray(0, keySize * count));
    let at = 0;
    let removed = 0;
    while (at < count) {
      const result = this.#batchCall(CMD.MAP_DELETE_BATCH, buffer.address + at * keySize, 0, count - at);
      removed += result.count;
      at += result.count;
      if (result.errno === 0) break;
      // It stops at the first absent key: go on behind it.
      if (result.errno !== ERRNO.ENOENT) throw new SysError('bpf', result.errno, 'map delete batch');
      absent?.(at);
      at++;
    }
    return removed;
  }

  /**
   * Visits every key (a view into scratch, valid inside the call). Exact only while nothing inserts or deletes; the visitor
   * may delete the key it is given.
   */
  forEachKey(visit: (key: Uint8Array) => void): void {
    const { keySize, maxEntries } = this.info;
    const current = new Uint8Array(keySize);
    const next = this.#scratch.bytes.subarray(keySize, keySize * 2);
    let have = this.#nextKey(null);
    // The bound holds also while others insert: a walk of a changing table could go on for ever.
    for (let i = 0; have && i < maxEntries * 2; i++) {
      current.set(next);
      have = this.#nextKey(current);
      const following = have ? next.slice() : undefined;
      visit(current);
      if (following) next.set(following);
    }
  }

  #nextKey(key: Uint8Array | null): boolean {
    const { keySize } = this.info;
    if (key) this.#scratch.bytes.set(key);
    const a = clearAttr();
    a.setUint32(0, this.fd, true);
    setPointer(a, 8, key ? this.#scratch.address : 0);
    setPointer(a, 16, this.#scratch.address + keySize);
    if (bpf(CMD.MAP_GET_NEXT_KEY, 32) !== -1) return true;
    const e = errno();
    if (e === ERRNO.ENOENT) return false;
    throw new SysError('bpf', e, 'map next key');
  }

  /** Visits every entry of a hash map by batches. Views are into scratch. Exact only while nothing changes. */
  forEach(visit: (key: Uint8Array, value: Uint8Array) => void, batch = 1024): void {
    const { keySize, maxEntries } = this.info;
    let size = Math.min(batch, maxEntries);
    let token = 0;
    using tokens = NativeBuffer.alloc(256);
    const seenLimit = maxEntries * 2;
    for (let seen = 0; seen <= seenLimit; ) {
      const valuesAt = 8 + ((keySize * size + 7) & ~7);
      const buffer = this.#batchBuffer(valuesAt + this.valueBytes * size);
      const a = clearAttr();
      if (token !== 0) setPointer(a, 0, tokens.address);
      setPointer(a, 8, tokens.address + 128);
      setPointer(a, 16, buffer.address);
      setPointer(a, 24, buffer.address + valuesAt);
      a.setUint32(32, size, true);
      a.setUint32(36, this.fd, true);
      const result = bpf(CMD.MAP_LOOKUP_BATCH, 56);
      const e = result === -1 ? errno() : 0;
      const count = attr.view.getUint32(32, true);
      if (e === ERRNO.ENOSPC) {
        // A bucket holds more than fits: the same place again with more room.
        size *= 2;
        continue;
      }
      if (e !== 0 && e !== ERRNO.ENOENT) throw new SysError('bpf', e, 'map lookup batch');
      for (let i = 0; i < count; i++) {
        visit(
          buffer.bytes.subarray(i * keySize, (i + 1) * keySize),
          buffer.bytes.subarray(valuesAt + i * this.valueBytes, valuesAt + (i + 1) * this.valueBytes),
        );
      }
      seen += count;
      if (e === ERRNO.ENOENT) return;
      tokens.bytes.copyWithin(0, 128, 256);
      token = 1;
    }
  }

  /** Closes the descriptor; pins keep the map. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#scratch.close();
    this.#batch?.close();
    close(this.fd);
  }
}

function withPath(path: string, command: number, fd: number, what: string): number {
  const bytes = Buffer.from(`${path}\0`, 'utf8');
  if (bytes.length > PATH_MAX) throw new WeftSysError('WEFT_SYS_ARGUMENT', `path of ${bytes.length} bytes`);
  using memory = NativeBuffer.alloc(bytes.length);
  memory.bytes.set(bytes);
  const a = clearAttr();
  setPointer(a, 0, memory.address);
  a.setUint32(8, fd, true);
  return bpfOrThrow(command, 16, `${what} ${path}`);
}

/** Gives a map, program or link a name on a bpffs, which keeps it alive. Throws SysError (EEXIST, EPERM: no bpffs there). */
export function pinObject(fd: number, path: string): void {
  withPath(path, CMD.OBJ_PIN, fd, 'pin');
}

/** Opens a pinned object; close it with {@link close}. Throws SysError (ENOENT). */
export function openPinned(path: string): number {
  return withPath(path, CMD.OBJ_GET, 0, 'open pin');
}

/**
 * Attaches a program to a tcx hook of an interface in the calling thread's namespace.
 * @param flags BPF_F_BEFORE (first of all) or BPF_F_AFTER
 * @returns descriptor of the link. Throws SysError (EINVAL: no tcx, before Linux 6.6; ENODEV)
 */
export function createTcxLink(programFd: number, ifindex: number, attachType = BPF_TCX_INGRESS, flags = 0): number {
  const a = clearAttr();
  a.setUint32(0, programFd, true);
  a.setUint32(4, ifindex, true);
  a.setUint32(8, attachType, true);
  a.setUint32(12, flags, true);
  return bpfOrThrow(CMD.LINK_CREATE, 32, `attach to ifindex ${ifindex}`);
}

/**
 * Swaps the program of a link in one step: every packet sees the old or the new one.
 * @param oldProgramFd if given, only when this one is attached (else EPERM)
 * Throws SysError (ENOLINK: the interface is gone)
 */
export function updateLink(linkFd: number, programFd: number, oldProgramFd?: number): void {
  const a = clearAttr();
  a.setUint32(0, linkFd, true);
  a.setUint32(4, programFd, true);
  if (oldProgramFd !== undefined) {
    a.setUint32(8, BPF_F_REPLACE, true);
    a.setUint32(12, oldProgramFd, true);
  }
  bpfOrThrow(CMD.LINK_UPDATE, 16, 'update link');
}

/** Detaches a link whatever still holds it. A link whose interface is gone counts as detached. */
export function detachLink(linkFd: number): void {
  clearAttr().setUint32(0, linkFd, true);
  try {
    bpfOrThrow(CMD.LINK_DETACH, 4, 'detach link');
  } catch (error) {
    if (!isErrno(error, 'ENOLINK')) throw error;
  }
}

/** Outcome of {@link testRun}. */
export type TestRun = {
  /** What the program returned. */
  result: number;
  /** The frame as the program left it. */
  frame: Uint8Array;
  /** Mean ns per run. */
  durationNs: number;
};

/**
 * Runs a tc program on a frame without an interface (BPF_PROG_TEST_RUN). Redirects are decided, not carried out.
 * @param context fields of struct __sk_buff: `ifindex` and `ingressIfindex` must exist in the thread's namespace
 */
export function testRun(
  programFd: number,
  frame: Uint8Array,
  context: { ifindex?: number; mark?: number; repeat?: number; room?: number; gsoSize?: number; gsoSegs?: number } = {},
): TestRun {
  const room = frame.length + (context.room ?? 256);
  using memory = NativeBuffer.alloc(frame.length + room + 512 + 64);
  const ctxAt = 0;
  const inAt = 256;
  const outAt = inAt + ((frame.length + 63) & ~63);
  memory.bytes.set(frame, inAt);
  // struct __sk_buff (192 bytes): mark 8, ingress_ifindex 36, ifindex 40, gso_segs 164, gso_size 176.
  const needsContext = context.ifindex !== undefined || context.mark !== undefined || context.gsoSize !== undefined;
  const v = memory.view;
  v.setUint32(ctxAt + 8, context.mark ?? 0, true);
  v.setUint32(ctxAt + 36, context.ifindex ?? 0, true);
  v.setUint32(ctxAt + 40, context.ifindex ?? 0, true);
  v.setUint32(ctxAt + 164, context.gsoSegs ?? 0, true);
  v.setUint32(ctxAt + 176, context.gsoSize ?? 0, true);
  const a = clearAttr();
  a.setUint32(0, programFd, true);
  a.setUint32(8, frame.length, true);
  a.setUint32(12, room, true);
  setPointer(a, 16, memory.address + inAt);
  setPointer(a, 24, memory.address + outAt);
  a.setUint32(32, context.repeat ?? 1, true);
  if (needsContext) {
    a.setUint32(40, 192, true);
    setPointer(a, 48, memory.address + ctxAt);
  }
  bpfOrThrow(CMD.PROG_TEST_RUN, 80, 'test run');
  const length = attr.view.getUint32(12, true);
  return {
    result: attr.view.getInt32(4, true),
    frame: memory.bytes.slice(outAt, outAt + length),
    durationNs: attr.view.getUint32(36, true),
  };
}
