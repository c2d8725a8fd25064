/** `weft api` as a process of its own, in a directory of its own, for the long tests of the API. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const CLI = resolve(import.meta.dirname, '../../packages/cli/src/main.ts');

export class ApiProcess {
  readonly dir = mkdtempSync(join(tmpdir(), 'weft-soak-api-'));
  #child: ChildProcess | undefined;
  #port = 0;
  readonly #onExit = () => this.#child?.kill('SIGKILL');

  constructor() {
    process.once('exit', this.#onExit);
  }

  get base(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get token(): string {
    return readFileSync(join(this.dir, 'token'), 'utf8').trim();
  }

  /** Starts it; again after a kill at the same port, on the same store. */
  async start(): Promise<void> {
    const files = ['--store', join(this.dir, 'store'), '--socket', join(this.dir, 'store.sock')];
    const doors = ['--api-socket', join(this.dir, 'api.sock'), '--port', String(this.#port)];
    const args = [CLI, 'api', ...files, ...doors, '--token-file', join(this.dir, 'token')];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child = child;
    this.#port = await new Promise<number>((done, fail) => {
      let said = '';
      child.stderr!.on('data', (chunk) => {
        said += chunk;
        const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1];
        if (port) done(Number(port));
      });
      child.once('exit', (code) => fail(new Error(`weft api ended with ${code}: ${said}`)));
    });
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await gone;
  }

  async end(): Promise<void> {
    await this.kill();
    process.off('exit', this.#onExit);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
