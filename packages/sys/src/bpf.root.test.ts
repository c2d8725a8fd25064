import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BpfMap, parsePossibleCpus } from './bpf.ts';
import { ERRNO, SysError } from './errors.ts';
import { errno, SYS, syscall } from './libc.ts';
import { NativeBuffer } from './memory.ts';
import { needsRoot } from './testing.ts';

const HASH = 1;
const BPF_F_NO_PREALLOC = 1;

/** A hash map with 4-byte keys and 8-byte values. */
function hashMap(entries: number): BpfMap {
  using attr = NativeBuffer.alloc(64);
  [HASH, 4, 8, entries, BPF_F_NO_PREALLOC].forEach((value, i) => {
    attr.view.setUint32(i * 4, value, true);
  });
  const fd = syscall(SYS.bpf, 0, attr.address, 64);
  if (fd === -1) throw new SysError('bpf', errno(), 'create map');
  return new BpfMap(fd);
}

const key = (n: number) => new Uint8Array(new Uint32Array([n]).buffer);
const value = (n: number) => new Uint8Array(new Uint32Array([n, n]).buffer);
const packed = (count: number, width: number, from = 0) => {
  const out = new Uint32Array(count * width);
  for (let i = 0; i < out.length; i++) out[i] = from + Math.floor(i / width);
  return new Uint8Array(out.buffer);
};

test('possible CPUs', () => {
  assert.equal(parsePossibleCpus('0-3\n'), 4);
  assert.equal(parsePossibleCpus('0,2-7'), 8);
  assert.equal(parsePossibleCpus('0'), 1);
  assert.throws(() => parsePossibleCpus('none'), { code: 'WEFT_SYS_PROTOCOL' });
});

describe('BPF maps', { skip: needsRoot() }, () => {
  test('lookup, update, delete', () => {
    const map = hashMap(10);
    const out = new Uint8Array(8);
    assert.equal(map.lookup(key(1), out), false);
    map.update(key(1), value(7));
    assert.equal(map.lookup(key(1), out), true);
    assert.deepEqual(out, value(7));
    assert.equal(map.delete(key(1)), true);
    assert.equal(map.delete(key(1)), false);
    assert.deepEqual([map.info.keySize, map.info.valueSize, map.info.maxEntries], [4, 8, 10]);
    map.close();
    map.close();
  });

  test('a batch stops where the map is full, and says how far it came', () => {
    const map = hashMap(100);
    const result = map.updateBatch(packed(150, 1), packed(150, 2), 150);
    assert.deepEqual(result, { count: 100, errno: ERRNO.E2BIG });
    assert.equal(map.lookup(key(99), new Uint8Array(8)), true);
    assert.equal(map.lookup(key(100), new Uint8Array(8)), false);
    map.close();
  });

  test('deleting a batch goes on behind absent keys', () => {
    const map = hashMap(100);
    map.updateBatch(packed(50, 1), packed(50, 2), 50);
    for (const n of [0, 7, 8, 49]) map.delete(key(n));
    const absent: number[] = [];
    assert.equal(
      map.deleteBatch(packed(60, 1), 60, (i) => absent.push(i)),
      46,
    );
    assert.deepEqual(absent, [0, 7, 8, ...Array.from({ length: 11 }, (_, i) => 49 + i)]);
    map.close();
  });

  test('a dump shows every entry once while nothing changes', () => {
    const map = hashMap(5000);
    map.updateBatch(packed(5000, 1), packed(5000, 2), 5000);
    for (const batch of [1, 7, 1024]) {
      const seen = new Set<number>();
      map.forEach((k, v) => {
        const n = new DataView(k.buffer, k.byteOffset).getUint32(0, true);
        assert.ok(!seen.has(n));
        assert.deepEqual(v.slice(), value(n));
        seen.add(n);
      }, batch);
      assert.equal(seen.size, 5000);
    }
    let keys = 0;
    map.forEachKey((k) => {
      keys++;
      map.delete(k.slice());
    });
    assert.equal(keys, 5000);
    map.close();
  });
});
