import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ipBytes, ipText, macBytes, macText, parsePrefix } from './ip-text.ts';
import { Attributes, NetlinkWriter, parseMessages } from './netlink-message.ts';
import { parseEvent } from './rtnetlink/monitor.ts';

test('what the writer writes the parser reads', () => {
  const w = new NetlinkWriter(24, 0x400).rawU8(2, 24, 0, 0);
  w.attrU8(1, 200).attrU16(2, 40000).attrU16be(3, 4789).attrU32(4, 0xfffffff1).attrString(5, 'weft').attrFlag(6);
  w.nest(7, (n) => n.attrU32(1, 9).nest(2, (m) => m.attrString(1, 'x')));
  const bytes = w.finish(77);
  const [m, ...rest] = parseMessages(bytes);
  assert.equal(rest.length, 0);
  assert.deepEqual([m!.type, m!.flags, m!.sequence, m!.end], [24, 0x401, 77, bytes.length]);
  const a = Attributes.of(m!, 4);
  assert.deepEqual([a.u8(1), a.u16(2), a.u16be(3), a.u32(4), a.s32(4)], [200, 40000, 4789, 0xfffffff1, -15]);
  assert.deepEqual(
    [a.string(5), a.has(6), a.has(8), a.u32(2), a.bytes(9)],
    ['weft', true, false, undefined, undefined],
  );
  assert.equal(a.nested(7)?.u32(1), 9);
  assert.equal(a.nested(7)?.nested(2)?.string(1), 'x');
});

test('the writer grows, and refuses what no message can hold', () => {
  const w = new NetlinkWriter(1, 0, 64);
  for (let i = 0; i < 500; i++) w.attrString(i, 'some text');
  const [m] = parseMessages(w.finish(1));
  assert.equal([...Attributes.of(m!, 0).types()].length, 500);
  assert.throws(() => w.attr(1, new Uint8Array(65000)), { code: 'WEFT_SYS_ARGUMENT' });
});

test('messages that claim more than there is are refused', () => {
  for (const length of [0, 15, 21, 0xffffffff]) {
    const bytes = new Uint8Array(20);
    new DataView(bytes.buffer).setUint32(0, length, true);
    assert.throws(() => parseMessages(bytes), { code: 'WEFT_SYS_PROTOCOL' });
  }
});

test('any bytes parse or are refused with a code; nothing else happens', () => {
  const type = fc.constantFrom(16, 17, 20, 21, 24, 25, 28, 29, 2, 3);
  fc.assert(
    fc.property(type, fc.uint8Array({ maxLength: 300 }), (t, payload) => {
      const bytes = new Uint8Array(16 + payload.length);
      bytes.set(payload, 16);
      const view = new DataView(bytes.buffer);
      view.setUint32(0, bytes.length, true);
      view.setUint16(4, t, true);
      try {
        for (const message of parseMessages(bytes)) parseEvent(message);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'WEFT_SYS_PROTOCOL');
      }
    }),
    { numRuns: 3000 },
  );
});

test('addresses: RFC 5952 text, and there and back', () => {
  const cases = [
    ['0:0:0:0:0:0:0:0', '::'],
    ['::1', '::1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['fe80::', 'fe80::'],
    ['192.0.2.1', '192.0.2.1'],
  ];
  for (const [input, expected] of cases) assert.equal(ipText(ipBytes(input!)), expected);
  const address = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc.array(fc.constantFrom(0, 0, 0, 1), { minLength: 16, maxLength: 16 }).map((a) => Uint8Array.from(a)),
  );
  fc.assert(fc.property(address, (bytes) => assert.deepEqual([...ipBytes(ipText(bytes))], [...bytes])));
  for (const bad of ['', '1.2.3', 'fe80::1%eth0', '10.0.0.1/24']) {
    assert.throws(() => ipBytes(bad), { code: 'WEFT_SYS_ARGUMENT' });
  }
  for (const bad of ['10.0.0.0/33', '10.0.0.0/', '::/129', '::/x']) {
    assert.throws(() => parsePrefix(bad), { code: 'WEFT_SYS_ARGUMENT' });
  }
  assert.equal(macText(macBytes('02:00:0A:ff:00:01')), '02:00:0a:ff:00:01');
  assert.throws(() => macBytes('02:00:0a:ff:00'), { code: 'WEFT_SYS_ARGUMENT' });
});
