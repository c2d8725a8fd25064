/** The README says which test knows which lesson about the kernel: these tests must be there, under these titles. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { test } from 'node:test';

const readme = readFileSync(resolve(import.meta.dirname, '../README.md'), 'utf8');
const rows = readme.split('\n').filter((line) => /^\| [A-E]\d*\. /.test(line));

test('every lesson has a test that is there', () => {
  const names = rows.map((row) => /^\| ([A-E]\d*)\./.exec(row)![1]);
  assert.deepEqual(names, [...Array.from({ length: 14 }, (_, i) => `A${i + 1}`), 'B', 'C', 'E']);
  for (const row of rows) {
    const cell = row.split(' | ')[1]!;
    const parts = cell.split(/; (?=`)/).map((part) => /^`([^`]+)` (.+?)(?: \|)?$/.exec(part));
    for (const part of parts) {
      assert.ok(part, `${row}: a file and titles are expected`);
      const [, file, titles] = part;
      const source = readFileSync(resolve(import.meta.dirname, file!), 'utf8');
      const quoted = [...titles!.matchAll(/"([^"]+)"/g)].map(([, title]) => title!);
      assert.ok(quoted.length > 0, `${row}: no title`);
      for (const title of quoted) assert.ok(source.includes(`'${title}`), `${file} has no test "${title}"`);
    }
  }
});
