import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TCP_ACK } from '@weft/packet';
import fc from 'fast-check';
import { newHostKeys } from '../peer-keys.ts';
import { ConnectionRecord, FLAG_ASIDE } from '../record.ts';
import { APPLY_JOINED, APPLY_NEW, APPLY_NEWER } from '../table.ts';
import { newTable, recordOf, tuple, uuid } from '../testing/fixtures.ts';
import { describe, type Host, Network } from '../testing/network.ts';
import { SEEN_REPLY } from '../timeouts.ts';
import { KIND_CONNTRACK, KIND_SNAT } from '../tuple.ts';
import {
  HEADER_SIZE,
  MSG_ANSWER,
  MSG_ASK,
  MSG_DIGEST,
  MSG_HELLO,
  MSG_LIST,
  MSG_LIST_REQUEST,
  MSG_RESEND,
  MSG_STATE,
  MSG_SYNC_DATA,
  MSG_SYNC_END,
  MSG_SYNC_REQUEST,
  MSG_WANT,
  WIRE_OTHER_VERSION,
  WIRE_TRUNCATED,
} from '../wire/header.ts';
import { RecordWriter } from '../wire/records.ts';
import {
  Exchange,
  MAX_ASKS,
  RECEIVE_AUTHENTICATION,
  RECEIVE_OTHER_LIFE,
  RECEIVE_PAST_LIFE,
  RECEIVE_REPLAY,
  RECEIVE_UNKNOWN_SENDER,
  refusalReason,
} from './index.ts';

const scratch = new ConnectionRecord();

/** Tuple of connection `c`, tracked on device 100. */
function forward(host: Host, c: number): Int32Array {
  return tuple(host.table, KIND_CONNTRACK, 17, '10.0.0.1', c, '10.0.0.2', 53);
}

/** Makes connection `c` on a host for an audience, and publishes it. */
function make(host: Host, c: number, audience: readonly number[], now: number): number {
  const at = host.table.insert(recordOf(forward(host, c)), now, host.audience(audience));
  assert.ok(at >= 0);
  host.exchange.publish(at);
  return at;
}

function holds(host: Host, c: number): boolean {
  return host.table.find(forward(host, c), 0) >= 0;
}

function place(host: Host, c: number): number {
  return host.table.locate(forward(host, c), 0);
}

/** A network whose hosts know each other, with nothing recorded. */
function acquainted(hosts: number, options: ConstructorParameters<typeof Network>[1] = {}): Network {
  const network = new Network(hosts, options);
  network.run(200);
  for (const host of network.hosts) {
    for (const status of host.exchange.peers()) {
      assert.equal(status.acquainted, true);
      assert.equal(status.synchronising, false);
    }
  }
  network.recorded.length = 0;
  return network;
}

function recordsTo(network: Network, id: number): number {
  return network.recorded
    .filter(({ to, bytes }) => to === id && [MSG_STATE, MSG_SYNC_DATA, MSG_ANSWER].includes(bytes[3]))
    .reduce((sum, { bytes }) => sum + describe(bytes).count, 0);
}

test('a record goes to its audience in one datagram with the next flush, and to nobody else', () => {
  const network = acquainted(4);
  const [a, b, c] = network.hosts;
  const at = make(a, 1, [1, 2, 3], network.now);
  a.exchange.publish(at);
  assert.equal(network.recorded.length, 0, 'not before the flush');
  a.exchange.flush(network.now);
  assert.deepEqual(
    network.recorded.map(({ to, bytes }) => [to, bytes[3], describe(bytes).count]),
    [
      [2, MSG_STATE, 1],
      [3, MSG_STATE, 1],
    ],
  );
  network.deliver();
  assert.deepEqual(
    network.hosts.map((host) => holds(host, 1)),
    [true, true, true, false],
  );
  assert.deepEqual([b.applied, c.applied], [[APPLY_NEW], [APPLY_NEW]]);
  a.exchange.flush(network.now);
  assert.equal(network.recorded.length, 2, 'nothing is sent twice');
  network.run(20_000);
  assert.equal(recordsTo(network, 4), 0);
  assert.equal(network.host(4).table.size, 0);
  assert.equal(b.applied.length, 1);
});

test('many records share datagrams; a removal is told like a change', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  for (let c = 0; c < 200; c++) make(a, c, [1, 2], network.now);
  a.exchange.flush(network.now);
  assert.ok(network.recorded.length < 12, `${network.recorded.length} datagrams`);
  network.deliver();
  assert.equal(b.table.size, 200);
  a.table.bury(place(a, 7), network.now, scratch);
  a.exchange.publish(place(a, 7));
  a.exchange.flush(network.now);
  network.deliver();
  assert.equal(holds(b, 7), false);
  assert.equal(b.table.size, 200);
  assert.equal(b.applied.at(-1), APPLY_NEWER);
});

test('a lost datagram is sent again when the next shows the gap; the last one, soon after', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  network.drop = ({ bytes }) => bytes[3] === MSG_STATE;
  make(a, 1, [2], network.now);
  a.exchange.flush(network.now);
  network.drop = undefined;
  make(a, 2, [2], network.now);
  a.exchange.flush(network.now);
  network.deliver();
  assert.deepEqual([holds(b, 1), holds(b, 2)], [false, true]);
  network.run(50);
  assert.equal(holds(b, 1), true);
  assert.equal(network.of(MSG_RESEND, 2, 1).length, 1);

  network.drop = ({ bytes }) => bytes[3] === MSG_STATE;
  make(a, 3, [2], network.now);
  a.exchange.flush(network.now);
  network.drop = undefined;
  network.run(200);
  assert.equal(holds(b, 3), true);
  assert.equal(b.exchange.counters.syncsAsked, 1, 'the one when they met');
});

test('what comes late is not asked for; a lost answer is asked for again; a resend brings records as they are now', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  const held: Uint8Array[] = [];
  network.drop = ({ bytes }) => bytes[3] === MSG_STATE && held.push(bytes) === 1;
  make(a, 1, [2], network.now);
  a.exchange.flush(network.now);
  make(a, 2, [2], network.now);
  a.exchange.flush(network.now);
  network.deliver();
  network.run(10);
  b.exchange.receive(held[0], held[0].length, network.now);
  network.run(300);
  assert.equal(network.of(MSG_RESEND, 2, 1).length, 0);
  assert.equal(holds(b, 1), true);

  let answers = 0;
  network.drop = ({ bytes }) => bytes[3] === MSG_STATE && answers++ < 3;
  make(a, 3, [2], network.now);
  a.exchange.flush(network.now);
  a.table.bury(place(a, 3), network.now, scratch);
  network.run(600);
  assert.equal(answers >= 4, true);
  assert.equal(holds(b, 3), false);
  assert.notEqual(place(b, 3), -1, 'the removal came, though it was never published');
});

test('a resend names no gap that is young, sends no record twice, and none to a host that is not to have it any more', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  const at = make(a, 1, [2], network.now);
  const gone = make(a, 2, [2], network.now);
  network.drop = ({ bytes }) => bytes[3] === MSG_STATE;
  for (let i = 0; i < 10; i++) {
    a.exchange.publish(at);
    a.exchange.publish(gone);
    a.exchange.flush(network.now);
  }
  network.drop = undefined;
  a.table.setAudience(gone, 0);
  make(a, 3, [2], network.now);
  a.exchange.flush(network.now);
  network.run(10);
  network.drop = ({ bytes }) => bytes[3] === MSG_STATE;
  make(a, 4, [2], network.now);
  a.exchange.flush(network.now);
  network.drop = undefined;
  make(a, 5, [2], network.now);
  a.exchange.flush(network.now);
  network.recorded.length = 0;
  network.run(20);
  const [request] = network.of(MSG_RESEND, 2, 1);
  const { count, body } = describe(request.bytes);
  assert.equal(count, 1);
  const [first, last] = [7, 15].map((i) => body[i]);
  assert.equal(last - first, 9, 'the ten, not the one that was lost last');
  assert.equal(recordsTo(network, 2), 1);
  assert.deepEqual([holds(b, 1), holds(b, 2)], [true, false]);
  network.run(100);
  assert.equal(holds(b, 4), true);
});

test('a gap that is too old, or no longer remembered, makes the pair synchronise', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  network.drop = () => true;
  make(a, 1, [2], network.now);
  a.exchange.flush(network.now);
  // More than the window: one flush each.
  const other = make(a, 2, [2], network.now);
  for (let i = 0; i < 1_100; i++) {
    a.exchange.publish(other);
    a.exchange.flush(network.now);
  }
  network.drop = undefined;
  network.run(5_000);
  assert.ok(b.exchange.counters.syncsDone >= 2);
  assert.equal(holds(b, 1), true);
  assert.ok(b.exchange.peers()[0].lost > 0);

  const small = acquainted(2, { settings: { sentDatagrams: 4, digest: 1_000_000 } });
  small.drop = ({ bytes }) => bytes[3] === MSG_STATE;
  for (let c = 0; c < 10; c++) {
    make(small.host(1), c, [2], small.now);
    small.host(1).exchange.flush(small.now);
  }
  small.drop = undefined;
  small.run(1_000);
  assert.equal(small.host(2).table.size, 10);
  assert.equal(small.host(1).exchange.counters.syncsGiven, 2, 'unasked: the sender saw that it has forgotten');
});

test('a host that lost its memory gets its own records and those it should have back; in slices', () => {
  const settings = { syncPerTick: 100 };
  const network = acquainted(3, { settings, table: { capacity: 4096 } });
  const [a, b, c] = network.hosts;
  for (let i = 0; i < 1_000; i++) make(a, i, [1, 2], network.now);
  for (let i = 1_000; i < 2_000; i++) make(b, i, [1, 2], network.now);
  for (let i = 2_000; i < 2_100; i++) make(b, i, [2, 3], network.now);
  network.flush();
  network.deliver();
  assert.deepEqual([a.table.size, b.table.size, c.table.size], [2_000, 2_100, 100]);
  a.restart(false);
  assert.equal(a.table.size, 0);
  network.recorded.length = 0;
  let most = 0;
  let before = 0;
  network.run(2_000, () => {
    const sent = b.exchange.counters.sentRecords - before;
    before = b.exchange.counters.sentRecords;
    if (before > 2_100) most = Math.max(most, sent);
  });
  assert.equal(a.table.size, 2_000);
  assert.ok(a.events.includes('2 met') && a.events.includes('2 synchronised'), a.events.join());
  assert.ok(b.events.includes('1 restarted'));
  assert.ok(most > 0 && most < 200, `${most} records in a tick`);
  assert.equal(recordsTo(network, 3), 0);
  assert.equal(a.table.owner(place(a, 5)), a.table.self);
});

test('a synchronisation that is asked for again goes on, or ends again; it takes in what comes meanwhile', () => {
  const network = acquainted(3, { settings: { syncPerTick: 10, scanPerTick: 50, digest: 1_000_000 } });
  const [a] = network.hosts;
  const add = (from: number, to: number) => {
    for (let c = from; c < to; c++) make(a, c, [], network.now);
    a.exchange.flush(network.now);
    for (let c = from; c < to; c++) a.table.setAudience(place(a, c), a.audience([2, 3]));
  };
  add(0, 100);
  const request = () => network.forge(2, 1, MSG_SYNC_REQUEST, 0, Uint8Array.of(0, 0, 0, 77, 0, 0, 0, 0));
  network.recorded.length = 0;
  request();
  network.run(50, () => assert.equal(request(), 0));
  a.exchange.sync(a.numberOf(3));
  add(100, 150);
  network.run(300, request);
  const ends = network.of(MSG_SYNC_END, 1, 2).length;
  assert.ok(ends > 1 && ends < 30, 'one for each request that came after the end');
  assert.equal(recordsTo(network, 2), 150);
  network.run(200);
  assert.equal(network.host(3).table.size, 150);
});

test('the loss of a synchronisation, in part or of request and end, is repaired', () => {
  for (const lost of [MSG_SYNC_REQUEST, MSG_SYNC_DATA, MSG_SYNC_END]) {
    const network = acquainted(2);
    const [a, b] = network.hosts;
    for (let c = 0; c < 100; c++) make(b, c, [1], network.now);
    network.flush();
    network.deliver();
    a.restart(false);
    let dropped = 0;
    network.drop = ({ bytes }) => bytes[3] === lost && dropped++ % 2 === 0;
    network.run(4_000);
    assert.ok(dropped > 1);
    assert.equal(a.table.size, 100, `type ${lost}`);
    assert.equal(a.exchange.peers()[0].synchronising, false, `type ${lost}`);
  }
});

test('a new member of a group is told by sync(), both ways', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  const ours = make(a, 1, [], network.now);
  const theirs = make(b, 2, [], network.now);
  network.run(100);
  assert.equal(holds(b, 1) || holds(a, 2), false);
  a.table.setAudience(ours, a.audience([2]));
  b.table.setAudience(theirs, b.audience([1]));
  a.exchange.sync(a.numberOf(2));
  network.run(100);
  assert.deepEqual([holds(b, 1), holds(a, 2)], [true, true]);

  // Called all the time, as when audiences are worked out anew record by record, it does not begin anew all the time.
  const given = a.exchange.counters.syncsGiven;
  network.run(10_000, () => a.exchange.sync(a.numberOf(2)));
  const more = a.exchange.counters.syncsGiven - given;
  assert.ok(more >= 2 && more <= 5, `${more} in ten seconds`);
});

test('digests find what slipped through, and only that is sent again', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  for (let c = 0; c < 200; c++) make(a, c, [2], network.now);
  a.exchange.flush(network.now);
  network.run(5_000);
  assert.ok(network.of(MSG_DIGEST, 1, 2).length >= 2);
  assert.equal(network.of(MSG_DIGEST, 2, 1).length, 0, 'nothing shared, no digest');
  assert.equal(network.of(MSG_LIST_REQUEST, 2, 1).length, 0);
  // Gone without a trace, and an older version in the place of a newer.
  b.table.remove(place(b, 7));
  a.table.bury(place(a, 9), network.now, scratch);
  network.recorded.length = 0;
  let requests = 0;
  network.drop = ({ bytes }) => bytes[3] === MSG_LIST_REQUEST && requests++ < 2;
  network.run(8_000);
  assert.equal(b.exchange.counters.comparisons, 1, 'the list was asked for again');
  assert.equal(holds(b, 7), true);
  assert.equal(holds(b, 9), false);
  assert.equal(recordsTo(network, 2), 2);
  assert.equal(network.of(MSG_WANT, 2, 1).length >= 1, true);
});

test('comparisons that repair nothing become rare; a difference in many records is a synchronisation', () => {
  const network = acquainted(2, { table: { timeouts: { udpUnreplied: 1_000_000 } } });
  const [a, b] = network.hosts;
  for (let c = 0; c < 10; c++) make(a, c, [2], network.now);
  a.exchange.flush(network.now);
  network.run(3_000);
  a.table.remove(place(a, 3));
  network.run(30_000);
  network.recorded.length = 0;
  network.run(120_000);
  const requests = network.of(MSG_LIST_REQUEST, 2, 1).length;
  assert.ok(requests >= 2 && requests <= 5, `${requests} comparisons in two minutes`);
  assert.equal(holds(b, 3), true, 'left to expire');
  b.table.remove(place(b, 5));
  network.run(40_000);
  assert.equal(holds(b, 5), true, 'but not blind');

  const large = acquainted(2, { table: { capacity: 8192 } });
  for (let c = 0; c < 4_000; c++) make(large.host(1), c, [], large.now);
  large.flush();
  for (let c = 0; c < 4_000; c++) large.host(1).table.setAudience(place(large.host(1), c), large.host(1).audience([2]));
  large.run(8_000);
  assert.equal(large.host(2).table.size, 4_000);
  assert.equal(large.of(MSG_LIST, 1, 2).length, 0);
});

test("a packet of a peer's record is told to its owner, and to the audience if that is known here", () => {
  const network = acquainted(4);
  const [a, b, c, d] = network.hosts;
  make(a, 1, [2, 3], network.now);
  a.exchange.flush(network.now);
  network.deliver();
  b.table.touch(place(b, 1), true, 0, network.now);
  b.exchange.publish(place(b, 1));
  b.exchange.flush(network.now);
  network.deliver();
  const bits = (host: Host) => host.table.read(place(host, 1), network.now, scratch).bits;
  assert.deepEqual([bits(a), bits(c)], [SEEN_REPLY, 0]);
  assert.equal(a.applied.at(-1), APPLY_JOINED);
  b.table.setAudience(place(b, 1), b.audience([1, 2, 3]));
  b.exchange.publish(place(b, 1));
  b.exchange.flush(network.now);
  network.deliver();
  assert.equal(bits(c), SEEN_REPLY);
  assert.equal(d.table.size, 0);
  assert.equal(recordsTo(network, 4), 0);
});

test('a peer cannot invent connections of this host; what it says of those of others stays aside', () => {
  const network = acquainted(3);
  const [a, b, c] = network.hosts;
  // Host 2 says that host 1 made connection 1, in its present life; and that host 3 made connection 2.
  const invent = (connection: number, owner: Host, epoch: number) => {
    const record = recordOf(forward(b, connection));
    Object.assign(record, { owner: b.numberOf(owner.id), epoch, version: 9, remaining: 20_000 });
    b.table.apply(record, network.now);
    b.table.setAudience(b.table.last, b.audience([1]));
    b.exchange.publish(b.table.last);
    b.exchange.flush(network.now);
    network.deliver();
  };
  invent(1, a, a.incarnation);
  assert.equal(holds(a, 1), false);
  assert.equal(a.exchange.counters.refusedRecords.claimed, 1);
  invent(2, c, c.incarnation);
  assert.equal(holds(a, 2), true);
  assert.notEqual(a.table.flags(place(a, 2)) & FLAG_ASIDE, 0);
  assert.equal(a.table.incoming.count(a.numberOf(3)), 0);
  assert.equal(holds(c, 2), false, 'the owner does not believe it');
  invent(3, a, a.incarnation - 1);
  assert.equal(holds(a, 3), true, 'of an earlier life: it may have been forgotten');
  assert.equal(a.table.owner(place(a, 3)), a.table.self);
  assert.equal(a.table.flags(place(a, 3)) & FLAG_ASIDE, 0);
});

test('an owner that has missed that another host took over is told when it speaks of its connection', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  const at = make(a, 1, [2], network.now);
  network.run(50);
  network.groups.set(1, 1);
  b.table.takeOver(place(b, 1), network.now, scratch);
  // It has no reason to tell it: the port is not there any more.
  assert.deepEqual(b.table.audiences.members(b.table.audience(place(b, 1))), []);
  network.run(2_000);
  network.groups.clear();
  a.table.touch(at, false, 0, network.now);
  a.exchange.publish(at);
  network.run(50);
  for (const host of [a, b]) assert.equal(host.table.owner(place(host, 1)), host.numberOf(2), `host ${host.id}`);
});

test('tokens of NAT blocks ride in records: a newer one fences what an older owner made', () => {
  const network = acquainted(3);
  const [a, b, c] = network.hosts;
  const translate = (host: Host, client: number, token: number) => {
    const words = tuple(host.table, KIND_SNAT, 17, '10.0.0.1', client, '1.1.1.1', 53);
    const back = tuple(host.table, KIND_SNAT, 17, '1.1.1.1', 53, '2.2.2.2', 6400 + client);
    const record = recordOf(words).setReturn(back, 0);
    record.token = token;
    const at = host.table.insert(record, network.now, host.audience([3]));
    host.exchange.publish(at);
    host.exchange.flush(network.now);
    network.deliver();
    return () => c.table.find(tuple(c.table, KIND_SNAT, 17, '10.0.0.1', client, '1.1.1.1', 53), 0) >= 0;
  };
  const older = translate(a, 1, 4);
  assert.equal(older(), true);
  const newer = translate(b, 2, 5);
  assert.deepEqual([older(), newer()], [false, true]);
  const late = translate(a, 3, 4);
  assert.equal(late(), false);
  assert.equal(c.exchange.counters.refusedRecords.fenced, 1);
});

test('an ask brings a record aside, from whom it may; asks for one tuple are one', () => {
  const network = acquainted(4);
  const [a, b, c] = network.hosts;
  make(a, 1, [2], network.now);
  a.exchange.flush(network.now);
  network.deliver();
  network.recorded.length = 0;
  const words = forward(c, 1);
  const peers = [c.numberOf(4), c.numberOf(2), c.numberOf(200)];
  const ask = c.exchange.ask(words, 0, peers, network.now);
  assert.ok(ask > 0);
  assert.equal(c.exchange.ask(words, 0, peers, network.now), ask);
  assert.deepEqual(
    network.recorded.map(({ to, bytes }) => [to, bytes[3]]),
    [
      [4, MSG_ASK],
      [2, MSG_ASK],
    ],
  );
  network.deliver();
  assert.deepEqual(c.answered, [[ask, true]]);
  assert.equal(holds(c, 1), true);
  assert.notEqual(c.table.flags(place(c, 1)) & FLAG_ASIDE, 0);
  assert.equal(c.table.owner(place(c, 1)), c.numberOf(1));

  // When its owner sends it after all, it is not aside any more: the digests agree again.
  a.table.setAudience(place(a, 1), a.audience([2, 3]));
  network.run(8_000);
  assert.equal(c.table.flags(place(c, 1)) & FLAG_ASIDE, 0);
  assert.equal(c.table.incoming.count(c.numberOf(1)), 1);

  // The owner's answer is aside too: it does not count the asker among those that are to have it.
  make(a, 5, [], network.now);
  network.drop = ({ to }) => to === 4;
  const early = c.exchange.ask(forward(c, 5), 0, [c.numberOf(4), c.numberOf(1)], network.now);
  network.deliver();
  network.drop = undefined;
  assert.deepEqual(c.answered.at(-1), [early, true], 'without waiting for host 4');
  assert.notEqual(c.table.flags(place(c, 5)) & FLAG_ASIDE, 0);

  const none = c.exchange.ask(forward(c, 2), 0, peers, network.now);
  network.deliver();
  assert.deepEqual(c.answered.at(-1), [none, false]);
  assert.equal(c.exchange.ask(forward(c, 3), 0, [c.numberOf(200)], network.now), 0, 'no peer');
  const again = c.exchange.ask(forward(c, 2), 0, peers, network.now);
  assert.notEqual(again, none);
  network.deliver();
  assert.deepEqual(c.answered.at(-1), [again, false]);
  assert.equal(c.exchange.counters.asks, 4);
  assert.equal(c.exchange.counters.asksFound, 2);
  assert.equal(b.exchange.counters.answers, 3);
});

test('an ask is repeated once, ends in time, and an answer that comes later is still taken in', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  make(a, 1, [], network.now);
  network.recorded.length = 0;
  network.drop = () => true;
  const ask = b.exchange.ask(forward(b, 1), 0, [b.numberOf(1)], network.now);
  network.run(40);
  assert.equal(network.of(MSG_ASK, 2, 1).length, 2);
  assert.deepEqual(b.answered, []);
  network.run(20);
  assert.deepEqual(b.answered, [[ask, false]]);
  assert.equal(network.of(MSG_ASK, 2, 1).length, 2);
  network.drop = undefined;
  const [{ bytes }] = network.of(MSG_ASK, 2, 1);
  a.exchange.receive(bytes, bytes.length, network.now);
  network.deliver();
  assert.equal(holds(b, 1), true);
  assert.equal(b.answered.length, 1);
});

test('asks and answers keep to their budgets; an answer that was not asked for is not believed', () => {
  const network = acquainted(2, { settings: { askRate: 5, answerRate: 3 } });
  const [a, b] = network.hosts;
  const results = Array.from({ length: 7 }, (_, c) => b.exchange.ask(forward(b, c), 0, [b.numberOf(1)], network.now));
  assert.deepEqual(
    results.map((ask) => ask > 0),
    [true, true, true, true, true, false, false],
  );
  assert.equal(b.exchange.counters.asksRefused, 2);
  network.deliver();
  assert.equal(a.exchange.counters.answers, 3);
  assert.equal(a.exchange.counters.answersRefused, 2);
  network.run(1_000);
  assert.ok(b.exchange.ask(forward(b, 8), 0, [b.numberOf(1)], network.now) > 0, 'the budget fills again');

  const honest = acquainted(3);
  const [x, y, z] = honest.hosts;
  const answer = (from: number, number: number, connection: number) => {
    const host = honest.host(from);
    const writer = new RecordWriter(host.table.uuids);
    writer.begin(number);
    make(host, connection, [], honest.now);
    writer.add(host.table.read(place(host, connection), honest.now, scratch));
    const size = writer.finish();
    return honest.forge(from, 2, MSG_ANSWER, 1, writer.bytes.slice(HEADER_SIZE, HEADER_SIZE + size));
  };
  honest.drop = () => true;
  const number = y.exchange.ask(forward(y, 1), 0, [y.numberOf(1)], honest.now);
  assert.equal(answer(1, number + MAX_ASKS, 1), 0, 'another number');
  assert.equal(answer(3, number, 1), 0, 'who was not asked');
  assert.equal(answer(1, number, 2), 0, 'about something else');
  assert.equal(y.exchange.counters.refusedRecords.unasked, 3);
  assert.equal(y.table.size, 0);
  assert.deepEqual(y.answered, [[number, false]], 'all who were asked have answered');
  assert.equal(x.table.size + z.table.size, 3);
});

test('whatever a peer in wrong hands sends, it is understood or refused', () => {
  const network = acquainted(3);
  const [a, b, third] = network.hosts;
  for (let c = 0; c < 20; c++) make(a, c, [2], network.now);
  a.exchange.flush(network.now);
  network.deliver();
  const known = network.of(MSG_STATE, 1, 2)[0].bytes;
  const seen = new Set<number>();
  fc.assert(
    fc.property(
      fc.integer({ min: MSG_HELLO, max: MSG_ASK }),
      fc.oneof(fc.constant(describe(known).count), fc.nat(40), fc.nat(0xffff)),
      fc.oneof(
        fc.uint8Array({ maxLength: 80 }),
        fc.uint8Array({ maxLength: 1344 }),
        fc.record({ at: fc.nat(), to: fc.nat(255) }).map(({ at, to }) => {
          const body = known.slice(HEADER_SIZE, known.length - 16);
          body[at % body.length] = to;
          return body;
        }),
      ),
      (type, count, body) => {
        const result = network.forge(1, 2, type, count, body);
        seen.add(Math.sign(result));
        network.run(10);
        if (result < 0) assert.notEqual(refusalReason(result), undefined);
      },
    ),
    { numRuns: 500 },
  );
  assert.deepEqual([...seen].sort(), [-1, 0, 1]);
  for (let c = 0; c < 20; c++) assert.ok(holds(a, c));
  assert.ok(b.exchange.counters.refused.wrongLength > 0);
  make(third, 77, [2], network.now);
  third.exchange.flush(network.now);
  network.run(1_000);
  assert.equal(holds(b, 77), true, 'others are heard as before');
});

test('garbage, truncations, wrong keys and strangers are counted, change nothing, and are not answered', () => {
  const network = acquainted(3);
  const [a, b] = network.hosts;
  make(a, 1, [2], network.now);
  network.drop = () => true;
  a.exchange.flush(network.now);
  const { bytes } = network.recorded[0];
  network.recorded.length = 0;
  const { refused } = b.exchange.counters;
  const receive = (data: Uint8Array, length = data.length) => b.exchange.receive(data, length, network.now);
  for (let length = 0; length < bytes.length; length++) assert.ok(receive(bytes.slice(0, length)) < 0);
  assert.ok(refused.truncated > 0 && refused.wrongLength > 0);
  assert.equal(receive(bytes.slice(0, 20)), WIRE_TRUNCATED);
  assert.equal(receive(bytes, bytes.length + 1), WIRE_TRUNCATED);
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.slice();
    changed[at] ^= 1 << (at % 8);
    const result = receive(changed);
    assert.ok(result < 0, `byte ${at}`);
    if (at === 2) assert.equal(result, WIRE_OTHER_VERSION);
    if (at >= 8 && at < 24) assert.equal(result, RECEIVE_UNKNOWN_SENDER);
    if (at >= 40) assert.equal(result, RECEIVE_AUTHENTICATION);
  }
  for (let i = 0; i < 200; i++) receive(Uint8Array.from({ length: i * 7 }, () => network.random() * 256));
  for (const reason of ['notOurs', 'otherVersion', 'unknownSender', 'authentication'] as const)
    assert.ok(refused[reason] > 0, reason);

  // Host 1's name, a key that is not its own.
  const stranger = newHostKeys();
  const table = newTable({ incarnation: 500 });
  const sent: Uint8Array[] = [];
  const impostor = new Exchange({
    table,
    privateKey: stranger.privateKey,
    send: (_, data, length) => sent.push(data.slice(0, length)),
    onApplied: () => {},
    onAnswered: () => {},
  });
  impostor.setPeer(uuid(2), newHostKeys().publicKey);
  impostor.tick(network.now);
  assert.equal(receive(sent[0]), RECEIVE_AUTHENTICATION);
  assert.equal(network.recorded.length, 0);
  assert.equal(b.table.size, 0);
  assert.ok(b.exchange.lastHeard(b.numberOf(1)) < network.now);
  assert.equal(receive(bytes), 1, 'unharmed, it is fine');
});

test('replays are refused, after restarts too; they elicit few hellos and no sign of life', () => {
  const network = new Network(2);
  network.run(200);
  const [a, b] = network.hosts;
  make(a, 1, [2], network.now);
  a.exchange.flush(network.now);
  network.run(100);
  const received = network.recorded.filter(({ to }) => to === 2);
  const state = network.of(MSG_STATE, 1, 2)[0].bytes;
  assert.equal(b.exchange.receive(state, state.length, network.now), RECEIVE_REPLAY);
  b.restart(true);
  assert.equal(b.exchange.receive(state, state.length, network.now), RECEIVE_OTHER_LIFE);
  const hellos = network.of(MSG_HELLO, 2, 1).length;
  for (let i = 0; i < 50; i++)
    for (const { bytes } of received) b.exchange.receive(bytes, bytes.length, network.now + i);
  assert.ok(network.of(MSG_HELLO, 2, 1).length - hellos <= 1);
  assert.equal(b.exchange.lastHeard(b.numberOf(1)), Number.NEGATIVE_INFINITY);
  network.run(300);
  const before = network.recorded.filter(({ from, bytes }) => from === 1 && bytes[3] !== MSG_HELLO).at(-1)!.bytes;
  a.restart(true);
  network.run(300);
  assert.equal(b.exchange.receive(before, before.length, network.now), RECEIVE_PAST_LIFE);
  assert.equal(refusalReason(RECEIVE_PAST_LIFE), 'pastLife');
  assert.ok(b.exchange.counters.refused.pastLife > 0);
});

test('a peer that was removed is a stranger; set again, it is no door for recorded datagrams', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  make(a, 1, [2], network.now);
  a.exchange.flush(network.now);
  network.deliver();
  const state = network.of(MSG_STATE, 1, 2)[0].bytes;
  b.table.remove(place(b, 1));
  b.exchange.removePeer(b.numberOf(1));
  assert.deepEqual(b.exchange.peers(), []);
  assert.equal(b.exchange.receive(state, state.length, network.now), RECEIVE_UNKNOWN_SENDER);
  const sent = b.exchange.counters.sentDatagrams;
  network.run(3_000);
  assert.equal(b.exchange.counters.sentDatagrams, sent);
  network.introduce(b);
  assert.equal(b.exchange.receive(state, state.length, network.now), RECEIVE_REPLAY);
  assert.equal(holds(b, 1), false);
  network.run(1_000);
  assert.equal(holds(b, 1), true, 'synchronised anew');
});

test('another key makes a peer prove itself anew; keys that are none are refused', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  const number = b.numberOf(1);
  assert.equal(b.exchange.setPeer(uuid(1), newHostKeys().publicKey), number);
  const heard = b.exchange.lastHeard(number);
  network.run(2_000);
  assert.equal(b.exchange.lastHeard(number), heard);
  assert.ok(b.exchange.counters.refused.authentication > 0);
  network.introduce(b);
  make(a, 1, [2], network.now);
  network.run(3_000);
  assert.equal(holds(b, 1), true);

  for (const key of [new Uint8Array(32), new Uint8Array(31)])
    assert.throws(() => b.exchange.setPeer(uuid(9), key), { code: 'WEFT_FLOWSTATE_KEY' });
  assert.throws(() => b.exchange.setPeer(uuid(1), new Uint8Array(32)), { code: 'WEFT_FLOWSTATE_KEY' });
  assert.equal(b.exchange.peers().length, 1);
  assert.throws(() => b.exchange.setPeer(uuid(2), newHostKeys().publicKey), { code: 'WEFT_FLOWSTATE_CONFIG' });
  const options = { table: newTable(), send: () => {}, onApplied: () => {}, onAnswered: () => {} };
  assert.throws(() => new Exchange({ ...options, privateKey: new Uint8Array(3) }), { code: 'WEFT_FLOWSTATE_KEY' });
  assert.throws(() => new Exchange({ ...options, privateKey: newHostKeys().privateKey, settings: { digest: 0 } }), {
    code: 'WEFT_FLOWSTATE_CONFIG',
  });
});

test('every peer hears something each second; a peer that falls silent and comes back is noticed', () => {
  const network = acquainted(3);
  const [a, b] = network.hosts;
  const number = b.numberOf(1);
  network.run(10_000, () => assert.ok(network.now - b.exchange.lastHeard(number) <= 1_000));
  assert.ok(network.recorded.filter(({ from, to }) => from === 1 && to === 2).length <= 12);
  network.groups.set(1, 1);
  network.run(5_000);
  assert.ok(network.now - b.exchange.lastHeard(number) >= 5_000);
  make(a, 1, [2], network.now);
  network.run(100);
  network.groups.clear();
  network.run(1_500);
  assert.ok(b.events.includes('1 back'));
  assert.equal(holds(b, 1), true);
  assert.equal(b.exchange.counters.syncsAsked, 2, 'with hosts 1 and 3, at the beginning');
});

test('hellos to a host that does not answer become rare', () => {
  const network = new Network(2);
  network.groups.set(2, 2);
  network.run(60_000);
  const hellos = network.of(MSG_HELLO, 1, 2).length;
  assert.ok(hellos >= 12 && hellos <= 20, `${hellos} hellos in a minute`);
  network.groups.clear();
  network.run(6_000);
  const [a, b] = network.hosts;
  assert.equal(a.exchange.peers()[0].acquainted, true);

  // A host that restarts while it is cut off need not wait for its next one: what comes for its earlier life is answered.
  network.groups.set(1, 1);
  a.restart(true);
  network.run(14_000);
  network.groups.clear();
  network.run(1_100);
  assert.equal(a.exchange.peers()[0].acquainted, true);
  assert.ok(b.events.includes('1 restarted'));
});

test('a peer that nothing leads to is not greeted; with the first tick after the path has come it is', () => {
  const network = new Network(2);
  const [a, b] = network.hosts;
  network.setPaths(a, false);
  network.setPaths(b, false);
  network.run(60_000);
  assert.deepEqual(network.recorded, []);
  network.setPaths(a, true);
  network.run(10);
  assert.deepEqual(
    network.recorded.map(({ from, bytes }) => [from, bytes[3]]),
    [[1, MSG_HELLO]],
  );
  // The other one does not answer into the void.
  network.run(5_000);
  assert.equal(network.of(MSG_HELLO, 2, 1).length, 0);
  network.setPaths(b, true);
  network.run(20);
  for (const host of network.hosts) assert.equal(host.exchange.peers()[0].acquainted, true);
});

test('without a path nothing is said, digests neither; what was missed meanwhile is told as soon as there is one again', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  make(a, 1, [2], network.now);
  network.run(5_000);
  assert.ok(holds(b, 1));
  network.setPaths(a, false);
  network.setPaths(b, false);
  network.recorded.length = 0;
  make(a, 2, [2], network.now);
  a.table.bury(place(a, 1), network.now, scratch);
  a.exchange.publish(place(a, 1));
  network.run(8_000);
  assert.deepEqual(network.recorded, []);
  assert.deepEqual([holds(b, 1), holds(b, 2)], [true, false]);
  assert.ok(a.exchange.counters.unsentDatagrams > 0);
  network.setPaths(a, true);
  network.setPaths(b, true);
  network.run(100);
  assert.deepEqual([holds(b, 1), holds(b, 2)], [false, true]);
});

test('a tick looks only at peers about which something is due', () => {
  const network = acquainted(3);
  const [a] = network.hosts;
  const before = a.exchange.counters.looks;
  network.run(30_000);
  const looks = a.exchange.counters.looks - before;
  const hellos = network.of(MSG_HELLO, 1, 2).length + network.of(MSG_HELLO, 1, 3).length;
  assert.ok(hellos > 60, `${hellos} hellos`);
  // 3,000 ticks, two peers: one look at each for what is to be said, one for what was heard, one when a digest is due.
  assert.ok(looks < 4 * hellos, `${looks} looks, ${hellos} hellos`);
});

test('what was seen of a connection keeps it alive on hosts that do not see its packets', () => {
  const network = acquainted(2);
  const [a, b] = network.hosts;
  const at = make(a, 1, [2], network.now);
  a.table.touch(at, true, 0, network.now);
  for (let second = 0; second < 400; second++) {
    if (a.table.touch(at, second % 2 === 0, TCP_ACK, network.now) !== 0) a.exchange.publish(at);
    a.exchange.flush(network.now);
    network.run(1_000);
    assert.ok(holds(a, 1) && holds(b, 1));
  }
  assert.ok(recordsTo(network, 2) < 12, 'not at every packet');
});
