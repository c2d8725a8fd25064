/** `weft doctor`: what is wrong with a host, and what to do about it. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Finding, Report } from '@weft/agent';
import { Command } from 'commander';
import { CliError } from '../errors.ts';
import { print, printJson } from '../output.ts';
import { asOwnRoot } from '../own-root.ts';

const DEFAULT_CONFIG = '/etc/weft/agent.json';
const ASK_MS = 5_000;
/** Probes that nobody answers take their time. */
const DOCTOR_MS = 120_000;

interface Options {
  readonly config?: string;
  readonly control?: string;
  readonly lab: string;
  readonly host?: string;
  readonly json?: boolean;
  readonly all?: boolean;
}

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('look for everything that can be wrong with a host; status 1 when something fails')
    .option('--config <file>', `configuration of the host's agent, which need not run (default: ${DEFAULT_CONFIG})`)
    .option('--control <path>', 'ask the agent on this control socket to look itself', process.env.WEFT_CONTROL_SOCKET)
    .option('--lab <name>', 'lab that --host belongs to', 'default')
    .option('--host <name>', 'a host of the lab')
    .option('--all', 'say also what is in order')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  weft doctor\n  weft doctor --host h1\n  weft doctor --config /etc/weft/agent.json --json',
    )
    .action(doctor);
}

async function doctor(options: Options): Promise<void> {
  if (options.host !== undefined) return inLabHost(options, options.host);
  const report = options.control === undefined ? await look(options.config) : await ask(options.control);
  if (options.json) printJson(report);
  else print(describe(report, options.all === true));
  if (report.fail > 0) process.exitCode = 1;
}

async function look(file: string | undefined): Promise<Report> {
  const [{ diagnose, loadConfig, parseConfig }, { exchange, LabError }] = await Promise.all([
    import('@weft/agent'),
    import('@weft/lab'),
  ]);
  if (process.geteuid?.() !== 0) {
    throw new LabError('WEFT_NEEDS_ROOT', 'the doctor looks at programs and sends raw packets: repeat this as root');
  }
  const known = file ?? (existsSync(DEFAULT_CONFIG) ? DEFAULT_CONFIG : undefined);
  const config = known === undefined ? parseConfig({}) : loadConfig(known);
  return diagnose(config, {
    askAgent: async () => {
      const answer = await exchange({ socketPath: config.controlSocket }, 'GET', '/status', undefined, ASK_MS);
      if (answer.status !== 200) throw new Error(`the control socket answers ${answer.status}`);
      return answer.body as never;
    },
  });
}

async function ask(socketPath: string): Promise<Report> {
  const { exchange } = await import('@weft/lab');
  const answer = await exchange({ socketPath }, 'GET', '/doctor', undefined, DOCTOR_MS).catch((error: Error) => {
    throw new CliError('WEFT_CLI_NO_AGENT', `no agent answers at ${socketPath} (${error.message})`, 1);
  });
  if (answer.status !== 200) throw new CliError('WEFT_CLI_NO_AGENT', `${socketPath} answers ${answer.status}`, 1);
  return answer.body as Report;
}

/** A host of a lab has a network namespace of its own: look from within. */
async function inLabHost(options: Options, name: string): Promise<void> {
  await asOwnRoot(false);
  const { inNetns, openLab, requireHost } = await import('@weft/lab');
  const lab = await openLab(options.lab);
  const host = requireHost(lab.plan, name);
  const flags = [...(options.json ? ['--json'] : []), ...(options.all ? ['--all'] : [])];
  const { config } = lab.plan.paths.host(name);
  const [program, ...args] = inNetns(host.namespace, [
    process.execPath,
    process.argv[1]!,
    'doctor',
    '--config',
    config,
    ...flags,
  ]);
  const child = spawn(program!, args, { stdio: 'inherit' });
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? (signal ? 128 : 1)));
  });
}

const WORDS = { fail: 'FAIL', warn: 'warn', ok: 'ok  ', skip: 'skip' } as const;

function describe(report: Report, all: boolean): string {
  const shown = report.findings.filter(({ status }) => all || status === 'fail' || status === 'warn');
  const total = `${report.host}: ${report.fail} failed, ${report.warn} warnings, ${report.ok} in order, ${report.skip} skipped`;
  return [...shown.map(line), total].join('\n');
}

function line({ check, status, subject, seen, why, fix }: Finding): string {
  const head = `${WORDS[status]} ${check}: ${subject === '' ? '' : `${subject}: `}${seen}`;
  return status === 'ok' || status === 'skip' ? head : `${head}\n       why: ${why}\n       fix: ${fix}`;
}
