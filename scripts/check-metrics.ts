/**
 * Checks that docs/METRICS.md lists exactly the agent's metrics (name, kind, help) and every reason for a drop, in the order of
 * the code.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const load = async (path: string) => (await import(resolve(root, path))) as Record<string, unknown>;
const { METRICS } = (await load('packages/agent/src/host/metrics.ts')) as {
  METRICS: readonly (readonly [name: string, kind: string, help: string])[];
};
const { DROP_REASONS } = (await load('packages/flow/src/action.ts')) as { DROP_REASONS: readonly string[] };

const page = readFileSync(resolve(root, 'docs/METRICS.md'), 'utf8');
const problems: string[] = [];

/** First cells of the rows of the table below a heading, without their backticks. */
function tableOf(heading: string): string[][] {
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim().replace(/^`(.*)`$/, '$1')),
    );
}

function compare(what: string, wanted: readonly string[], found: readonly string[]): void {
  for (const one of wanted) if (!found.includes(one)) problems.push(`docs/METRICS.md lacks the ${what} "${one}"`);
  for (const one of found) if (!wanted.includes(one)) problems.push(`docs/METRICS.md: no such ${what}: "${one}"`);
  if (problems.length === 0 && wanted.join('\n') !== found.join('\n')) {
    problems.push(`docs/METRICS.md lists the ${what}s in another order than the code, or one twice`);
  }
}

compare(
  'metric',
  METRICS.map(([name, kind, help]) => `${name} | ${kind} | ${help}`),
  tableOf('Metrics').map((cells) => cells.slice(0, 3).join(' | ')),
);
compare(
  'drop reason',
  DROP_REASONS.filter((reason) => reason !== 'none'),
  tableOf('Drop reasons').map(([reason]) => reason!),
);

if (problems.length > 0) {
  console.error(`check-metrics: ${problems.length} problems\n${problems.join('\n')}`);
  process.exitCode = 1;
}
