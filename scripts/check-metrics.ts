/**
 * Checks that docs/METRICS.md lists exactly the agent's metrics (name, kind, help) and every reason for a drop, in the order of
 * the code, and that its alerts and the dashboards in docs/grafana ask only for metrics and reasons that there are, counters by their rate.
 */
import { globSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { report } from './report.ts';

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

const kinds = new Map(METRICS.map(([name, kind]) => [name, kind]));

/** What is wrong with one expression of a dashboard. */
function expressionProblems(expr: string): string[] {
  const found: string[] = [];
  for (const { 0: written, index } of expr.matchAll(/\bweft_[a-z_]+/g)) {
    const name = kinds.has(written) ? written : written.replace(/_(bucket|sum|count)$/, '');
    const kind = kinds.get(name);
    if (kind === undefined || (kind === 'histogram') !== (name !== written)) {
      found.push(`no such metric: ${written}`);
      continue;
    }
    if ((kind !== 'gauge') !== /(?:rate|increase)\($/.test(expr.slice(0, index))) found.push(`${written} is a ${kind}`);
  }
  for (const [, pattern] of expr.matchAll(/\bweft_drops_total\{[^}]*\breason=~"([^"]*)"/g)) {
    for (const one of pattern!.split('|')) {
      if (!DROP_REASONS.some((reason) => new RegExp(`^(?:${one})$`).test(reason))) found.push(`no such reason: ${one}`);
    }
  }
  for (const [open, close] of ['()', '{}', '[]']) {
    if (expr.split(open!).length !== expr.split(close!).length) found.push(`unbalanced ${open}${close}`);
  }
  return found;
}

for (const [, expr] of page.matchAll(/^ *expr: (.*)$/gm)) {
  for (const problem of expressionProblems(expr!)) problems.push(`docs/METRICS.md: ${problem} in ${expr}`);
}

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

for (const path of globSync('docs/grafana/*.json', { cwd: root }).sort()) {
  const dashboard = JSON.parse(readFileSync(resolve(root, path), 'utf8')) as {
    readonly schemaVersion: number;
    readonly uid: string;
    readonly panels: readonly Panel[];
  };
  const { schemaVersion, uid, panels } = dashboard;
  if (!(schemaVersion >= 39) || !uid) problems.push(`${path}: needs a uid and schemaVersion 39 or later`);
  if (new Set(panels.map(({ id }) => id)).size !== panels.length) problems.push(`${path}: two panels have one id`);
  for (const { title, targets = [] } of panels) {
    for (const { expr } of targets) {
      for (const problem of expressionProblems(expr)) problems.push(`${path}: "${title}": ${problem} in ${expr}`);
    }
  }
}

report('check-metrics', problems);
