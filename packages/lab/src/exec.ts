/** Runs the tools that the lab is made with: ip(8), nsenter(1), ping(8) and friends. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { LabError } from './errors.ts';

/** Output kept of one command, bytes; the rest is read and dropped. */
const OUTPUT_LIMIT = 16 * 1024 * 1024;

export interface RunOptions {
  /** Written to the command's standard input. */
  readonly input?: string;
  /** The command is ended after so many milliseconds. Default 60,000. */
  readonly timeoutMs?: number;
  readonly cwd?: string;
}

export interface RunResult {
  /** Exit status; 124 after a timeout, 128 + n after signal n (as a shell reports it). */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Argument vector that runs `argv` in a network namespace but, unlike `ip netns exec`, in the caller's mount namespace: bpffs stays visible. */
export function inNetns(namespace: string, argv: readonly string[]): string[] {
  return ['nsenter', `--net=/run/netns/${namespace}`, '--', ...argv];
}

/** Runs a command to its end and returns whatever its outcome was. Rejects only when it cannot be started. */
export async function tryRun(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const child = start(argv, options.cwd);
  const stdout = collect(child.stdout!);
  const stderr = collect(child.stderr!);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill('SIGKILL');
  }, options.timeoutMs ?? 60_000);
  child.stdin!.on('error', () => {}); // The command may end before it has read its input.
  child.stdin!.end(options.input ?? '');
  try {
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    return {
      code: timedOut ? 124 : (code ?? 128 + (SIGNAL_NUMBERS[signal ?? ''] ?? 0)),
      stdout: stdout(),
      stderr: stderr(),
    };
  } catch (error) {
    throw startFailure(argv, error);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a command that must succeed and returns its standard output. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await tryRun(argv, options);
  if (result.code === 0) return result.stdout;
  const why = (result.stderr.trim() || result.stdout.trim()).slice(-2000);
  const input = options.input === undefined ? '' : `\ninput:\n${options.input.slice(0, 2000)}`;
  throw new LabError('WEFT_LAB_COMMAND', `\`${argv.join(' ')}\` ended with status ${result.code}: ${why}${input}`);
}

/** Runs many ip(8) commands in one process and one namespace (null: the one of the caller). Stops at the first failure. */
export async function ipBatch(namespace: string | null, commands: readonly string[]): Promise<void> {
  if (commands.length === 0) return;
  const argv = namespace === null ? ['ip', '-batch', '-'] : ['ip', '-n', namespace, '-batch', '-'];
  await run(argv, { input: `${commands.join('\n')}\n` });
}

/** Kernel settings of a namespace, by one sysctl(8) process. */
export async function setSysctls(
  namespace: string,
  settings: Readonly<Record<string, number | string>>,
): Promise<void> {
  const assignments = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
  await run(inNetns(namespace, ['sysctl', '-q', '-w', ...assignments]));
}

/** A command that runs on while its caller does something else. */
export interface Background {
  readonly child: ChildProcess;
  /** Standard output and standard error so far. */
  output(): string;
  /** Resolves once the output contains `text`; WEFT_LAB_TIMEOUT when it does not come in time or the command ends before. */
  waitFor(text: string, timeoutMs?: number): Promise<void>;
  /** Resolves with the exit status when the command ends by itself. */
  ended(): Promise<number>;
  /** Asks it to end (SIGINT, so that capture tools flush), insists after two seconds, and waits until it is gone. */
  stop(): Promise<void>;
}

export function runInBackground(argv: readonly string[]): Background {
  const child = start(argv);
  child.stdin!.end();
  const stdout = collect(child.stdout!);
  const stderr = collect(child.stderr!);
  const output = () => stdout() + stderr();
  const closed = new Promise<number>((resolve) => {
    child.once('error', () => resolve(127));
    child.once('close', (code) => resolve(code ?? 128));
  });
  let over = false;
  void closed.then(() => (over = true));
  return {
    child,
    output,
    ended: () => closed,
    async waitFor(text, timeoutMs = 10_000) {
      const deadline = performance.now() + timeoutMs;
      while (!output().includes(text)) {
        if (over || performance.now() > deadline) {
          const state = over ? 'ended' : `did not say so within ${timeoutMs} ms`;
          throw new LabError(
            'WEFT_LAB_TIMEOUT',
            `awaited "${text}" from \`${argv.join(' ')}\`, which ${state}: ${output().slice(-1000)}`,
          );
        }
        await Promise.race([new Promise((resolve) => setTimeout(resolve, 10)), closed]);
      }
    },
    async stop() {
      if (over) return;
      child.kill('SIGINT');
      const timer = setTimeout(() => child.kill('SIGKILL'), 2000);
      await closed;
      clearTimeout(timer);
    },
  };
}

function start(argv: readonly string[], cwd?: string): ChildProcess {
  const [command, ...args] = argv;
  return spawn(command!, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C' },
    ...(cwd && { cwd }),
  });
}

function startFailure(argv: readonly string[], error: unknown): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return error;
  return new LabError('WEFT_LAB_TOOL_MISSING', `\`${argv[0]}\` is not installed; run \`make deps\``, { cause: error });
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    if (size < OUTPUT_LIMIT) chunks.push(chunk);
    size += chunk.length;
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};
