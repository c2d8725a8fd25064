import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isZooKeeperError } from '../errors.ts';
import { JuteReader } from './reader.ts';
import { JuteWriter } from './writer.ts';

type Value =
  | { kind: 'int'; value: number }
  | { kind: 'number'; value: number }
  | { kind: 'long'; value: bigint }
  | { kind: 'bool'; value: boolean }
  | { kind: 'bytes'; value: Uint8Array }
  | { kind: 'string'; value: string }
  | { kind: 'strings'; value: string[] };

const text = fc.string({ unit: 'grapheme', maxLength: 30 });
const value: fc.Arbitrary<Value> = fc.oneof(
  fc.record({ kind: fc.constant('int' as const), value: fc.integer() }),
  fc.record({ kind: fc.constant('number' as const), value: fc.maxSafeInteger() }),
  fc.record({ kind: fc.constant('long' as const), value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }) }),
  fc.record({ kind: fc.constant('bool' as const), value: fc.boolean() }),
  fc.record({ kind: fc.constant('bytes' as const), value: fc.uint8Array({ maxLength: 60 }) }),
  fc.record({ kind: fc.constant('string' as const), value: text }),
  fc.record({ kind: fc.constant('strings' as const), value: fc.array(text, { maxLength: 5 }) }),
);

function write(writer: JuteWriter, { kind, value }: Value): void {
  (writer[kind] as (value: unknown) => void).call(writer, value);
}

function read(reader: JuteReader, kind: Value['kind']): unknown {
  const result = reader[kind]();
  return Buffer.isBuffer(result) ? new Uint8Array(result) : result;
}

const isProtocolError = (error: unknown) => isZooKeeperError(error, 'WEFT_ZK_PROTOCOL');

describe('jute', () => {
  it('has the bytes that Apache ZooKeeper writes', () => {
    const writer = new JuteWriter(Buffer.alloc(0));
    writer.int(-2);
    writer.long(0x0102030405060708n);
    writer.number(2 ** 40 + 5);
    writer.bool(true);
    writer.bytes(Uint8Array.of(1, 2));
    writer.bytes(null);
    writer.string('/ü');
    writer.strings(['a', '']);
    assert.equal(
      writer.buffer.subarray(0, writer.length).toString('hex'),
      [
        'fffffffe',
        '0102030405060708',
        '0000010000000005',
        '01',
        '000000020102',
        'ffffffff',
        '000000032fc3bc',
        '00000002',
        '0000000161',
        '00000000',
      ].join(''),
    );
  });

  it('reads what was written, wherever it lies in a buffer', () => {
    fc.assert(
      fc.property(fc.array(value), fc.nat(20), (values, before) => {
        const writer = new JuteWriter(Buffer.alloc(1));
        writer.raw(Buffer.alloc(before));
        for (const one of values) write(writer, one);
        const reader = new JuteReader().reset(Buffer.from(writer.buffer), before, writer.length);
        for (const { kind, value } of values) assert.deepEqual(read(reader, kind), value);
        assert.equal(reader.remaining, 0);
      }),
    );
  });

  it('refuses what ends too early, and never reads beyond the end', () => {
    fc.assert(
      fc.property(value, fc.nat(), (one, cut) => {
        const writer = new JuteWriter();
        write(writer, one);
        const end = cut % writer.length;
        assert.throws(() => read(new JuteReader().reset(writer.buffer, 0, end), one.kind), isProtocolError);
      }),
    );
  });

  it('refuses lengths and counts that the packet cannot hold, before it takes memory for them', () => {
    const bytes = Buffer.alloc(8);
    for (const length of [-2, 5, 0x7fff_ffff, -0x8000_0000]) {
      bytes.writeInt32BE(length);
      const reader = () => new JuteReader().reset(bytes, 0, 8);
      assert.throws(() => reader().bytes(), isProtocolError);
      assert.throws(() => reader().string(), isProtocolError);
      assert.throws(() => reader().strings(), isProtocolError);
    }
  });

  it('gives bytes that do not change with the packet', () => {
    const packet = Buffer.from('00000002aabb', 'hex');
    const bytes = new JuteReader().reset(packet, 0, 6).bytes();
    packet.fill(0);
    assert.deepEqual(bytes, Buffer.of(0xaa, 0xbb));
  });
});
