/** Running tools, in namespaces and in the background. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { interrupted, onCleanup, onInterrupt } from './cleanup.ts';
import { BenchError } from './errors.ts';

/** Runs `argv` in a network namespace; unlike `ip netns exec` the mount namespace stays the caller's. Null: where we are. */
export function inNamespace(namespace: string | null, argv: readonly string[]): string[] {
  return namespace === null ? [...argv] : ['nsenter', `--net=/run/netns/${namespace}`, '--', ...argv];
}

/** Put before a command: it runs before whatever else the machine has to do. */
export const UNDISTURBED = ['chrt', '--fifo', '50'];

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function tryRun(argv: readonly string[], input = '', timeoutMs = 120_000): Promise<Outcome> {
  const child = start(argv);
  const stdout = collect(child.stdout!);
  const stderr = collect(child.stderr!);
  child.stdin!.on('error', () => {}); // It may end before it has read everything.
  child.stdin!.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  const forget = onInterrupt(() => child.kill('SIGTERM'));
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    return { code: code ?? 128, stdout: stdout(), stderr: stderr() };
  } catch (cause) {
    throw new BenchError('WEFT_BENCH_MISSING', `cannot start \`${argv.join(' ')}\`: ${(cause as Error).message}`, {
      cause,
    });
  } finally {
    clearTimeout(timer);
    forget();
  }
}

/** Runs a command that must succeed and returns its output. */
export async function run(argv: readonly string[], input = '', timeoutMs = 120_000): Promise<string> {
  const { code, stdout, stderr } = await tryRun(argv, input, timeoutMs);
  if (code === 0) return stdout;
  throw new BenchError(
    'WEFT_BENCH_COMMAND',
    `\`${argv.join(' ')}\` ended with ${code}: ${(stderr || stdout).trim().slice(-1500)}`,
  );
}

export async function runJson<T>(argv: readonly string[], timeoutMs = 120_000): Promise<T> {
  const text = await run(argv, '', timeoutMs);
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new BenchError('WEFT_BENCH_COMMAND', `\`${argv.join(' ')}\` printed no JSON: ${text.slice(0, 300)}`);
  }
}

/** Several ip(8) commands in one process. */
export async function ipBatch(namespace: string | null, commands: readonly string[]): Promise<void> {
  await run(
    namespace === null ? ['ip', '-batch', '-'] : ['ip', '-n', namespace, '-batch', '-'],
    `${commands.join('\n')}\n`,
  );
}

/** A command that goes on while something else is done. */
export interface Background {
  readonly pid: number;
  output(): string;
  /** Resolves once its output holds `text`. */
  waitFor(text: string, timeoutMs?: number): Promise<void>;
  /** Ends it by SIGTERM (SIGKILL after `graceMs`) and resolves with its standard output. */
  stop(graceMs?: number): Promise<string>;
  /** Resolves with its standard output when it has ended by itself; rejects when it failed. */
  finished(timeoutMs?: number): Promise<string>;
}

export function background(argv: readonly string[]): Background {
  const child = start(argv);
  child.stdin!.end();
  const stdout = collect(child.stdout!);
  const stderr = collect(child.stderr!);
  let over = false;
  let code: number | null = null;
  const closed = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('close', (status) => {
      code = status;
      resolve();
    });
  }).then(() => {
    over = true;
  });
  const terminate = async (graceMs: number) => {
    if (over) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await closed;
    clearTimeout(timer);
  };
  const done = onCleanup(argv.join(' '), () => terminate(500));
  const forget = onInterrupt(() => child.kill('SIGTERM'));
  void closed.then(forget).then(done);
  const output = () => stdout() + stderr();
  return {
    pid: child.pid ?? 0,
    output,
    async waitFor(text, timeoutMs = 10_000) {
      const deadline = performance.now() + timeoutMs;
      while (!output().includes(text)) {
        if (over || performance.now() > deadline) {
          const state = over ? 'ended' : `did not say so within ${timeoutMs} ms`;
          throw new BenchError(
            'WEFT_BENCH_COMMAND',
            `awaited "${text}" from \`${argv.join(' ')}\`, which ${state}: ${output().slice(-500)}`,
          );
        }
        await Promise.race([sleep(10), closed]);
      }
    },
    async stop(graceMs = 5000) {
      await terminate(graceMs);
      return stdout();
    },
    async finished(timeoutMs = 60_000) {
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
      await closed;
      clearTimeout(timer);
      if (code !== 0)
        throw new BenchError('WEFT_BENCH_COMMAND', `\`${argv.join(' ')}\` ended with ${code}: ${output().slice(-500)}`);
      return stdout();
    },
  };
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Polls every 50 ms; false when `holds` did not become true in time. */
export async function waitUntil(holds: () => Promise<boolean>, timeoutMs: number): Promise<boolean> {
  for (const deadline = performance.now() + timeoutMs; ; await sleep(50)) {
    if (await holds()) return true;
    if (interrupted() !== undefined) return false;
    if (performance.now() > deadline) return false;
  }
}

function start(argv: readonly string[]): ChildProcess {
  return spawn(argv[0], argv.slice(1), { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, LC_ALL: 'C' } });
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString('utf8');
}
