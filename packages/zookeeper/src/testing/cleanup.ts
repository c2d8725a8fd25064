/** What tests borrow from the machine, and that they give it back: processes, directories, ports. */
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Of directories; the id of the process that made it follows. */
const PREFIX = 'weft-zookeeper-';
const live = new Set<ChildProcess>();
const directories = new Set<string>();
let watching = false;

/** A new directory; it goes when this process ends, or, if that is killed, when the next one makes one. */
export function makeDirectory(): string {
  watchExit();
  for (const name of readdirSync(tmpdir())) {
    const pid = name.startsWith(PREFIX) ? Number.parseInt(name.slice(PREFIX.length), 10) : Number.NaN;
    if (pid > 0 && !existsSync(`/proc/${pid}`)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
  const dir = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  directories.add(dir);
  return dir;
}

export function removeDirectory(dir: string): void {
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
  directories.delete(dir);
}

/** Kills the process, if it still runs, when this one ends. */
export function killAtExit(child: ChildProcess): void {
  watchExit();
  live.add(child);
  child.once('close', () => live.delete(child));
}

function watchExit(): void {
  if (watching) return;
  watching = true;
  process.once('exit', () => {
    for (const child of live) child.kill('SIGKILL');
    for (const dir of directories) removeDirectory(dir);
  });
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const)
    process.once(signal, () => process.exit(128 + number));
}

/** Ports that nobody listens on. All are held until the last is found, so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const listeners: Server[] = [];
  for (let i = 0; i < count; i++) {
    const listener = createServer();
    await new Promise<void>((resolve, reject) => listener.once('error', reject).listen(0, '127.0.0.1', resolve));
    listeners.push(listener);
  }
  const ports = listeners.map((listener) => (listener.address() as { port: number }).port);
  await Promise.all(listeners.map((listener) => new Promise((resolve) => listener.close(resolve))));
  return ports;
}
