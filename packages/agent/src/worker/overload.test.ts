import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Overload } from './overload.ts';

const OLD = 300e6;
const FRESH = 10e6;

test('one port that floods loses its old packets, its neighbours none', () => {
  const overload = new Overload();
  let dropped = 0;
  for (let i = 0; i < 10_000; i++) {
    if (overload.sheds(7, OLD)) dropped++;
    if (i % 50 === 0) assert.equal(overload.sheds(8, OLD), false);
  }
  assert.ok(dropped > 9_800, `${dropped}`);
});

test('nothing is lost while the worker keeps up', () => {
  const overload = new Overload();
  for (let i = 0; i < 10_000; i++) assert.equal(overload.sheds(7, FRESH), false);
});

test('ports that share the load equally are left to the ring', () => {
  const overload = new Overload();
  for (let i = 0; i < 10_000; i++) assert.equal(overload.sheds(i % 4, OLD), false);
});

test('a port that has calmed down is like any other', () => {
  const overload = new Overload();
  for (let i = 0; i < 1_000; i++) overload.sheds(7, OLD);
  for (let i = 0; i < 256; i++) overload.sheds(i % 16, OLD);
  assert.equal(overload.sheds(7, OLD), false);
});
