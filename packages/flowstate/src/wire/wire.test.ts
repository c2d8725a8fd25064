import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DIGEST_WORDS } from '../digest.ts';
import { newHostKeys, PeerKeys } from '../peer-keys.ts';
import { ConnectionRecord, FLAG_KEEP, FLAG_NO_RETURN, FLAG_TOMBSTONE } from '../record.ts';
import type { FlowStateTable } from '../table.ts';
import { newTable, recordOf, tuple, uuid } from '../testing/fixtures.ts';
import { KIND_CONNTRACK, KIND_LAST, KIND_SNAT } from '../tuple.ts';
import { ARCHIVE_ENTRY_SIZE, ArchiveReader, ArchiveWriter, archiveEntries } from './archived.ts';
import {
  BODY_SIZE,
  DATAGRAM_SIZE,
  HEADER_SIZE,
  MSG_STATE,
  readHeader,
  TAG_SIZE,
  WIRE_FIELD,
  WIRE_LENGTH,
  WIRE_NO_ROOM,
  WIRE_NOT_OURS,
  WIRE_OK,
  WIRE_OTHER_VERSION,
  WIRE_TRUNCATED,
  WIRE_TYPE,
  WireHeader,
  wireResultText,
  writeHeader,
} from './header.ts';
import {
  Ask,
  LIST_ROW,
  RESEND_RANGES,
  readAsk,
  readDigest,
  readListRequest,
  readResend,
  readRows,
  readSync,
  rowsPerDatagram,
  writeAsk,
  writeDigest,
  writeListRequest,
  writeResend,
  writeRows,
  writeSync,
} from './messages.ts';
import { RecordReader, RecordWriter } from './records.ts';

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const port = fc.integer({ min: 0, max: 0xffff });
const v4 = fc.ipV4();
const v6 = fc.ipV6().filter((text) => !text.includes('.') && !/^(0*:)*:?ffff:/i.test(text));

const anyRecord = fc.constantFrom(v4, v6).chain((ip) =>
  fc.record({
    kind: fc.integer({ min: 1, max: KIND_LAST }),
    protocol: fc.integer({ min: 0, max: 255 }),
    device: fc.integer({ min: 1, max: 40 }),
    ends: fc.tuple(ip, port, ip, port),
    back: fc.option(fc.tuple(ip, port, ip, port), { nil: undefined }),
    owner: fc.integer({ min: 1, max: 40 }),
    ports: fc.tuple(fc.nat(30), fc.nat(30), fc.nat(30)),
    bits: fc.nat(63),
    flags: fc.constantFrom(0, FLAG_TOMBSTONE, FLAG_NO_RETURN, FLAG_KEEP | FLAG_NO_RETURN),
    epoch: fc.integer({ min: 1, max: 0xffffffff }),
    version: u32,
    token: u32,
    remaining: u32,
    age: u32,
  }),
);

type Drawn = typeof anyRecord extends fc.Arbitrary<infer T> ? T : never;

/** A canonical text of an IPv6 address may still be refused by the strict parser: such draws are skipped. */
function build(table: FlowStateTable, drawn: Drawn): ConnectionRecord | undefined {
  const name = (n: number) => (n === 0 ? 0 : table.uuids.intern(uuid(n)));
  const { kind, protocol, ends, back } = drawn;
  try {
    const record = recordOf(tuple(table, kind, protocol, ends[0], ends[1], ends[2], ends[3], drawn.device));
    if (back !== undefined) record.setReturn(tuple(table, kind, protocol, back[0], back[1], back[2], back[3]), 0);
    record.token = kind === KIND_SNAT ? drawn.token : 0;
    record.ingress = name(drawn.ports[0]);
    record.egress = name(drawn.ports[1]);
    record.rule = name(drawn.ports[2]);
    record.owner = name(drawn.owner);
    const { bits, flags, epoch, version, remaining, age } = drawn;
    return Object.assign(record, { bits, flags, epoch, version, remaining, age });
  } catch {
    return undefined;
  }
}

/** What of a record means the same on every host. */
function meaning(table: FlowStateTable, record: ConnectionRecord): unknown[] {
  const { kind, protocol, bits, flags, epoch, version, token, remaining, age } = record;
  const names = [record.device, record.owner, record.ingress, record.egress, record.rule].map((n) =>
    table.uuids.text(n),
  );
  return [kind, protocol, bits, flags, epoch, version, token, remaining, age, ...names, record.words.slice(1).join()];
}

function headerOf(writer: RecordWriter): WireHeader {
  const header = new WireHeader();
  header.type = MSG_STATE;
  header.bodySize = writer.finish();
  header.count = writer.count;
  header.sender.set(uuid(1));
  header.senderIncarnation = 5;
  header.receiverIncarnation = 6;
  header.sequence = 2 ** 40 + 3;
  return header;
}

test('records come back as they were from an archive, too; other bytes are no record', () => {
  fc.assert(
    fc.property(anyRecord, fc.nat(), (drawn, place) => {
      const from = newTable();
      const to = newTable({ self: uuid(2) });
      for (let n = 0; n < 7; n++) to.uuids.intern(uuid(500 + n));
      const sent = build(from, drawn);
      if (sent === undefined) return;
      const bytes = new Uint8Array(3 * ARCHIVE_ENTRY_SIZE).fill(0xee);
      const writer = new ArchiveWriter(from.uuids);
      const first = writer.write(sent, bytes, 0);
      assert.ok(first <= ARCHIVE_ENTRY_SIZE);
      assert.equal(first > 0, sent.ingress + sent.egress > 0);
      const length = first + writer.write(sent, bytes, first);
      const entries = [...archiveEntries(bytes, length)];
      assert.equal(entries.length, first > 0 ? 2 : 0);
      const reader = new ArchiveReader(to.uuids);
      const record = new ConnectionRecord();
      for (const entry of entries) {
        assert.equal(entry.removal, (sent.flags & FLAG_TOMBSTONE) !== 0);
        assert.deepEqual([entry.epoch, entry.version], [sent.epoch, sent.version]);
        assert.deepEqual(entry.name, entries[0].name);
        if (entry.removal) continue;
        assert.ok(reader.read(entry.record, 77, record));
        assert.equal(record.remaining, 77);
        record.remaining = sent.remaining;
        assert.deepEqual(meaning(to, record), meaning(from, sent));
        // Whatever the bytes, nothing outside them is read.
        const cut = entry.record.slice(0, place % entry.record.length);
        assert.equal(reader.read(cut, 77, record), false);
      }
    }),
  );
});

test('records come back as they were, on a host with other numbers', () => {
  let tried = 0;
  fc.assert(
    fc.property(fc.array(anyRecord, { minLength: 1, maxLength: 40 }), (list) => {
      const from = newTable();
      const to = newTable({ self: uuid(2) });
      for (let n = 0; n < 7; n++) to.uuids.intern(uuid(500 + n));
      const writer = new RecordWriter(from.uuids);
      const reader = new RecordReader(to.uuids);
      const sent = list.map((drawn) => build(from, drawn)).filter((record) => record !== undefined);
      tried += sent.length;
      const wanted: unknown[] = [];
      const got: unknown[] = [];
      const flush = () => {
        const header = headerOf(writer);
        writeHeader(header, writer.bytes);
        const length = HEADER_SIZE + header.bodySize + TAG_SIZE;
        assert.ok(length <= DATAGRAM_SIZE);
        const back = new WireHeader();
        assert.equal(readHeader(writer.bytes, length, back), WIRE_OK);
        assert.deepEqual(back, header);
        assert.equal(reader.open(writer.bytes, back), WIRE_OK);
        assert.equal(reader.about, 77);
        const record = new ConnectionRecord();
        let result = reader.next(record);
        for (; result > 0; result = reader.next(record)) got.push(meaning(to, record));
        assert.equal(result, 0);
      };
      writer.begin(77);
      for (const record of sent) {
        wanted.push(meaning(from, record));
        if (writer.add(record)) continue;
        flush();
        writer.begin(77);
        assert.ok(writer.add(record));
      }
      flush();
      assert.deepEqual(got, wanted);
    }),
    { numRuns: 150 },
  );
  assert.ok(tried > 500, `${tried} records were sent`);
});

test('a datagram holds many records of a few ports', () => {
  const table = newTable();
  const writer = new RecordWriter(table.uuids);
  writer.begin();
  let count = 0;
  while (writer.add(recordOf(tuple(table, KIND_CONNTRACK, 6, '10.0.0.1', count, '10.0.0.2', 80)))) count++;
  assert.ok(count >= 30, `${count} records`);
});

test('any bytes behind a right header give records or an error, in bounded steps', () => {
  const table = newTable();
  const reader = new RecordReader(table.uuids);
  const record = new ConnectionRecord();
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 0, maxLength: 300 }), fc.nat(30), fc.nat(12), (body, count, type) => {
      const bytes = new Uint8Array(HEADER_SIZE + body.length + TAG_SIZE);
      bytes.set(body, HEADER_SIZE);
      const header = Object.assign(new WireHeader(), {
        type: type || 1,
        count,
        bodySize: body.length,
        senderIncarnation: 1,
      });
      writeHeader(header, bytes);
      assert.equal(readHeader(bytes, bytes.length, header), WIRE_OK);
      let result = reader.open(bytes, header);
      assert.ok(result <= 0);
      let steps = 0;
      if (result === WIRE_OK) {
        while ((result = reader.next(record)) > 0) {
          steps++;
          assert.ok(table.uuids.has(record.device) && table.uuids.has(record.owner));
        }
        assert.ok(result === 0 || result < 0);
        assert.ok(steps <= count);
      }
      for (const outcome of [
        readDigest(bytes, header, new Int32Array(DIGEST_WORDS)),
        readListRequest(bytes, header, new Int32Array(2)),
        readRows(bytes, header, LIST_ROW, new Int32Array(rowsPerDatagram(LIST_ROW) * LIST_ROW)),
        readResend(bytes, header, new Float64Array(RESEND_RANGES * 2)),
        readSync(bytes, header, new Float64Array(2)),
        readAsk(bytes, header, table.uuids, new Ask()),
      ]) {
        assert.ok(outcome <= 0);
      }
      table.uuids.reclaim();
    }),
    { numRuns: 1500 },
  );
});

test('a changed byte of a datagram is an error, or other records: never anything else', () => {
  const table = newTable();
  const writer = new RecordWriter(table.uuids);
  const reader = new RecordReader(table.uuids);
  const record = new ConnectionRecord();
  writer.begin();
  for (let i = 0; i < 8; i++) {
    const sent = recordOf(tuple(table, KIND_SNAT, 6, '10.0.0.1', i, '10.0.0.2', 80));
    writer.add(Object.assign(sent, { owner: table.self, epoch: 1, token: 4 }));
  }
  const header = headerOf(writer);
  writeHeader(header, writer.bytes);
  const length = HEADER_SIZE + header.bodySize + TAG_SIZE;
  let errors = 0;
  fc.assert(
    fc.property(fc.nat(length - TAG_SIZE - 1), fc.integer({ min: 1, max: 255 }), fc.nat(40), (at, flip, cut) => {
      const bytes = writer.bytes.slice();
      bytes[at] ^= flip;
      const back = new WireHeader();
      let result = readHeader(bytes, length - (cut < 10 ? cut : 0), back);
      if (result === WIRE_OK) result = reader.open(bytes, back);
      for (let i = 0; result === WIRE_OK || result > 0; i++) {
        assert.ok(i <= 256);
        result = reader.next(record);
        if (result === 0) break;
      }
      if (result < 0) errors++;
      assert.ok(wireResultText(result).length > 3);
      table.uuids.reclaim();
    }),
    { numRuns: 1500 },
  );
  assert.ok(errors > 300);
});

test('errors are told apart', () => {
  const table = newTable({ uuids: 2 });
  const writer = new RecordWriter(newTable().uuids);
  writer.begin();
  const header = headerOf(writer);
  const length = HEADER_SIZE + header.bodySize + TAG_SIZE;
  const judge = (change: (bytes: Uint8Array) => void, size = length) => {
    writeHeader(header, writer.bytes);
    const bytes = writer.bytes.slice(0, length);
    change(bytes);
    return readHeader(bytes, size, new WireHeader());
  };
  assert.equal(
    judge(() => {}),
    WIRE_OK,
  );
  assert.equal(
    judge(() => {}, 50),
    WIRE_TRUNCATED,
  );
  assert.equal(
    judge((bytes) => bytes.fill(0, 0, 2)),
    WIRE_NOT_OURS,
  );
  assert.equal(
    judge((bytes) => bytes.fill(2, 2, 3)),
    WIRE_OTHER_VERSION,
  );
  assert.equal(
    judge((bytes) => bytes.fill(99, 3, 4)),
    WIRE_TYPE,
  );
  assert.equal(
    judge((bytes) => bytes.fill(9, 7, 8)),
    WIRE_LENGTH,
  );
  const source = newTable();
  const named = new RecordWriter(source.uuids);
  named.begin();
  const whole = recordOf(tuple(source, KIND_SNAT, 6, '10.0.0.1', 1, '10.0.0.2', 80));
  named.add(Object.assign(whole, { owner: source.self, epoch: 1, ingress: source.uuids.intern(uuid(60)) }));
  const reader = new RecordReader(source.uuids);
  const about = headerOf(named);
  // Bytes of a record that name something: beyond the list; device and owner also none.
  const field = (at: number, value: number) => {
    const bytes = named.bytes.slice();
    bytes[HEADER_SIZE + 5 + at] = value;
    assert.equal(reader.open(named.bytes, about), WIRE_OK);
    assert.equal(reader.next(new ConnectionRecord()), 1);
    assert.equal(reader.open(bytes, about), WIRE_OK);
    return reader.next(new ConnectionRecord());
  };
  for (let at = 3; at < 8; at++) assert.equal(field(at, 4), WIRE_FIELD);
  for (const at of [1, 3, 4]) assert.equal(field(at, 0), WIRE_FIELD);
  assert.equal(field(5, 0), 1);
  const full = new RecordWriter(source.uuids);
  full.begin();
  const sent = recordOf(tuple(source, KIND_SNAT, 6, '10.0.0.1', 1, '10.0.0.2', 80));
  full.add(Object.assign(sent, { owner: source.self, epoch: 1, ingress: source.uuids.intern(uuid(60)) }));
  assert.equal(new RecordReader(table.uuids).open(full.bytes, headerOf(full)), WIRE_NO_ROOM);
});

test('digests, lists, resends, synchronisations and asks come back as they were', () => {
  const table = newTable();
  const bytes = new Uint8Array(DATAGRAM_SIZE);
  const header = new WireHeader();
  const sums = Int32Array.from({ length: DIGEST_WORDS }, (_, i) => Math.imul(i, 0x9e3779b1));
  header.bodySize = writeDigest(bytes, 5, sums);
  const sumsBack = new Int32Array(DIGEST_WORDS);
  assert.equal(readDigest(bytes, header, sumsBack), WIRE_OK);
  assert.deepEqual(sumsBack, sums);

  header.bodySize = writeListRequest(bytes, Int32Array.of(-5, 9));
  const buckets = new Int32Array(2);
  assert.equal(readListRequest(bytes, header, buckets), WIRE_OK);
  assert.deepEqual([...buckets], [-5, 9]);

  const most = rowsPerDatagram(LIST_ROW);
  const rows = Int32Array.from({ length: most * LIST_ROW }, (_, i) => i * -77777777);
  header.count = most;
  header.bodySize = writeRows(bytes, LIST_ROW, rows, 0, most);
  assert.ok(header.bodySize <= BODY_SIZE);
  const rowsBack = new Int32Array(most * LIST_ROW);
  assert.equal(readRows(bytes, header, LIST_ROW, rowsBack), WIRE_OK);
  assert.deepEqual(rowsBack, rows);

  header.count = 2;
  header.bodySize = writeResend(bytes, Float64Array.of(3, 5, 2 ** 45, 2 ** 45 + 1), 2);
  const ranges = new Float64Array(RESEND_RANGES * 2);
  assert.equal(readResend(bytes, header, ranges), WIRE_OK);
  assert.deepEqual([...ranges.subarray(0, 4)], [3, 5, 2 ** 45, 2 ** 45 + 1]);

  header.bodySize = writeSync(bytes, 9, 4_000_000_000);
  const sync = new Float64Array(2);
  assert.equal(readSync(bytes, header, sync), WIRE_OK);
  assert.deepEqual([...sync], [9, 4_000_000_000]);

  const words = tuple(table, KIND_SNAT, 17, '10.0.0.1', 1, '2001:db8::1', 53);
  header.bodySize = writeAsk(bytes, 12, words, 0, table.uuids);
  const ask = new Ask();
  assert.equal(readAsk(bytes, header, table.uuids, ask), WIRE_OK);
  assert.deepEqual([ask.number, ask.deviceKnown, ask.words], [12, true, words]);
  const stranger = newTable();
  assert.equal(readAsk(bytes, header, stranger.uuids, ask), WIRE_OK);
  assert.equal(ask.deviceKnown, false);
  assert.equal(stranger.uuids.size, 1, 'an ask makes no names');
});

test('a pair of hosts authenticates each direction with a key of its own', () => {
  const [a, b, c] = [newHostKeys(), newHostKeys(), newHostKeys()];
  const atA = new PeerKeys(a.privateKey, b.publicKey, uuid(1), uuid(2));
  const atB = new PeerKeys(b.privateKey, a.publicKey, uuid(2), uuid(1));
  const atC = new PeerKeys(c.privateKey, b.publicKey, uuid(1), uuid(2));
  const bytes = new Uint8Array(200).fill(5);
  const length = atA.seal(bytes, 100);
  assert.equal(length, 100 + TAG_SIZE);
  assert.equal(atB.verify(bytes, length), true);
  assert.equal(atA.verify(bytes, length), false, 'sent back to its sender');
  atC.seal(bytes, 100);
  assert.equal(atB.verify(bytes, length), false, 'another host under this name');
  atA.seal(bytes, 100);
  for (const at of [0, 40, 99, 100, 115]) {
    bytes[at] ^= 1;
    assert.equal(atB.verify(bytes, length), false, `byte ${at}`);
    bytes[at] ^= 1;
  }
  assert.equal(atB.verify(bytes, length - 1), false);
  assert.equal(atB.verify(bytes, 10), false);
  assert.throws(() => new PeerKeys(a.privateKey, new Uint8Array(32), uuid(1), uuid(2)), { code: 'WEFT_FLOWSTATE_KEY' });
  assert.throws(() => new PeerKeys(a.privateKey, new Uint8Array(31), uuid(1), uuid(2)), { code: 'WEFT_FLOWSTATE_KEY' });
});
