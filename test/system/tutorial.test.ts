/** The tutorial as its reader follows it: every command of docs/TUTORIAL.md in order, in one shell for each of its two ways. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const weft = resolve(root, 'weft');
const LAB = 'tutorial';
const STEP_MS = 120_000;
const DONE = '--- step done ---';

interface Step {
  /** The last heading before it. */
  readonly title: string;
  readonly line: number;
  readonly commands: string;
  /** Lines that must be printed, in this order. */
  readonly expected: readonly string[];
}

/** Every block of commands (`sh`) with the block behind it that says what it prints (`text`). */
function stepsOf(page: string): Step[] {
  const steps: Step[] = [];
  let title = '';
  for (const match of page.matchAll(/^#+ (.*)$|^```(\w+)\n([\s\S]*?)^```$/gm)) {
    const [, heading, kind, body] = match;
    if (heading !== undefined) title = heading;
    else if (kind === 'sh') {
      const line = page.slice(0, match.index).split('\n').length;
      steps.push({ title, line, commands: body!, expected: [] });
    } else if (kind === 'text') {
      const last = steps.pop();
      assert.ok(last && last.expected.length === 0, `output of nothing: ${body}`);
      steps.push({ ...last, expected: body!.trimEnd().split('\n') });
    }
  }
  return steps;
}

/** `…` stands for anything within the line. */
function pattern(line: string): RegExp {
  const parts = line.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`);
}

/** A shell that keeps its variables, functions and jobs from step to step, as the reader's does. */
class Shell {
  readonly #child: ChildProcess;
  #output = '';
  #wake = () => {};

  constructor() {
    this.#child = spawn('bash', ['--norc', '--noprofile'], {
      cwd: root,
      stdio: ['pipe', 'pipe', 'pipe'],
      // A group of its own, so that the servers that the page starts end with it.
      detached: true,
    });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
        this.#wake();
      });
    }
    this.#child.stdin!.write('exec 2>&1\n');
  }

  async run(commands: string): Promise<string> {
    this.#child.stdin!.write(`${commands}\necho '${DONE}'\n`);
    const deadline = performance.now() + STEP_MS;
    let end = -1;
    for (;;) {
      end = this.#output.indexOf(`${DONE}\n`);
      if (end >= 0) break;
      const left = deadline - performance.now();
      assert.ok(left > 0 && this.#child.exitCode === null, `the step did not end; it printed ${this.#output}`);
      await new Promise<void>((done) => {
        const timer = setTimeout(done, Math.min(left, 1000));
        this.#wake = () => {
          clearTimeout(timer);
          done();
        };
      });
    }
    const text = this.#output.slice(0, end);
    this.#output = this.#output.slice(end + DONE.length + 1);
    return text;
  }

  end(): void {
    try {
      process.kill(-this.#child.pid!, 'SIGKILL');
    } catch {
      // It has ended already.
    }
  }
}

/** Until all hosts live by what was written: a reader types slower than the test does. */
function settle(): void {
  const socket = `/run/weft-lab/${LAB}/api.sock`;
  if (!existsSync(socket)) return;
  const get = (path: string) =>
    JSON.parse(
      spawnSync('curl', ['-sS', '--unix-socket', socket, `http://weft/midonet-api/${path}`], { encoding: 'utf8' })
        .stdout,
    ) as { revision: number; converged: boolean };
  const { revision } = get('system_state');
  assert.ok(get(`convergence/${revision}?wait=20000`).converged, `revision ${revision} is not live everywhere`);
}

function skipReason(): string | false {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const tool of ['ncat', 'ping', 'curl']) {
    if (spawnSync('which', [tool]).status !== 0) return `needs ${tool}`;
  }
  return false;
}

const steps = stepsOf(readFileSync(resolve(root, 'docs/TUTORIAL.md'), 'utf8'));

describe('the tutorial', { skip: skipReason() }, () => {
  let shell: Shell;
  const down = () => spawnSync(weft, ['lab', 'down', '--name', LAB]);
  const interrupted = () => {
    shell.end();
    down();
    process.exit(1);
  };
  before(() => {
    down();
    shell = new Shell();
    process.once('SIGINT', interrupted);
    process.once('SIGTERM', interrupted);
  });
  after(() => {
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
    shell.end();
    down();
  });

  assert.ok(steps.length > 15, 'the page has lost its commands');
  let broken = false;
  for (const { title, line, commands, expected } of steps) {
    test(`${title} (line ${line})`, async (t) => {
      // What follows builds on what failed.
      if (broken) return t.skip('an earlier step failed');
      broken = true;
      const output = await shell.run(commands);
      const lines = output.split('\n');
      let at = 0;
      for (const wanted of expected) {
        const found = lines.findIndex((one, i) => i >= at && pattern(wanted).test(one));
        assert.ok(found >= 0, `"${wanted}" is not printed (in this place) by\n${commands}\nwhich prints\n${output}`);
        at = found + 1;
      }
      settle();
      broken = false;
    });
  }
});
