import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalUuid, derivedUuid } from './ids.ts';
import {
  canonicalAddressWithPrefix,
  canonicalIp,
  canonicalSubnet,
  formatIp,
  isAssignableIp,
  overlaps,
  parseCidr,
  parseIp,
} from './ip.ts';
import { canonicalMac } from './mac.ts';

test('IPv6 text is that of RFC 5952', () => {
  for (const [input, expected] of [
    ['2001:0DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['::', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1::', '1::'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ] as const) {
    assert.equal(canonicalIp(input), expected);
  }
});

test('what is no address is refused', () => {
  for (const text of [
    '',
    '1.2.3',
    '1.2.3.256',
    '01.2.3.4',
    '::1::',
    'fe80::1%eth0',
    'g::',
    '10.0.0.1 ',
    '1:2:3:4:5:6:7:8:9',
  ]) {
    assert.equal(canonicalIp(text), undefined, text);
  }
});

test('prefixes: host bits are cleared in subnets and kept in addresses', () => {
  assert.equal(canonicalSubnet('10.1.2.3/20'), '10.1.0.0/20');
  assert.equal(canonicalSubnet('10.1.2.3'), '10.1.2.3/32');
  assert.equal(canonicalSubnet('FD00:1:2:3:4::5/64'), 'fd00:1:2:3::/64');
  assert.equal(canonicalSubnet('fd00::ffff/121'), 'fd00::ff80/121');
  assert.equal(canonicalAddressWithPrefix('10.1.2.3/20'), '10.1.2.3/20');
  for (const text of ['10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/', '10.0.0.0/08', '::/129', '10.0.0.0/8/8', '/8']) {
    assert.equal(canonicalSubnet(text), undefined, text);
  }
});

test('overlap', () => {
  const meet = (a: string, b: string) => overlaps(parseCidr(a)!, parseCidr(b)!);
  assert.ok(meet('10.0.0.0/8', '10.1.2.3/32'));
  assert.ok(meet('10.0.1.1/23', '10.0.0.9/24'));
  assert.ok(!meet('10.0.0.0/24', '10.0.1.0/24'));
  assert.ok(meet('fd00::/64', 'fd00::1/128'));
  assert.ok(!meet('fd00::/64', 'fd00:0:0:1::/64'));
  assert.ok(meet('0.0.0.0/0', '1.2.3.4/32'));
  assert.ok(!meet('0.0.0.0/0', '::/0'));
});

test('addresses that an interface cannot own', () => {
  for (const text of [
    '0.0.0.0',
    '0.1.2.3',
    '127.0.0.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    'ff02::1',
  ]) {
    assert.ok(!isAssignableIp(parseIp(text)!), text);
  }
  for (const text of ['10.0.0.1', '223.255.255.255', 'fe80::1', '2001:db8::1'])
    assert.ok(isAssignableIp(parseIp(text)!), text);
});

test('any 4 or 16 bytes survive formatting and parsing', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );
  const sparse = bytes.chain((b) =>
    fc.array(fc.boolean(), { minLength: 16, maxLength: 16 }).map((keep) => b.map((x, i) => (keep[i] ? x : 0))),
  );
  fc.assert(fc.property(fc.oneof(bytes, sparse), (b) => assert.deepEqual(parseIp(formatIp(b)), b)));
});

test('MAC spellings', () => {
  assert.equal(canonicalMac('AA-BB-CC-DD-EE-0F'), 'aa:bb:cc:dd:ee:0f');
  assert.equal(canonicalMac('ffff.ff00.0000'), 'ff:ff:ff:00:00:00');
  for (const text of ['aa:bb:cc:dd:ee', 'aa:bb-cc:dd:ee:ff', 'aabbccddeeff', 'aa:bb:cc:dd:ee:fg'])
    assert.equal(canonicalMac(text), undefined);
});

test('derived ids are UUIDs, equal for equal input only', () => {
  assert.equal(canonicalUuid(derivedUuid('a', 'b')), derivedUuid('a', 'b'));
  assert.notEqual(derivedUuid('a', 'b'), derivedUuid('ab'));
  assert.equal(derivedUuid('x')[14], '5');
});
