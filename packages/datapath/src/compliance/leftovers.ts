/**
 * What tests leave in the kernel outlives them: namespaces, mounts, directories. It is removed when the process ends, on a signal
 * too; what a process left that had no chance to (SIGKILL) goes when the next one starts. Names carry the pid for that.
 */
import { readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cfunc, deleteNetns, listNetns } from '@weft/sys';

const MNT_DETACH = 2;
const cUmount2 = cfunc('umount2', 'int', ['str', 'int']);

/** Kinds of namespaces and directories that are ours. */
const NAMESPACE = /^(?:wdp|wdt|webpf)-(\d+)x/;
const DIRECTORY = /^weft-(?:compliance|two-hosts|bpffs)-(\d+)-/;

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

const actions = new Set<() => void>();
let serial = 0;

/** An id for names: of this process, not used before. `12345x0` */
export function uniqueId(): string {
  return `${process.pid}x${serial++}`;
}

/** Prefix for `mkdtemp` of a directory that is swept. */
export function directoryPrefix(kind: 'compliance' | 'two-hosts' | 'bpffs'): string {
  return join(tmpdir(), `weft-${kind}-${process.pid}-`);
}

/** Has `action` run when this process ends, by itself or by a signal, after those registered before it; once. Also sweeps. */
export function atEnd(action: () => void): void {
  const first = actions.size === 0;
  actions.add(action);
  if (!first) return;
  process.once('exit', runAll);
  for (const [signal, number] of Object.entries(SIGNALS)) {
    process.once(signal, () => {
      runAll();
      process.exit(128 + number);
    });
  }
  sweep();
}

function runAll(): void {
  for (const action of actions) {
    actions.delete(action);
    try {
      action();
    } catch (error) {
      console.error(`cleaning up: ${(error as Error).message}`);
    }
  }
}

/** Removes what processes left that are no more. */
export function sweep(): void {
  for (const name of listNetns()) if (isOrphan(NAMESPACE, name)) deleteNetns(name);
  for (const name of readdirSync(tmpdir())) {
    if (!isOrphan(DIRECTORY, name)) continue;
    const path = join(tmpdir(), name);
    unmount(path);
    rmSync(path, { recursive: true, force: true });
  }
}

/** Takes a mount away, if there is one, as soon as nobody uses it. */
export function unmount(path: string): void {
  cUmount2(path, MNT_DETACH);
}

function isOrphan(pattern: RegExp, name: string): boolean {
  const pid = pattern.exec(name)?.[1];
  if (pid === undefined || Number(pid) === process.pid) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
