/**
 * Writes the files that are derived from TypeScript tables. `--check` writes nothing and fails if one is stale.
 *
 *   node scripts/generate.ts [--check]
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { generateHeader } from '../packages/flow/src/layout.ts';

const root = join(import.meta.dirname, '..');

/** Path from the repository's root → text. The same tables always give the same bytes. */
const GENERATED: Record<string, () => string> = {
  'packages/datapath/bpf/generated/weft_flow.h': generateHeader,
};

function current(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

const check = process.argv.includes('--check');
let stale = 0;
for (const [name, make] of Object.entries(GENERATED)) {
  const path = join(root, name);
  const text = make();
  if (current(path) === text) continue;
  if (check) {
    console.error(`${name} is stale: run 'node scripts/generate.ts' and commit it`);
    stale++;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    console.log(`wrote ${name}`);
  }
}
process.exitCode = stale > 0 ? 1 : 0;
