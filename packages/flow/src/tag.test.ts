import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipParse } from '@weft/packet';
import fc from 'fast-check';
import {
  addressTag,
  isStateTag,
  ROUTE_TAG_LENGTHS,
  routeTagLength,
  TAG_MAC,
  TAG_PORT,
  TAG_ROUTE,
  TAG_STATE,
  tag,
} from './index.ts';

test('tags are unsigned, never 0, and depend on every word', () => {
  const word = fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 13 }), fc.tuple(word, word, word, word), fc.nat(3), (kind, words, i) => {
      const t = tag(kind, ...words);
      assert.ok(Number.isInteger(t) && t > 0 && t < 2 ** 32);
      assert.equal(isStateTag(t), kind === TAG_STATE);
      const other = [...words] as typeof words;
      other[i] ^= 1;
      assert.notEqual(tag(kind, ...other), t);
      assert.notEqual(tag(kind + 1, ...words), t);
    }),
  );
});

test('few of many tags are equal', () => {
  const seen = new Set<number>();
  for (let a = 0; a < 200; a++) for (let b = 0; b < 200; b++) seen.add(tag(TAG_MAC, a, b));
  for (let a = 0; a < 40_000; a++) seen.add(tag(TAG_PORT, a));
  // 80,000 random numbers of 32 bits have about 0.75 pairs in common.
  assert.ok(seen.size > 79_980, `${seen.size} of 80,000`);
});

test('an address tag looks at its prefix only', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.constantFrom(...ROUTE_TAG_LENGTHS),
      fc.nat(127),
      (address, length, bit) => {
        const other = address.slice();
        other[bit >> 3] ^= 0x80 >> (bit & 7);
        const same = addressTag(TAG_ROUTE, 7, address, 0, length) === addressTag(TAG_ROUTE, 7, other, 0, length);
        assert.equal(same, bit >= length);
      },
    ),
  );
});

test('a change of a route meets the tag that a lookup left', () => {
  // A route of any length, and an address inside it: one of the lookup's tags is the change's.
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.integer({ min: 0, max: 128 }),
      (route, noise, length) => {
        const address = route.slice();
        for (let b = length; b < 128; b++) {
          const m = 0x80 >> (b & 7);
          address[b >> 3] = (address[b >> 3] & ~m) | (noise[b >> 3] & m);
        }
        const left = ROUTE_TAG_LENGTHS.map((l) => addressTag(TAG_ROUTE, 1, address, 0, l));
        const at = routeTagLength(length);
        assert.ok(at <= length);
        assert.ok(left.includes(addressTag(TAG_ROUTE, 1, route, 0, at)));
      },
    ),
  );
});

test('IPv4 prefixes have lengths of their own', () => {
  assert.deepEqual([96, 104, 112, 120, 128].map(routeTagLength), [96, 104, 112, 120, 128]);
  assert.equal(routeTagLength(96 + 20), 112);
  assert.notEqual(
    addressTag(TAG_ROUTE, 1, ipParse('10.0.0.1'), 0, 120),
    addressTag(TAG_ROUTE, 1, ipParse('10.0.1.1'), 0, 120),
  );
});
