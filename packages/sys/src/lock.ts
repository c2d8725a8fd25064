/** Advisory locks on files (flock(2)): they go with the process, however it ends. */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { ERRNO, SysError, WeftSysError } from './errors.ts';
import { cfunc, errno } from './libc.ts';

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

const cFlock = cfunc('flock', 'int', ['int', 'int']);

/** Takes a lock without waiting. Returns false when someone else holds it. Throws SysError. */
export function tryLock(fd: number, mode: 'exclusive' | 'shared' = 'exclusive'): boolean {
  for (;;) {
    if (cFlock(fd, (mode === 'exclusive' ? LOCK_EX : LOCK_SH) | LOCK_NB) === 0) return true;
    const e = errno();
    if (e === ERRNO.EAGAIN) return false;
    if (e !== ERRNO.EINTR) throw new SysError('flock', e, `fd ${fd}`);
  }
}

/** Gives a lock back. */
export function unlock(fd: number): void {
  if (cFlock(fd, LOCK_UN) === -1) throw new SysError('flock', errno(), `fd ${fd}`);
}

/** A held pid file. */
export type PidFile = {
  readonly path: string;
  readonly fd: number;
  /** Removes the file and gives the lock back. Idempotent. */
  release(): void;
};

/**
 * Makes this process the only one with `path` (mode 0600, holds our pid as text). A file left by a dead process is
 * taken over. Throws WEFT_SYS_LOCKED, naming the holder.
 */
export function acquirePidFile(path: string): PidFile {
  for (;;) {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    try {
      if (!tryLock(fd)) {
        const holder = readFileSync(path, 'latin1').trim();
        throw new WeftSysError(
          'WEFT_SYS_LOCKED',
          `${path} is held by ${holder ? `process ${holder}` : 'another process'}`,
        );
      }
      // The holder before us may have removed the file between our open and our lock: then it guards nothing.
      const ours = fstatSync(fd);
      const named = statSync(path, { throwIfNoEntry: false });
      if (!named || named.ino !== ours.ino || named.dev !== ours.dev) {
        closeSync(fd);
        continue;
      }
      ftruncateSync(fd);
      writeSync(fd, `${process.pid}\n`, 0);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    let held = true;
    return {
      path,
      fd,
      release() {
        if (!held) return;
        held = false;
        unlinkSync(path); // before the lock goes: whoever gets the lock must see that the name is gone
        closeSync(fd);
      },
    };
  }
}
