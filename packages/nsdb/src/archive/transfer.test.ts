import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isNsdbError } from '../errors.ts';
import { decodeBody, encodeBody } from './codec.ts';
import { type ArchivedRecord, CHUNK_RECORDS, type FlowStateArchive } from './contract.ts';
import { newRecord, version } from './testing.ts';
import { ingest, serve } from './transfer.ts';

const PORT = '11111111-1111-4111-8111-111111111111';
const OTHER = '22222222-2222-4222-8222-222222222222';

function archiveOf(records: readonly ArchivedRecord[]): FlowStateArchive {
  return {
    async *read() {
      for (let at = 0; at < records.length; at += CHUNK_RECORDS) yield records.slice(at, at + CHUNK_RECORDS);
    },
  } as Partial<FlowStateArchive> as FlowStateArchive;
}

const some = Array.from({ length: CHUNK_RECORDS + 44 }, (_, i) =>
  newRecord({
    name: `n${i}`,
    ingress: i % 2 ? PORT : OTHER,
    egress: i % 2 ? undefined : PORT,
    version: version(i),
    remaining: i + 1,
  }),
);

async function sent(records: readonly ArchivedRecord[]): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of serve(archiveOf(records), PORT)) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function* pieces(bytes: Buffer, cuts: readonly number[] = []): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    const to = Math.max(at, Math.min(cut, bytes.length));
    yield bytes.subarray(at, to);
    at = to;
  }
  yield bytes.subarray(at);
}

/** The records that came, and the error that ended them. */
async function received(stream: AsyncIterable<Uint8Array>, maxRecords?: number) {
  const records: ArchivedRecord[] = [];
  try {
    for await (const chunk of ingest(stream, PORT, maxRecords === undefined ? {} : { maxRecords }))
      records.push(...chunk);
  } catch (error) {
    if (!isNsdbError(error, 'WEFT_ARCHIVE_STREAM')) throw error;
    return { records, error };
  }
  return { records, error: undefined };
}

test('what is sent arrives, wherever the bytes are cut', async () => {
  const bytes = await sent(some);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat({ max: bytes.length }), { maxLength: 30 }), async (cuts) => {
      assert.deepEqual(await received(pieces(bytes, cuts)), { records: some, error: undefined });
    }),
    { numRuns: 20 },
  );
  assert.deepEqual(await received(pieces(await sent([]))), { records: [], error: undefined });
});

test('a stream that ends anywhere gives the whole frames before, and an error', async () => {
  const bytes = await sent(some);
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: bytes.length - 1 }), async (end) => {
      const { records, error } = await received(pieces(bytes.subarray(0, end)));
      assert.ok(error);
      assert.deepEqual(records, some.slice(0, records.length));
    }),
    { numRuns: 50 },
  );
});

test('a flipped bit is never believed', async () => {
  const bytes = await sent(some);
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: bytes.length * 8 - 1 }), async (bit) => {
      const damaged = Buffer.from(bytes);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      const { records, error } = await received(pieces(damaged));
      assert.ok(error);
      assert.deepEqual(records, some.slice(0, records.length));
    }),
    { numRuns: 100 },
  );
});

test('any bytes are refused with the error, or are a stream', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      assert.ok((await received(pieces(Buffer.from(bytes)))).error);
    }),
  );
});

test('a frame that is missing is noticed', async () => {
  const frames: Uint8Array[] = [];
  for await (const piece of serve(archiveOf(some), PORT)) frames.push(piece);
  assert.equal(frames.length, 4);
  for (let left = 0; left < frames.length; left++) {
    const rest = Buffer.concat(frames.filter((_, i) => i !== left));
    assert.ok((await received(pieces(rest))).error, `without frame ${left}`);
  }
});

test('records of other ports, too many of them, and other ports altogether are refused', async () => {
  const stray = await received(pieces(await sent([some[0]!, newRecord({ ingress: OTHER, egress: OTHER })])));
  assert.match(String(stray.error), /none of this port/);
  assert.deepEqual(stray.records, []);
  assert.match(String((await received(pieces(await sent(some)), some.length - 1)).error), /more than 299 records/);
  assert.equal((await received(pieces(await sent(some)), some.length)).error, undefined);
  await assert.rejects(async () => {
    for await (const _ of ingest(pieces(await sent(some)), OTHER));
  }, /not of the port/);
});

test('bodies: what is written is read, and nothing else is', () => {
  const uuid = fc.uuid();
  const u32 = fc.integer({ min: 0, max: 0xffffffff });
  const plain = { noNullPrototype: true };
  const versions = fc.record({ epoch: u32, version: u32, owner: uuid }, plain);
  const names = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 });
  const record = fc.record(
    {
      name: names.filter((name) => Buffer.byteLength(name) <= 256),
      ingress: uuid,
      egress: fc.option(uuid, { nil: undefined }),
      version: versions,
      bytes: fc.uint8Array({ maxLength: 200 }),
    },
    plain,
  );
  fc.assert(fc.property(record, (one) => assert.deepEqual(decodeBody(encodeBody(one, one.bytes)!), one)));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, asFormat) => {
      if (asFormat && bytes.length > 1) bytes.set([1, bytes[1]! & 1]);
      const read = decodeBody(Buffer.from(bytes));
      // Reserved bytes and those of an absent egress are not looked at.
      if (read !== undefined) assert.equal(encodeBody(read, read.bytes)!.length, bytes.length);
    }),
  );
});
