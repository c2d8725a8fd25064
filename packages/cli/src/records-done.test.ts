import assert from 'node:assert/strict';
import { test } from 'node:test';
import { recordsDone } from './records-done.ts';

test('a terminal is told at first, now and then, and at the end; nothing else is told anything', () => {
  for (const isTTY of [true, false]) {
    const said: string[] = [];
    const done = recordsDone('records written', { isTTY, write: (text) => said.push(text) });
    for (let count = 1; count <= 10_000; count++) done.tell(count);
    done.end();
    if (!isTTY) assert.deepEqual(said, []);
    else {
      assert.equal(said[0], '\r1 records written');
      assert.deepEqual(said.slice(-2), ['\r10000 records written', '\n']);
      assert.ok(said.length < 10_000);
    }
  }
});
