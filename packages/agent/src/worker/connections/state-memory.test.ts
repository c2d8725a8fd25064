/** The memory of connections as a file: what the next process finds, and what it does not believe. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ConnectionRecord, KIND_CONNTRACK, setTuple, TUPLE_WORDS, tupleMeta } from '@weft/flowstate';
import { ipOf } from '@weft/packet';
import { uuid } from '@weft/simulator/testing';
import { uuidBytes } from './numbers.ts';
import { openStateTable, type StateMemoryOptions } from './state-memory.ts';

const directory = mkdtempSync(join(tmpdir(), 'weft-state-'));
after(() => rmSync(directory, { recursive: true }));

let files = 0;
function options(more: Partial<StateMemoryOptions> = {}): StateMemoryOptions {
  return {
    file: join(directory, `connections-${files++}`),
    hostId: uuid(1),
    incarnation: 1,
    capacity: 64,
    portCap: 8,
    timeouts: {},
    now: 1_000,
    seed: [1, 2],
    ...more,
  };
}

/** Enters connection `n`. */
function connect(table: ReturnType<typeof openStateTable>['table'], n: number): number {
  const words = new Int32Array(TUPLE_WORDS);
  const device = table.uuids.intern(uuidBytes(uuid(50)));
  setTuple(words, 0, tupleMeta(KIND_CONNTRACK, device, 17), ipOf('10.0.0.1'), 0, ipOf('10.0.0.2'), 0, n, 53);
  const record = new ConnectionRecord().begin(words, 0);
  record.ingress = table.uuids.intern(uuidBytes(uuid(51)));
  return table.insert(record, 1_000);
}

test('the next process has the connections of the one before, also of one that was killed', () => {
  const shape = options();
  const first = openStateTable(shape);
  for (let n = 0; n < 5; n++) assert.ok(connect(first.table, n) >= 0);
  assert.equal(statSync(shape.file).mode & 0o777, 0o600);
  // Not closed: a process that is killed does not.
  const second = openStateTable({ ...shape, incarnation: 2, now: 2_000 });
  assert.deepEqual(second.table.adoption, { adopted: 5, expired: 0, damaged: 0 });
  assert.equal(connect(second.table, 3), -3, 'it is there already');
  second.close();
  first.close();
});

test('what has expired meanwhile is not taken over', () => {
  const shape = options();
  const first = openStateTable(shape);
  connect(first.table, 1);
  first.close();
  const second = openStateTable({ ...shape, now: 40_000 });
  assert.deepEqual(second.table.adoption, { adopted: 0, expired: 1, damaged: 0 });
  second.close();
});

test('another host, another size or a cut file begin with nothing', () => {
  for (const [what, change] of [
    ['another host', { hostId: uuid(2) }],
    ['more room', { capacity: 128 }],
    ['a cut file', {}],
  ] as const) {
    const shape = options();
    const first = openStateTable(shape);
    connect(first.table, 1);
    first.close();
    if (what === 'a cut file') truncateSync(shape.file, 100);
    const second = openStateTable({ ...shape, ...change });
    assert.equal(second.table.size, 0, what);
    assert.ok(connect(second.table, 2) >= 0);
    second.close();
  }
});

test('ports and times are bounded as told', () => {
  const { table, close } = openStateTable(options({ timeouts: { udpUnreplied: 5_000 } }));
  for (let n = 0; n < 8; n++) assert.ok(connect(table, n) >= 0);
  assert.equal(connect(table, 8), -2);
  assert.equal(table.expiry(0), 6_000);
  close();
});
