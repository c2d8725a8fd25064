import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as p from './index.ts';

const A = '02:00:00:00:00:01';
const B = '02:00:00:00:00:02';
const eth = { ethSrc: A, ethDst: B };
const v4 = { ...eth, src: '10.0.0.1', dst: '10.0.0.2' };
const v6 = { ...eth, src: 'fd00::1', dst: 'fd00::2' };

test('one line a frame', () => {
  const ports = { srcPort: 1234, dstPort: 80 };
  const fragments = p.fragmentFrame(
    p.udpFrame({ ...v4, ...ports, id: 7, dontFragment: false, payload: new Uint8Array(50) }),
    60,
  );
  const cases: [Uint8Array, string][] = [
    [
      p.tcpFrame({ ...v4, ...ports, vlan: 0x6005 }),
      'vlan 5 p 3, 10.0.0.1:1234 > 10.0.0.2:80 TCP [S] seq 0 win 65535 len 0 ttl 64',
    ],
    [
      p.udpFrame({ ...v6, ...ports, vlan: [7, 8], payload: new Uint8Array(3) }),
      'vlan 7, vlan 8, [fd00::1]:1234 > [fd00::2]:80 UDP len 3 hlim 64',
    ],
    [p.icmpEcho({ ...v4, id: 1, seq: 2 }), '10.0.0.1 > 10.0.0.2 ICMP echo request id 1 seq 2 len 0 ttl 64'],
    [p.icmpEcho({ ...v6, id: 1, seq: 2, reply: true }), 'fd00::1 > fd00::2 ICMP6 echo reply id 1 seq 2 len 0 hlim 64'],
    [fragments[0], '10.0.0.1:1234 > 10.0.0.2:80 UDP len 50 frag id 7 offset 0 ttl 64'],
    [fragments[1], '10.0.0.1 > 10.0.0.2 udp len 18 frag id 7 offset 40 ttl 64'],
    [p.ipFrame(v4, 132, 12, () => {}), '10.0.0.1 > 10.0.0.2 sctp len 12 ttl 64'],
    [p.ipFrame(v6, 222, 4, () => {}), 'fd00::1 > fd00::2 proto 222 len 4 hlim 64'],
    [p.ethFrame({ ...eth, type: 0x88cc, payload: new Uint8Array(5) }), 'ethertype 0x88cc len 5'],
    [p.ethFrame({ ...eth, type: 38, payload: new Uint8Array(38) }), 'llc len 38'],
  ];
  for (const [frame, text] of cases) assert.equal(p.describe(frame), `${A} > ${B}, ${text}`);
});

test('errors show what they quote', () => {
  const packet = p.tcpFrame({ ...v6, srcPort: 1, dstPort: 2 });
  const error = p.icmpError({ ethSrc: B, ethDst: A, src: 'fd00::fe', type: 1, code: 4, packet, ip: 14 });
  const text = p.describe(error);
  assert.match(
    text,
    /fd00::fe > fd00::1 ICMP6 port unreachable len 60 hlim 64 \[\[fd00::1\]:1 > \[fd00::2\]:2 TCP \[S\]/,
  );
});

test('faults are said, with the bytes where they are', () => {
  const frame = p.tcpFrame({ ...v4, srcPort: 1, dstPort: 2 });
  assert.equal(p.describe(frame.subarray(0, 5)), 'truncated ethernet: 0200000000');
  assert.equal(p.describe(new Uint8Array(0)), 'truncated ethernet: no bytes');
  assert.equal(p.describe(frame.subarray(0, 30)), `${A} > ${B}, truncated ipv4 ${p.toHex(frame, 14, 30)}`);
  const bad = frame.slice();
  bad[14 + 32] = 0x10;
  assert.equal(p.describe(bad), `${A} > ${B}, 10.0.0.1 > 10.0.0.2 malformed tcp ${p.toHex(bad, 34, 50)} ttl 64`);
  assert.equal(p.describeIp(frame, 14, 42, true), '10.0.0.1:1 > 10.0.0.2:2 TCP ttl 64');
});
