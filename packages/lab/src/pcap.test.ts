import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCapture } from './pcap.ts';

function file(...frames: readonly string[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4);
  const records = frames.map((text, i) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(10 + i, 0);
    record.writeUInt32LE(500_000, 4);
    record.writeUInt32LE(text.length, 8);
    record.writeUInt32LE(text.length, 12);
    return Buffer.concat([record, Buffer.from(text)]);
  });
  return Buffer.concat([header, ...records]);
}

test('frames come out in order, with their times', () => {
  const frames = parseCapture(file('one', '', 'three'));
  assert.deepEqual(
    frames.map(({ time, bytes }) => [time, bytes.toString()]),
    [
      [10.5, 'one'],
      [11.5, ''],
      [12.5, 'three'],
    ],
  );
});

test('a record that is still being written ends the list; what is no capture has no frames', () => {
  assert.equal(parseCapture(file('one', 'two').subarray(0, -1)).length, 1);
  assert.equal(parseCapture(file('one', 'two').subarray(0, 50)).length, 1);
  assert.deepEqual(parseCapture(Buffer.alloc(0)), []);
  assert.deepEqual(parseCapture(Buffer.from('no capture at all, but long enough')), []);
});
