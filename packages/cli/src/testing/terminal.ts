/** Drives a program at a real pseudo-terminal, as somebody who types. `script` of util-linux makes the terminal. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';

const PATIENCE_MS = 20_000;

/** Why there is no pseudo-terminal here; undefined: there is. */
export const noTerminal = existsSync('/usr/bin/script') ? undefined : 'needs script of util-linux';

export class Terminal {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number>;
  #output = '';
  #wake: (() => void) | undefined;
  #done = false;

  /** `rows`: height of the terminal. */
  constructor(argv: readonly string[], env: NodeJS.ProcessEnv, rows = 24) {
    const words = argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    const command = `stty rows ${rows} cols 200; exec ${words}`;
    this.#child = spawn('/usr/bin/script', ['-qfec', command, '/dev/null'], {
      env: { ...env, TERM: 'xterm', SHELL: '/bin/sh' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      this.#wake?.();
    });
    this.#ended = new Promise((resolve) => {
      this.#child.on('close', (code) => {
        this.#done = true;
        this.#wake?.();
        resolve(code ?? -1);
      });
    });
  }

  type(text: string): void {
    this.#child.stdin!.write(text);
  }

  /** What was printed until the pattern appeared, including it. */
  async until(pattern: RegExp): Promise<string> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const clean = plain(this.#output);
      const match = pattern.exec(clean);
      if (match) {
        this.#output = clean.slice(match.index + match[0].length);
        return clean.slice(0, match.index + match[0].length);
      }
      const left = deadline - performance.now();
      if (this.#done || left <= 0) throw new Error(`${pattern} did not appear; there is ${JSON.stringify(clean)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Types a line and returns what is printed behind it, up to the next prompt. */
  async line(text: string, prompt: RegExp): Promise<string> {
    this.type(`${text}\r`);
    const output = await this.until(prompt);
    return output
      .replace(prompt, '')
      .slice(output.indexOf('\n') + 1)
      .replace(/\n$/, '');
  }

  ended(): Promise<number> {
    return this.#ended;
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

/** Without what moves the cursor, and with plain line ends. */
function plain(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/\r+\n/g, '\n').replaceAll('\r', '');
}
