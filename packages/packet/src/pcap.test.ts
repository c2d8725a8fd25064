import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromHex, PacketError, pcapHeader, pcapRead, pcapRecord, toHex } from './index.ts';

function join(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

test('header and record, byte for byte', () => {
  assert.equal(toHex(pcapHeader()), '4d3cb2a1020004000000000000000000' + '0000040001000000');
  assert.equal(toHex(pcapRecord(1, 2, fromHex('aabb'), 60)), '0100000002000000020000003c000000aabb');
  assert.throws(() => pcapRecord(1, 1e9, new Uint8Array(0)), { code: 'WEFT_PACKET_FIELD' });
});

test('property: what is written is read', () => {
  const record = fc.record(
    {
      seconds: fc.nat(0xffff_ffff),
      nanoseconds: fc.nat(999_999_999),
      frame: fc.uint8Array({ maxLength: 100 }),
      originalLength: fc.nat(0xffff_ffff),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(record, { maxLength: 8 }), fc.nat(20), (records, cutBy) => {
      const parts = records.map((r) => pcapRecord(r.seconds, r.nanoseconds, r.frame, r.originalLength));
      const file = join(pcapHeader(113), ...parts);
      const read = pcapRead(file);
      assert.equal(read.linkType, 113);
      assert.equal(read.cut, false);
      assert.deepEqual(read.records, records);
      const last = parts.at(-1);
      if (last === undefined) return;
      const cut = Math.min(1 + cutBy, last.length - 1);
      const partial = pcapRead(file.subarray(0, file.length - cut));
      assert.equal(partial.cut, true);
      assert.deepEqual(partial.records, records.slice(0, -1));
    }),
  );
});

test('a big-endian file with microseconds', () => {
  const file = fromHex(
    'a1b2c3d4 0002 0004 00000000 00000000 0000ffff 00000001' + '00000005 0000000a 00000002 00000040 abcd',
  );
  const { records } = pcapRead(file);
  assert.deepEqual(records, [{ seconds: 5, nanoseconds: 10_000, frame: fromHex('abcd'), originalLength: 64 }]);
});

test('damage is refused with a place', () => {
  const bad = (file: Uint8Array, offset: number): void => {
    assert.throws(
      () => pcapRead(file),
      (e) => e instanceof PacketError && e.code === 'WEFT_PCAP_INVALID' && e.offset === offset,
    );
  };
  bad(new Uint8Array(23), 0);
  bad(new Uint8Array(24), 0);
  const version = pcapHeader();
  version[4] = 1;
  bad(version, 4);
  bad(join(pcapHeader(), fromHex('00000000 00000000 ffffffff 00000000')), 32);
  bad(join(pcapHeader(), fromHex('00000000 ffffffff 00000000 00000000')), 28);
});
