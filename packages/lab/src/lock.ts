/** One command at a time changes a lab. The lock names its holder, so that a dead one does not keep it. */
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LabError } from './errors.ts';
import { isRunning, ownIdentity, type ProcessIdentity } from './process.ts';

/** Runs `body` under the lock file `path`. Throws WEFT_LAB_BUSY while another living process holds it. */
export async function withLock<T>(path: string, body: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await acquire(path);
  try {
    return await body();
  } finally {
    await rm(path, { force: true });
  }
}

async function acquire(path: string): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const file = await open(path, 'wx', 0o600);
      await file.writeFile(JSON.stringify(await ownIdentity()));
      await file.close();
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = await readHolder(path);
    if (holder !== undefined && (await isRunning(holder))) {
      throw new LabError('WEFT_LAB_BUSY', `process ${holder.pid} is changing this lab; wait for it to end`);
    }
    await rm(path, { force: true });
  }
  throw new LabError('WEFT_LAB_BUSY', `${path} is fought over; repeat the command`);
}

async function readHolder(path: string): Promise<ProcessIdentity | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as ProcessIdentity;
  } catch {
    return undefined; // Gone meanwhile, or its writer died before it wrote.
  }
}
