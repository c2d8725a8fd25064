import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeBuffer, PAGE_SIZE } from './memory.ts';

test('native memory is zeroed, page-aligned, and seen alike by bytes, view and a borrowed view', () => {
  using memory = NativeBuffer.alloc(PAGE_SIZE + 1);
  assert.equal(memory.byteLength, 2 * PAGE_SIZE);
  assert.equal(memory.address % PAGE_SIZE, 0);
  assert.ok(memory.bytes.every((b) => b === 0));
  memory.view.setUint32(PAGE_SIZE, 0x01020304, true);
  using borrowed = NativeBuffer.borrow(memory.address + PAGE_SIZE, 4);
  assert.deepEqual([...borrowed.bytes], [4, 3, 2, 1]);
  borrowed.close();
  assert.equal(memory.bytes[PAGE_SIZE], 4);
});

test('after close no view reaches the unmapped pages', () => {
  const memory = NativeBuffer.alloc(100);
  const { bytes, view } = memory;
  const words = new Int32Array(memory.buffer);
  bytes[0] = 1;
  memory.close();
  memory.close();
  assert.equal(memory.closed, true);
  assert.deepEqual([bytes.length, bytes[0], words.length], [0, undefined, 0]);
  assert.throws(() => view.getUint8(0), TypeError);
  assert.throws(() => memory.buffer, { code: 'WEFT_SYS_CLOSED' });
});

test('what is no memory range is refused', () => {
  for (const [address, bytes] of [
    [0, 1],
    [-1, 1],
    [1.5, 1],
    [4096, 0],
  ] as const) {
    assert.throws(() => NativeBuffer.borrow(address, bytes), { code: 'WEFT_SYS_ARGUMENT' });
  }
  assert.throws(() => NativeBuffer.mapFd(-1, 4096), { errnoName: 'EBADF' });
});
