/**
 * One process owns a store directory. LMDB itself would let a second one in, but revisions, the pending overlay and the
 * subscribers live in the owner's memory. The mark is a file that names the process; it is created by link(2), so that it
 * appears with its content or not at all, and is void once that process is gone.
 */
import { linkSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NsdbError } from '../errors.ts';

/** Start time of a process in clock ticks since boot (field 22 of /proc/pid/stat), or undefined if there is none. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

function identity(pid: number): string {
  return `${pid} ${startTime(pid) ?? 'unknown'}\n`;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

/** Takes the directory or throws WEFT_STORE_LOCKED. Returns what gives it back. */
export function takeOwnership(dir: string): () => void {
  const path = join(dir, 'owner');
  const own = join(dir, `owner.${process.pid}.${Date.now()}`);
  writeFileSync(own, identity(process.pid), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < 10; attempt++) {
      try {
        linkSync(own, path);
        return () => {
          if (read(path) === identity(process.pid)) unlinkSync(path);
        };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const holder = read(path);
      if (holder === undefined) continue;
      const pid = Number.parseInt(holder, 10);
      if (Number.isSafeInteger(pid) && holder === identity(pid) && startTime(pid) !== undefined)
        throw new NsdbError('WEFT_STORE_LOCKED', `Process ${pid} has ${dir} open`);
      // Move the void mark away rather than unlink it: another process may have replaced it since.
      const aside = `${own}.void`;
      try {
        renameSync(path, aside);
      } catch {
        continue;
      }
      if (read(aside) !== holder) {
        try {
          linkSync(aside, path);
        } catch {
          // a third process took it meanwhile, which is as good
        }
      }
      unlinkSync(aside);
    }
    throw new NsdbError('WEFT_STORE_LOCKED', `${dir} keeps changing hands`);
  } finally {
    unlinkSync(own);
  }
}
