/** Pools of ports for source NAT: when they ask, what a packet waits for, which blocks go back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BLOCK_PORTS,
  ConnectionRecord,
  FlowStateTable,
  KIND_SNAT,
  NAT_CHOSEN,
  NAT_EXHAUSTED,
  NAT_NO_BLOCK,
  R_RETURN,
  RECORD_WORDS,
  setTuple,
  TUPLE_WORDS,
  tupleMeta,
} from '@weft/flowstate';
import { ipOf } from '@weft/packet';
import type { NatTarget } from '@weft/simulator';
import { uuid } from '@weft/simulator/testing';
import { type NatBlock, NatPools } from './nat-pools.ts';
import { uuidBytes } from './numbers.ts';

const DEVICE = uuid(0x100);
const IP = '203.0.113.1';
const POOL = `nat/${DEVICE}/${IP}`;

interface Asked {
  readonly pool: string;
  readonly first: number;
  readonly last: number;
  readonly count: number;
}

function target(ip: string, portFrom: number, portTo: number, to = ip): NatTarget {
  return { key: `${ip}-${to}:${portFrom}-${portTo}`, from: ipOf(ip), to: ipOf(to), portFrom, portTo };
}

/** Pools over a table, with what they asked for and told. */
class Bench {
  readonly table: FlowStateTable;
  readonly device: number;
  readonly asked: Asked[] = [];
  readonly released: NatBlock[][] = [];
  readonly woken: string[] = [];
  readonly events: string[] = [];
  /** Fields of the last event. */
  fields: Readonly<Record<string, unknown>> | undefined;
  readonly pools: NatPools;
  now = 1_000;
  private source = 0;

  constructor(region?: ArrayBuffer) {
    this.table = new FlowStateTable({
      self: uuidBytes(uuid(1)),
      incarnation: 1,
      capacity: 1024,
      uuids: 256,
      blocks: 64,
      now: this.now,
      seed: [1, 2],
      ...(region === undefined ? {} : { region, clock: new Uint8Array(16).fill(9) }),
    });
    this.pools = new NatPools({
      table: this.table,
      effects: {
        allocateBlocks: (pool, first, last, count) => this.asked.push({ pool, first, last, count }),
        releaseBlocks: (blocks) => this.released.push([...blocks]),
        log: (event, fields) => {
          this.events.push(event);
          this.fields = fields;
        },
      },
      wake: (need) => this.woken.push(need),
      now: this.now,
    });
    this.device = this.table.uuids.intern(uuidBytes(DEVICE));
  }

  /** A connection from a new source port; the chosen one is in use from now on. @returns port chosen, or NAT_… negative */
  connect(to: NatTarget, peer = '198.51.100.7'): number {
    const record = this.record(peer);
    const result = this.pools.choose(this.device, to, record);
    if (result !== NAT_CHOSEN) return -result;
    const at = this.table.insert(record, this.now);
    assert.ok(at >= 0);
    return this.table.words[at * RECORD_WORDS + R_RETURN] & 0xffff;
  }

  record(peer: string): ConnectionRecord {
    const words = new Int32Array(TUPLE_WORDS);
    const meta = tupleMeta(KIND_SNAT, this.device, 17);
    setTuple(words, 0, meta, ipOf('10.0.0.1'), 0, ipOf(peer), 0, ++this.source, 53);
    return new ConnectionRecord().begin(words, 0);
  }

  tick(ms = 1_000): void {
    this.now += ms;
    this.pools.tick(this.now);
  }
}

const block = (index: number, token = 1, pool = POOL): NatBlock => ({ pool, index, token });
const blockOf = (port: number): number => Math.floor(port / BLOCK_PORTS);

test('the first packet asks for the blocks of its range, once, and waits until they come', () => {
  const bench = new Bench();
  const range = target(IP, 1024, 2047);
  assert.equal(bench.connect(range), -NAT_NO_BLOCK);
  assert.equal(bench.connect(range), -NAT_NO_BLOCK);
  assert.deepEqual(bench.asked, [{ pool: POOL, first: 16, last: 31, count: 2 }]);
  assert.deepEqual(bench.woken, []);
  bench.pools.granted(POOL, [block(16), block(17)]);
  assert.deepEqual(bench.woken, [bench.pools.need(bench.device, range)]);
  const port = bench.connect(range);
  assert.ok(port >= 1024 && port < 1024 + 2 * BLOCK_PORTS, `${port}`);
  assert.equal(bench.pools.exhausted, 0);
});

test('more blocks are asked for before the last ports are gone, and more at a time while they go fast', () => {
  const bench = new Bench();
  const range = target(IP, 1024, 65_535);
  bench.connect(range);
  const counts: number[] = [];
  let next = 16;
  for (let i = 0; i < 1000; i++) {
    const asked = bench.asked.pop();
    if (asked !== undefined) {
      counts.push(asked.count);
      bench.pools.granted(
        POOL,
        Array.from({ length: asked.count }, () => block(next++)),
      );
    }
    assert.ok(bench.connect(range) > 0, 'no packet waits');
  }
  assert.deepEqual(counts.slice(0, 4), [2, 4, 8, 16]);
});

test('who takes ports fast asks while many are left: the answer may take its time', () => {
  const bench = new Bench();
  const range = target(IP, 1024, 65_535);
  bench.connect(range);
  let next = 16;
  const answer = (): number => {
    const asked = bench.asked.pop();
    if (asked === undefined) return 0;
    bench.pools.granted(
      POOL,
      Array.from({ length: asked.count }, () => block(next++)),
    );
    return asked.count;
  };
  while (answer() < 8) bench.connect(range);
  while (bench.asked.length === 0) bench.connect(range);
  for (let i = 0; i < 200; i++) assert.ok(bench.connect(range) > 0, `the ${i}th packet after the request waits`);
  assert.equal(bench.asked.length, 1);
});

test('as much is asked for as packets wait', () => {
  const bench = new Bench();
  const range = target(IP, 1024, 65_535);
  for (let i = 0; i < 10 * BLOCK_PORTS; i++) assert.equal(bench.connect(range), -NAT_NO_BLOCK);
  bench.pools.granted(POOL, [block(16), block(17)]);
  for (let i = 0; i < 2 * BLOCK_PORTS; i++) assert.ok(bench.connect(range) > 0);
  assert.deepEqual(
    bench.asked.map(({ count }) => count),
    [2, 10],
  );
});

test('the pace of the last request holds for some seconds, then it begins anew', () => {
  const bench = new Bench();
  const range = target(IP, 1024, 65_535);
  bench.connect(range);
  let next = 16;
  for (const pause of [0, 2_000, 20_000]) {
    const { count } = bench.asked.at(-1)!;
    bench.pools.granted(
      POOL,
      Array.from({ length: count }, () => block(next++)),
    );
    bench.now += pause;
    bench.pools.advance(bench.now);
    for (const { length } = bench.asked; bench.asked.length === length; ) assert.ok(bench.connect(range) > 0);
  }
  assert.deepEqual(
    bench.asked.map(({ count }) => count),
    [2, 4, 4, 2],
  );
});

test('while the state database is away packets wait for ports, and it is asked again every second', () => {
  const bench = new Bench();
  const range = target(IP, 1024, 2047);
  bench.connect(range);
  bench.pools.granted(POOL, null);
  for (let i = 2; i < 5; i++) {
    assert.equal(bench.connect(range), -NAT_NO_BLOCK, 'they may come yet');
    bench.tick();
    assert.equal(bench.asked.length, i);
    bench.pools.granted(POOL, null);
  }
  assert.deepEqual(bench.events, []);
  assert.equal(bench.pools.exhausted, 0);
});

test('a range that no block is left of is exhausted at once: nothing is waited for', () => {
  const bench = new Bench();
  const range = target(IP, 1024, 2047);
  bench.connect(range);
  bench.pools.granted(POOL, []);
  assert.deepEqual(bench.events, ['nat.low']);
  assert.equal(bench.fields?.addresses, '203.0.113.1 ports 1024-2047');
  assert.equal(bench.connect(range), -NAT_EXHAUSTED);
  assert.equal(bench.pools.exhausted, 1);
  bench.tick();
  assert.equal(bench.asked.length, 2, 'others may have given blocks back');
  assert.equal(bench.connect(range), -NAT_EXHAUSTED, 'also while it is asked again');
  bench.pools.granted(POOL, [block(16)]);
  assert.ok(bench.connect(range) > 0);
});

test('that no more blocks are to be had is told once, while ports are left; then they run out', () => {
  const bench = new Bench();
  const range = target(IP, 1024, 1024 + BLOCK_PORTS - 1);
  bench.connect(range);
  bench.pools.granted(POOL, [block(16)]);
  const ports = new Set<number>();
  while (bench.events.length === 0) {
    const port = bench.connect(range);
    assert.ok(port >= 1024 && !ports.has(port), `${port}`);
    ports.add(port);
    if (bench.asked.length > 1) bench.pools.granted(bench.asked.pop()!.pool, []);
  }
  assert.deepEqual(bench.events, ['nat.low']);
  assert.ok(bench.pools.idlePorts() > 10, 'before the last ports are gone');
  while (ports.size < BLOCK_PORTS) ports.add(bench.connect(range));
  assert.equal(bench.connect(range), -NAT_EXHAUSTED);
  assert.ok(bench.connect(range, '198.51.100.8') > 0, 'to another peer a port can be used twice');
  bench.tick();
  bench.pools.granted(POOL, []);
  assert.deepEqual(bench.events, ['nat.low'], 'once');
});

test('the addresses of a range are asked one after the other; only when all have refused it is exhausted', () => {
  const bench = new Bench();
  const range = target('203.0.113.1', 1024, 2047, '203.0.113.3');
  assert.equal(bench.connect(range), -NAT_NO_BLOCK);
  const refused = new Set<string>();
  for (let i = 0; i < 3; i++) {
    assert.equal(bench.connect(range), -NAT_NO_BLOCK);
    const { pool } = bench.asked.at(-1)!;
    refused.add(pool);
    bench.pools.granted(pool, []);
  }
  assert.equal(refused.size, 3);
  assert.equal(bench.connect(range), -NAT_EXHAUSTED);
  assert.deepEqual(bench.events, ['nat.low']);
});

test('of two ranges of one address each gets the answer to its own request', () => {
  const bench = new Bench();
  const low = target(IP, 1024, 2047);
  const high = target(IP, 50_048, 50_111);
  bench.connect(low);
  bench.connect(high);
  assert.deepEqual(
    bench.asked.map(({ first }) => first),
    [16, 782],
  );
  bench.pools.granted(POOL, []);
  assert.deepEqual(bench.woken, [bench.pools.need(bench.device, low)]);
  assert.equal(bench.connect(low), -NAT_EXHAUSTED);
  assert.equal(bench.connect(high), -NAT_NO_BLOCK, 'its own answer is on the way');
  bench.pools.granted(POOL, [block(782)]);
  assert.equal(blockOf(bench.connect(high)), 782);
  assert.equal(bench.connect(low), -NAT_EXHAUSTED, 'the block of the other range does not help');
});

test('ranges that share ports never give two connections the same', () => {
  const bench = new Bench();
  const one = target(IP, 1024, 1151);
  const other = target(IP, 1088, 1215);
  bench.pools.confirm([block(16), block(17), block(18)]);
  const ports = new Set<number>();
  for (let i = 0; i < 60; i++) {
    for (const range of [one, other]) {
      const port = bench.connect(range);
      assert.ok(port >= range.portFrom && port <= range.portTo && !ports.has(port), `${port}`);
      ports.add(port);
    }
  }
});

test('an unused block goes back after five minutes, one with connections does not', () => {
  const bench = new Bench();
  const range = target(IP, 1024, 2047);
  bench.pools.confirm([block(16), block(17), block(18)]);
  const used = blockOf(bench.connect(range));
  for (let i = 0; i < 29; i++) {
    bench.tick(10_000);
    assert.deepEqual(bench.released, []);
  }
  bench.tick(20_000);
  assert.deepEqual(
    bench.released.flat().map(({ index }) => index),
    [16, 17, 18].filter((i) => i !== used),
  );
  assert.deepEqual(bench.pools.list(), [block(used)]);
  for (let i = 0; i < 70; i++) {
    bench.tick(10_000);
    bench.table.touch(0, false, 0, bench.now);
  }
  assert.equal(bench.pools.blocks, 1);
  assert.equal(bench.released.length, 1);
});

test('a block with connections of an earlier process does not go back, though nothing is chosen from it', () => {
  const region = new ArrayBuffer(1 << 20);
  const before = new Bench(region);
  before.pools.confirm([block(16)]);
  assert.ok(before.connect(target(IP, 1024, 2047)) > 0);
  const after = new Bench(region);
  assert.equal(after.table.adoption.adopted, 1);
  after.pools.confirm([block(16), block(17)]);
  for (let i = 0; i < 40; i++) after.tick(10_000);
  assert.deepEqual(after.released, [[block(17)]]);
  assert.deepEqual(after.pools.list(), [block(16)]);
  after.table.remove(0);
  for (let i = 0; i < 40; i++) after.tick(10_000);
  assert.deepEqual(after.released.at(-1), [block(16)]);
});

test('what the state database says is held counts: other blocks are chosen from no more, their connections live on', () => {
  const bench = new Bench();
  const range = target(IP, 1024, 2047);
  bench.pools.confirm([block(16)]);
  const port = bench.connect(range);
  assert.equal(blockOf(port), 16);
  bench.pools.confirm([block(20)]);
  assert.deepEqual(bench.pools.list(), [block(20)]);
  for (let i = 0; i < BLOCK_PORTS; i++) assert.equal(blockOf(bench.connect(range)), 20);
  assert.equal(bench.table.size, BLOCK_PORTS + 1);
});

test('a block that was lost and given again has a new token, which new connections carry', () => {
  const bench = new Bench();
  const range = target(IP, 1024, 2047);
  bench.pools.confirm([block(16, 1)]);
  bench.connect(range);
  assert.equal(bench.table.isFenced(0), false);
  bench.pools.confirm([block(16, 5)]);
  assert.equal(bench.table.isFenced(0), true, 'somebody else may have had the port meanwhile');
  const record = bench.record('198.51.100.9');
  assert.equal(bench.pools.choose(bench.device, range, record), NAT_CHOSEN);
  assert.equal(record.token, 5);
  // Late news of the first holding are not believed.
  bench.pools.confirm([block(16, 1)]);
  assert.equal(bench.connect(range), -NAT_NO_BLOCK);
});

test('what is allocated for something else is neither held nor given back', () => {
  const bench = new Bench();
  const others = ['vni/7', `nat/${DEVICE}`, `nat/${DEVICE}/1.2`, `nat/nobody/${IP}`, `nat/${DEVICE}/${IP}/x`];
  bench.pools.confirm(others.map((pool) => block(1, 1, pool)));
  assert.equal(bench.pools.blocks, 0);
  for (let i = 0; i < 40; i++) bench.tick(10_000);
  assert.deepEqual(bench.released, []);
});

test('after a long sleep no port is chosen until the state database has said what is held', () => {
  const bench = new Bench();
  const range = target(IP, 1024, 2047);
  bench.pools.confirm([block(16)]);
  bench.connect(range);
  bench.pools.forgetHeld();
  assert.equal(bench.connect(range), -NAT_NO_BLOCK);
  bench.pools.confirm([block(16)]);
  assert.ok(bench.connect(range) > 0);
});
