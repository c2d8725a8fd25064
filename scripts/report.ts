/** How the checks of this folder end: a generated page is compared or written, and what is wrong is told. */
import { readFileSync, writeFileSync } from 'node:fs';

/** With `--write` on the command line writes the page, else adds to `problems` when it is not `wanted`. `name`: `docs/X.md`. */
export function comparePage(page: string, name: string, wanted: string, script: string, problems: string[]): void {
  if (process.argv.includes('--write')) {
    writeFileSync(page, wanted);
    return;
  }
  let found = '';
  try {
    found = readFileSync(page, 'utf8');
  } catch {}
  if (found !== wanted) problems.push(`${name} is not up to date: run node scripts/${script}.ts --write`);
}

/** Tells the problems and makes the process fail if there are any. */
export function report(script: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  console.error(`${script}: ${problems.length} problems\n${problems.join('\n')}`);
  process.exitCode = 1;
}
