/** What comes first, a flow or its packet: per kind of packet, exactly. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, tcpFrame, udpFrame } from '@weft/packet';
import { LEFT_MAC, MAC_A, routed } from '@weft/simulator/testing';
import { Harness, LOCAL_HOST } from '../testing/harness.ts';
import { MemoryState } from '../testing/memory-datapath.ts';

const VM0 = 10;

/** A (vm0) behind a router of B (vm1), both on this host; nothing has been sent. */
function start(): Harness {
  const net = routed();
  net.world.patch('Port', net.a, { hostId: LOCAL_HOST, interfaceName: 'vm0' });
  net.world.patch('Port', net.b, { hostId: LOCAL_HOST, interfaceName: 'vm1' });
  const host = new Harness(net.world, new MemoryState(4096));
  host.settle();
  // What the path needs is fetched; then its flow is forgotten.
  host.datapath.inject(VM0, udp());
  host.settle();
  host.now += 61_000;
  host.settle();
  assert.equal(host.engine.status().flows, 0);
  host.datapath.order.length = 0;
  host.datapath.executed.length = 0;
  return host;
}

const ENDS = { ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10' };
const tcp = (flags: number, srcPort = 1): Uint8Array => tcpFrame({ ...ENDS, srcPort, dstPort: 2, flags });
const udp = (srcPort = 1): Uint8Array => udpFrame({ ...ENDS, srcPort, dstPort: 2, payload: new Uint8Array(4) });
const udpPorts = (host: Harness): number[] =>
  host.datapath.executed.filter(({ frame }) => frame[23] === 17).map(({ frame }) => (frame[34] << 8) | frame[35]);

for (const [what, frame, order] of [
  ['a SYN', tcp(TCP_SYN), ['put', 'send']],
  ['a SYN-ACK', tcp(TCP_SYN | TCP_ACK), ['put', 'send']],
  ['a SYN of ECN', tcp(TCP_SYN | 0xc0), ['put', 'send']],
  ['a segment with data', tcp(TCP_ACK), ['send', 'put']],
  ['a RST', tcp(TCP_RST), ['send', 'put']],
  ['a segment with SYN and FIN', tcp(TCP_SYN | TCP_FIN), ['send', 'put']],
  ['a datagram', udp(), ['send', 'put']],
] as const) {
  test(`${what} ${order[0] === 'put' ? 'leaves once its flow stands' : 'leaves before its flow stands'}`, () => {
    const host = start();
    host.datapath.inject(VM0, frame);
    host.turn();
    assert.deepEqual(host.datapath.order, order);
    assert.deepEqual(host.datapath.executed[0]?.frame.length, frame.length);
    assert.equal(host.datapath.inject(VM0, frame) === null, false, 'the next one meets the flow');
  });
}

test('an IPv6 SYN behind an extension header leaves once its flow stands', () => {
  const host = start();
  const plain = tcpFrame({
    ethSrc: MAC_A,
    ethDst: LEFT_MAC,
    src: 'fd00:1::10',
    dst: 'fd00:2::10',
    srcPort: 1,
    dstPort: 2,
    flags: TCP_SYN,
  });
  // Destination options of 8 bytes (RFC 8200 §4.6): PadN.
  const frame = new Uint8Array(plain.length + 8);
  frame.set(plain.subarray(0, 54));
  frame.set([6, 0, 1, 4, 0, 0, 0, 0], 54);
  frame.set(plain.subarray(54), 62);
  frame[20] = 60;
  new DataView(frame.buffer).setUint16(18, plain.length - 54 + 8);
  host.datapath.inject(VM0, frame);
  host.turn();
  assert.deepEqual(host.datapath.order, ['put', 'send']);
  assert.equal(host.datapath.executed[0]?.frame.length, frame.length);
});

test('a SYN that opens the flow of a burst: the burst leaves in order before the flow stands, the SYN after', () => {
  const host = start();
  host.datapath.inject(VM0, tcp(TCP_SYN, 99));
  for (let i = 1; i <= 5; i++) host.datapath.inject(VM0, udp(i));
  host.turn();
  assert.deepEqual(udpPorts(host), [1, 2, 3, 4, 5]);
  const { order, executed } = host.datapath;
  assert.equal(executed.at(-1)?.frame[23], 6, 'the SYN is last');
  assert.equal(order.at(-1), 'send');
  assert.equal(order.at(-2), 'put');
  assert.equal(order.slice(0, 5).join(), 'send,send,send,send,send');
});

test('what of a burst comes up while its first packets are handled leaves before the flow stands too', () => {
  const host = start();
  host.datapath.inject(VM0, udp(1));
  let n = 1;
  host.datapath.afterPoll = () => {
    if (n < 5) host.datapath.inject(VM0, udp(++n));
  };
  host.turn();
  assert.deepEqual(udpPorts(host), [1, 2, 3, 4, 5]);
  assert.deepEqual(host.datapath.order, ['send', 'send', 'send', 'send', 'send', 'put']);
});

test('SYNs of one connection keep their order, more than one queue holds', () => {
  const host = start();
  for (let i = 1; i <= 1500; i++) host.datapath.inject(VM0, tcp(TCP_SYN, i));
  host.settle();
  const ports = host.datapath.executed.map(({ frame }) => (frame[34] << 8) | frame[35]);
  assert.deepEqual(
    ports,
    Array.from({ length: 1500 }, (_, i) => i + 1),
  );
});

test('a packet that data woke does not wait for the next packet or timer', () => {
  const net = routed();
  net.world.patch('Port', net.a, { hostId: LOCAL_HOST, interfaceName: 'vm0' });
  net.world.patch('Port', net.b, { hostId: LOCAL_HOST, interfaceName: 'vm1' });
  const host = new Harness(net.world, new MemoryState(4096));
  host.settle();
  host.datapath.inject(VM0, tcp(TCP_SYN));
  host.turn();
  assert.equal(host.engine.status().waiting, 1, 'what lies behind the router is not cached');
  let timeouts: number[] = [];
  const poll = host.datapath.poll.bind(host.datapath);
  host.datapath.poll = (timeoutMs, max, handler) => {
    timeouts.push(timeoutMs);
    return poll(timeoutMs, max, handler);
  };
  for (let i = 0; i < 20 && host.datapath.executed.length === 0; i++) {
    timeouts = [];
    host.deliver();
    host.turn();
  }
  assert.equal(host.datapath.executed.length, 1);
  assert.equal(timeouts[0], 0);
});
