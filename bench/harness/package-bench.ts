/** Figures that a package measures by itself: its script under `packages/<package>/bench` prints them as JSON. */
import { existsSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { BenchError } from './errors.ts';
import { runJson } from './exec.ts';

const ROOT = resolve(import.meta.dirname, '../..');

/** Runs `packages/<name>/bench/<script>` and returns what it prints. */
export function packageBench<T>(name: string, script: string, args: readonly string[]): Promise<T> {
  const file = resolve(ROOT, 'packages', name, 'bench', script);
  if (!existsSync(file)) throw new BenchError('WEFT_BENCH_MISSING', `there is no ${relative(ROOT, file)}`);
  return runJson<T>([process.execPath, file, ...args], 600_000);
}
