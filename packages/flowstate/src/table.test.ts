import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '@weft/packet';
import { regionBytes } from './memory.ts';
import { ConnectionRecord, FLAG_NO_RETURN, FLAG_TOMBSTONE } from './record.ts';
import {
  APPLY_JOINED,
  APPLY_NEW,
  APPLY_NEWER,
  APPLY_SAME,
  DIR_FORWARD,
  DIR_RETURN,
  type FlowStateTable,
  GONE_EXPIRED,
  GONE_REPLACED,
  REFUSED_CONFLICT,
  REFUSED_EXISTS,
  REFUSED_FENCED,
  REFUSED_FULL,
  REFUSED_PORT_CAP,
  REFUSED_STALE,
  TOUCH_DUE,
  TOUCH_STATE,
} from './table.ts';
import { address, newTable, recordOf, SELF, tuple, uuid } from './testing/fixtures.ts';
import { DEFAULT_TIMEOUTS, SEEN_RST } from './timeouts.ts';
import { KIND_CONNTRACK, KIND_SNAT, KIND_STICKY, reverseTuple, TUPLE_WORDS } from './tuple.ts';
import { addressToWords } from './words.ts';

function reversed(words: Int32Array): Int32Array {
  const out = new Int32Array(TUPLE_WORDS);
  reverseTuple(words, 0, out, 0);
  return out;
}

/** 10.0.0.1:1000 → 1.1.1.1:80, leaving as 2.2.2.2:port with the token. */
function snat(table: FlowStateTable, port: number, token: number, client = '10.0.0.1'): ConnectionRecord {
  const record = recordOf(tuple(table, KIND_SNAT, 6, client, 1000, '1.1.1.1', 80));
  const words = new Int32Array(4);
  addressToWords(address('2.2.2.2'), 0, words, 0);
  record.translateSource(words, 0, port);
  record.token = token;
  return record;
}

test('a record is found by both tuples and says which matched', () => {
  const table = newTable();
  const out = tuple(table, KIND_CONNTRACK, 6, '10.0.0.1', 1000, '10.0.0.2', 80);
  const record = table.insert(recordOf(out), 0);
  assert.ok(record >= 0);
  assert.equal(table.find(out, 0), (record << 1) | DIR_FORWARD);
  assert.equal(table.find(reversed(out), 0), (record << 1) | DIR_RETURN);
  const other = tuple(table, KIND_CONNTRACK, 6, '10.0.0.1', 1000, '10.0.0.2', 80, 101);
  assert.equal(table.find(other, 0), -1, 'another device');
  assert.equal(table.insert(recordOf(out), 0), REFUSED_EXISTS);
  assert.equal(table.insert(recordOf(reversed(out)), 0), REFUSED_CONFLICT);
  table.remove(record);
  assert.equal(table.find(out, 0), -1);
  assert.equal(table.find(reversed(out), 0), -1);
  assert.equal(table.size, 0);
});

test('the return tuple of a translation is that of answers to what left', () => {
  const table = newTable();
  const record = table.insert(snat(table, 5000, 3), 0);
  const answer = tuple(table, KIND_SNAT, 6, '1.1.1.1', 80, '2.2.2.2', 5000);
  assert.equal(table.find(answer, 0), (record << 1) | DIR_RETURN);
  assert.equal(table.find(tuple(table, KIND_SNAT, 6, '1.1.1.1', 80, '10.0.0.1', 1000), 0), -1);
  assert.equal(table.insert(snat(table, 5000, 3, '10.0.0.9'), 0), REFUSED_CONFLICT);
  assert.equal(table.last, record);
});

test('the identifier of an echo is translated in both ports', () => {
  const table = newTable();
  const echo = recordOf(tuple(table, KIND_SNAT, 1, '10.0.0.1', 77, '1.1.1.1', 77));
  const words = new Int32Array(4);
  addressToWords(address('2.2.2.2'), 0, words, 0);
  table.insert(echo.translateSource(words, 0, 4096), 0);
  assert.ok(table.find(tuple(table, KIND_SNAT, 1, '1.1.1.1', 4096, '2.2.2.2', 4096), 0) >= 0);
});

test('a connection of an address with itself has one tuple', () => {
  const table = newTable();
  const own = tuple(table, KIND_CONNTRACK, 17, '10.0.0.1', 5, '10.0.0.1', 5);
  const record = table.insert(recordOf(own), 0);
  assert.equal(table.find(own, 0), record << 1);
  table.remove(record);
  assert.equal(table.find(own, 0), -1);
});

test('an affinity has no return tuple', () => {
  const table = newTable();
  for (const vip of ['9.0.0.1', '9.0.0.2']) {
    const record = recordOf(tuple(table, KIND_STICKY, 6, '10.0.0.1', 0, vip, 80));
    const words = new Int32Array(4);
    addressToWords(address('10.9.9.9'), 0, words, 0);
    record.translateDestination(words, 0, 8080);
    record.flags = FLAG_NO_RETURN;
    assert.ok(table.insert(record, 0) >= 0);
  }
  assert.equal(table.find(tuple(table, KIND_STICKY, 6, '10.9.9.9', 8080, '10.0.0.1', 0), 0), -1);
});

test('full tables and full ports say so, and nothing changes', () => {
  const table = newTable({ capacity: 4, portCap: 2 });
  const port = table.uuids.intern(uuid(50));
  const make = (i: number, ingress: number) => {
    const record = recordOf(tuple(table, KIND_CONNTRACK, 17, '10.0.0.1', i, '10.0.0.2', 53));
    record.ingress = ingress;
    return table.insert(record, 0);
  };
  const first = make(1, port);
  assert.ok(first >= 0 && make(2, port) >= 0);
  assert.deepEqual([table.hasRoom(port, 1), table.hasRoom(0, 2), table.hasRoom(0, 3)], [false, true, false]);
  assert.equal(make(3, port), REFUSED_PORT_CAP);
  assert.equal(table.portRecords(port), 2);
  assert.ok(make(4, 0) >= 0 && make(5, 0) >= 0);
  assert.equal(make(6, 0), REFUSED_FULL);
  table.remove(first);
  assert.equal(table.portRecords(port), 1);
  assert.deepEqual([table.hasRoom(port, 1), table.hasRoom(port, 2)], [true, false]);
  assert.ok(make(7, port) >= 0);
});

test('TCP state: handshake, FIN of both sides, RST; each shortens or lengthens the idle time', () => {
  const table = newTable();
  const record = table.insert(recordOf(tuple(table, KIND_CONNTRACK, 6, '10.0.0.1', 1, '10.0.0.2', 80)), 0);
  assert.equal(table.touch(record, false, TCP_SYN, 0), TOUCH_STATE);
  assert.equal(table.expiry(record), DEFAULT_TIMEOUTS.tcpOpening);
  assert.equal(table.touch(record, true, TCP_SYN | TCP_ACK, 10), TOUCH_STATE);
  assert.equal(table.expiry(record), 10 + DEFAULT_TIMEOUTS.tcpOpening);
  assert.equal(table.touch(record, false, TCP_ACK, 20), TOUCH_STATE);
  assert.equal(table.expiry(record), 20 + DEFAULT_TIMEOUTS.tcpEstablished);
  assert.equal(table.touch(record, true, TCP_ACK, 30), 0);
  assert.equal(table.touch(record, true, TCP_ACK, 3_000_000), TOUCH_DUE);
  table.markTold(record, 3_000_000);
  assert.equal(table.touch(record, true, TCP_ACK, 3_000_001), 0);
  table.touch(record, false, TCP_FIN | TCP_ACK, 3_000_002);
  assert.equal(table.expiry(record), 3_000_002 + DEFAULT_TIMEOUTS.tcpClosing);
  table.touch(record, true, TCP_FIN | TCP_ACK, 3_000_003);
  assert.equal(table.expiry(record), 3_000_003 + DEFAULT_TIMEOUTS.tcpClosed);
  table.touch(record, true, TCP_RST, 3_000_004);
  assert.equal(table.expiry(record), 3_000_004 + DEFAULT_TIMEOUTS.tcpReset);
  // A record in the bucket of an established connection is due by its shorter time.
  table.expire(3_000_004 + DEFAULT_TIMEOUTS.tcpReset + 1000, 1000);
  assert.equal(table.size, 0);
});

test('a removal is remembered, passed over, and newer than what it removed', () => {
  const table = newTable();
  const out = tuple(table, KIND_CONNTRACK, 6, '10.0.0.1', 1000, '10.0.0.2', 80);
  const scratch = new ConnectionRecord();
  const record = table.insert(recordOf(out), 0);
  const before = table.read(record, 0, new ConnectionRecord());
  const gone: number[] = [];
  table.onGone = (_record, reason) => gone.push(reason);
  table.bury(record, 0, scratch);
  assert.deepEqual(gone, [GONE_REPLACED]);
  assert.equal(table.find(out, 0), -1);
  assert.equal(table.tombstones, 1);
  assert.equal(table.apply(before, 0), REFUSED_STALE);
  const again = table.insert(recordOf(out), 5);
  assert.equal(again, record);
  assert.equal(table.tombstones, 0);
  assert.equal(table.read(again, 5, scratch).version, 3);
});

test('what would be refused because another connection has one of its tuples can be told before', () => {
  const table = newTable();
  const out = tuple(table, KIND_CONNTRACK, 6, '10.0.0.1', 1000, '10.0.0.2', 80);
  const answer = tuple(table, KIND_CONNTRACK, 6, '10.0.0.2', 80, '10.0.0.1', 1000);
  const other = tuple(table, KIND_CONNTRACK, 6, '10.0.0.9', 1000, '10.0.0.2', 80);
  assert.equal(table.clashes(recordOf(out)), false);
  table.insert(recordOf(out), 0);
  for (const [record, clashes] of [
    [recordOf(out), true],
    [recordOf(answer), true],
    [recordOf(other), false],
    [recordOf(other).setReturn(answer, 0), true],
  ] as const) {
    assert.equal(table.clashes(record), clashes);
    assert.equal(table.insert(record, 0) < 0, clashes);
  }
  table.bury(0, 0, new ConnectionRecord());
  assert.equal(table.clashes(recordOf(out)), false, 'a removal is in nobody’s way');
});

test('what a peer says: newer wins, the same joins, older is refused', () => {
  const table = newTable();
  const out = tuple(table, KIND_CONNTRACK, 17, '10.0.0.1', 1000, '10.0.0.2', 80);
  const from = (version: number, bits: number, remaining: number) => {
    const record = recordOf(out);
    record.owner = table.uuids.intern(uuid(2));
    record.epoch = 1;
    record.version = version;
    record.bits = bits;
    record.remaining = remaining;
    return record;
  };
  assert.equal(table.apply(from(1, 0, 10_000), 0), APPLY_NEW);
  assert.equal(table.expiry(table.last), 10_000);
  assert.equal(table.apply(from(1, 0, 10_000), 0), APPLY_SAME);
  assert.equal(table.apply(from(1, 1, 180_000), 0), APPLY_JOINED);
  assert.equal(table.expiry(table.last), 180_000);
  assert.equal(table.apply(from(2, 0, 9e9), 0), APPLY_NEWER);
  assert.equal(table.expiry(table.last), DEFAULT_TIMEOUTS.udpUnreplied, 'no longer than our own timeout');
  assert.equal(table.apply(from(1, 1, 180_000), 0), REFUSED_STALE);
  // This host sees its traffic go on, its owner is dead: it becomes the owner.
  const record = table.takeOver(table.last, 5, new ConnectionRecord());
  assert.equal(table.uuids.text(table.owner(record)), table.uuids.text(table.self));
  assert.equal(table.apply(from(3, 0, 1000), 5), REFUSED_STALE, 'its epoch is older than our incarnation');
});

test('an older token of a block is passed over, whenever the newer one came', () => {
  for (const newerFirst of [false, true]) {
    const table = newTable();
    const fenced: number[] = [];
    table.onFence = (block) => fenced.push(block);
    const old = snat(table, 5000, 3);
    const recent = snat(table, 5001, 4, '10.0.0.2');
    for (const record of [old, recent]) {
      record.owner = table.uuids.intern(uuid(2));
      record.epoch = 1;
      record.version = 1;
      record.remaining = 1000;
    }
    const results = (newerFirst ? [recent, old] : [old, recent]).map((record) => table.apply(record, 0));
    assert.deepEqual(results, newerFirst ? [APPLY_NEW, REFUSED_FENCED] : [APPLY_NEW, APPLY_NEW]);
    assert.equal(fenced.length, newerFirst ? 0 : 1, 'told when there are records to pass over');
    assert.equal(table.find(old.words, 0), -1);
    assert.ok(table.find(recent.words, 0) >= 0);
    assert.equal(table.insert(snat(table, 5002, 3, '10.0.0.3'), 0), REFUSED_FENCED);
  }
});

test('two connections with one tuple: every host finds the same one', () => {
  const found = [false, true].map((swap) => {
    const table = newTable();
    const updates = ['10.0.0.1', '10.0.0.2'].map((client) => {
      const record = snat(table, 5000, 0, client);
      record.owner = table.uuids.intern(uuid(client === '10.0.0.1' ? 2 : 3));
      record.epoch = 1;
      record.version = client === '10.0.0.1' ? 1 : 9;
      record.remaining = 1000;
      return record;
    });
    for (const record of swap ? updates.reverse() : updates) table.apply(record, 0);
    const match = table.find(tuple(table, KIND_SNAT, 6, '1.1.1.1', 80, '2.2.2.2', 5000), 0);
    assert.equal(match & 1, DIR_RETURN);
    const loser = tuple(table, KIND_SNAT, 6, '10.0.0.2', 1000, '1.1.1.1', 80);
    assert.ok(table.find(loser, 0) >= 0, 'both are there');
    return table.read(match >>> 1, 0, new ConnectionRecord()).words.join();
  });
  assert.equal(found[0], found[1]);
});

test('records outlive their table in its memory; damaged and foreign ones do not', () => {
  const options = { capacity: 16, uuids: 64, blocks: 8 };
  const region = new ArrayBuffer(regionBytes(options));
  const clock = uuid(99);
  const before = newTable({ ...options, region, clock });
  const kept = before.insert(snat(before, 5000, 3), 0);
  const hurt = before.insert(snat(before, 5001, 3, '10.0.0.2'), 0);
  const removed = before.insert(snat(before, 5002, 3, '10.0.0.3'), 0);
  before.remove(removed);
  const image = before.read(kept, 0, new ConnectionRecord());
  before.words[hurt * 32 + 5] ^= 1;
  const after = newTable({ ...options, region, clock, now: 2000, incarnation: 8, seed: [1, 2] });
  assert.deepEqual(after.adoption, { adopted: 1, expired: 0, damaged: 1 });
  const match = after.find(tuple(after, KIND_SNAT, 6, '1.1.1.1', 80, '2.2.2.2', 5000), 0);
  assert.equal(match, (kept << 1) | DIR_RETURN);
  const read = after.read(match >>> 1, 2000, new ConnectionRecord());
  assert.deepEqual(read, Object.assign(image, { remaining: image.remaining - 2000, age: 2000 }));
  assert.equal(after.uuids.text(read.owner), '11111111-1111-1111-1111-111100000001');
  const block = after.blocks.find(read.device, read.words, 15, Math.floor(5000 / 64));
  assert.equal(after.blocks.token(block), 3);
  assert.equal(after.blocks.liveRecords(block), 1);
  const late = newTable({ ...options, region, clock, now: 9e6 });
  assert.equal(late.adoption.expired, 1);
  assert.equal(newTable({ ...options, region, clock: uuid(98) }).adoption.adopted, 0);
  assert.equal(newTable({ ...options, region, clock, self: uuid(SELF + 1) }).size, 0);
});

test('expiry is told, and in bounded steps', () => {
  const table = newTable();
  const reasons: number[] = [];
  table.onGone = (_record, reason) => reasons.push(reason);
  for (let i = 0; i < 50; i++)
    table.insert(recordOf(tuple(table, KIND_CONNTRACK, 17, '10.0.0.1', i, '10.0.0.2', 53)), 0);
  assert.equal(table.expire(DEFAULT_TIMEOUTS.udpUnreplied, 1000), true);
  assert.equal(table.size, 50, 'its tick is not over');
  assert.equal(table.expire(DEFAULT_TIMEOUTS.udpUnreplied + 1000, 20), false);
  assert.equal(table.size, 30);
  assert.equal(table.expire(DEFAULT_TIMEOUTS.udpUnreplied + 1000, 1000), true);
  assert.equal(table.size, 0);
  assert.deepEqual(new Set(reasons), new Set([GONE_EXPIRED]));
  assert.equal(reasons.length, 50);
});

test('a tombstone that comes from a peer is remembered though nothing was known', () => {
  const table = newTable({ tombstones: 1 });
  const make = (port: number, version: number, flags: number) => {
    const record = recordOf(tuple(table, KIND_CONNTRACK, 6, '10.0.0.1', port, '10.0.0.2', 80));
    Object.assign(record, { owner: table.uuids.intern(uuid(2)), epoch: 1, version, flags, remaining: 1000 });
    return record;
  };
  assert.equal(table.apply(make(1, 2, FLAG_TOMBSTONE), 0), APPLY_NEW);
  assert.equal(table.apply(make(1, 1, 0), 0), REFUSED_STALE);
  assert.equal(table.apply(make(2, 2, FLAG_TOMBSTONE), 0), REFUSED_FULL);
});

test('a record that was put off for hours goes soon after its RST, seen here or by a peer', () => {
  for (const fromPeer of [false, true]) {
    const table = newTable();
    const out = tuple(table, KIND_CONNTRACK, 6, '10.0.0.1', 1, '10.0.0.2', 80);
    const record = table.insert(recordOf(out), 0);
    table.touch(record, true, TCP_ACK, 0);
    assert.equal(table.expiry(record), DEFAULT_TIMEOUTS.tcpEstablished);
    // Its first bucket comes up, and it is moved far ahead.
    table.expire(200_000, 1000);
    assert.equal(table.size, 1);
    if (fromPeer) {
      const news = table.read(record, 0, new ConnectionRecord());
      news.bits |= SEEN_RST;
      news.remaining = DEFAULT_TIMEOUTS.tcpReset;
      assert.equal(table.apply(news, 200_000), APPLY_JOINED);
    } else table.touch(record, true, TCP_RST, 200_000);
    table.expire(200_000 + DEFAULT_TIMEOUTS.tcpReset + 1000, 1000);
    assert.equal(table.size, 0);
  }
});

test('nothing is left behind when all records are gone', () => {
  const table = newTable({ capacity: 16 });
  const peer = table.uuids.intern(uuid(60));
  const audience = table.audiences.of([peer]);
  for (let round = 0; round < 200; round++) {
    const record = snat(table, 5000 + (round % 50), 3, `10.0.${round}.1`);
    const at = table.insert(record, round, audience);
    if (round % 3 === 0) table.bury(at, round, new ConnectionRecord());
    if (round % 5 === 0) table.setAudience(at, 0);
    if (table.size === 16) for (let r = table.nextRecord(0); r >= 0; r = table.nextRecord(r + 1)) table.remove(r);
  }
  for (let r = table.nextRecord(0); r >= 0; r = table.nextRecord(r + 1)) table.remove(r);
  const { index } = table as unknown as { index: { pairs: Int32Array } };
  assert.ok(index.pairs.every((word) => word === 0));
  assert.equal(table.outgoing.count(peer), 0);
  assert.ok(table.outgoing.of(peer).every((word) => word === 0));
  assert.deepEqual([table.size, table.tombstones], [0, 0]);
  assert.equal(table.audiences.reclaim(), 1);
  assert.equal(table.blocks.size, 1);
  // Host and device (its block's token is remembered) stay; the peer goes.
  assert.equal(table.uuids.reclaim(), 1);
  assert.equal(table.uuids.size, 2);
});

test('names of hosts and devices: full, given back, found again', () => {
  const { uuids } = newTable({ uuids: 4 });
  const numbers = [10, 11, 12].map((n) => uuids.intern(uuid(n)));
  assert.equal(new Set(numbers).size, 3);
  assert.equal(uuids.intern(uuid(13)), 0);
  assert.equal(uuids.intern(new Uint8Array(16)), 0);
  uuids.retain(numbers[1]);
  assert.equal(uuids.reclaim(), 2);
  assert.equal(uuids.find(uuid(10)), 0);
  assert.equal(uuids.find(uuid(11)), numbers[1]);
  assert.ok(uuids.intern(uuid(13)) > 0);
  const back = new Uint8Array(16);
  uuids.write(numbers[1], back);
  assert.deepEqual(back, uuid(11));
});

test('settings out of range, and too little memory, are refused by name', () => {
  assert.throws(() => newTable({ capacity: 0 }), { code: 'WEFT_FLOWSTATE_CONFIG', message: /capacity/ });
  assert.throws(() => newTable({ incarnation: 0 }), { code: 'WEFT_FLOWSTATE_CONFIG', message: /incarnation/ });
  assert.throws(() => newTable({ timeouts: { icmp: 0 } }), { code: 'WEFT_FLOWSTATE_CONFIG', message: /icmp/ });
  assert.throws(() => newTable({ self: new Uint8Array(16) }), { code: 'WEFT_FLOWSTATE_CONFIG' });
  assert.throws(() => newTable({ region: new ArrayBuffer(4096) }), { code: 'WEFT_FLOWSTATE_REGION' });
});

test('when a record was last seen can be asked', () => {
  const table = newTable();
  const record = table.insert(recordOf(tuple(table, KIND_CONNTRACK, 6, '10.0.0.1', 1000, '10.0.0.2', 80)), 5_000);
  assert.equal(table.lastSeen(record), 5_000);
  table.touch(record, false, 0, 7_000);
  assert.equal(table.lastSeen(record), 7_000);
  assert.equal(table.expiry(record), 7_000 + DEFAULT_TIMEOUTS.tcpOpening);
});
