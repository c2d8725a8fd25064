/** Network namespaces, named as `ip netns` names them: files in /run/netns that keep a namespace alive (setns(2)). */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { closeSync, constants, mkdirSync, openSync, readdirSync, unlinkSync } from 'node:fs';
import { SysError, WeftSysError } from './errors.ts';
import { cfunc, errno } from './libc.ts';
import { NetlinkSocket } from './netlink.ts';
import { linkSet } from './rtnetlink/link.ts';

const RUN_NETNS = '/run/netns';
const CLONE_NEWNET = 0x40000000;
const MS_BIND = 4096;
const MS_REC = 16384;
const MS_SHARED = 1 << 20;
const MNT_DETACH = 2;

const cSetns = cfunc('setns', 'int', ['int', 'int']);
const cUnshare = cfunc('unshare', 'int', ['int']);
const cMount = cfunc('mount', 'int', ['str', 'str', 'str', 'ulong', 'void *']);
const cUmount2 = cfunc('umount2', 'int', ['str', 'int']);

/** A namespace: by name in /run/netns, or by a descriptor of one. */
export type Netns = string | { fd: number };

function failure(call: string, detail: string, hint?: string): SysError {
  return new SysError(call, errno(), detail, hint, 'WEFT_SYS_NETNS');
}

/** Path of a named namespace. Throws WEFT_SYS_ARGUMENT for a name that is no file name. */
export function netnsPath(name: string): string {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0') || name.length > 255) {
    throw new WeftSysError('WEFT_SYS_ARGUMENT', `'${name}' is not a namespace name`);
  }
  return `${RUN_NETNS}/${name}`;
}

/** Opens a descriptor of a named namespace, for {@link runIn} and for moving links. Close it with closeFd. Throws WEFT_SYS_NETNS. */
export function openNetns(name: string): number {
  const path = netnsPath(name);
  try {
    return openSync(path, constants.O_RDONLY);
  } catch (error) {
    throw new WeftSysError('WEFT_SYS_NETNS', `cannot open ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Opens a descriptor of the calling thread's own namespace. */
export function openCurrentNetns(): number {
  return openSync('/proc/thread-self/ns/net', constants.O_RDONLY);
}

/** Names in /run/netns, sorted; empty when there is none. */
export function listNetns(): string[] {
  try {
    return readdirSync(RUN_NETNS).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function prepareDirectory(): void {
  mkdirSync(RUN_NETNS, { recursive: true, mode: 0o755 });
  // Shared, so that a namespace removed here also goes from other mount namespaces (as `ip netns add` does).
  if (cMount('', RUN_NETNS, 'none', MS_SHARED | MS_REC, null) === 0) return;
  if (cMount(RUN_NETNS, RUN_NETNS, 'none', MS_BIND | MS_REC, null) === -1) throw failure('mount', RUN_NETNS);
  if (cMount('', RUN_NETNS, 'none', MS_SHARED | MS_REC, null) === -1) throw failure('mount', RUN_NETNS);
}

/**
 * Creates a named namespace with its loopback up. `ip netns` sees it.
 * Throws WEFT_SYS_NETNS (the name is taken, no CAP_SYS_ADMIN).
 */
export function createNetns(name: string, options: { loopback?: boolean } = {}): void {
  const path = netnsPath(name);
  prepareDirectory();
  try {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_CREAT | constants.O_EXCL, 0));
  } catch (error) {
    throw new WeftSysError('WEFT_SYS_NETNS', `cannot create ${path}: ${(error as Error).message}`, { cause: error });
  }
  try {
    withOwnNetns(() => {
      if (cUnshare(CLONE_NEWNET) === -1) throw failure('unshare', 'CLONE_NEWNET');
      // thread-self, not self: only the calling thread has changed its namespace.
      if (cMount('/proc/thread-self/ns/net', path, 'none', MS_BIND, null) === -1) throw failure('mount', path);
      if (options.loopback !== false) {
        using nl = new NetlinkSocket();
        linkSet(nl, 1, { up: true });
      }
    });
  } catch (error) {
    cUmount2(path, MNT_DETACH);
    unlinkSync(path);
    throw error;
  }
}

/**
 * Deletes a named namespace: its interfaces go when the last process and descriptor in it is gone.
 * Returns false when there is none.
 */
export function deleteNetns(name: string): boolean {
  const path = netnsPath(name);
  cUmount2(path, MNT_DETACH); // EINVAL when it is a bare file left over from an unfinished creation
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw new WeftSysError('WEFT_SYS_NETNS', `cannot delete ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Runs `fn`, which may change the calling thread's namespace, and comes back from wherever it ended. */
function withOwnNetns<T>(fn: () => T): T {
  const home = openCurrentNetns();
  try {
    return fn();
  } finally {
    const back = cSetns(home, CLONE_NEWNET);
    const error = back === -1 ? failure('setns', 'back to the own namespace') : undefined;
    closeSync(home);
    if (error) {
      // A thread in the wrong namespace would configure someone else's network: nothing may run on it any more.
      console.error(error.message);
      process.abort();
    }
  }
}

/**
 * Runs a *synchronous* function with the calling thread in another namespace, and comes back always. Sockets it opens
 * stay in that namespace for good. Throws what `fn` throws; WEFT_SYS_NETNS when the namespace cannot be entered;
 * WEFT_SYS_ARGUMENT when `fn` returns a promise, since its continuation would run outside.
 */
export function runIn<T>(ns: Netns, fn: () => T): T {
  const fd = typeof ns === 'string' ? openNetns(ns) : ns.fd;
  try {
    return withOwnNetns(() => {
      if (cSetns(fd, CLONE_NEWNET) === -1) throw failure('setns', typeof ns === 'string' ? ns : `fd ${fd}`);
      const result = fn();
      if (typeof (result as { then?: unknown } | undefined)?.then === 'function') {
        throw new WeftSysError(
          'WEFT_SYS_ARGUMENT',
          'runIn takes a synchronous function: its promise would go on outside',
        );
      }
      return result;
    });
  } finally {
    if (typeof ns === 'string') closeSync(fd);
  }
}

/**
 * Starts a program in a named namespace, as `nsenter --net` does: mounts (bpffs) stay visible, unlike with
 * `ip netns exec`. nsenter executes the program in its place, so the child's pid is the program's.
 */
export function spawnIn(name: string, argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
  if (argv.length === 0) throw new WeftSysError('WEFT_SYS_ARGUMENT', 'spawnIn needs a program');
  return spawn('nsenter', [`--net=${netnsPath(name)}`, '--', ...argv], options);
}
