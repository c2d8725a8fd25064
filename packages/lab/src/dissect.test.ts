import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { dissect } from './dissect.ts';
import { ethernetFrame } from './frames.ts';
import { ipPacket, udpDatagram } from './packets.ts';

const MAC = '02:00:00:00:00:01';
const frame = (packet: Uint8Array, vlan?: number) =>
  Buffer.from(ethernetFrame('02:00:00:00:00:02', MAC, vlan, 0x0800, packet));

test('a datagram is told by its ends', () => {
  const payload = udpDatagram(1000, 53, new Uint8Array(4));
  const found = dissect(frame(ipPacket({ source: '10.0.0.1', target: '192.0.2.1', protocol: 17, payload })))!;
  assert.deepEqual(
    [found.sourceMac, found.source, found.sourcePort, found.target, found.targetPort],
    [MAC, '10.0.0.1', 1000, '192.0.2.1', 53],
  );
  const later = dissect(
    frame(ipPacket({ source: '10.0.0.1', target: '192.0.2.1', protocol: 17, payload, fragment: 64 })),
  )!;
  assert.deepEqual([later.sourcePort, later.targetPort], [0, 0]);
});

test('an ICMP error tells what it quotes', () => {
  const inner = ipPacket({
    source: '192.0.2.1',
    target: '198.51.100.1',
    protocol: 17,
    payload: udpDatagram(40_000, 33_434, new Uint8Array(4)),
  });
  const payload = Buffer.concat([Buffer.from([11, 0, 0, 0, 0, 0, 0, 0]), inner]);
  const found = dissect(frame(ipPacket({ source: '10.0.0.9', target: '192.0.2.1', protocol: 1, payload })))!;
  assert.equal(found.sourcePort, 11);
  assert.deepEqual(
    [found.quoted?.source, found.quoted?.sourcePort, found.quoted?.targetPort],
    ['192.0.2.1', 40_000, 33_434],
  );
});

test('whatever the bytes, there is an answer', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 128 }), fc.boolean(), (bytes, isIp) => {
      const found = dissect(isIp ? frame(bytes) : Buffer.from(bytes));
      assert.ok(found === undefined || found.protocol <= 255);
    }),
  );
});
