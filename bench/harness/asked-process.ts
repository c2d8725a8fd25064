/** A process of its own that answers questions, one at a time. */
import { fork } from 'node:child_process';
import { onCleanup, onInterrupt } from './cleanup.ts';
import { BenchError } from './errors.ts';

export interface AskedProcess {
  /** @throws BenchError WEFT_BENCH_COMMAND when it ends before it has answered, or does not within the time */
  ask<T>(question: object, timeoutMs?: number): Promise<T>;
  close(): Promise<void>;
}

/** @param nodeOptions such as `--expose-gc` */
export function askedProcess(file: string, nodeOptions: readonly string[] = []): AskedProcess {
  const child = fork(file, { execArgv: [...nodeOptions], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  let said = '';
  child.stderr!.on('data', (part: Buffer) => {
    said = `${said}${part}`.slice(-2_000);
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  const forget = onCleanup(file, kill);
  const calm = onInterrupt(() => child.kill('SIGTERM'));
  return {
    ask: <T>(question: object, timeoutMs = 30_000) =>
      new Promise<T>((resolve, reject) => {
        const fail = (why: string): void => {
          done();
          reject(new BenchError('WEFT_BENCH_COMMAND', `${file} ${why}: ${said}`));
        };
        const answer = (message: unknown): void => {
          done();
          resolve(message as T);
        };
        const end = (): void => fail('ended');
        const timer = setTimeout(() => fail(`did not answer within ${timeoutMs} ms`), timeoutMs);
        const done = (): void => {
          clearTimeout(timer);
          child.off('message', answer).off('close', end);
        };
        child.once('message', answer).once('close', end);
        child.send(question);
      }),
    async close() {
      calm();
      await forget();
    },
  };
}
