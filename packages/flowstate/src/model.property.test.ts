import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '@weft/packet';
import fc from 'fast-check';
import { differingBuckets } from './digest.ts';
import { ConnectionRecord, FLAG_TOMBSTONE } from './record.ts';
import { type FlowStateTable, REFUSED_CONFLICT, REFUSED_EXISTS, REFUSED_FULL } from './table.ts';
import { address, newTable, recordOf, tuple, uuid } from './testing/fixtures.ts';
import { bitsAfter, timeoutClass, timeoutList } from './timeouts.ts';
import { KIND_CONNTRACK, KIND_SNAT, reverseTuple, TUPLE_WORDS } from './tuple.ts';
import { addressToWords } from './words.ts';

const TICK = 1000;

/** What a plain program would keep: the tuples as texts, in a Map of objects. */
interface Plain {
  forward: string;
  back: string;
  protocol: number;
  bits: number;
  lastSeen: number;
}

const operations = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ op: fc.constant('insert' as const), c: fc.nat(11), nat: fc.nat(7) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        op: fc.constant('touch' as const),
        c: fc.nat(11),
        back: fc.boolean(),
        flags: fc.constantFrom(0, TCP_SYN, TCP_ACK, TCP_FIN, TCP_RST),
      }),
    },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('remove' as const), c: fc.nat(11) }) },
    { weight: 3, arbitrary: fc.record({ op: fc.constant('time' as const), ms: fc.nat(90_000) }) },
  ),
  { maxLength: 80 },
);

test('records equal a plain model; never is half of one gone', () => {
  fc.assert(
    fc.property(operations, fc.constantFrom(4, 64), (steps, wheelSlots) => {
      const table = newTable({ capacity: 8, tick: TICK, wheelSlots });
      const timeouts = timeoutList();
      const model = new Map<string, Plain>();
      let now = 0;
      const forwardOf = (c: number) => tuple(table, KIND_SNAT, c % 2 ? 6 : 17, '10.0.0.1', 1000 + c, '1.1.1.1', 80);
      const backOf = (c: number, nat: number) =>
        tuple(table, KIND_SNAT, c % 2 ? 6 : 17, '1.1.1.1', 80, '2.2.2.2', 5000 + nat);
      for (const step of steps) {
        if (step.op === 'time') {
          now += step.ms;
          while (!table.expire(now, 3));
          for (const [key, plain] of model) {
            const due = plain.lastSeen + timeouts[timeoutClass(KIND_SNAT, plain.protocol, plain.bits, false)];
            if (Math.floor(due / TICK) < Math.floor(now / TICK)) model.delete(key);
          }
        } else {
          const forward = forwardOf(step.c);
          const key = forward.join();
          const match = table.find(forward, 0);
          assert.equal(match >= 0, model.has(key));
          if (step.op === 'insert') {
            const back = backOf(step.c, step.nat);
            const result = table.insert(recordOf(forward).setReturn(back, 0), now);
            const clash = [...model.values()].some((plain) => plain.back === back.join());
            const wanted = model.has(key)
              ? REFUSED_EXISTS
              : clash
                ? REFUSED_CONFLICT
                : model.size >= 8
                  ? REFUSED_FULL
                  : 0;
            assert.equal(Math.min(result, 0), wanted);
            if (result >= 0)
              model.set(key, {
                forward: key,
                back: back.join(),
                protocol: step.c % 2 ? 6 : 17,
                bits: 0,
                lastSeen: now,
              });
          } else if (match >= 0 && step.op === 'touch') {
            const plain = model.get(key)!;
            table.touch(match >>> 1, step.back, step.flags, now);
            plain.bits = bitsAfter(plain.bits, plain.protocol, step.back, step.flags);
            plain.lastSeen = now;
          } else if (match >= 0 && step.op === 'remove') {
            table.remove(match >>> 1);
            model.delete(key);
          }
        }
        assert.equal(table.size, model.size);
        // Every tuple that could be there is looked up: both of a record are, or neither.
        const there = new Set<string>();
        for (const plain of model.values()) {
          there.add(plain.forward);
          there.add(plain.back);
        }
        for (let c = 0; c < 12; c++) {
          const forward = forwardOf(c);
          assert.equal(table.find(forward, 0) >= 0, there.has(forward.join()));
        }
        for (let nat = 0; nat < 8; nat++) {
          for (const c of [0, 1]) {
            const back = backOf(c, nat);
            const match = table.find(back, 0);
            assert.equal(match >= 0, there.has(back.join()));
            if (match >= 0) {
              const forward = new ConnectionRecord().words;
              forward.set(table.read(match >>> 1, now, new ConnectionRecord()).words);
              assert.equal(model.get(forward.subarray(0, TUPLE_WORDS).join())?.back, back.join());
            }
          }
        }
      }
    }),
    { numRuns: 150 },
  );
});

/** An update as a peer may send it: what stands in it follows from connection and version, but for what is joined. */
const update = fc.record({
  c: fc.nat(3),
  owner: fc.integer({ min: 2, max: 4 }),
  epoch: fc.integer({ min: 1, max: 2 }),
  version: fc.integer({ min: 1, max: 3 }),
  bits: fc.constantFrom(0, 1, 2, 5, 8, 32),
  remaining: fc.integer({ min: 1, max: 400_000 }),
});

function fill(table: FlowStateTable, u: typeof update extends fc.Arbitrary<infer T> ? T : never): ConnectionRecord {
  const { c, owner, epoch, version } = u;
  const record = recordOf(tuple(table, KIND_SNAT, 6, '10.0.0.1', 1000 + c, '1.1.1.1', 80));
  const words = new Int32Array(4);
  addressToWords(address('2.2.2.2'), 0, words, 0);
  // Versions differ in port, token and whether they are a removal; some collide with those of other connections.
  record.translateSource(words, 0, 5000 + ((c + version + owner) % 3));
  record.token = 1 + ((version + c * owner) % 3);
  record.flags = (version + owner + c) % 4 === 0 ? FLAG_TOMBSTONE : 0;
  if (record.flags !== 0) record.token = 0;
  record.owner = table.uuids.intern(uuid(owner));
  return Object.assign(record, { epoch, version, bits: u.bits, remaining: u.remaining });
}

/** All that can be seen of a table, in an order of its own. */
function image(table: FlowStateTable): unknown {
  const records: unknown[] = [];
  const found: unknown[] = [];
  for (let at = table.nextRecord(0); at >= 0; at = table.nextRecord(at + 1)) {
    const r = table.read(at, 0, new ConnectionRecord());
    records.push(
      [
        r.words.join(),
        r.bits,
        r.flags & FLAG_TOMBSTONE,
        table.uuids.text(r.owner),
        r.epoch,
        r.version,
        r.remaining,
        table.isVisible(at),
      ].join('|'),
    );
  }
  for (let c = 0; c < 4; c++) {
    for (const words of [
      tuple(table, KIND_SNAT, 6, '10.0.0.1', 1000 + c, '1.1.1.1', 80),
      tuple(table, KIND_SNAT, 6, '1.1.1.1', 80, '2.2.2.2', 5000 + c),
    ]) {
      const match = table.find(words, 0);
      found.push(
        match < 0 ? 'none' : `${match & 1}:${table.read(match >>> 1, 0, new ConnectionRecord()).words.join()}`,
      );
    }
  }
  const digests = [2, 3, 4].map((n) => table.incoming.of(table.uuids.find(uuid(n))).join());
  return { records: records.sort(), found, digests };
}

test('updates in any order, repeated or not, lead to the same records, lookups and digests', () => {
  fc.assert(
    fc.property(
      fc
        .array(update, { maxLength: 12 })
        .chain((list) =>
          fc.tuple(fc.constant(list), fc.shuffledSubarray([...list, ...list], { minLength: list.length * 2 })),
        ),
      ([list, shuffled]) => {
        // The numbers of UUIDs are interned in one order, so that words can be compared.
        const tables = [list, shuffled].map((order) => {
          const table = newTable();
          for (let n = 2; n <= 4; n++) table.uuids.intern(uuid(n));
          for (const u of order) table.apply(fill(table, u), 0);
          return table;
        });
        assert.deepEqual(image(tables[1]), image(tables[0]));
      },
    ),
    { numRuns: 400 },
  );
});

test('two hosts agree in their digests exactly when they hold the same versions', () => {
  const one = newTable();
  const two = newTable({ self: uuid(2) });
  const peer = one.audiences.of([one.uuids.intern(uuid(2))]);
  const scratch = new ConnectionRecord();
  // Numbers of UUIDs differ between the hosts; the names of records do not.
  for (let n = 0; n < 5; n++) two.uuids.intern(uuid(1000 + n));
  const out = new Int32Array(2);
  const differ = () =>
    differingBuckets(one.outgoing.of(one.uuids.find(uuid(2))), two.incoming.of(two.uuids.find(uuid(1))), out);
  const send = (record: number) => {
    const words = one.read(record, 0, scratch);
    const copy = recordOf(tuple(two, KIND_CONNTRACK, 17, '10.0.0.1', words.words[1] >>> 16, '10.0.0.2', 53));
    Object.assign(copy, {
      owner: two.uuids.intern(uuid(1)),
      epoch: words.epoch,
      version: words.version,
      remaining: 1000,
      flags: words.flags,
    });
    two.apply(copy, 0);
  };
  const records = Array.from({ length: 20 }, (_, i) =>
    one.insert(recordOf(tuple(one, KIND_CONNTRACK, 17, '10.0.0.1', i, '10.0.0.2', 53)), 0, peer),
  );
  for (const record of records.slice(1)) send(record);
  assert.equal(differ(), true);
  send(records[0]);
  assert.equal(differ(), false);
  one.bury(records[3], 0, scratch);
  assert.equal(differ(), true);
  send(records[3]);
  assert.equal(differ(), false);
  one.remove(records[4]);
  assert.equal(differ(), true);
  const reply = new Int32Array(TUPLE_WORDS);
  reverseTuple(tuple(two, KIND_CONNTRACK, 17, '10.0.0.1', 4, '10.0.0.2', 53), 0, reply, 0);
  two.remove(two.find(reply, 0) >>> 1);
  assert.equal(differ(), false);
  assert.equal(one.outgoing.count(one.uuids.find(uuid(2))), 19);
  for (const record of records) if (record !== records[4]) one.remove(record);
  assert.equal(
    one.outgoing.of(one.uuids.find(uuid(2))).every((word) => word === 0),
    true,
  );
});
