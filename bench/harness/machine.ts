/** The machine, as far as figures depend on it. */
import { cpus, loadavg, release, totalmem } from 'node:os';
import { tryRun } from './exec.ts';

export async function describeMachine(): Promise<Record<string, unknown>> {
  const [cpu] = cpus();
  return {
    cpu: cpu?.model ?? 'unknown',
    cpus: cpus().length,
    memory_mib: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    arch: process.arch,
    load_before: Number(loadavg()[0].toFixed(2)),
    node: process.version,
    iperf3: (await firstLine(['iperf3', '--version'])).split(' ')[1] ?? 'missing',
    commit: await firstLine(['git', '-C', import.meta.dirname, 'rev-parse', '--short=12', 'HEAD']),
  };
}

/** True when something else kept a good part of the machine busy before the benchmark began. */
export function isBusy(machine: Readonly<Record<string, unknown>>): boolean {
  return (machine.load_before as number) > (machine.cpus as number) / 2;
}

async function firstLine(argv: readonly string[]): Promise<string> {
  try {
    const { code, stdout } = await tryRun(argv);
    return code === 0 ? stdout.split('\n')[0].trim() : 'unknown';
  } catch {
    return 'unknown';
  }
}
