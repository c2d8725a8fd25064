/**
 * The lab's own processes: agents and API. They outlive the command that started them, and are known by pid *and* start
 * time, so that a recycled pid is never mistaken for one of them.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { LabError } from './errors.ts';
import { sleep, waitUntil } from './wait.ts';

export interface ProcessIdentity {
  readonly pid: number;
  /** Start time in clock ticks since boot, as field 22 of /proc/PID/stat; text, since it is only compared. */
  readonly started: string;
}

/** State letter and start time of a process, or undefined when there is none. Command names may contain spaces and parentheses. */
async function procStat(pid: number): Promise<{ state: string; started: string } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  if (fields.length < 20) return undefined;
  return { state: fields[0]!, started: fields[19]! };
}

export async function isRunning(identity: ProcessIdentity): Promise<boolean> {
  const stat = await procStat(identity.pid);
  // A zombie has ended, whoever fails to collect it.
  return stat !== undefined && stat.started === identity.started && stat.state !== 'Z' && stat.state !== 'X';
}

/** Starts a process that goes on without us; output and errors are appended to `log`. */
export async function startDetached(argv: readonly string[], log: string): Promise<ProcessIdentity> {
  const fd = openSync(log, 'a', 0o600);
  try {
    const child = spawn(argv[0]!, argv.slice(1), { detached: true, stdio: ['ignore', fd, fd] });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    const stat = await procStat(child.pid!);
    if (stat === undefined) throw await failedProcess(argv, log, 'ended at once');
    return { pid: child.pid!, started: stat.started };
  } finally {
    closeSync(fd);
  }
}

/** A coded error that shows the end of a process's log. */
export async function failedProcess(argv: readonly string[], log: string, what: string): Promise<LabError> {
  const text = await readFile(log, 'utf8').catch(() => '');
  return new LabError('WEFT_LAB_PROCESS', `\`${argv.join(' ')}\` ${what}; the end of ${log}:\n${text.slice(-2000)}`);
}

/** Sends a signal to exactly this process. Returns false when it had ended. */
export async function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): Promise<boolean> {
  if (!(await isRunning(identity))) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Asks a process to end and insists after `graceMs`. Returns once it is gone. */
export async function stopProcess(identity: ProcessIdentity, graceMs = 5000): Promise<void> {
  if (!(await signalProcess(identity, 'SIGTERM'))) return;
  const gone = async () => !(await isRunning(identity));
  if (await waitUntil(gone, graceMs)) return;
  await killProcess(identity);
}

/** Kill -9, and wait until the kernel has let go of it. */
export async function killProcess(identity: ProcessIdentity): Promise<void> {
  while (await signalProcess(identity, 'SIGKILL')) await sleep(5);
}

/** The process that has this pid now, or undefined. */
export async function identityOf(pid: number): Promise<ProcessIdentity | undefined> {
  const stat = await procStat(pid);
  return stat && { pid, started: stat.started };
}

/** The calling process. */
export async function ownIdentity(): Promise<ProcessIdentity> {
  return (await identityOf(process.pid))!;
}
