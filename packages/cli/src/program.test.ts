/** The command tree as a whole: what every command owes its user. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { test } from 'node:test';
import type { Command } from 'commander';
import { createProgram } from './program.ts';

const weft = resolve(import.meta.dirname, '../../../weft');

/** The commands that do something, with their full names. */
function* leaves(command: Command, path: string): IterableIterator<[string, Command]> {
  if (command.commands.length === 0) yield [path, command];
  for (const child of command.commands) yield* leaves(child, `${path} ${child.name()}`);
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

test('the help of every command says what it does, explains every option and has an example of it', () => {
  for (const [path, command] of leaves(createProgram(), 'weft')) {
    const help = helpOf(command);
    assert.notEqual(command.description(), '', path);
    for (const option of command.options) assert.notEqual(option.description, '', `${path} ${option.flags}`);
    assert.match(help, /\nExamples?:\n/, path);
    assert.ok(help.split(/\nExamples?:\n/)[1]!.includes(path), `the example of ${path} is of another command`);
  }
});

test('what lists something has --json', () => {
  const lists = ['weft flows', 'weft rules', 'weft lab check', 'weft lab status', 'weft store status', 'weft shell'];
  const withJson = [...leaves(createProgram(), 'weft')].flatMap(([path, command]) =>
    command.options.some((option) => option.long === '--json') ? [path] : [],
  );
  for (const path of lists) assert.ok(withJson.includes(path), path);
});

test('status and message of what is not understood', () => {
  const refusals: [args: string[], message: RegExp][] = [
    [['frobnicate'], /unknown command|too many arguments/],
    [['lab', 'frobnicate'], /unknown command/],
    [['--frobnicate'], /unknown option.*\n.*--help/],
    [['-e', 'list unicorn'], /^weft: WEFT_CLI_SYNTAX: /],
    [['-e', 'list bridge', '--api-url', 'gopher://x'], /^weft: WEFT_CLI_CONFIG: .*neither http: nor https:/],
    [['-e', 'list bridge', '--api-url', 'http://192.0.2.1', '-u', 'a', '-p', 'b'], /^weft: WEFT_CLI_INSECURE: /],
  ];
  for (const [args, message] of refusals) {
    const { status, stderr } = spawnSync(weft, args, { encoding: 'utf8', env: { ...process.env, WEFT_CONFIG: '' } });
    assert.equal(status, 2, args.join(' '));
    assert.match(stderr, message);
  }
});

test('an API that does not answer is named', () => {
  const args = ['-e', 'list bridge', '--api-socket', '/nonexistent/api.sock'];
  const { status, stderr } = spawnSync(weft, args, { encoding: 'utf8', env: { ...process.env, WEFT_CONFIG: '' } });
  assert.equal(status, 1);
  assert.match(stderr, /^weft: WEFT_CLI_NO_API: no API answers at \/nonexistent\/api\.sock: /);
});

test('what the system refuses is said in its words, under a code and without a stack', () => {
  const args = ['api', '--store', '/etc/passwd', '--socket', '/dev/null/store.sock'];
  const { status, stderr } = spawnSync(weft, args, { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /^weft: WEFT_CLI_SYSTEM: E[A-Z]+: .*mkdir '\/dev\/null'\n$/);
});

test('a time for which no host could be away is refused before anything is opened', () => {
  for (const given of ['0', 'long', '1e9']) {
    const { status, stderr } = spawnSync(weft, ['api', '--store', '/dev/null/store', '--host-grace', given], {
      encoding: 'utf8',
    });
    assert.equal(status, 2);
    assert.match(stderr, /^weft: WEFT_CLI_USAGE: --host-grace takes a number of seconds from 1 to 1000000, not "/);
  }
});
