/** The topology language as a session: at a terminal with aliases, completion and history, else line by line. */
import { createInterface, type Interface } from 'node:readline';
import { type ApiOptions, connectApi } from '../api/connect.ts';
import { CliError } from '../errors.ts';
import { Aliases } from '../grammar/aliases.ts';
import { Completion } from '../grammar/complete.ts';
import type { Session } from '../grammar/session.ts';
import { HISTORY_SIZE, History, historyPath } from './history.ts';
import { interpret } from './interpreter.ts';

const PROMPT = 'weft> ';

export interface ShellOptions extends ApiOptions {
  /** Not at a terminal: go on behind a line that fails. */
  readonly keepGoing?: boolean;
  readonly json?: boolean;
}

export async function runShell(options: ShellOptions): Promise<void> {
  const { api, tenant } = await connectApi(options);
  const session = { api, tenant, json: options.json === true };
  try {
    if (process.stdin.isTTY && process.stdout.isTTY) await converse({ ...session, aliases: new Aliases() });
    else await readLines(session, options.keepGoing === true);
  } finally {
    api.close();
  }
}

/** Sets the exit status to that of the last line that failed. */
async function readLines(session: Session, keepGoing: boolean): Promise<void> {
  const reader = createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY });
  let number = 0;
  for await (const line of reader) {
    number++;
    if (/^\s*(#|$)/.test(line)) continue;
    try {
      const { text, warning, leave } = await interpret(line, session);
      if (text !== '') process.stdout.write(`${text}\n`);
      if (warning !== undefined) process.stderr.write(`weft: line ${number}: ${warning}\n`);
      if (leave) break;
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      process.stderr.write(`weft: line ${number}: ${error.code}: ${error.message}\n`);
      process.exitCode = error.exit;
      if (!keepGoing) break;
    }
  }
  reader.close();
}

/** Lines that are typed, one at a time; none is lost while a command runs. */
class Lines {
  readonly #waiting: string[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(reader: Interface) {
    reader.on('line', (line) => {
      this.#waiting.push(line);
      this.#wake?.();
    });
    reader.on('close', () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  /** There will be no more than those that wait. */
  get closed(): boolean {
    return this.#closed;
  }

  /** undefined: there will be none any more. */
  async next(): Promise<string | undefined> {
    while (this.#waiting.length === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#waiting.shift();
  }
}

async function converse(session: Session): Promise<void> {
  const history = new History(historyPath());
  const completion = new Completion(session);
  const reader = createInterface({
    input: process.stdin,
    output: process.stdout,
    prompt: PROMPT,
    history: history.load(),
    historySize: HISTORY_SIZE,
    removeHistoryDuplicates: true,
    completer: (line: string, done: (error: null, result: [string[], string]) => void) => {
      completion.complete(line).then((result) => done(null, result));
    },
  });
  // ^C gives up the line, not the session.
  reader.on('SIGINT', () => {
    process.stdout.write('^C\n');
    Object.assign(reader, { line: '', cursor: 0 });
    reader.prompt();
  });
  const lines = new Lines(reader);
  for (;;) {
    if (!lines.closed) {
      reader.setPrompt(PROMPT);
      reader.prompt();
    }
    const line = await lines.next();
    if (line === undefined) {
      process.stdout.write('\n');
      return;
    }
    if (line.trim() === '') continue;
    history.add(line);
    try {
      const { text, warning, leave } = await interpret(line, session);
      if (warning !== undefined) process.stderr.write(`Warning: ${warning}\n`);
      if (text !== '') await page(text, reader, lines);
      if (leave) break;
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      process.stderr.write(`${error.message} (${error.code})\n`);
    }
  }
  reader.close();
}

/** Prints a text screen by screen. */
async function page(text: string, reader: Interface, lines: Lines): Promise<void> {
  const all = text.split('\n');
  const rows = Math.max(4, (process.stdout.rows || 24) - 1);
  for (let at = 0; ; ) {
    const part = all.slice(at, at + rows);
    process.stdout.write(`${part.join('\n')}\n`);
    at += part.length;
    if (at >= all.length || lines.closed) return;
    reader.setPrompt(`-- ${at} of ${all.length} lines; Enter: more, q: enough -- `);
    reader.prompt();
    const answer = await lines.next();
    if (answer === undefined || answer.trim() !== '') return;
  }
}
