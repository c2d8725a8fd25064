/** UUIDs, handles and numbers in the table: which go when they are reclaimed, and that none is mistaken for another afterwards. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FlowStateTable } from '@weft/flowstate';
import { uuid } from '@weft/simulator/testing';
import { Numbers, uuidBytes } from './numbers.ts';

class Handles {
  private readonly ids = [''];
  handle(id: string): number {
    if (!this.ids.includes(id)) this.ids.push(id);
    return this.ids.indexOf(id);
  }
  id(handle: number): string {
    return this.ids[handle] ?? '';
  }
}

function bench(uuids = 8): { table: FlowStateTable; view: Handles; numbers: Numbers } {
  const self = uuidBytes(uuid(1));
  const table = new FlowStateTable({ self, incarnation: 1, capacity: 8, uuids, blocks: 1, now: 0, seed: [1, 2] });
  const view = new Handles();
  return { table, view, numbers: new Numbers(table, view) };
}

test('a UUID has the bytes that its text says', () => {
  const id = '00112233-4455-6677-8899-aabbccddeeff';
  assert.equal(Buffer.from(uuidBytes(id)).toString('hex'), id.replaceAll('-', ''));
});

test('handle, number and UUID lead to each other; 0 is nothing', () => {
  const { table, view, numbers } = bench();
  const handle = view.handle(uuid(7));
  const n = numbers.keep(handle);
  assert.equal(table.uuids.text(n), uuid(7));
  assert.equal(numbers.handle(n), handle);
  assert.equal(numbers.of(handle), n);
  assert.equal(numbers.ofId(uuid(7)), n);
  assert.deepEqual([numbers.keep(0), numbers.of(0), numbers.handle(0)], [0, 0, 0]);
});

test('what is kept survives a reclaim, what was only asked for does not', () => {
  const { table, view, numbers } = bench();
  const kept = numbers.keep(view.handle(uuid(7)));
  const asked = numbers.of(view.handle(uuid(8)));
  table.uuids.reclaim();
  assert.ok(table.uuids.has(kept));
  assert.ok(!table.uuids.has(asked));
});

test('what is kept can be released: the table does not fill with devices that have gone', () => {
  const { table, view, numbers } = bench(8);
  for (let n = 0; n < 100; n++) {
    const handle = view.handle(uuid(100 + n));
    const number = numbers.keep(handle);
    assert.equal(table.uuids.text(number), uuid(100 + n));
    assert.equal(numbers.keep(handle), number, 'kept');
    if (table.uuids.size < 6) continue;
    numbers.release();
    table.uuids.reclaim();
    assert.equal(table.uuids.size, 1, 'this host');
  }
});

test('a full table gives 0, and is asked again when there is room', () => {
  const { table, view, numbers } = bench(3);
  assert.ok(numbers.keep(view.handle(uuid(7))) > 0);
  assert.ok(numbers.of(view.handle(uuid(8))) > 0);
  const handle = view.handle(uuid(9));
  assert.equal(numbers.keep(handle), 0);
  table.uuids.reclaim();
  const n = numbers.keep(handle);
  assert.equal(table.uuids.text(n), uuid(9));
});

test('handles beyond the first thousand are kept too', () => {
  const { table, view, numbers } = bench(2048);
  for (let n = 0; n < 1500; n++) view.handle(uuid(1000 + n));
  const last = view.handle(uuid(2499));
  const n = numbers.keep(last);
  table.uuids.reclaim();
  assert.equal(numbers.keep(last), n);
  assert.equal(table.uuids.text(n), uuid(2499));
});
