/** One command at a time changes a lab. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { acquirePidFile, type PidFile } from '@weft/sys';
import { LabError } from './errors.ts';

/** Runs `body` under the lock file `path`. Throws WEFT_LAB_BUSY while another process holds it. */
export async function withLock<T>(path: string, body: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const lock = acquire(path);
  try {
    return await body();
  } finally {
    lock.release();
  }
}

function acquire(path: string): PidFile {
  try {
    return acquirePidFile(path);
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'WEFT_SYS_LOCKED') throw error;
    throw new LabError(
      'WEFT_LAB_BUSY',
      `${(error as Error).message}, which is changing this lab; repeat when it is done`,
    );
  }
}
