/**
 * `make bench`: measures the project's figures, prints a table and writes `bench/results/latest.json`.
 *
 *   node bench/main.ts [--quick] [--json] [--list] [--update] [--output FILE] [FIGURE…]
 */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CASES } from './cases/index.ts';
import type { BenchCase, BenchContext } from './harness/case.ts';
import { cleanUp, endOnSignals, interrupted } from './harness/cleanup.ts';
import { sweepConntrackSizes } from './harness/conntrack.ts';
import { BenchError } from './harness/errors.ts';
import { createKernelOverlay, type KernelOverlay } from './harness/kernel-overlay.ts';
import { sweepKernelUnderlays } from './harness/kernel-underlay.ts';
import { Labs, sweepLabs } from './harness/labs.ts';
import { describeMachine } from './harness/machine.ts';
import { type BenchFailure, type BenchReport, type BenchResult, merge } from './harness/result.ts';
import { formatTable } from './harness/table.ts';

const LATEST = resolve(import.meta.dirname, 'results/latest.json');

/** IP MTU of the VMs of all contestants: what VXLAN leaves of 1500. */
const VM_MTU = 1450;

const HELP = `Measures Weft's figures, prints a table and writes bench/results/latest.json.

usage: node bench/main.ts [options] [FIGURE…]
  --list          the figures there are
  --quick         runs of a second or two: shows that everything works
  --json          print the report as JSON instead of a table
  --update        replace the chosen figures in bench/results/latest.json (or FILE)
  --output FILE   where the report goes; default bench/results/latest.json
                  (with --quick or chosen figures: nowhere)

examples:
  node bench/main.ts
  node bench/main.ts --quick tcp_gre rr_tcp
  node bench/main.ts --update first_packet
`;

interface Arguments {
  readonly quick: boolean;
  readonly json: boolean;
  readonly list: boolean;
  readonly help: boolean;
  readonly output: string | undefined;
  readonly update: boolean;
  readonly cases: readonly BenchCase[];
}

function readArguments(argv: readonly string[]): Arguments {
  const { values, positionals } = parse(argv);
  const known = (name: string) => CASES.filter((candidate) => candidate.id === name || candidate.rows?.includes(name));
  for (const name of positionals) {
    if (known(name).length === 0)
      throw new BenchError('WEFT_BENCH_ARGUMENT', `there is no figure "${name}"; --list names them`);
  }
  const chosen = new Set(positionals.flatMap(known));
  const update = values.update === true;
  if (update && (values.quick === true || positionals.length === 0))
    throw new BenchError('WEFT_BENCH_ARGUMENT', '--update is for chosen figures, and not for quick runs');
  return {
    quick: values.quick === true,
    json: values.json === true,
    list: values.list === true,
    help: values.help === true,
    output: values.output ?? ((positionals.length === 0 && values.quick !== true) || update ? LATEST : undefined),
    update,
    cases: positionals.length === 0 ? CASES : CASES.filter((candidate) => chosen.has(candidate)),
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        quick: { type: 'boolean' },
        json: { type: 'boolean' },
        list: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        output: { type: 'string' },
        update: { type: 'boolean' },
      },
    });
  } catch (cause) {
    throw new BenchError('WEFT_BENCH_ARGUMENT', (cause as Error).message, { cause });
  }
}

function list(json: boolean): void {
  if (json)
    console.log(
      JSON.stringify({
        figures: CASES.map(({ id, rows, what, needsRoot }) => ({ id, rows: rows ?? [id], what, needsRoot })),
      }),
    );
  else for (const { id, rows, what } of CASES) console.log(`${(rows ?? [id]).join(', ')}: ${what}`);
}

async function main(): Promise<number> {
  const options = readArguments(process.argv.slice(2));
  if (options.help) {
    console.log(HELP);
    return 0;
  }
  if (options.list) {
    list(options.json);
    return 0;
  }
  // Before hours of work that could not be kept.
  const earlier = options.update ? await readReport(options.output!) : undefined;
  endOnSignals();
  const note = (text: string) => console.error(`  ${text}`);
  let overlay: Promise<KernelOverlay> | undefined;
  const context: BenchContext = {
    quick: options.quick,
    labs: new Labs(note),
    kernelOverlay: () => (overlay ??= createKernelOverlay(VM_MTU)),
    note,
  };
  const results: BenchResult[] = [];
  const failures: BenchFailure[] = [];
  const started = new Date().toISOString();
  const machine = await describeMachine();
  const isRoot = process.getuid?.() === 0;
  try {
    if (isRoot) {
      const isRunning = (pid: number) => existsSync(`/proc/${pid}`);
      await sweepKernelUnderlays(isRunning);
      sweepConntrackSizes(isRunning);
      await sweepLabs(isRunning);
    }
    for (const benchCase of options.cases) {
      if (interrupted() !== undefined) break;
      console.error(`${benchCase.id}: ${benchCase.what}`);
      try {
        if (benchCase.needsRoot && !isRoot)
          throw new BenchError('WEFT_BENCH_MISSING', 'it makes network namespaces: repeat this as root');
        const rows = await benchCase.run(context);
        // A quick run is too short, and partly too small, to say whether a target is met.
        const taken = { commit: machine.commit, started, load_before: machine.load_before };
        results.push(...rows.map((row) => ({ ...row, target: options.quick ? null : row.target, taken })));
      } catch (error) {
        failures.push(describeFailure(benchCase.id, error));
        note(`not measured: ${(error as Error).message}`);
      }
    }
  } finally {
    await cleanUp();
  }
  const signal = interrupted();
  if (signal !== undefined) return 128 + signal;
  const report: BenchReport = { machine, quick: options.quick, started, results, failures };
  if (options.output !== undefined) {
    await mkdir(dirname(resolve(options.output)), { recursive: true });
    const kept = earlier === undefined ? report : merge(earlier, report);
    await writeFile(options.output, `${JSON.stringify(kept, null, 2)}\n`);
  }
  console.log(options.json ? JSON.stringify(report) : formatTable(report));
  return failures.length > 0 ? 1 : 0;
}

async function readReport(file: string): Promise<BenchReport> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as BenchReport;
  } catch (cause) {
    throw new BenchError('WEFT_BENCH_ARGUMENT', `--update: ${file}: ${(cause as Error).message}`, { cause });
  }
}

function describeFailure(id: string, error: unknown): BenchFailure {
  const { code, message } = error as { code?: unknown; message: string };
  return { id, code: typeof code === 'string' ? code : 'WEFT_BENCH_COMMAND', message };
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof BenchError)) throw error;
  console.error(`bench: ${error.code}: ${error.message}`);
  process.exitCode = 2;
}
