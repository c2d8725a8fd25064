/**
 * The lab's own processes: agents and API. They outlive the command that started them and are known by pid *and* start
 * time (`@weft/sys`), so that a recycled pid is never mistaken for one of them.
 */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isAlive, type ProcessIdentity, processIdentity, signalProcess } from '@weft/sys';
import { LabError } from './errors.ts';
import { sleep } from './wait.ts';

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
    const identity = processIdentity(child.pid!);
    if (identity === undefined) throw await failedProcess(argv, log, 'ended at once');
    return identity;
  } finally {
    closeSync(fd);
  }
}

/** A coded error that shows the end of a process's log. */
export async function failedProcess(argv: readonly string[], log: string, what: string): Promise<LabError> {
  const text = await readFile(log, 'utf8').catch(() => '');
  return new LabError('WEFT_LAB_PROCESS', `\`${argv.join(' ')}\` ${what}; the end of ${log}:\n${text.slice(-2000)}`);
}

/** Kill -9, and wait until the kernel has let go of it. */
export async function killProcess(identity: ProcessIdentity): Promise<void> {
  signalProcess(identity, 'SIGKILL');
  while (isAlive(identity)) await sleep(2);
}
