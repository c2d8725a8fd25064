/** The small C programs of `bench/tools`: built when they are needed, so that what measures is never the bottleneck. */
import { mkdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { run } from './exec.ts';

const SOURCES = resolve(import.meta.dirname, '../tools');
const BUILT = resolve(import.meta.dirname, '../../.build/bench');

export type Tool = 'rr' | 'udp_flows' | 'first_packet';

/** Path of the built program. */
export async function tool(name: Tool): Promise<string> {
  const source = join(SOURCES, `${name}.c`);
  const built = join(BUILT, name);
  if (!(await isFresh(built, [source, join(SOURCES, 'common.h')]))) {
    await mkdir(BUILT, { recursive: true });
    await run(['clang', '-O2', '-Wall', '-Wextra', '-Werror', '-o', built, source]);
  }
  return built;
}

async function isFresh(built: string, sources: readonly string[]): Promise<boolean> {
  const made = await stat(built).catch(() => undefined);
  if (made === undefined) return false;
  for (const source of sources) if ((await stat(source)).mtimeMs > made.mtimeMs) return false;
  return true;
}
