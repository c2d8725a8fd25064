/** What this driver's tests share. Not exported. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cfunc, errno, SysError } from '@weft/sys';
import { atEnd, directoryPrefix, unmount } from '../compliance/leftovers.ts';
import type { DatapathOptions } from '../contract.ts';
import { EbpfDatapath, type EbpfOptions, OBJECT_DIRECTORY } from './index.ts';

const cMount = cfunc('mount', 'int', ['str', 'str', 'str', 'ulong', 'void *']);

let mounted: string | undefined;

function unmountOwn(): void {
  if (mounted === undefined) return;
  unmount(mounted);
  rmdirSync(mounted);
  mounted = undefined;
}

/** A bpffs of this process, unmounted when it ends, however it ends. */
export function bpffs(): string {
  if (mounted !== undefined) return mounted;
  const path = mkdtempSync(directoryPrefix('bpffs'));
  if (cMount(`weft-${process.pid}`, path, 'bpf', 0, null) === -1) {
    rmSync(path, { recursive: true });
    throw new SysError('mount', errno(), `bpffs at ${path}`);
  }
  mounted = path;
  atEnd(unmountOwn);
  return path;
}

/** Reason to skip what needs the kernel, or false. */
export function needsEbpf(): string | false {
  if (process.geteuid?.() !== 0) return 'needs root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN)';
  if (!existsSync('/sys/kernel/btf/vmlinux')) return 'needs a kernel with BTF (CONFIG_DEBUG_INFO_BTF)';
  if (!existsSync(join(OBJECT_DIRECTORY, 'weft.bpf.o')))
    return 'needs the compiled programs: run scripts/build-bpf.sh (clang)';
  return false;
}

/** State directory on the bpffs for a testbed's options. */
export function pinsFor(options: DatapathOptions): string {
  const path = join(bpffs(), basename(options.stateDir));
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}

/** A driver for a testbed: its pins on the bpffs instead of the testbed's directory. */
export function createEbpf(options: DatapathOptions, extra: Partial<EbpfOptions> = {}): EbpfDatapath {
  return new EbpfDatapath({ ...options, stateDir: pinsFor(options), ...extra });
}

/** Names of pins below a state directory. */
export function pinsBelow(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, encoding: 'utf8' });
}
