/** Figures that a package measures by itself: its script under `packages/<package>/bench` prints them as JSON. */
import { existsSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { BenchError, require } from './errors.ts';
import { run } from './exec.ts';

const ROOT = resolve(import.meta.dirname, '../..');

export interface PackageFigure {
  readonly id: string;
  readonly value: number;
  readonly unit: string;
  /** Whatever else the script says of it. */
  readonly rest: Readonly<Record<string, unknown>>;
}

/**
 * Runs `packages/<name>/bench/<script>` and returns its figures: the elements of `results` (or of the answer itself) that
 * have an id, a finite value and a unit. Whatever the script prints before the JSON is ignored.
 */
export async function packageFigures(name: string, script: string, args: readonly string[]): Promise<PackageFigure[]> {
  const file = resolve(ROOT, 'packages', name, 'bench', script);
  if (!existsSync(file)) throw new BenchError('WEFT_BENCH_MISSING', `there is no ${relative(ROOT, file)}`);
  const output = await run([process.execPath, file, ...args], '', 600_000);
  const answer = lastJson(output);
  const list = Array.isArray(answer) ? answer : ((answer as { results?: unknown }).results ?? []);
  require(Array.isArray(list), () => `${relative(ROOT, file)} printed no list of results`);
  return list.flatMap((element: unknown) => {
    const { id, value, unit, ...rest } = (element ?? {}) as Record<string, unknown>;
    const isFigure = typeof id === 'string' && typeof unit === 'string' && Number.isFinite(value);
    return isFigure ? [{ id, value: value as number, unit, rest }] : [];
  });
}

function lastJson(output: string): unknown {
  const lines = output.trimEnd().split('\n');
  // One line, or pretty-printed from a line that begins with a bracket to the end.
  for (let i = lines.length - 1; i >= 0; i--) {
    if (!/^[[{]/.test(lines[i])) continue;
    try {
      return JSON.parse(lines.slice(i).join('\n'));
    } catch {
      // A bracket inside the JSON: begin further up.
    }
  }
  throw new BenchError('WEFT_BENCH_COMMAND', `no JSON in: ${output.slice(-300)}`);
}
