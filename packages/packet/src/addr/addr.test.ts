import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  cidrContains,
  cidrCovers,
  cidrFormat,
  cidrLast,
  cidrOf,
  cidrParse,
  ip4FromNumber,
  ip4ToNumber,
  ip6FromEui64,
  ip6IsSolicitedNode,
  ip6SolicitedNode,
  ipCompare,
  ipFormat,
  ipIsBroadcast,
  ipIsLinkLocal,
  ipIsLoopback,
  ipIsMulticast,
  ipIsUnspecified,
  ipIsV4,
  ipOf,
  ipParse,
  linkLocalFromMac,
  macFormat,
  macFromNumber,
  macIsBroadcast,
  macIsMulticast,
  macIsZero,
  macOf,
  macParse,
  macToNumber,
  multicastMac,
  PacketError,
  prefixMask,
  prefixMatches,
  solicitedNodeMac,
  toHex,
} from '../index.ts';

const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });

/** 16-byte addresses that exercise runs of zeros and the mapped prefix. */
const anyIp = fc.oneof(
  bytes(16),
  fc
    .array(fc.constantFrom(0, 0, 0, 1, 0x10, 0xff), { minLength: 16, maxLength: 16 })
    .map((list) => Uint8Array.from(list)),
  fc.integer({ min: 0, max: 0xffff_ffff }).map((n) => ip4FromNumber(n)),
);

const invalid = (run: () => unknown): void => {
  assert.throws(run, (e) => e instanceof PacketError && e.code === 'WEFT_ADDRESS_INVALID');
};

test('RFC 5952: each of its examples has its one spelling', () => {
  const cases: [string, string][] = [
    ['2001:0db8::0001', '2001:db8::1'],
    ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:db8::1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:DB8:AAAA:BBBB:CCCC:DDDD:EEEE:0001', '2001:db8:aaaa:bbbb:cccc:dddd:eeee:1'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['fe80:0:0:0:0:0:0:1', 'fe80::1'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ];
  for (const [given, wanted] of cases) assert.equal(ipFormat(ipParse(given)), wanted);
});

test('IPv4 is stored as ::ffff:a.b.c.d', () => {
  assert.equal(toHex(ipParse('10.1.2.3')), '00000000000000000000ffff0a010203');
  assert.equal(ipFormat(ipParse('255.0.1.99')), '255.0.1.99');
  assert.equal(ip4ToNumber(ipParse('192.168.0.1')), 0xc0a80001);
  assert.equal(ipFormat(ip4FromNumber(0xffff_ffff)), '255.255.255.255');
});

test('texts that are no address, or have another spelling, are refused', () => {
  const bad = [
    '', ' ', '.', ':', ':::', '1', '1.2.3', '1.2.3.4.5', '01.2.3.4', '1.2.3.00', '256.1.1.1', '1.2.3.4 ', ' 1.2.3.4',
    '1..2.3', '+1.2.3.4', '0x1.2.3.4', '1.2.3.4/24', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1::2::3', ':1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:', '12345::', '::g', 'fe80::1%eth0', '::ffff:1.2.3.4', '::ffff:102:304', '1:2:3:4:5:6:7::8',
    '::1.2.3', '::1.2.3.4:5', '1:2:3:4:5:6:7:1.2.3.4', '[::1]', '１.2.3.4', '1.2.3.4\n',
  ]; // biome-ignore format: a list
  for (const text of bad) invalid(() => ipParse(text));
  invalid(() => ipParse('10.0.0.1', 6));
  invalid(() => ipParse('::1', 4));
  invalid(() => ipParse(undefined as unknown as string));
  invalid(() => ipOf(new Uint8Array(4)));
});

test('the offset of an address error points at the wrong character', () => {
  assert.throws(() => ipParse('10.0.300.1'), { offset: 5, layer: 'ip' });
  assert.throws(() => ipParse('fd00::xyz'), { offset: 6 });
});

test('property: parse inverts format', () => {
  fc.assert(fc.property(anyIp, (ip) => assert.deepEqual(ipParse(ipFormat(ip)), ip)));
});

test('property: what is accepted is what node:net accepts, and nothing but PacketError is thrown', () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom(...'0123456789abcf:.:.'.split('')), maxLength: 24 }),
    anyIp.map((ip) => ipFormat(ip)),
  );
  const run = fc.property(text, (t) => {
    let ip: Uint8Array | null = null;
    try {
      ip = ipParse(t);
    } catch (e) {
      assert.ok(e instanceof PacketError);
    }
    const legal = isIPv4(t) || (isIPv6(t) && !t.includes('%'));
    if (ip !== null) assert.ok(legal, t);
    // The reverse, except for mapped texts, which have another spelling.
    else if (legal) assert.match(t, /^[0:]*:f{4}:/i);
  });
  fc.assert(run, { numRuns: 2000 });
});

test('kinds of addresses', () => {
  const table: [(ip: Uint8Array) => boolean, string[], string[]][] = [
    [ipIsV4, ['0.0.0.0', '1.2.3.4'], ['::', '::1', '::1.2.3.4']],
    [ipIsUnspecified, ['0.0.0.0', '::'], ['::1', '0.0.0.1', '1::']],
    [ipIsMulticast, ['224.0.0.1', '239.1.1.1', 'ff02::1'], ['223.0.0.1', '240.0.0.1', 'fe80::1', '::e000:1']],
    [ipIsBroadcast, ['255.255.255.255'], ['255.255.255.254', '::255.255.255.255']],
    [ipIsLoopback, ['127.0.0.1', '127.9.9.9', '::1'], ['128.0.0.1', '::2', '::127.0.0.1', '::']],
    [ipIsLinkLocal, ['169.254.0.1', 'fe80::1', 'febf::1'], ['169.253.0.1', 'fec0::1', '::a9fe:1']],
  ];
  for (const [is, yes, no] of table) {
    for (const t of yes) assert.equal(is(ipParse(t)), true, `${is.name} ${t}`);
    for (const t of no) assert.equal(is(ipParse(t)), false, `${is.name} ${t}`);
  }
  assert.ok(ipCompare(ipParse('10.0.0.1'), 0, ipParse('10.0.0.2'), 0) < 0);
  assert.equal(ipCompare(ipParse('fd00::1'), 0, ipParse('fd00::1'), 0), 0);
});

test('MAC: text, bytes and number', () => {
  const mac = macParse('02:AA:bb:0c:0D:ff');
  assert.equal(macFormat(mac), '02:aa:bb:0c:0d:ff');
  assert.equal(macToNumber(mac), 0x02aabb0c0dff);
  assert.deepEqual(macFromNumber(0x02aabb0c0dff), mac);
  assert.equal(macFormat(macOf(1)), '00:00:00:00:00:01');
  for (const t of [
    '',
    '02:aa',
    '02-aa-bb-0c-0d-ff',
    '2:aa:bb:c:d:ff',
    '02:aa:bb:0c:0d:ff:00',
    '02:aa:bb:0c:0d:fg',
    ' 02:aa:bb:0c:0d:ff',
  ]) {
    invalid(() => macParse(t));
  }
  for (const n of [-1, 2 ** 48, 1.5, Number.NaN]) assert.throws(() => macFromNumber(n), { code: 'WEFT_PACKET_FIELD' });
  invalid(() => macOf(new Uint8Array(5)));
  fc.assert(
    fc.property(bytes(6), (m) => {
      assert.deepEqual(macParse(macFormat(m)), m);
      assert.deepEqual(macFromNumber(macToNumber(m)), m);
    }),
  );
  assert.equal(macIsMulticast(macParse('01:00:5e:00:00:01')), true);
  assert.equal(macIsMulticast(macParse('02:00:5e:00:00:01')), false);
  assert.equal(macIsBroadcast(macParse('ff:ff:ff:ff:ff:ff')), true);
  assert.equal(macIsBroadcast(macParse('ff:ff:ff:ff:ff:fe')), false);
  assert.equal(macIsZero(new Uint8Array(6)), true);
  assert.equal(macIsZero(macOf(1)), false);
});

test('CIDR: strict text, host bits as asked', () => {
  assert.equal(cidrFormat(cidrParse('10.1.0.0/16')), '10.1.0.0/16');
  assert.equal(cidrFormat(cidrParse('FD00::/8')), 'fd00::/8');
  assert.equal(cidrParse('0.0.0.0/0').bits, 96);
  assert.equal(cidrParse('::/0').bits, 0);
  assert.equal(cidrFormat(cidrParse('10.1.2.3/16', 'keep')), '10.1.2.3/16');
  assert.equal(cidrFormat(cidrParse('10.1.2.3/16', 'clear')), '10.1.0.0/16');
  for (const t of [
    '10.0.0.1/24',
    '10.0.0.0',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '::/129',
    '::/1e1',
    '/8',
    '10.0.0.0/8/8',
    '10.0.0.0/ 8',
    '',
  ]) {
    invalid(() => cidrParse(t));
  }
  assert.throws(() => cidrParse('10.0.0.1/24'), /the network is 10\.0\.0\.0\/24/);
});

test('CIDR: containment never crosses families', () => {
  const all4 = cidrParse('0.0.0.0/0');
  const all6 = cidrParse('::/0');
  assert.equal(cidrContains(all4, ipParse('1.2.3.4')), true);
  assert.equal(cidrContains(all4, ipParse('fd00::1')), false);
  assert.equal(cidrContains(all6, ipParse('fd00::1')), true);
  assert.equal(cidrContains(all6, ipParse('1.2.3.4')), false);
  assert.equal(cidrContains(cidrParse('10.0.0.0/9'), ipParse('10.128.0.0')), false);
  assert.equal(cidrContains(cidrParse('10.0.0.0/9'), ipParse('10.127.255.255')), true);
  assert.equal(cidrCovers(cidrParse('10.0.0.0/8'), cidrParse('10.1.0.0/16')), true);
  assert.equal(cidrCovers(cidrParse('10.1.0.0/16'), cidrParse('10.0.0.0/8')), false);
  assert.equal(cidrCovers(all6, all4), false);
  assert.equal(ipFormat(cidrLast(cidrParse('10.1.0.0/23'))), '10.1.1.255');
  assert.equal(ipFormat(cidrLast(cidrParse('fd00::/127'))), 'fd00::1');
  assert.equal(ipFormat(cidrLast(cidrParse('0.0.0.0/0'))), '255.255.255.255');
});

test('property: prefixes match as their bits say', () => {
  const bit = (ip: Uint8Array, i: number): number => (ip[i >> 3] >> (7 - (i & 7))) & 1;
  fc.assert(
    fc.property(bytes(16), fc.nat(127), fc.nat(128), (a, flip, bits) => {
      const b = a.slice();
      b[flip >> 3] ^= 0x80 >> (flip & 7);
      assert.equal(prefixMatches(a, 0, b, 0, bits), flip >= bits);
      const masked = a.slice();
      prefixMask(masked, 0, bits);
      for (let i = 0; i < 128; i++) assert.equal(bit(masked, i), i < bits ? bit(a, i) : 0);
    }),
  );
  fc.assert(
    fc.property(anyIp, fc.nat(128), (ip, n) => {
      const length = ipIsV4(ip) ? n % 33 : n;
      const network = cidrParse(cidrFormat(cidrOf(ip, length)), 'clear');
      assert.equal(cidrContains(network, ip), true);
      assert.equal(cidrContains(network, cidrLast(network)), true);
    }),
  );
});

test('derived addresses: RFC 4291 §2.7.1 and appendix A, RFC 2464 §7, RFC 1112 §6.4', () => {
  const ip = ipParse('4037::1:800:200e:8c6c');
  assert.equal(ipFormat(ip6SolicitedNode(ip)), 'ff02::1:ff0e:8c6c');
  assert.equal(ip6IsSolicitedNode(ip6SolicitedNode(ip)), true);
  assert.equal(ip6IsSolicitedNode(ip), false);
  assert.equal(macFormat(solicitedNodeMac(ip)), '33:33:ff:0e:8c:6c');
  assert.deepEqual(multicastMac(ip6SolicitedNode(ip)), solicitedNodeMac(ip));
  assert.equal(macFormat(multicastMac(ipParse('ff02::1'))), '33:33:00:00:00:01');
  assert.equal(macFormat(multicastMac(ipParse('239.129.2.3'))), '01:00:5e:01:02:03');
  assert.equal(ipFormat(linkLocalFromMac(macParse('34:56:78:9a:bc:de'))), 'fe80::3656:78ff:fe9a:bcde');
  assert.equal(ipFormat(ip6FromEui64(ipParse('2001:db8::'), macParse('02:00:00:00:00:01'))), '2001:db8::ff:fe00:1');
});
