import assert from 'node:assert/strict';
import { test } from 'node:test';
import { internetChecksum, ipPacket, udpDatagram } from './packets.ts';

test('an IPv4 header sums up to zero and says how long the packet is', () => {
  const packet = Buffer.from(
    ipPacket({ source: '10.0.0.1', target: '10.0.0.2', protocol: 17, payload: udpDatagram(1, 2, Buffer.from('abc')) }),
  );
  assert.equal(internetChecksum(packet.subarray(0, 20)), 0);
  assert.equal(packet.readUInt16BE(2), packet.length);
  assert.equal(packet.readUInt16BE(24), 11);
});

test('an IPv6 header counts its payload alone; lies are as large as asked for', () => {
  const payload = new Uint8Array(30);
  const packet = Buffer.from(ipPacket({ source: 'fd00::1', target: 'fd00::2', protocol: 47, payload, lengthError: 5 }));
  assert.equal(packet.length, 70);
  assert.equal(packet.readUInt16BE(4), 35);
  assert.equal(packet[6], 47);
});
