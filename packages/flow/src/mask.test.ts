import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  classFor,
  F_PAYLOAD,
  K_MASK_CLASS,
  KEY_FIELDS,
  KEY_SIZE,
  keyFits,
  MASK_BYTES,
  MASK_CLASS_COUNT,
  MASK_CLASSES,
  maskKey,
} from './index.ts';

const key64 = fc.uint8Array({ minLength: KEY_SIZE, maxLength: KEY_SIZE });

test('the key has no gap and no overlap', () => {
  let at = 0;
  for (const [, offset, size] of KEY_FIELDS) {
    assert.equal(offset, at);
    at += size;
  }
  assert.equal(at, KEY_SIZE);
});

test('each class holds the one before it', () => {
  for (let c = 1; c < MASK_CLASS_COUNT; c++) {
    assert.equal(MASK_CLASSES[c].fields & MASK_CLASSES[c - 1].fields, MASK_CLASSES[c - 1].fields);
    assert.notEqual(MASK_CLASSES[c].fields, MASK_CLASSES[c - 1].fields);
  }
});

test('the chosen class is the narrowest that holds what was read', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0x7fff }), (read) => {
      const c = classFor(read);
      assert.equal(read & ~MASK_CLASSES[c].fields, 0);
      if (c > 0) assert.notEqual(read & ~MASK_CLASSES[c - 1].fields, 0);
      assert.equal(classFor(read | F_PAYLOAD), c);
    }),
  );
});

test('two keys are the same under a mask exactly when the class’s fields agree', () => {
  const a = new Uint8Array(KEY_SIZE);
  const b = new Uint8Array(KEY_SIZE);
  fc.assert(
    fc.property(
      key64,
      fc.nat(KEY_FIELDS.length - 2),
      fc.nat(255),
      fc.nat(MASK_CLASS_COUNT - 1),
      (key, field, noise, c) => {
        const [, offset, size] = KEY_FIELDS[field];
        const other = key.slice();
        other[offset + (noise % size)] ^= (noise | 1) & 0xff;
        maskKey(key, 0, c, a, 0);
        maskKey(other, 0, c, b, 0);
        const compared = (MASK_CLASSES[c].fields & (1 << field)) !== 0;
        assert.equal(Buffer.compare(a, b) !== 0, compared);
        assert.equal(a[K_MASK_CLASS], c);
        assert.ok(keyFits(key, 0, a, 0));
        assert.equal(keyFits(other, 0, a, 0), !compared);
        assert.ok(!keyFits(key, 0, Uint8Array.from(a).fill(c + MASK_CLASS_COUNT, K_MASK_CLASS), 0));
      },
    ),
  );
});

test('the mask leaves out the class byte', () => {
  for (let c = 0; c < MASK_CLASS_COUNT; c++) assert.equal(MASK_BYTES[c * KEY_SIZE + K_MASK_CLASS], 0);
});
