/** The completion scripts, sourced by the shells that they are for, at a terminal. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, describe, test } from 'node:test';
import { createProgram } from '../program.ts';
import { noTerminal, Terminal } from '../testing/terminal.ts';
import { bashScript } from './bash.ts';
import { commandTree } from './tree.ts';
import { zshScript } from './zsh.ts';

const tree = commandTree(createProgram());
const directory = mkdtempSync(join(tmpdir(), 'weft-completion-'));
after(() => rmSync(directory, { recursive: true }));

const bash = join(directory, 'weft.bash');
const zsh = join(directory, 'weft.zsh');
writeFileSync(bash, bashScript(tree));
writeFileSync(zsh, zshScript(tree));

/** What bash offers behind these words; the last one is being written. */
function offered(...words: string[]): string[] {
  const script = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weft; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr, status } = spawnSync('bash', ['--norc', '-c', script, 'bash', bash, ...words], {
    encoding: 'utf8',
    cwd: directory,
  });
  assert.equal(stderr, '');
  assert.equal(status, 0);
  return stdout.split('\n').filter((line) => line !== '');
}

describe('bash', () => {
  test('commands, and commands of commands', () => {
    const expected = createProgram().commands.map((command) => command.name());
    assert.deepEqual(offered('weft', '').sort(), expected.sort());
    assert.deepEqual(offered('weft', 'lab', 'st'), ['status']);
    assert.deepEqual(offered('weft', '--json', 'lab', 'do'), ['down']);
  });

  test('every option of every command', () => {
    for (const { path, options } of tree) {
      const words = path === '' ? [] : path.split(' ');
      assert.deepEqual(
        offered('weft', ...words, '-'),
        options.map(({ word }) => word),
        path,
      );
    }
  });

  test('values of options: words, files, or nothing', () => {
    assert.deepEqual(offered('weft', 'lab', 'up', '--encap', ''), ['gre', 'vxlan']);
    assert.deepEqual(offered('weft', 'lab', 'up', '--encap', 'gre', '--data'), ['--datapath']);
    assert.deepEqual(offered('weft', 'agent', '--config', 'weft.b'), ['weft.bash']);
    assert.deepEqual(offered('weft', 'lab', 'status', '--name', ''), []);
    // The value of an option is no command.
    assert.deepEqual(offered('weft', '-e', 'lab', 'st'), ['store']);
  });

  test('files where arguments are files, and behind --', () => {
    assert.deepEqual(offered('weft', 'lab', 'up', 'weft.z'), ['weft.zsh']);
    assert.deepEqual(offered('weft', 'lab', 'exec', 'vm', '--', 'weft.z'), ['weft.zsh']);
  });

  test('bash accepts it', () => {
    assert.equal(spawnSync('bash', ['-n', bash], { encoding: 'utf8' }).stderr, '');
  });

  test('at a terminal, TAB completes', { skip: noTerminal ?? false }, async () => {
    const shell = new Terminal(['bash', '--norc', '--noprofile', '-i'], { ...process.env, PS1: 'ready> ' });
    try {
      await shell.until(/ready> /);
      await shell.line(`source ${bash}`, /ready> $/);
      shell.type('weft lab sta\t');
      await shell.until(/weft lab status /);
      shell.type('--js\t');
      await shell.until(/--json /);
    } finally {
      shell.kill();
    }
  });
});

describe('zsh', { skip: existsSync('/usr/bin/zsh') ? (noTerminal ?? false) : 'needs zsh' }, () => {
  test('at a terminal, TAB completes commands, options, values and files', async () => {
    const shell = new Terminal(['zsh', '-f', '-i'], { ...process.env, PS1: 'ready> ' });
    try {
      await shell.until(/ready> /);
      await shell.line(`unsetopt zle_bracketed_paste; autoload -Uz compinit && compinit -u -D`, /ready> $/);
      await shell.line(`source ${zsh}; cd ${directory}`, /ready> $/);
      shell.type('weft lab sta\t');
      await shell.until(/tus /);
      shell.type('--js\t');
      await shell.until(/on /);
      shell.type('\u0015weft lab up --encap g\t');
      await shell.until(/encap g.*re /s);
      shell.type('\u0015weft agent --config weft.b\t');
      await shell.until(/weft\.b.*ash /s);
      shell.type('\u0015weft \t');
      assert.match(await shell.until(/flows +-- /), /completion +-- /);
    } finally {
      shell.kill();
    }
  });

  test('it works as an autoloaded function too', () => {
    const functions = join(directory, 'functions');
    const script = `mkdir ${functions}; cp ${zsh} ${functions}/_weft; fpath=(${functions} $fpath); autoload -Uz compinit
      compinit -u -D; print $_comps[weft]`;
    const { stdout, stderr } = spawnSync('zsh', ['-fc', script], { encoding: 'utf8' });
    assert.equal(stderr, '');
    assert.equal(stdout.trim(), '_weft');
  });
});

test('a script for an unknown shell is refused', () => {
  const { status, stderr } = spawnSync(resolve(import.meta.dirname, '../../../../weft'), ['completion', 'fish'], {
    encoding: 'utf8',
  });
  assert.equal(status, 2);
  assert.match(stderr, /bash, zsh/);
});
