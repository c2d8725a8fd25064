/**
 * Directories of pins below the state directory, and the steps from one build's to the next one's. Each step is one rename(2), so that
 * a process killed anywhere leaves what the next one can go on from:
 *
 *   A           the tables that programs use
 *   A, B_new    B is being filled; nothing uses it: whoever finds it removes it
 *   A_old, B_new
 *   A_old, B    B is complete; links are swapped one by one, and what A_old counted meanwhile is read last
 *   A_gone, B   A_old had no link any more; whoever finds A_gone removes it
 *   B
 *
 * Several may be old when processes were killed one after the other: a number, `A_old2`, tells which was replaced last. A directory
 * is named by the hash of its tables' layout. (A bpffs has no names with dots.)
 */
import { mkdirSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { PIN, removePins } from './pins.ts';

const NAME = /^([0-9a-f]{16})(?:_(new|gone|old))?(?:(?<=_old)(\d+))?$/;

type State = 'live' | 'new' | 'old' | 'gone';

export interface PinDirectory {
  readonly path: string;
  readonly hash: string;
  readonly state: State;
  /** Of those whose tables were replaced: the one with the highest number was the last one. */
  readonly age: number;
}

/**
 * Directories of this and other builds. A bpffs is shared with other programs: only a directory that is named by a hash and holds
 * nothing but links and tables with our names may be touched.
 */
export function pinDirectories(stateDir: string): PinDirectory[] {
  const out: PinDirectory[] = [];
  for (const entry of readdirSync(stateDir, { withFileTypes: true })) {
    const match = NAME.exec(entry.name);
    if (!match || !entry.isDirectory()) continue;
    const path = join(stateDir, entry.name);
    if (!readdirSync(path).every((name) => PIN.test(name) || name.startsWith('weft_'))) continue;
    out.push({ path, hash: match[1], state: (match[2] ?? 'live') as State, age: Number(match[3] ?? 1) });
  }
  return out;
}

function links({ path }: PinDirectory): number {
  return readdirSync(path).filter((name) => PIN.test(name)).length;
}

/** What to load the programs over. */
export interface Start {
  /** Directory to pin tables in now. */
  readonly path: string;
  /** Directory to fill them from, once they are there; undefined: they are this build's own, or there is nothing. */
  readonly source: string | undefined;
  /**
   * The tables are complete: makes the directory the one that counts. @param filled from `source`, which then counts no more
   * @returns its path from now on
   */
  commit(filled: boolean): string;
}

/**
 * Looks what is there, and clears up what a killed process left half done. Tables that belong to this build are taken as they
 * are; otherwise `source` is the directory that programs use now.
 */
export function beginStart(stateDir: string, hash: string): Start {
  const all = pinDirectories(stateDir);
  for (const { path, state } of all) if (state === 'new' || state === 'gone') removePins(path);
  const own = join(stateDir, hash);
  const live = all.filter(({ state }) => state === 'live');
  const stays = { path: own, source: undefined, commit: () => own };
  if (live.some((one) => one.path === own)) return stays;
  // Builds that know no descriptions may have left several: the one that programs use has the links.
  live.sort((a, b) => links(b) - links(a));
  const old = all.filter(({ state }) => state === 'old').sort((a, b) => b.age - a.age || links(b) - links(a));
  const source = live[0] ?? old[0];
  // A process was killed before its own tables counted: the ones that it replaced still do.
  if (source?.state === 'old' && source.hash === hash) {
    renameSync(source.path, own);
    return stays;
  }
  if (source === undefined) {
    mkdirSync(own, { mode: 0o700 });
    return stays;
  }
  const filling = `${own}_new`;
  mkdirSync(filling, { mode: 0o700 });
  return {
    path: filling,
    source: source.path,
    commit(filled) {
      if (filled && source.state === 'live') renameSync(source.path, oldName(source.path, old[0]?.age ?? 0));
      renameSync(filling, own);
      return own;
    },
  };
}

/** Removes a directory that nothing uses; half removed it would pass for tables that counted nothing. */
export function removeDirectory(path: string): void {
  const gone = `${path.replace(/_old\d*$/, '')}_gone`;
  removePins(gone);
  renameSync(path, gone);
  removePins(gone);
}

/** @param last number of the last one that was replaced */
function oldName(path: string, last: number): string {
  return last === 0 ? `${path}_old` : `${path}_old${last + 1}`;
}
