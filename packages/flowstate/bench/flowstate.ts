/**
 * The table alone. `node packages/flowstate/bench/flowstate.ts [--json]`; JSON has one object: id → value.
 * lookup_ns, insert_ns: per call, among 500,000 connections (IPv4, SNAT). expiry_scan_ms: CPU time of a pass in which each of 500,000 live
 * connections comes up, was refreshed, and is moved. encode_ns, decode_ns: per record, 20 records a datagram. mac_us: per datagram of 1,400
 * bytes. bytes: of user-space memory per connection, at full capacity. push_us, push_one_us: per record that is made here and told to one
 * peer, both hosts' work: insert, publish, flush, receive; 64 records a flush, and each by itself. sync_tick_ms: longest CPU time of a tick,
 * on either side, while 200,000 records are synchronised. idle_tick_us: a tick of a host with 100 peers about which nothing is
 * due. Best of several rounds: other work on the machine only adds.
 */
import { TCP_ACK } from '@weft/packet';
import {
  ConnectionRecord,
  Exchange,
  FlowStateTable,
  KIND_SNAT,
  newHostKeys,
  PeerKeys,
  RecordReader,
  RecordWriter,
  regionBytes,
  T_PORTS,
  TUPLE_WORDS,
  tupleMeta,
  WireHeader,
} from '../src/index.ts';

const CONNECTIONS = 500_000;
const ROUND = 20_000;

function uuid(n: number): Uint8Array {
  const bytes = new Uint8Array(16).fill(7);
  new DataView(bytes.buffer).setUint32(0, n);
  return bytes;
}

function makeTable(capacity: number): FlowStateTable {
  return new FlowStateTable({
    self: uuid(1),
    incarnation: 1,
    capacity,
    now: 0,
    seed: [0x13579bdf, 0x2468ace0],
    portCap: capacity,
  });
}

const table = makeTable(CONNECTIONS + ROUND);
const device = table.uuids.intern(uuid(2));
const ingress = table.uuids.intern(uuid(3));
const egress = table.uuids.intern(uuid(4));
const audience = table.audiences.of([table.uuids.intern(uuid(5)), table.uuids.intern(uuid(6))]);
const words = new Int32Array(TUPLE_WORDS);
const outside = new Int32Array([0, 0, 0xffff0000 | 0, 0x01020304]);
const record = new ConnectionRecord();

/** Tuple of connection `n`: a client of 65,536, a server of 16. */
function setWords(n: number): void {
  words[0] = tupleMeta(KIND_SNAT, device, 6);
  words[T_PORTS] = ((1024 + (n % 60_000)) << 16) | 443;
  words[4] = 0xffff0000 | 0;
  words[5] = 0x0a000000 | (n & 0xffff);
  words[8] = 0xffff0000 | 0;
  words[9] = 0x08080800 | (n >>> 16);
}

function insert(n: number, now: number): number {
  setWords(n);
  record.begin(words, 0);
  record.ingress = ingress;
  record.egress = egress;
  record.translateSource(outside, 0, 1 + (n % 65_535));
  record.words[17] = outside[2];
  record.words[18] = 0x01000000 | (n & 0xffff);
  const result = table.insert(record, now, audience);
  if (result < 0) throw new Error(`insert ${n}: ${result}`);
  return result;
}

function best(rounds: number, run: () => number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let r = 0; r < rounds; r++) least = Math.min(least, run());
  return least;
}

function timed(count: number, run: () => void): number {
  const start = process.hrtime.bigint();
  run();
  return Number(process.hrtime.bigint() - start) / count;
}

const out: Record<string, number> = {};
for (let n = 0; n < CONNECTIONS; n++) {
  const at = insert(n, 0);
  table.touch(at, true, TCP_ACK, 0);
}

let found = 0;
out.lookup_ns = best(20, () =>
  timed(ROUND, () => {
    for (let i = 0, n = 12_345; i < ROUND; i++) {
      n = (Math.imul(n, 1_103_515_245) + 12_345) >>> 0;
      setWords(n % CONNECTIONS);
      if (table.find(words, 0) >= 0) found++;
    }
  }),
);
if (found !== 20 * ROUND) throw new Error(`${found} of ${20 * ROUND} found`);

const made: number[] = [];
out.insert_ns = best(20, () => {
  const ns = timed(ROUND, () => {
    for (let i = 0; i < ROUND; i++) made.push(insert(CONNECTIONS + i, 0));
  });
  for (const at of made.splice(0)) table.remove(at);
  return ns;
});

// Everything is refreshed, so that the pass moves all and removes none.
let now = 0;
out.expiry_scan_ms = best(3, () => {
  const before = now;
  now += 7_440_000;
  for (let at = table.nextRecord(0); at >= 0; at = table.nextRecord(at + 1))
    table.touch(at, false, TCP_ACK, now - 1000);
  const start = process.cpuUsage();
  let steps = 0;
  for (let t = before + 1000; t <= now; t += 1000) while (!table.expire(t, 4096)) steps++;
  const used = process.cpuUsage(start);
  if (table.size !== CONNECTIONS) throw new Error(`${table.size} left after ${steps} steps`);
  return (used.user + used.system) / 1000;
});

const writer = new RecordWriter(table.uuids);
const reader = new RecordReader(table.uuids);
const header = new WireHeader();
const BATCH = 20;
out.encode_ns = best(20, () =>
  timed(1000 * BATCH, () => {
    for (let d = 0; d < 1000; d++) {
      writer.begin();
      for (let i = 0; i < BATCH; i++) writer.add(table.read(d * BATCH + i, now, record));
      header.bodySize = writer.finish();
    }
  }),
);
header.count = writer.count;
out.decode_ns = best(20, () =>
  timed(1000 * BATCH, () => {
    for (let d = 0; d < 1000; d++) {
      if (reader.open(writer.bytes, header) !== 0) throw new Error('not readable');
      while (reader.next(record) > 0);
    }
  }),
);

const a = newHostKeys();
const b = newHostKeys();
const keys = new PeerKeys(a.privateKey, b.publicKey, uuid(1), uuid(2));
const datagram = new Uint8Array(1400);
out.mac_us =
  best(20, () =>
    timed(500, () => {
      for (let i = 0; i < 500; i++) keys.seal(datagram, 1384);
    }),
  ) / 1000;

// What the table allocates, at the capacity that it was made for: the region, the indexes, the arrays beside them.
const before = process.memoryUsage().arrayBuffers;
const other = makeTable(CONNECTIONS);
out.bytes = (process.memoryUsage().arrayBuffers - before) / other.capacity;
out.region_bytes = regionBytes({ capacity: CONNECTIONS }) / CONNECTIONS;

// Two hosts, one in front of the other.
interface Side {
  readonly table: FlowStateTable;
  readonly exchange: Exchange;
  readonly inbox: Uint8Array[];
}

function makeSide(
  self: number,
  capacity: number,
  privateKey: Uint8Array,
  peerInbox: Uint8Array[],
  inbox: Uint8Array[],
  deliver = (_: number, bytes: Uint8Array) => void peerInbox.push(bytes),
): Side {
  const table = new FlowStateTable({
    self: uuid(self),
    incarnation: 1,
    capacity,
    now: 0,
    seed: [0x13579bdf, 0x2468ace0],
    portCap: capacity,
  });
  const exchange = new Exchange({
    table,
    privateKey,
    send: (peer, bytes, length) => deliver(peer, bytes.slice(0, length)),
    onApplied: () => {},
    onAnswered: () => {},
  });
  return { table, exchange, inbox };
}

function makePair(capacity: number): [Side, Side] {
  const [inboxA, inboxB]: Uint8Array[][] = [[], []];
  const left = makeSide(5, capacity, a.privateKey, inboxB, inboxA);
  const right = makeSide(6, capacity, b.privateKey, inboxA, inboxB);
  left.exchange.setPeer(uuid(6), b.publicKey);
  right.exchange.setPeer(uuid(5), a.publicKey);
  return [left, right];
}

function hear(side: Side, at: number): void {
  for (const bytes of side.inbox.splice(0)) side.exchange.receive(bytes, bytes.length, at);
}

const PUSHED = 20_000;
const [left, right] = makePair(PUSHED * 8);
let clock = 0;
function turn(): void {
  clock += 20;
  for (const side of [left, right]) side.exchange.tick(clock);
  for (const side of [left, right, left, right]) hear(side, clock);
}
for (let i = 0; i < 20; i++) turn();
const there = left.table.audiences.of([left.table.uuids.find(uuid(6))]);
const [deviceThere, ingressThere] = [2, 3].map((n) => left.table.uuids.intern(uuid(n)));
let pushed = 0;
function push(perFlush: number): number {
  return timed(PUSHED, () => {
    for (let i = 0; i < PUSHED; i++) {
      setWords(pushed++);
      words[0] = tupleMeta(KIND_SNAT, deviceThere, 6);
      record.begin(words, 0);
      record.ingress = ingressThere;
      const made = left.table.insert(record, clock, there);
      if (made < 0) throw new Error(`push ${pushed}: ${made}`);
      left.exchange.publish(made);
      if (pushed % perFlush !== 0) continue;
      left.exchange.flush(clock);
      hear(right, clock);
    }
  });
}
out.push_us = best(4, () => push(64)) / 1000;
out.push_one_us = best(3, () => push(1)) / 1000;
left.exchange.flush(clock);
hear(right, clock);
if (right.table.size !== pushed) throw new Error(`${right.table.size} of ${pushed} arrived`);

// The whole of a table, to a peer that knows nothing.
const SYNCED = 200_000;
const [full, empty] = makePair(SYNCED);
const all = full.table.audiences.of([full.table.uuids.find(uuid(6))]);
const deviceFull = full.table.uuids.intern(uuid(2));
for (let n = 0; n < SYNCED; n++) {
  setWords(n);
  words[0] = tupleMeta(KIND_SNAT, deviceFull, 6);
  full.table.insert(record.begin(words, 0), 0, all);
}
out.sync_tick_ms = 0;
for (let at = 20; empty.table.size < SYNCED; at += 20) {
  if (at > 60_000) throw new Error(`${empty.table.size} of ${SYNCED} synchronised`);
  for (const side of [full, empty]) {
    const start = process.cpuUsage();
    side.exchange.tick(at);
    hear(side, at);
    const used = process.cpuUsage(start);
    // The first ticks are those of a cold program.
    if (at > 1_000) out.sync_tick_ms = Math.max(out.sync_tick_ms, (used.user + used.system) / 1000);
  }
}

// A host and 100 peers that know each other, with nothing to tell.
const PEERS = 100;
const crowd = Array.from({ length: PEERS }, (_, i) => ({ host: uuid(10 + i), ...newHostKeys() }));
const heard: Uint8Array[] = [];
const inboxes = crowd.map((): Uint8Array[] => []);
const middle = makeSide(9, 1_000, a.privateKey, [], heard, (peer, bytes) => {
  inboxes[crowd.findIndex(({ host }) => middle.table.uuids.find(host) === peer)]!.push(bytes);
});
const around = crowd.map(({ privateKey }, i) => makeSide(10 + i, 1_000, privateKey, heard, inboxes[i]!));
for (const [i, { host, publicKey }] of crowd.entries()) {
  middle.exchange.setPeer(host, publicKey);
  around[i]!.exchange.setPeer(uuid(9), a.publicKey);
}
let time = 0;
for (let i = 0; i < 20; i++) {
  time += 20;
  for (const side of [middle, ...around]) side.exchange.tick(time);
  for (let round = 0; round < 3; round++) for (const side of [middle, ...around]) hear(side, time);
}
if (middle.exchange.peers().some(({ acquainted, synchronising }) => !acquainted || synchronising)) {
  throw new Error('not all peers are acquainted');
}
middle.exchange.tick(time);
out.idle_tick_us =
  best(20, () =>
    timed(5_000, () => {
      for (let i = 0; i < 5_000; i++) middle.exchange.tick(time);
    }),
  ) / 1000;

if (process.argv.includes('--json')) console.log(JSON.stringify(out));
else for (const [id, value] of Object.entries(out)) console.log(`${id.padEnd(16)} ${value.toFixed(1)}`);
