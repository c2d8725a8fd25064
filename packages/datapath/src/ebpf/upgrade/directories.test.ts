/** Which directory counts, whatever a killed process has left: `directories.ts` says in which order they are renamed. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { beginStart, pinDirectories, removeDirectory } from './directories.ts';

const A = 'a'.repeat(16);
const B = 'b'.repeat(16);

let stateDir: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'weft-directories-'));
});
afterEach(() => rmSync(stateDir, { recursive: true }));

function make(name: string, ...pins: string[]): void {
  mkdirSync(join(stateDir, name));
  for (const pin of ['weft_flows', ...pins]) writeFileSync(join(stateDir, name, pin), '');
}

const names = () => readdirSync(stateDir).sort();

/** What build B does with what is there. */
function start(hash = B, filled = true) {
  const { path, source, commit } = beginStart(stateDir, hash);
  const found = { path: basename(path), source: source && basename(source) };
  return { ...found, own: basename(commit(filled)), after: names() };
}

describe('build B finds', () => {
  test('nothing: tables of its own, empty', () => {
    assert.deepEqual(start(), { path: B, source: undefined, own: B, after: [B] });
  });

  test('its own tables', () => {
    make(B, 'port_3');
    assert.deepEqual(start(), { path: B, source: undefined, own: B, after: [B] });
    assert.deepEqual(readdirSync(join(stateDir, B)).sort(), ['port_3', 'weft_flows']);
  });

  test('tables of build A: they are the source, and count until its own are complete', () => {
    make(A, 'port_3');
    const { path, source, commit } = beginStart(stateDir, B);
    assert.deepEqual([basename(path), basename(source!), names()], [`${B}_new`, A, [A, `${B}_new`]]);
    assert.equal(commit(true), join(stateDir, B));
    assert.deepEqual(names(), [`${A}_old`, B]);
  });

  test('what a process left that was killed while it filled: that goes', () => {
    make(A, 'port_3');
    make(`${B}_new`);
    assert.deepEqual(start(), { path: `${B}_new`, source: A, own: B, after: [`${A}_old`, B] });
    assert.deepEqual(readdirSync(join(stateDir, B)), []);
  });

  test('what a process left that was killed between the two renames: A counts still', () => {
    make(`${A}_old`, 'port_3');
    make(`${B}_new`);
    assert.deepEqual(start(), { path: `${B}_new`, source: `${A}_old`, own: B, after: [`${A}_old`, B] });
  });

  test('its own tables beside those whose links were not all swapped', () => {
    make(`${A}_old`, 'port_3');
    make(B, 'port_4');
    assert.deepEqual(start(), { path: B, source: undefined, own: B, after: [`${A}_old`, B] });
  });

  test('tables that say nothing of themselves: they stay what they are until their links are swapped', () => {
    make(A, 'port_3');
    assert.deepEqual(start(B, false), { path: `${B}_new`, source: A, own: B, after: [A, B] });
  });

  test('a directory that was being removed', () => {
    make(B, 'port_3');
    make(`${A}_gone`);
    assert.deepEqual(start().after, [B]);
  });

  test('several: the one with the links is the source', () => {
    make(A, 'port_3');
    make('c'.repeat(16), 'port_4', 'port_5');
    assert.equal(start().source, 'c'.repeat(16));
  });
});

describe('build A comes back', () => {
  test('when B was killed while it filled', () => {
    make(A, 'port_3');
    make(`${B}_new`);
    assert.deepEqual(start(A), { path: A, source: undefined, own: A, after: [A] });
  });

  test('when B was killed between the two renames: its tables count again', () => {
    make(`${A}_old`, 'port_3');
    make(`${B}_new`);
    assert.deepEqual(start(A), { path: A, source: undefined, own: A, after: [A] });
    assert.deepEqual(readdirSync(join(stateDir, A)).sort(), ['port_3', 'weft_flows']);
  });

  test('when B was killed while it swapped links: B’s tables are the source, A’s old ones stay until their links are swapped', () => {
    make(`${A}_old`, 'port_3');
    make(B, 'port_4');
    assert.deepEqual(start(A), { path: `${A}_new`, source: B, own: A, after: [A, `${A}_old`, `${B}_old2`] });
  });

  test('and is killed between the two renames: B’s tables count still, not A’s older ones', () => {
    make(`${A}_old`, 'port_3', 'port_4');
    make(`${B}_old2`, 'port_5');
    make(`${A}_new`);
    const found = start(A);
    assert.deepEqual(found, { path: `${A}_new`, source: `${B}_old2`, own: A, after: [A, `${A}_old`, `${B}_old2`] });
  });

  test('and B after it: its tables count again', () => {
    make(`${A}_old`, 'port_3', 'port_4');
    make(`${B}_old2`, 'port_5');
    assert.deepEqual(start(B), { path: B, source: undefined, own: B, after: [`${A}_old`, B] });
  });
});

test('what is removed is removed under another name, over one that was not removed to the end', () => {
  make(`${A}_old2`, 'port_3');
  make(`${A}_gone`);
  removeDirectory(join(stateDir, `${A}_old2`));
  assert.deepEqual(names(), []);
});

test('directories of others are not looked at', () => {
  make('tc');
  make('c'.repeat(16), 'globals');
  writeFileSync(join(stateDir, 'd'.repeat(16)), '');
  assert.deepEqual(pinDirectories(stateDir), []);
  assert.deepEqual(start().own, B);
  assert.deepEqual(names(), [B, 'c'.repeat(16), 'd'.repeat(16), 'tc'].sort());
});
