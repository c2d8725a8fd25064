/** The rule log's files: bounded in size and number, private, and readable again. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { AgentEvent } from '../events.ts';
import { RotatingFile } from './rotating-file.ts';
import { RuleLogFile } from './rule-log-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'weft-rule-log-'));
after(() => rmSync(directory, { recursive: true }));

test('full files move on, the last one goes, none is larger than it may be, nothing is torn', () => {
  const path = join(directory, 'rotating');
  let file = new RotatingFile(path, 1_000, 3);
  for (let i = 0; i < 100; i++) {
    // A restart in between goes on in the same file.
    if (i === 50) {
      file.close();
      file = new RotatingFile(path, 1_000, 3);
    }
    file.write(`${'x'.repeat(90)} ${i}\n`);
  }
  file.close();
  const names = readdirSync(directory).sort();
  assert.deepEqual(names, ['rotating', 'rotating.1', 'rotating.2']);
  const lines = ['rotating.2', 'rotating.1', 'rotating'].flatMap((name) => {
    const { size, mode } = statSync(join(directory, name));
    assert.ok(size <= 1_000);
    assert.equal(mode & 0o777, 0o600);
    return readFileSync(join(directory, name), 'utf8').trimEnd().split('\n');
  });
  const numbers = lines.map((line) => Number(line.split(' ')[1]));
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => 100 - numbers.length + i),
  );
});

test('one file alone starts anew when it is full', () => {
  const path = join(directory, 'single');
  const file = new RotatingFile(path, 100, 1);
  for (let i = 0; i < 10; i++) file.write(`${'y'.repeat(40)}\n`);
  file.close();
  assert.equal(readdirSync(directory).filter((name) => name.startsWith('single')).length, 1);
  assert.ok(statSync(path).size <= 100);
});

test('the last lines are read back, the next ones are heard; a file that cannot be written costs lines, not the agent', () => {
  const events: AgentEvent[] = [];
  const config = { file: join(directory, 'rule.log'), maxBytes: 4_096, files: 2 };
  const log = new RuleLogFile(config, 'host-1', (event) => events.push(event));
  for (let i = 1; i <= 5; i++) log.write({ event: 'rule.suppressed', suppressed: i });
  const heard: string[] = [];
  const stop = log.follow((line) => heard.push(line));
  log.write({ event: 'rule.suppressed', suppressed: 6 });
  stop?.();
  log.write({ event: 'rule.suppressed', suppressed: 7 });
  assert.equal(heard.length, 1);
  const told = log.tail(3).map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    told.map(({ suppressed, host, event }) => [suppressed, host, event]),
    [5, 6, 7].map((n) => [n, 'host-1', 'rule.suppressed']),
  );
  assert.ok(Math.abs((told[0]!.time as number) - Date.now()) < 60_000);
  for (let i = 0; i < 8; i++)
    assert.notEqual(
      log.follow(() => {}),
      null,
    );
  assert.equal(
    log.follow(() => {}),
    null,
  );
  log.close();
  assert.equal(events.length, 0);
  // Where the file was is nothing any more: it cannot begin the next one.
  const gone = join(directory, 'gone');
  mkdirSync(gone);
  const lost = new RuleLogFile({ ...config, file: join(gone, 'rule.log') }, 'host-1', (event) => events.push(event));
  rmSync(gone, { recursive: true });
  for (let i = 0; i < 100; i++) lost.write({ event: 'rule.suppressed', suppressed: i });
  assert.deepEqual(events, ['rules.log_failed']);
  // And goes on when it can.
  mkdirSync(gone);
  lost.write({ event: 'rule.suppressed', suppressed: 100 });
  assert.equal(lost.tail(10).length, 1);
  lost.close();
});
