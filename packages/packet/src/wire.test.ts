import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as p from './index.ts';

/* Hand-typed packets against the standards' layouts: every field read, then written back to the same bytes. */

const { fromHex, ipParse, macParse } = p;

function truncated(run: () => unknown, layer: string): void {
  assert.throws(run, (e) => e instanceof p.PacketError && e.code === 'WEFT_PACKET_TRUNCATED' && e.layer === layer);
}

function malformed(run: () => unknown, layer: string): void {
  assert.throws(run, (e) => e instanceof p.PacketError && e.code === 'WEFT_PACKET_MALFORMED' && e.layer === layer);
}

test('Ethernet and 802.1Q', () => {
  const bytes = fromHex('ffffffffffff 020000000001 8100 a064 0800');
  const eth = p.ethParse(bytes);
  assert.deepEqual(eth, { dst: p.MAC_BROADCAST, src: macParse('02:00:00:00:00:01'), type: p.ETHERTYPE_VLAN });
  const tag = p.vlanParse(bytes, p.ETH_SIZE);
  assert.deepEqual(tag, { vid: 100, pcp: 5, dei: false, type: p.ETHERTYPE_IPV4 });
  const out = new Uint8Array(18);
  assert.equal(p.vlanEmit(tag, out, p.ethEmit(eth, out)), 4);
  assert.deepEqual(out, bytes);
  assert.equal(p.ethFormat(bytes), '02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff');
  truncated(() => p.ethParse(bytes.subarray(0, 13)), 'ethernet');
  truncated(() => p.vlanParse(bytes, 14, 17), 'vlan');
  assert.throws(() => p.ethEmit(eth, new Uint8Array(13)), { code: 'WEFT_PACKET_SPACE' });
  assert.throws(() => p.vlanEmit({ ...tag, vid: 4096 }, out, 14), { code: 'WEFT_PACKET_FIELD' });
});

test('tags are pushed in front and popped from the front', () => {
  const frame = p.ethFrame({ ethSrc: 1, ethDst: 2, type: 0x1234, payload: fromHex('0102') });
  const one = p.vlanPush(frame, 0x2005);
  const two = p.vlanPush(one, 7, p.ETHERTYPE_QINQ);
  assert.equal(p.toHex(two), '000000000002000000000001' + '88a80007' + '81002005' + '1234' + '0102');
  assert.deepEqual(p.vlanPop(two), one);
  assert.deepEqual(p.vlanPop(one), frame);
  malformed(() => p.vlanPop(frame), 'vlan');
  assert.deepEqual(
    p.ethFrame({ ethSrc: 1, ethDst: 2, vlan: [7, 0x2005], type: 0x1234, payload: fromHex('0102') }),
    two,
  );
});

test('ARP (RFC 826)', () => {
  const bytes = fromHex('0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002');
  const arp = p.arpParse(bytes, 0);
  assert.equal(arp.op, p.ARP_REQUEST);
  assert.equal(p.ipFormat(arp.senderIp), '10.0.0.1');
  assert.equal(p.ipFormat(arp.targetIp), '10.0.0.2');
  const out = new Uint8Array(28);
  assert.equal(p.arpEmit(arp, out, 0), 28);
  assert.deepEqual(out, bytes);
  assert.equal(p.arpFormat(bytes, 0), 'ARP who-has 10.0.0.2 tell 10.0.0.1');
  truncated(() => p.arpParse(bytes.subarray(0, 27), 0), 'arp');
  for (const at of [0, 2, 4, 5]) {
    const wrong = bytes.slice();
    wrong[at] = 9;
    malformed(() => p.arpParse(wrong, 0), 'arp');
  }
  assert.throws(() => p.arpEmit({ ...arp, senderIp: ipParse('fd00::1') }, out, 0), { code: 'WEFT_PACKET_FIELD' });
});

test('IPv4 (RFC 791): options, fragment fields, lengths', () => {
  // Router alert, then a NOP, a record route and the end of options.
  const bytes = fromHex('48b8 0024 1234 2001 40 11 0000 0a000001 0a000002 9404 0000 01 07 07 04 00000000 0000 0000');
  bytes.set(fromHex('94040000 01 070704 00000000'), 20);
  p.ipv4FillChecksum(bytes, 0);
  const ip = p.ipv4Parse(bytes, 0);
  assert.equal(p.ipv4HeaderSize(bytes, 0), 32);
  assert.equal(ip.payloadLength, 4);
  assert.equal(ip.tos, 0xb8);
  assert.equal(ip.id, 0x1234);
  assert.equal(ip.moreFragments, true);
  assert.equal(ip.dontFragment, false);
  assert.equal(ip.fragmentOffset, 8);
  assert.equal(p.ipv4FragmentClass(bytes, 0), p.FRAGMENT_LATER);
  assert.equal(p.ipv4Option(bytes, 0, p.IPV4_OPTION_ROUTER_ALERT), 20);
  assert.equal(p.ipv4Option(bytes, 0, p.IPV4_OPTION_RECORD_ROUTE), 25);
  assert.equal(p.ipv4Option(bytes, 0, p.IPV4_OPTION_LSRR), -1);
  const out = bytes.slice();
  assert.equal(p.ipv4Emit(ip, out, 0), 32);
  assert.deepEqual(out, bytes);

  malformed(() => p.ipv4Parse(withByte(bytes, 0, 0x68), 0), 'ipv4');
  malformed(() => p.ipv4Parse(withByte(bytes, 0, 0x44), 0), 'ipv4');
  malformed(() => p.ipv4Parse(withByte(bytes, 3, 31), 0), 'ipv4');
  truncated(() => p.ipv4Parse(withByte(bytes, 3, 0x29), 0), 'ipv4');
  truncated(() => p.ipv4Parse(bytes.subarray(0, 19), 0), 'ipv4');
  truncated(() => p.ipv4Parse(bytes.subarray(0, 31), 0), 'ipv4');
  assert.equal(p.ipv4Check(bytes, 0, 32, true), 32);
  assert.equal(p.ipv4Option(withByte(bytes, 21, 1), 0, p.IPV4_OPTION_RECORD_ROUTE), p.FAULT_MALFORMED);
  assert.equal(p.ipv4Option(withByte(bytes, 26, 12), 0, p.IPV4_OPTION_LSRR), p.FAULT_MALFORMED);
  for (const bad of [
    { ttl: 256 },
    { fragmentOffset: 4 },
    { options: new Uint8Array(41) },
    { src: ipParse('::1') },
    { payloadLength: 65_516 },
  ]) {
    assert.throws(() => p.ipv4Emit({ ...ip, ...bad }, new Uint8Array(80), 0), { code: 'WEFT_PACKET_FIELD' });
  }
});

test('IPv6 (RFC 8200)', () => {
  const bytes = fromHex(
    '6b8abcde 0008 11 40 20010db8000000000000000000000001 20010db8000000000000000000000002 0001000200080000',
  );
  const ip = p.ipv6Parse(bytes, 0);
  assert.equal(ip.trafficClass, 0xb8);
  assert.equal(ip.flowLabel, 0xabcde);
  assert.equal(ip.nextHeader, p.IPPROTO_UDP);
  assert.equal(ip.hopLimit, 64);
  assert.equal(ip.payloadLength, 8);
  assert.equal(p.ipFormat(ip.dst), '2001:db8::2');
  const out = bytes.slice();
  assert.equal(p.ipv6Emit(ip, out, 0), 40);
  assert.deepEqual(out, bytes);
  p.ipv6SetTrafficClass(out, 0, 0x03);
  assert.equal(p.toHex(out, 0, 4), '603abcde');
  assert.equal(p.ipv6TrafficClass(out, 0), 3);
  malformed(() => p.ipv6Parse(withByte(bytes, 0, 0x45), 0), 'ipv6');
  truncated(() => p.ipv6Parse(bytes.subarray(0, 47), 0), 'ipv6');
  truncated(() => p.ipv6Parse(bytes.subarray(0, 39), 0), 'ipv6');
});

const FIXED = (next: string, length: number): string =>
  `60000000 ${length.toString(16).padStart(4, '0')} ${next} 40 ${'20010db8000000000000000000000001'} ${'20010db8000000000000000000000002'}`;

test('IPv6 extension headers are walked to the L4 header', () => {
  // Hop-by-hop (8), destination options (16), routing without segments left (8), AH (16), fragment (8), UDP.
  const bytes = fromHex(
    FIXED('00', 64) +
      '3c00 0104 00000000' +
      '2b01 010c 000000000000000000000000' +
      '3300 0400 00000000' +
      '2c02 0000 00000001 00000002 deadbeef' +
      '1100 0001 0000002a' +
      '0001000200080000',
  );
  const walk = new p.Ipv6Walk();
  assert.equal(p.ipv6Walk(bytes, 0, bytes.length, walk), 0);
  assert.equal(walk.protocol, p.IPPROTO_UDP);
  assert.equal(walk.l4, 96);
  assert.equal(walk.fragment, p.FRAGMENT_FIRST);
  assert.equal(walk.fragmentId, 42);
  assert.equal(walk.fragmentHeader, 88);
  assert.equal(walk.protocolField, 88);
  assert.equal(walk.routing, -1);
  for (let end = 40; end < 96; end++) assert.equal(p.ipv6Walk(bytes, 0, end, walk), p.FAULT_TRUNCATED, `end ${end}`);
});

test('IPv6 extension headers: what is refused, and where the walk stops', () => {
  const walk = new p.Ipv6Walk();
  const run = (hex: string): number => {
    const bytes = fromHex(hex);
    return p.ipv6Walk(bytes, 0, bytes.length, walk);
  };
  const dst = '3c00 0104 00000000';
  assert.equal(run(FIXED('3c', 72) + dst.repeat(9)), p.FAULT_UNSUPPORTED, 'more than eight');
  assert.equal(run(`${FIXED('3c', 64)}${dst.repeat(7)}0600010400000000`), 0, 'eight');
  assert.equal(walk.protocol, p.IPPROTO_TCP);
  assert.equal(
    run(`${FIXED('2c', 16)}2c00000100000001 1100000800000002`),
    0,
    'of two fragment headers the last counts',
  );
  assert.deepEqual([walk.fragment, walk.fragmentOffset, walk.fragmentId], [p.FRAGMENT_LATER, 8, 2]);
  assert.equal(run(`${FIXED('2c', 16)}3c000009 00000007 3cff ffff ffffffff`), 0, 'a later fragment');
  assert.equal(walk.fragment, p.FRAGMENT_LATER);
  assert.equal(walk.fragmentOffset, 8);
  assert.equal(walk.protocol, p.IPPROTO_DSTOPTS);
  assert.equal(run(`${FIXED('2c', 8)}1100 0000 00000007`), 0, 'an atomic fragment (RFC 6946)');
  assert.equal(walk.fragment, p.FRAGMENT_NONE);
  assert.equal(run(`${FIXED('2b', 8)}1100 0401 00000000`), 0);
  assert.equal(walk.routing, 40, 'segments left');
  assert.equal(run(`${FIXED('32', 8)}1100 0401 00000000`), 0);
  assert.equal(walk.protocol, p.IPPROTO_ESP, 'nothing is read behind ESP');
  assert.equal(run(FIXED('3b', 0)), 0);
  assert.equal(walk.protocol, p.IPPROTO_NONE);
});

test('UDP (RFC 768)', () => {
  const bytes = fromHex('1234 0035 000a 0000 aabb');
  const udp = p.udpParse(bytes, 0);
  assert.deepEqual(udp, { srcPort: 0x1234, dstPort: 53, payloadLength: 2 });
  const out = bytes.slice();
  p.udpEmit(udp, out, 0);
  assert.deepEqual(out, bytes);
  truncated(() => p.udpParse(bytes.subarray(0, 9), 0), 'udp');
  malformed(() => p.udpParse(withByte(bytes, 5, 7), 0), 'udp');
  assert.equal(p.udpCheck(bytes, 0, 9, true), 8);
});

test('TCP (RFC 9293): options', () => {
  const bytes = fromHex('0050 d431 00000001 ffffffff 8012 ffff 0000 0005 0204 05b4 0101 0402');
  const size = bytes.length;
  bytes[12] = (size / 4) << 4;
  const tcp = p.tcpParse(bytes, 0);
  assert.equal(tcp.srcPort, 80);
  assert.equal(tcp.dstPort, 0xd431);
  assert.equal(tcp.seq, 1);
  assert.equal(tcp.ack, 0xffff_ffff);
  assert.equal(tcp.flags, p.TCP_SYN | p.TCP_ACK);
  assert.equal(tcp.window, 65_535);
  assert.equal(tcp.urgent, 5);
  assert.equal(p.tcpMss(bytes, 0), 1460);
  assert.equal(p.tcpOption(bytes, 0, p.TCP_OPTION_SACK_PERMITTED), 26);
  assert.equal(p.tcpOption(bytes, 0, p.TCP_OPTION_TIMESTAMPS), -1);
  const out = new Uint8Array(size);
  assert.equal(p.tcpEmit(tcp, out, 0), size);
  assert.deepEqual(out, bytes);
  assert.equal(p.tcpFormat(bytes, 0), 'TCP [S.] seq 1 ack 4294967295 win 65535');
  malformed(() => p.tcpParse(withByte(bytes, 12, 0x40), 0), 'tcp');
  truncated(() => p.tcpParse(withByte(bytes, 12, 0x80), 0), 'tcp');
  truncated(() => p.tcpParse(bytes.subarray(0, 19), 0), 'tcp');
  assert.equal(p.tcpOption(withByte(bytes, 21, 0), 0, p.TCP_OPTION_SACK), p.FAULT_MALFORMED);
  assert.equal(p.tcpMss(withByte(bytes, 21, 3), 0), -1);
});

test('ICMP (RFC 792) and ICMPv6 (RFC 4443)', () => {
  const bytes = fromHex('0800 0000 0102 0304');
  const echo = p.icmpParse(bytes, 0);
  assert.deepEqual(echo, { type: 8, code: 0, rest: 0x01020304 });
  assert.equal(p.icmpId(bytes, 0), 0x0102);
  assert.equal(p.icmpSeq(bytes, 0), 0x0304);
  const out = new Uint8Array(8);
  p.icmpEmit(echo, out, 0);
  assert.deepEqual(out, bytes);
  assert.equal(p.icmpMtu(fromHex('0304000000000578'), 0), 1400);
  assert.equal(p.icmpv6Mtu(fromHex('0200000000010578'), 0), 0x10578);
  const errors = [3, 4, 5, 11, 12];
  for (let type = 0; type < 256; type++) assert.equal(p.icmpIsError(type), errors.includes(type));
  truncated(() => p.icmpParse(bytes.subarray(0, 7), 0), 'icmp');
});

test('neighbour discovery (RFC 4861): the four messages', () => {
  const target = ipParse('fe80::2');
  const mac = macParse('02:00:00:00:00:01');
  const solicit = fromHex('8700 0000 00000000 fe800000000000000000000000000002 0101 020000000001');
  assert.deepEqual(p.ndParse(solicit, 0), { type: 135, target, sourceMac: mac });
  const advert = fromHex('8800 0000 e0000000 fe800000000000000000000000000002 0201 020000000001');
  assert.deepEqual(p.ndParse(advert, 0), { type: 136, flags: 0xe0, target, targetMac: mac });
  const routerSolicit = fromHex('8500 0000 00000000');
  assert.deepEqual(p.ndParse(routerSolicit, 0), { type: 133, sourceMac: null });
  const routerAdvert = fromHex(
    '8600 0000 40 c0 0708 00000001 00000002 0101 020000000001 0501 0000 00000578' +
      '0304 40 c0 00278d00 00093a80 00000000 20010db8000000000000000000000000',
  );
  const ra = p.ndParse(routerAdvert, 0);
  assert.deepEqual(ra, {
    type: 134,
    hopLimit: 64,
    flags: p.ND_RA_MANAGED | p.ND_RA_OTHER,
    lifetime: 1800,
    reachable: 1,
    retrans: 2,
    sourceMac: mac,
    mtu: 1400,
    prefixes: [
      { prefix: ipParse('2001:db8::'), length: 64, flags: 0xc0, validLifetime: 2_592_000, preferredLifetime: 604_800 },
    ],
  });
  for (const bytes of [solicit, advert, routerSolicit, routerAdvert]) {
    const repr = p.ndParse(bytes, 0);
    const out = new Uint8Array(bytes.length);
    assert.equal(p.ndSize(repr), bytes.length);
    assert.equal(p.ndEmit(repr, out, 0), bytes.length);
    assert.deepEqual(out, bytes);
    malformed(() => p.ndParse(withByte(bytes, 1, 1), 0), 'nd');
    for (let end = 0; end < bytes.length; end++) {
      // A cut exactly between two options leaves a legal message.
      if ((end - p.ndFixedSize(bytes[0])) % 8 === 0 && end >= p.ndFixedSize(bytes[0])) continue;
      truncated(() => p.ndParse(bytes, 0, end), 'nd');
    }
  }
  malformed(() => p.ndParse(withByte(solicit, 25, 0), 0), 'nd');
  malformed(() => p.ndParse(withByte(solicit, 8, 0xff), 0), 'nd');
  truncated(() => p.ndParse(withByte(solicit, 25, 2), 0), 'nd');
});

test('neighbour discovery is believed only as RFC 4861 §6.1 and §7.1 allow', () => {
  const trusted = (frame: Uint8Array): boolean => p.ndTrusted(frame, 14, 54, frame.length);
  const dad = p.ndNeighborSolicit({ mac: 1, src: '::', target: 'fe80::1' });
  assert.equal(dad.length, 14 + 40 + 24, 'no source option in duplicate address detection');
  assert.equal(trusted(dad), true);
  assert.equal(trusted(withByte(dad, 14 + 7, 254)), false, 'hop limit');
  assert.equal(trusted(withByte(dad, 14 + 24 + 12, 0)), false, 'not to a solicited-node address');
  const solicit = p.ndNeighborSolicit({ mac: 1, src: 'fe80::9', target: 'fe80::1' });
  assert.equal(trusted(solicit), true);
  solicit.fill(0, 22, 38);
  assert.equal(trusted(solicit), false, 'unspecified source with a source option');
  const advert = p.ndNeighborAdvert({ mac: 1, target: 'fe80::1', dst: 'ff02::1', ethDst: 2 });
  assert.equal(trusted(advert), false, 'solicited, to all nodes');
  assert.equal(trusted(withByte(advert, 54 + 4, p.ND_OVERRIDE)), true);
});

test('GRE (RFC 2784, RFC 2890)', () => {
  const bytes = fromHex('3000 6558 00001389 00000007');
  assert.deepEqual(p.greParse(bytes, 0), { protocol: p.ETHERTYPE_TEB, key: 5001, sequence: 7 });
  const out = new Uint8Array(12);
  assert.equal(p.greEmit(p.greParse(bytes, 0), out, 0), 12);
  assert.deepEqual(out, bytes);
  const sum = fromHex('a000 0800 0000 0000 00000009');
  assert.deepEqual(p.greParse(sum, 0), { protocol: 0x0800, key: 9, sequence: null });
  assert.deepEqual(p.greParse(fromHex('0000 6558'), 0), { protocol: p.ETHERTYPE_TEB, key: null, sequence: null });
  for (const flags of [0x4000, 0x0800, 0x0400, 1, 2, 4]) {
    const wrong = bytes.slice();
    p.setU16(wrong, 0, flags);
    malformed(() => p.greParse(wrong, 0), 'gre');
  }
  truncated(() => p.greParse(bytes.subarray(0, 11), 0), 'gre');
});

test('VXLAN (RFC 7348)', () => {
  const bytes = fromHex('08000000 abcdef00');
  assert.deepEqual(p.vxlanParse(bytes, 0), { vni: 0xabcdef });
  const out = new Uint8Array(8);
  p.vxlanEmit({ vni: 0xabcdef }, out, 0);
  assert.deepEqual(out, bytes);
  malformed(() => p.vxlanParse(withByte(bytes, 0, 0), 0), 'vxlan');
  truncated(() => p.vxlanParse(bytes.subarray(0, 7), 0), 'vxlan');
  assert.throws(() => p.vxlanEmit({ vni: 0x1_000000 }, out, 0), { code: 'WEFT_PACKET_FIELD' });
});

function withByte(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const out = bytes.slice();
  out[at] = value;
  return out;
}
