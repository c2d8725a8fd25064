import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as p from './index.ts';

const eth = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02' };
const v4 = { ...eth, src: '10.0.0.1', dst: '10.0.0.2' };
const v6 = { ...eth, src: 'fd00::1', dst: 'fd00::2' };
const ports = { srcPort: 1, dstPort: 2, payload: p.fromHex('010203') };

test('each kind of checksum: right passes, one flipped bit is found and the right value told', () => {
  const cases: [string, Uint8Array, number, number][] = [
    ['ipv4', p.tcpFrame({ ...v4, ...ports }), 24, 22],
    ['tcp', p.tcpFrame({ ...v4, ...ports }), 50, 40],
    ['udp', p.udpFrame({ ...v4, ...ports }), 40, 43],
    ['icmp', p.icmpEcho({ ...v4, id: 1 }), 36, 39],
    ['tcp', p.tcpFrame({ ...v6, ...ports }), 70, 22],
    ['udp', p.udpFrame({ ...v6, ...ports }), 60, 38],
    ['icmp6', p.icmpEcho({ ...v6, id: 1 }), 56, 37],
  ];
  for (const [layer, frame, field, flip] of cases) {
    assert.deepEqual(p.verifyChecksums(frame), [], layer);
    const bad = frame.slice();
    bad[field] ^= 0x10;
    const [wrong, ...more] = p.verifyChecksums(bad);
    assert.deepEqual(more, []);
    const expected = p.u16(frame, field);
    assert.deepEqual(wrong, { layer, depth: 0, offset: field, found: p.u16(bad, field), expected });
    const data = frame.slice();
    data[flip] ^= 1;
    assert.ok(
      p.verifyChecksums(data).some((w) => w.layer === layer),
      `${layer} byte ${flip}`,
    );
  }
});

test('what is not judged: fragments, no UDP checksum over IPv4, padding, partial routes', () => {
  const none = p.udpFrame({ ...v4, ...ports });
  p.udpSetChecksum(none, 34, 0);
  assert.deepEqual(p.verifyChecksums(none), []);
  const none6 = p.udpFrame({ ...v6, ...ports });
  p.udpSetChecksum(none6, 54, 0);
  assert.deepEqual(
    p.verifyChecksums(none6).map((w) => w.layer),
    ['udp'],
    'IPv6 has no such thing',
  );
  const padded = p.padFrame(p.tcpFrame({ ...v4, ...ports }), 90);
  padded[89] = 1;
  assert.deepEqual(p.verifyChecksums(padded), []);
});

test('inside tunnels, at their depth; GRE has its own', () => {
  const inner = p.udpFrame({ ...v4, ...ports });
  inner[inner.length - 1] ^= 1;
  const vxlan = p.vxlanFrame({ ...v6, vni: 1, srcPort: 9 }, inner);
  assert.deepEqual(
    p.verifyChecksums(vxlan).map((w) => [w.layer, w.depth]),
    [['udp', 1]],
  );
  const twice = p.greFrame({ ...v4, key: 1 }, vxlan);
  assert.deepEqual(
    p.verifyChecksums(twice).map((w) => [w.layer, w.depth]),
    [['udp', 2]],
  );
  const body = p.fromHex('8000 6558 0000 0000 010203');
  p.setU16(body, 4, p.checksum(body, 0, body.length));
  const gre = p.ipFrame(v4, p.IPPROTO_GRE, body.length, (buf, l4) => buf.set(body, l4));
  assert.deepEqual(p.verifyChecksums(gre), []);
  gre[gre.length - 1] ^= 1;
  assert.deepEqual(
    p.verifyChecksums(gre).map((w) => w.layer),
    ['gre'],
  );
});
