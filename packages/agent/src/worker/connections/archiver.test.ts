import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ArchiveEntry,
  archiveEntries,
  ConnectionRecord,
  FlowStateTable,
  KIND_CONNTRACK,
  setTuple,
  TUPLE_WORDS,
  tupleMeta,
} from '@weft/flowstate';
import { ipOf } from '@weft/packet';
import { uuid } from '@weft/simulator/testing';
import { Archiver } from './archiver.ts';
import { uuidBytes } from './numbers.ts';

const PORT = uuidBytes(uuid(0x10));
const OTHER_PORT = uuidBytes(uuid(0x11));
const PEER = uuidBytes(uuid(0x20));

class Bench {
  readonly table = new FlowStateTable({
    self: uuidBytes(uuid(0x1)),
    incarnation: 7,
    capacity: 2_048,
    now: 0,
    seed: [1, 2],
  });
  readonly batches: ArchiveEntry[][] = [];
  isSlow = false;
  readonly archiver = new Archiver({
    table: this.table,
    isHere: (port) => port === this.table.uuids.find(PORT),
    hand: (entries) => {
      if (!this.isSlow) this.batches.push([...archiveEntries(entries)]);
      return !this.isSlow;
    },
  });

  record(n: number, ingress: Uint8Array = PORT): ConnectionRecord {
    const words = new Int32Array(TUPLE_WORDS);
    const { uuids } = this.table;
    const meta = tupleMeta(KIND_CONNTRACK, uuids.intern(uuidBytes(uuid(0x99))), 17);
    setTuple(words, 0, meta, ipOf('10.0.0.1'), 0, ipOf('10.0.0.2'), 0, n, 53);
    const record = new ConnectionRecord().begin(words, 0);
    record.ingress = uuids.intern(ingress);
    return record;
  }

  begin(n: number): number {
    const at = this.table.insert(this.record(n), 0);
    assert.ok(at >= 0);
    this.archiver.changed(at);
    return at;
  }

  /** A peer tells of its connection. */
  hear(n: number, ingress: Uint8Array): void {
    const record = this.record(n, ingress);
    Object.assign(record, { owner: this.table.uuids.intern(PEER), epoch: 3, version: 1, remaining: 10_000 });
    assert.ok(this.table.apply(record, 0) > 0);
    this.archiver.changed(this.table.last);
  }

  ticks(n: number): void {
    for (let i = 0; i < n; i++) this.archiver.tick(0);
  }

  get sizes(): number[] {
    return this.batches.map((batch) => batch.length);
  }
}

test('a tick hands over a bounded number, and in time everything, once', () => {
  const bench = new Bench();
  for (let n = 0; n < 1_200; n++) bench.begin(n);
  for (let i = 0; i < 3; i++) bench.archiver.changed(5);
  bench.ticks(10);
  assert.deepEqual(bench.sizes, [512, 512, 176]);
  assert.equal(new Set(bench.batches.flat().map(({ name }) => Buffer.from(name).toString('hex'))).size, 1_200);
  assert.equal(bench.archiver.waiting, 0);
});

test('what is not taken waits, and goes as it is then', () => {
  const bench = new Bench();
  bench.isSlow = true;
  const at = bench.begin(1);
  bench.ticks(3);
  assert.equal(bench.archiver.waiting, 1);
  bench.table.bury(at, 0, new ConnectionRecord());
  bench.archiver.changed(at);
  bench.isSlow = false;
  bench.ticks(1);
  assert.deepEqual(
    bench.batches.flat().map(({ removal, version }) => [removal, version]),
    [[true, 2]],
  );
});

test("of others' connections those of this host's own ports are kept", () => {
  const bench = new Bench();
  bench.hear(1, PORT);
  bench.hear(2, OTHER_PORT);
  bench.ticks(1);
  assert.deepEqual(
    bench.batches.flat().map(({ ingress }) => Buffer.from(ingress)),
    [Buffer.from(PORT)],
  );
});

test('what is gone before its turn is passed over', () => {
  const bench = new Bench();
  bench.table.remove(bench.begin(1));
  bench.begin(2);
  bench.ticks(2);
  assert.deepEqual(bench.sizes, [1]);
});

test('what a process has inherited goes once more', () => {
  const bench = new Bench();
  for (let n = 0; n < 600; n++) assert.ok(bench.table.insert(bench.record(n), 0) >= 0);
  const batches: number[] = [];
  const archiver = new Archiver({
    table: bench.table,
    isHere: () => true,
    hand: (entries) => batches.push([...archiveEntries(entries)].length) > 0,
  });
  for (let i = 0; i < 5; i++) archiver.tick(0);
  assert.equal(
    batches.reduce((sum, n) => sum + n, 0),
    600,
  );
});
