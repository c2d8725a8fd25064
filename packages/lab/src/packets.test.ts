import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arpReply, internetChecksum, ipPacket, neighbourSolicitation, udpDatagram } from './packets.ts';

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

test('neighbour discovery is checksummed with its pseudo-header, and comes from a neighbour: hop limit 255', () => {
  const packet = Buffer.from(neighbourSolicitation('fe80::1', 'fd00::2', '02:00:00:00:00:01'));
  const pseudo = Buffer.concat([packet.subarray(8, 40), Buffer.from([0, 0, 0, 32, 0, 0, 0, 58])]);
  assert.equal(internetChecksum(Buffer.concat([pseudo, packet.subarray(40)])), 0);
  assert.deepEqual([packet[7], packet[40], packet.length], [255, 135, 72]);
  assert.equal(packet.subarray(64).toString('hex'), '0101020000000001');
});

test('an ARP reply names both ends and fills the shortest frame', () => {
  const reply = Buffer.from(arpReply('02:00:00:00:00:01', '10.0.0.1', '02:00:00:00:00:02', '10.0.0.2'));
  assert.equal(reply.subarray(0, 28).toString('hex'), '00010800060400020200000000010a0000010200000000020a000002');
  assert.equal(reply.length, 46);
});
