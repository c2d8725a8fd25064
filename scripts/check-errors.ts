/**
 * Checks that every error code that the sources mention has a row in a table (`src/errors.ts` of a package), that every row
 * is mentioned somewhere, and that docs/ERRORS.md shows exactly these rows. `--write` writes the page.
 */
import { globSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { comparePage, report } from './report.ts';

const root = resolve(import.meta.dirname, '..');
const page = resolve(root, 'docs/ERRORS.md');

const rows = new Map<string, { text: string; packages: string[] }>();
const problems: string[] = [];

for (const path of globSync('packages/*/src/errors.ts', { cwd: root }).sort()) {
  const name = path.split('/')[1]!;
  const { ERRORS } = (await import(resolve(root, path))) as { ERRORS?: Readonly<Record<string, string>> };
  if (ERRORS === undefined) {
    problems.push(`${path} exports no table ERRORS`);
    continue;
  }
  for (const [code, text] of Object.entries(ERRORS)) {
    if (!/^WEFT_[A-Z0-9_]+$/.test(code)) problems.push(`${path}: "${code}" is no error code`);
    const row = rows.get(code);
    if (row === undefined) rows.set(code, { text, packages: [name] });
    else {
      row.packages.push(name);
      if (row.text !== text) problems.push(`${path}: ${code} is explained differently in ${row.packages[0]}`);
    }
  }
}

const sources = [
  ...globSync('packages/*/src/**/*.ts', { cwd: root }),
  ...globSync('scripts/*.{ts,mjs,sh}', { cwd: root }),
  'weft',
].filter((path) => !/\.test\.ts$|\/check-errors\.ts$/.test(path));
const mentioned = new Set<string>();
for (const path of sources) {
  const text = readFileSync(resolve(root, path), 'utf8');
  // Environment variables are written $WEFT_… or process.env.WEFT_…; codes are quoted, or stand in a shell's message.
  const pattern = path.endsWith('.ts') ? /['"`](WEFT_[A-Z0-9_]+)['"`]/g : /\b(WEFT_[A-Z0-9_]+):/g;
  for (const [, code] of text.matchAll(pattern)) {
    mentioned.add(code!);
    if (!rows.has(code!)) problems.push(`${path}: ${code} is in no table of errors`);
  }
}
for (const [code, { packages }] of rows) {
  if (!mentioned.has(code)) problems.push(`packages/${packages[0]}/src/errors.ts: ${code} is mentioned nowhere else`);
}

const lines = [...rows].sort(([a], [b]) => (a < b ? -1 : 1));
const wanted = `# Errors

Every error that Weft shows has a code. This page is generated from the tables in the packages
(\`node scripts/check-errors.ts --write\`).

| Code | What it means and what to do | From |
|---|---|---|
${lines.map(([code, row]) => `| \`${code}\` | ${row.text.replaceAll('|', '\\|')} | ${row.packages.join(', ')} |`).join('\n')}
`;

comparePage(page, 'docs/ERRORS.md', wanted, 'check-errors', problems);
report('check-errors', problems);
