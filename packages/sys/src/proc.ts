/** Processes identified beyond doubt: a pid alone may have been given to someone else meanwhile (proc(5), pidfd_open(2)). */
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { ERRNO, SysError } from './errors.ts';
import { close } from './fd.ts';
import { errno, SYS, syscall } from './libc.ts';

/** A process, and when it started in clock ticks since boot: together unique until the next boot. */
export type ProcessIdentity = { pid: number; startTime: number };

type Stat = { state: string; ppid: number; threads: number; startTime: number };

function readStat(pid: number): Stat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The command name is in parentheses and may hold anything, parentheses too: fields count from the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    state: fields[0] ?? 'X',
    ppid: Number(fields[1]),
    threads: Number(fields[17]),
    startTime: Number(fields[19]),
  };
}

/** Start time of a process in clock ticks since boot, or undefined when there is none with this pid. */
export function processStartTime(pid: number): number | undefined {
  return readStat(pid)?.startTime;
}

/** Identity of a running process, to record beside its pid; undefined when it is gone. */
export function processIdentity(pid: number): ProcessIdentity | undefined {
  const startTime = processStartTime(pid);
  return startTime === undefined ? undefined : { pid, startTime };
}

/**
 * Whether this very process still runs. A zombie does not, but one whose other threads are on their way out: until the last of
 * them is gone it holds its files, locks and addresses.
 */
export function isAlive(id: ProcessIdentity): boolean {
  const stat = readStat(id.pid);
  if (stat === undefined || stat.startTime !== id.startTime) return false;
  return (stat.state !== 'Z' && stat.state !== 'X') || stat.threads > 1;
}

/**
 * Signals this very process, by pidfd, so that a reused pid is never hit.
 * Returns false when it is gone. Throws SysError (EPERM).
 */
export function signalProcess(id: ProcessIdentity, signal: NodeJS.Signals): boolean {
  const fd = syscall(SYS.pidfd_open, id.pid, 0);
  if (fd === -1) {
    const e = errno();
    if (e === ERRNO.ESRCH || e === ERRNO.EINVAL) return false;
    throw new SysError('pidfd_open', e, `pid ${id.pid}`);
  }
  try {
    // The descriptor pins the process that has the pid now: if the start time agrees, it is the one that was meant.
    if (processStartTime(id.pid) !== id.startTime) return false;
    if (syscall(SYS.pidfd_send_signal, fd, constants.signals[signal], 0, 0) === 0) return true;
    const e = errno();
    if (e === ERRNO.ESRCH) return false;
    throw new SysError('pidfd_send_signal', e, `pid ${id.pid}`);
  } finally {
    close(fd);
  }
}

/** A process and its descendants as they are now, parents first. Children adopted by init are no longer found. */
export function processTree(root: ProcessIdentity): ProcessIdentity[] {
  if (!isAlive(root)) return [];
  const children = new Map<number, ProcessIdentity[]>();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const stat = readStat(pid);
    if (!stat || stat.state === 'Z') continue;
    const siblings = children.get(stat.ppid);
    const id = { pid, startTime: stat.startTime };
    if (siblings) siblings.push(id);
    else children.set(stat.ppid, [id]);
  }
  const tree = [root];
  const seen = new Set([root.pid]);
  for (let i = 0; i < tree.length; i++) {
    for (const child of children.get(tree[i]!.pid) ?? []) {
      if (seen.has(child.pid)) continue;
      seen.add(child.pid);
      tree.push(child);
    }
  }
  return tree;
}

/**
 * Ends a process and its descendants: SIGTERM, and after `graceMs` SIGKILL to what is left.
 * Resolves to the processes that still run 2 s after SIGKILL (stuck in the kernel); normally none.
 */
export async function killTree(root: ProcessIdentity, graceMs = 2000): Promise<ProcessIdentity[]> {
  const known = new Map<string, ProcessIdentity>();
  const remember = (ids: ProcessIdentity[]) => {
    for (const id of ids) known.set(`${id.pid}:${id.startTime}`, id);
  };
  const left = () => [...known.values()].filter(isAlive);
  const signalAll = (signal: NodeJS.Signals) => {
    // Descendants are collected before a parent dies: after that they belong to init.
    for (const id of [...known.values()]) remember(processTree(id));
    for (const id of known.values()) signalProcess(id, signal);
  };
  const waitGone = async (ms: number) => {
    const until = performance.now() + ms;
    while (left().length > 0 && performance.now() < until) await new Promise((r) => setTimeout(r, 10));
  };
  remember(processTree(root));
  signalAll('SIGTERM');
  await waitGone(graceMs);
  if (left().length === 0) return [];
  signalAll('SIGKILL');
  await waitGone(2000);
  return left();
}
