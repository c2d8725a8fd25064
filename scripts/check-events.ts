/**
 * Checks that every event that the sources log has a row in the table of its package (`src/events.ts`), that every row is logged
 * somewhere, and that docs/EVENTS.md shows exactly these rows. `--write` writes the page.
 */
import { globSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { comparePage, report } from './report.ts';

/** What it means; a package may also fix level, fields and how many lines packets can cause. */
type Row =
  | string
  | {
      readonly level: string;
      readonly fields: readonly string[];
      readonly text: string;
      readonly perMinute?: number;
    };

const LEVELS = ['debug', 'info', 'warn', 'error'];
const NAME = /^[a-z][a-z_]*\.[a-z][a-z_]*$/;
const root = resolve(import.meta.dirname, '..');
const page = resolve(root, 'docs/EVENTS.md');
const problems: string[] = [];
const sections: string[] = [];

const cell = (text: string): string => text.replaceAll('|', '\\|');

function line(name: string, row: Row): string {
  if (typeof row === 'string') return `| \`${name}\` | | | ${cell(row)} |`;
  const fields = row.fields.map((field) => `\`${field}\``).join(', ');
  const limit = row.perMinute === undefined ? '' : ` *(${row.perMinute} a minute)*`;
  return `| \`${name}\` | ${row.level} | ${fields} | ${cell(row.text)}${limit} |`;
}

for (const manifest of globSync('packages/*/package.json', { cwd: root }).sort()) {
  const folder = manifest.slice(0, -'/package.json'.length);
  const sources = globSync(`${folder}/src/**/*.ts`, { cwd: root }).filter(
    (path) => !/\.test\.ts$|\/testing\//.test(path),
  );
  const table = `${folder}/src/events.ts`;
  const rows = sources.includes(table)
    ? ((await import(resolve(root, table))) as { EVENTS: Readonly<Record<string, Row>> }).EVENTS
    : {};
  const texts = sources
    .filter((path) => path !== table)
    .map((path) => [path, readFileSync(resolve(root, path), 'utf8')] as const);
  for (const [path, text] of texts) {
    for (const [, name] of text.matchAll(/\b(?:log\(|event: )'([a-z_]+\.[a-z_]+)'/g)) {
      if (rows[name!] === undefined) problems.push(`${path}: event "${name}" has no row in ${table}`);
    }
  }
  for (const [name, row] of Object.entries(rows)) {
    if (!NAME.test(name)) problems.push(`${table}: "${name}" is no name of an event`);
    if (typeof row !== 'string' && !LEVELS.includes(row.level)) problems.push(`${table}: ${name}: no such level`);
    if (!texts.some(([, text]) => text.includes(`'${name}'`))) problems.push(`${table}: ${name} is logged nowhere`);
  }
  if (Object.keys(rows).length === 0) continue;
  const lines = Object.entries(rows)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, row]) => line(name, row));
  sections.push(`## ${folder.slice('packages/'.length)}

| event | level | fields | what it means |
|---|---|---|---|
${lines.join('\n')}
`);
}

const wanted = `# Events

What the daemons write to their logs: one JSON object per line, with \`level\` (20 debug, 30 info, 40 warn, 50 error), \`time\` in
milliseconds, \`event\`, and the fields below. Names and fields are stable: alerts and searches may stand on them. Lines that packets
can cause are limited; the next line of such an event says in \`suppressed\` how many were left out. *error* wants a person, *warn*
says that something is missing for now. This page is generated from the tables in the packages
(\`node scripts/check-events.ts --write\`).

${sections.join('\n')}`;

comparePage(page, 'docs/EVENTS.md', wanted, 'check-events', problems);
report('check-events', problems);
