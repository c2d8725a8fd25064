/** What was typed, kept between sessions for its owner alone. */
import { appendFileSync, chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** Lines that are kept. */
export const HISTORY_SIZE = 1000;

export function historyPath(env: NodeJS.ProcessEnv = process.env): string {
  // The base directory specification ignores relative paths.
  const named = env.XDG_STATE_HOME;
  return join(named?.startsWith('/') ? named : join(homedir(), '.local', 'state'), 'weft', 'history');
}

export class History {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** The lines, newest first, as readline wants them. Shortens the file when it has become long. */
  load(): string[] {
    let text: string;
    try {
      text = readFileSync(this.#path, 'utf8');
    } catch {
      return [];
    }
    const lines = text.split('\n').filter((line) => line !== '');
    const kept = lines.slice(-HISTORY_SIZE);
    this.#try(() => {
      chmodSync(this.#path, 0o600);
      if (lines.length > 2 * HISTORY_SIZE) writeFileSync(this.#path, `${kept.join('\n')}\n`, { mode: 0o600 });
    });
    return kept.reverse();
  }

  add(line: string): void {
    this.#try(() => {
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
      appendFileSync(this.#path, `${line}\n`, { mode: 0o600 });
    });
  }

  /** A home that cannot be written to is no reason not to work. */
  #try(action: () => void): void {
    try {
      action();
    } catch {
      // Not remembered, then.
    }
  }
}
