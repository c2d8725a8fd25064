/**
 * The C library by FFI: every other file of this package calls the kernel through here.
 * Addresses are plain numbers (Linux user addresses on x86_64 and aarch64 are below 2^53), never BigInt.
 */
import koffi from 'koffi';
import { SysError, WeftSysError } from './errors.ts';

if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64')) {
  throw new WeftSysError(
    'WEFT_SYS_PLATFORM',
    `Weft runs on Linux x86_64 and aarch64, not on ${process.platform} ${process.arch}`,
  );
}

/** libc.so.6, for further symbols: `libc.func('name', 'int', ['int', 'void *'])`. */
export const libc = koffi.load('libc.so.6');

/** A C function. Pointer arguments (`void *`) take a typed array (used in place) or an address as a number. */
export type CFunction = (...args: (number | bigint | string | ArrayBufferView | null)[]) => number;

/** Declares a C function of libc that returns an integer. Types are koffi's (`int`, `void *`, `size_t`, `str`). */
export function cfunc(name: string, result: string, args: string[]): CFunction {
  return libc.func(name, result, args) as unknown as CFunction;
}

/** True on x86_64 (the only other architecture is aarch64). */
export const IS_X64 = process.arch === 'x64';

/** Numbers of system calls that glibc does not wrap, or wraps too late (arch/x86 syscall_64.tbl, asm-generic/unistd.h). */
export const SYS = IS_X64
  ? ({
      bpf: 321,
      perf_event_open: 298,
      gettid: 186,
      setns: 308,
      pidfd_open: 434,
      pidfd_send_signal: 424,
      membarrier: 324,
    } as const)
  : ({
      bpf: 280,
      perf_event_open: 241,
      gettid: 178,
      setns: 268,
      pidfd_open: 434,
      pidfd_send_signal: 424,
      membarrier: 283,
    } as const);

const rawSyscall = cfunc('syscall', 'long', ['long', 'long', 'long', 'long', 'long', 'long', 'long']);

/** errno of the last C call on this thread; ask at once, before anything else can change it. */
export function errno(): number {
  return koffi.errno();
}

/**
 * Throws {@link SysError} when a C call returned -1, else passes its result through.
 * @param detail what the call worked on, for the message ("ifindex 7")
 */
export function check(name: string, result: number, detail?: string): number {
  if (result === -1) throw new SysError(name, koffi.errno(), detail);
  return result;
}

/** syscall(2) with up to six integer arguments (addresses as numbers). Returns -1 on failure; see {@link errno}. */
export function syscall(nr: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): number {
  return rawSyscall(nr, a, b, c, d, e, f);
}

/** Thread id of the calling thread, gettid(2). Worker threads differ from `process.pid`. */
export function gettid(): number {
  return rawSyscall(SYS.gettid, 0, 0, 0, 0, 0, 0);
}

/** strlen-bounded text in bytes: up to the first NUL or the end. */
export function cString(bytes: Uint8Array, start = 0, end = bytes.length): string {
  let stop = start;
  while (stop < end && bytes[stop] !== 0) stop++;
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, stop - start).toString('utf8');
}
