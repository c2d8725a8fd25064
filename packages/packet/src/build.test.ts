import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as p from './index.ts';

const A = '02:00:00:00:00:01';
const B = '02:00:00:00:00:02';
const eth = { ethSrc: A, ethDst: B };
const v4 = { ...eth, src: '10.0.0.1', dst: '10.0.0.2' };
const v6 = { ...eth, src: 'fd00::1', dst: 'fd00::2' };
const layers = new p.Layers();

function ok(frame: Uint8Array): Uint8Array {
  assert.equal(p.dissect(frame, 0, frame.length, layers), 0);
  assert.deepEqual(p.verifyChecksums(frame), []);
  return frame;
}

test('a UDP frame, byte for byte', () => {
  const frame = ok(p.udpFrame({ ...v4, vlan: 5, srcPort: 0x1111, dstPort: 0x2222, payload: p.fromHex('abcd') }));
  // Checksums by hand: IPv4 4500+001e+4000+4011+0a00*2+0001+0002 -> 26cc; UDP …+1111+2222+000a*2+0011+abcd -> cce6.
  assert.equal(
    p.toHex(frame),
    p.toHex(
      p.fromHex(
        '020000000002 020000000001 8100 0005 0800' +
          '4500001e 00004000 4011 26cd 0a000001 0a000002' +
          '1111 2222 000a 0cd7 abcd',
      ),
    ),
  );
});

test('ARP request and reply', () => {
  const request = ok(p.arpRequest({ senderMac: A, senderIp: '10.0.0.1', targetIp: '10.0.0.2' }));
  assert.equal(p.describe(request), `${A} > ff:ff:ff:ff:ff:ff, ARP who-has 10.0.0.2 tell 10.0.0.1`);
  const reply = ok(p.arpReply({ senderMac: B, senderIp: '10.0.0.2', targetMac: A, targetIp: '10.0.0.1', vlan: 9 }));
  assert.equal(p.describe(reply), `${B} > ${A}, vlan 9, ARP 10.0.0.2 is-at ${B}`);
  assert.throws(() => p.arpRequest({ senderMac: A, senderIp: 'fd00::1', targetIp: '10.0.0.2' }), p.PacketError);
});

test('echo, both families', () => {
  ok(p.icmpEcho({ ...v4, id: 7, seq: 9, payload: new Uint8Array(56) }));
  assert.equal(p.icmpId(p.icmpEcho({ ...v4, id: 7, seq: 9 }), layers.l4), 7);
  ok(p.icmpEcho({ ...v4, id: 0, seq: 0, reply: true }));
  const reply = ok(p.icmpEcho({ ...v6, id: 7, seq: 9, reply: true, ttl: 3 }));
  assert.equal(p.icmpType(reply, layers.l4), p.ICMPV6_ECHO_REPLY);
  assert.equal(p.ipv6HopLimit(reply, layers.l3), 3);
  assert.throws(() => p.icmpEcho({ ...v4, dst: 'fd00::1' }), { code: 'WEFT_PACKET_FIELD' });
});

test('neighbour solicitation goes to the solicited-node address', () => {
  const solicit = ok(p.ndNeighborSolicit({ mac: A, src: 'fd00::1', target: 'fd00::1234:5678' }));
  assert.equal(
    p.describe(solicit),
    `${A} > 33:33:ff:34:56:78, fd00::1 > ff02::1:ff34:5678 ICMP6 who-has fd00::1234:5678 hlim 255`,
  );
  const probe = ok(p.ndNeighborSolicit({ mac: A, src: 'fd00::1', target: 'fd00::2', dst: 'fd00::2', ethDst: B }));
  assert.equal(p.macFormat(probe), B);
  const advert = ok(p.ndNeighborAdvert({ mac: B, target: 'fd00::2', dst: 'fd00::1', ethDst: A }));
  assert.equal(p.describe(advert), `${B} > ${A}, fd00::2 > fd00::1 ICMP6 fd00::2 is-at ${B} hlim 255`);
});

test('an ICMP error quotes as much as 576 bytes allow, and no padding', () => {
  const big = p.udpFrame({ ...v4, srcPort: 1, dstPort: 2, payload: new Uint8Array(1000).fill(3) });
  const to = { ethSrc: B, ethDst: A, src: '10.0.0.254', type: p.ICMP_UNREACHABLE };
  const error = ok(p.icmpError({ ...to, code: p.ICMP_FRAGMENTATION_NEEDED, rest: 1400, packet: big, ip: 14 }));
  assert.equal(p.ipv4TotalLength(error, 14), 576);
  assert.equal(p.ipv4Tos(error, 14), 0xc0);
  assert.equal(p.icmpMtu(error, 34), 1400);
  assert.deepEqual(error.subarray(42), big.subarray(14, 14 + 548));
  const small = p.padFrame(p.icmpEcho(v4));
  const about = ok(p.icmpError({ ...to, code: 1, packet: small, ip: 14 }));
  assert.equal(about.length, 14 + 20 + 8 + 28);
  assert.match(
    p.describe(about),
    /10\.0\.0\.254 > 10\.0\.0\.1 ICMP host unreachable .*\[10\.0\.0\.1 > 10\.0\.0\.2 ICMP echo request/,
  );
});

test('an ICMPv6 error quotes as much as 1280 bytes allow', () => {
  const big = p.udpFrame({ ...v6, vlan: 3, srcPort: 1, dstPort: 2, payload: new Uint8Array(2000) });
  const to = { ethSrc: B, ethDst: A, vlan: 3, src: 'fd00::fe', type: p.ICMPV6_PACKET_TOO_BIG, code: 0 };
  const error = ok(p.icmpError({ ...to, rest: 1400, packet: big, ip: 18 }));
  assert.equal(error.length, 18 + 1280);
  assert.equal(p.icmpv6Mtu(error, layers.l4), 1400);
  assert.throws(() => p.icmpError({ ...to, packet: big, ip: 18, src: '10.0.0.1' }), { code: 'WEFT_PACKET_FIELD' });
  assert.throws(() => p.icmpError({ ...to, packet: big, ip: 18, end: 50 }), { code: 'WEFT_PACKET_TRUNCATED' });
});

test('no error about what must not be answered', () => {
  const allowed = (frame: Uint8Array, type = 3, code = 0): boolean => {
    p.dissect(frame, 0, frame.length, layers);
    return p.icmpErrorAllowed(frame, layers, type, code);
  };
  const udp = (o: object): Uint8Array => p.udpFrame({ ...v4, srcPort: 1, dstPort: 2, ...o });
  const udp6 = (o: object): Uint8Array => p.udpFrame({ ...v6, srcPort: 1, dstPort: 2, ...o });
  assert.equal(allowed(udp({})), true);
  assert.equal(allowed(udp6({})), true);
  assert.equal(allowed(p.icmpEcho(v4)), true);
  assert.equal(allowed(p.icmpEcho(v6)), true);
  assert.equal(allowed(p.arpRequest({ senderMac: A, senderIp: '10.0.0.1', targetIp: '10.0.0.2' })), false, 'not IP');
  assert.equal(allowed(udp({ ethDst: p.MAC_BROADCAST })), false, 'link broadcast');
  assert.equal(allowed(udp({ dst: '224.0.0.5' })), false, 'to multicast');
  assert.equal(allowed(udp({ dst: '255.255.255.255' })), false, 'to broadcast');
  for (const src of ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255'])
    assert.equal(allowed(udp({ src })), false, src);
  for (const src of ['::', 'ff02::1']) assert.equal(allowed(udp6({ src })), false, src);
  const group = { dst: 'ff02::5', ethDst: '33:33:00:00:00:05' };
  assert.equal(allowed(udp6(group)), false);
  assert.equal(allowed(udp6(group), p.ICMPV6_PACKET_TOO_BIG), true, 'packet too big may be about multicast');
  assert.equal(allowed(udp6(group), p.ICMPV6_PARAMETER_PROBLEM), false);
  assert.equal(allowed(udp6(group), p.ICMPV6_PARAMETER_PROBLEM, p.ICMPV6_UNRECOGNIZED_OPTION), true);
  const error = p.icmpError({ ...eth, src: '10.0.0.254', type: 3, code: 1, packet: udp({}), ip: 14 });
  assert.equal(allowed(error), false, 'an ICMP error');
  const error6 = p.icmpError({ ...eth, src: 'fd00::fe', type: 1, code: 0, packet: udp6({}), ip: 14 });
  assert.equal(allowed(error6), false, 'an ICMPv6 error');
  const pieces = p.fragmentFrame(udp({ dontFragment: false, payload: new Uint8Array(100) }), 60);
  assert.deepEqual(
    pieces.slice(0, 2).map((piece) => allowed(piece)),
    [true, false],
  );
  const mapped = udp6({});
  mapped.set(p.ipParse('10.0.0.9'), 22);
  assert.equal(allowed(mapped), false, 'IPv4-mapped source on the wire');
});

test('resets as a closed port sends them (RFC 9293 §3.10.7.1)', () => {
  const base = { ...v4, srcPort: 1000, dstPort: 80, seq: 0xffff_fff0, ttl: 5 };
  const syn = ok(p.tcpRst(p.tcpFrame({ ...base, flags: p.TCP_SYN })) as Uint8Array);
  const tcp = p.tcpParse(syn, layers.l4, layers.l3End);
  assert.deepEqual(
    [tcp.srcPort, tcp.dstPort, tcp.seq, tcp.ack, tcp.flags],
    [80, 1000, 0, 0xffff_fff1, p.TCP_RST | p.TCP_ACK],
  );
  assert.equal(
    p.describe(syn),
    `${B} > ${A}, 10.0.0.2:80 > 10.0.0.1:1000 TCP [R.] seq 0 ack 4294967281 win 0 len 0 ttl 64`,
  );
  const data = ok(
    p.tcpRst(p.padFrame(p.tcpFrame({ ...base, flags: p.TCP_FIN, payload: new Uint8Array(20) }), 200)) as Uint8Array,
  );
  assert.equal(p.tcpAck(data, layers.l4), 5, '20 bytes and FIN, past the wrap');
  const ack = ok(
    p.tcpRst(p.tcpFrame({ ...v6, vlan: [1, 2], srcPort: 1, dstPort: 2, ack: 42, flags: p.TCP_ACK })) as Uint8Array,
  );
  assert.deepEqual([p.tcpSeq(ack, layers.l4), p.tcpFlags(ack, layers.l4), layers.vlans], [42, p.TCP_RST, 2]);
  assert.equal(p.tcpRst(p.tcpFrame({ ...base, flags: p.TCP_RST })), null);
  assert.equal(p.tcpRst(p.icmpEcho(v4)), null);
});

test('tunnels carry the frame and name the key', () => {
  const inner = p.tcpFrame({ ...v6, vlan: 7, srcPort: 1, dstPort: 2 });
  for (const outer of [
    { ...eth, src: '192.0.2.1', dst: '192.0.2.2' },
    { ...eth, src: '2001:db8::1', dst: '2001:db8::2' },
  ]) {
    const tunnels = [
      p.greFrame({ ...outer, key: 4711 }, inner),
      p.vxlanFrame({ ...outer, vni: 4711, srcPort: 50_000 }, inner),
      p.vxlanFrame({ ...outer, vni: 4711, srcPort: 50_000, checksum: true }, inner),
    ];
    for (const frame of tunnels) {
      ok(frame);
      const at = p.tunnelInner(frame, layers);
      assert.deepEqual(frame.subarray(at), inner);
      assert.equal(p.tunnelKey(frame, layers), 4711);
      assert.match(p.describe(frame), /(GRE key|VXLAN vni) 4711 .*\[.*vlan 7, \[fd00::1\]:1 > \[fd00::2\]:2 TCP \[S\]/);
    }
  }
  ok(p.udpFrame({ ...v4, srcPort: 1, dstPort: 4789, payload: new Uint8Array(30) }));
  assert.equal(
    p.tunnelInner(p.udpFrame({ ...v4, srcPort: 1, dstPort: 4789, payload: new Uint8Array(30) }), layers),
    -1,
  );
});
