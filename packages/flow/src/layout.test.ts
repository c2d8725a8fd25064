import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as flow from './index.ts';
import {
  ACTION_FIELDS,
  ACTION_SIZE,
  DROP_REASONS,
  FLOW_FIRST_KEY,
  FLOW_VALUE_SIZE,
  generateHeader,
  KEY_FIELDS,
  KEY_SIZE,
} from './index.ts';

const constants = flow as unknown as Record<string, unknown>;

/** `ethSrc` → `ETH_SRC`. */
function upper(name: string): string {
  return name.replace(/[A-Z]/g, (c) => `_${c}`).toUpperCase();
}

test('offset constants agree with the tables', () => {
  for (const [prefix, fields] of [
    ['K_', KEY_FIELDS],
    ['A_', ACTION_FIELDS],
  ] as const) {
    for (const [name, offset] of fields) {
      if (name === 'spare') continue;
      assert.equal(constants[prefix + upper(name)], offset, prefix + upper(name));
    }
  }
});

test('field bits follow the order of the key', () => {
  KEY_FIELDS.forEach(([name], bit) => {
    if (name !== 'maskClass') assert.equal(constants[`F_${upper(name)}`], 1 << bit, name);
  });
});

test('sizes', () => {
  assert.equal(FLOW_FIRST_KEY, ACTION_SIZE);
  assert.equal(FLOW_VALUE_SIZE, ACTION_SIZE + KEY_SIZE);
  assert.equal(ACTION_SIZE % 8, 0);
  assert.equal(new Set(DROP_REASONS).size, DROP_REASONS.length);
});

test('the C header is the same each time and names every field and reason', () => {
  const header = generateHeader();
  assert.equal(header, generateHeader());
  for (const [, offset] of [...KEY_FIELDS, ...ACTION_FIELDS]) assert.match(header, new RegExp(`/\\* ${offset} \\*/`));
  for (const reason of DROP_REASONS) assert.ok(header.includes(`DROP_${reason.toUpperCase()} = `));
});
