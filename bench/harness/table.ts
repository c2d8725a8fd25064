/** The report as a table for a terminal. */
import { isBusy } from './machine.ts';
import type { BenchReport, BenchResult } from './result.ts';

export function formatTable(report: BenchReport): string {
  const header = ['figure', 'value', 'unit', 'peer', 'ratio', 'runs', 'target', 'also'];
  const rows = report.results.map(row);
  const widths = header.map((title, i) => Math.max(title.length, ...rows.map((cells) => cells[i].length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i === 1 || i === 4 ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join('  ')
      .trimEnd();
  const lines =
    rows.length > 0 ? [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)] : [];
  for (const { id, code, message } of report.failures) lines.push(`${id}: not measured: ${code}: ${message}`);
  if (report.quick) lines.push('a quick run: fewer flows, lower rates, single runs; no figure in it stands for itself');
  if (isBusy(report.machine)) {
    lines.push(
      `the machine was busy with something else (load ${report.machine.load_before} before the first run): repeat this when it is not`,
    );
  }
  return lines.join('\n');
}

function row(result: BenchResult): string[] {
  const { target } = result;
  return [
    result.id,
    short(result.value),
    result.unit,
    result.peer === null ? '–' : `${short(result.peer_value!)} (${result.peer})`,
    result.ratio === null ? '–' : `${result.ratio.toFixed(2)}×`,
    String(result.runs),
    target === null ? '–' : `${target.what} ${target.met ? 'met' : 'MISSED'}`,
    Object.entries(result.also)
      .map(([name, value]) => `${name} ${short(value)}`)
      .join(', '),
  ];
}

function short(value: number): string {
  if (Math.abs(value) >= 1000 || Number.isInteger(value)) return Math.round(value).toLocaleString('en-US');
  return value.toPrecision(3);
}
