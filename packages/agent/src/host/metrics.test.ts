/** Exposition of a real engine's status: every metric has a number, in a form that a collector reads. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { icmpEcho, TCP_SYN, tcpFrame } from '@weft/packet';
import { LEFT_MAC, MAC_A, routed } from '@weft/simulator/testing';
import { GatewayNetwork } from '../testing/gateway-network.ts';
import { Harness, LOCAL_HOST } from '../testing/harness.ts';
import { MemoryState } from '../testing/memory-datapath.ts';
import { NO_ARCHIVE } from './connection-archive.ts';
import { parseInterfaceCounters, receivedPerInterface } from './interface-counters.ts';
import { METRICS, renderMetrics } from './metrics.ts';

const DAEMON = {
  storeUp: true,
  session: false,
  bytesReceived: 1234,
  archive: { kind: 'embedded', ...NO_ARCHIVE, queued: 3, superseded: 4 },
  rssBytes: 5 << 20,
};

async function scrape(): Promise<string> {
  const net = routed();
  net.world.patch('Port', net.a, { hostId: LOCAL_HOST, interfaceName: 'vm0' });
  net.world.patch('Router', net.router, { adminStateUp: false });
  const host = new Harness(net.world, new MemoryState(4096));
  host.settle();
  host.datapath.inject(
    10,
    icmpEcho({ ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10', id: 1, seq: 1 }),
  );
  host.settle();
  return renderMetrics({ ...DAEMON, ...host.engine.status() }, new Map([['vm0', { packets: 7, bytes: 700 }]]));
}

/** One sample: name, labels without order or quotes inside, value. */
const SAMPLE = /^([a-z_]+)(?:\{((?:[a-z]+="[^"\\]*",?)*)\})? (-?[0-9.e+-]+)$/;

test('every metric is there with its kind and help, every sample is a number', async () => {
  const lines = (await scrape()).trimEnd().split('\n');
  for (const [name, kind, help] of METRICS) {
    assert.ok(lines.includes(`# TYPE ${name} ${kind}`), name);
    assert.ok(lines.includes(`# HELP ${name} ${help}`), name);
  }
  const names = new Set<string>(METRICS.map(([name]) => name));
  for (const line of lines.filter((text) => text !== '' && !text.startsWith('#'))) {
    const [, name, , value] = SAMPLE.exec(line) ?? [];
    assert.ok(name !== undefined, `not a sample: ${line}`);
    assert.ok(names.has(name.replace(/_(bucket|sum|count)$/, '')) || names.has(name), line);
    assert.ok(Number.isFinite(Number(value)), line);
  }
});

test('numbers of the engine, the daemon and the interfaces stand where they belong', async () => {
  const text = await scrape();
  const has = (line: RegExp): void => assert.match(text, line);
  has(/^weft_store_up 1$/m);
  has(/^weft_session_open 0$/m);
  has(/^weft_flows_max 4096$/m);
  has(/^weft_upcalls_total 1$/m);
  has(/^weft_waiting_packets_max 1024$/m);
  has(/^weft_ports_live 1$/m);
  has(/^weft_drops_total\{reason="admin_down"\} 1$/m);
  has(/^weft_upcalls_by_reason_total\{reason="too_big"\} 0$/m);
  has(/^weft_port_received_bytes_total\{port="[0-9a-f-]{36}",interface="vm0"\} 700$/m);
  has(/^weft_archive_up 1$/m);
  has(/^weft_archive_waiting\{place="queue"\} 3$/m);
  has(/^weft_archive_records_total\{result="superseded"\} 4$/m);
  has(/^weft_first_packet_seconds_bucket\{le="\+Inf"\} 0$/m);
});

test('numbers of connections, of ports for translation and of the exchange', async () => {
  const net = new GatewayNetwork();
  net.fromA(tcpFrame({ ...net.edge.fromA, dst: '198.51.100.7', srcPort: 4000, dstPort: 80, flags: TCP_SYN }));
  const status = net.host.engine.status();
  const text = await renderMetrics({ ...DAEMON, ...status, peersLost: 3, natRangesLow: 2 }, new Map());
  const has = (line: RegExp): void => assert.match(text, line);
  has(/^weft_connections 1$/m);
  has(/^weft_connections_max 4096$/m);
  has(/^weft_connections_created_total 1$/m);
  has(/^weft_nat_blocks 2$/m);
  has(/^weft_nat_idle_ports 127$/m);
  has(/^weft_nat_ranges_low 2$/m);
  has(/^weft_peers_lost 3$/m);
  has(/^weft_state_datagrams_total\{direction="received"\} 0$/m);
  has(/^weft_state_refused_total\{reason="unknown_sender"\} 0$/m);
  has(/^weft_state_records_refused_total\{reason="stale"\} 0$/m);
  has(/^weft_state_asks_total\{result="found"\} 0$/m);
});

test('a labelled metric without samples shows none', async () => {
  const net = routed();
  const host = new Harness(net.world, new MemoryState(16));
  host.settle();
  const text = await renderMetrics({ ...DAEMON, ...host.engine.status() }, new Map());
  assert.doesNotMatch(text, /^weft_drops_total/m);
  assert.doesNotMatch(text, /^weft_port_received/m);
});

test('buckets of a histogram are cumulated and end in its count', async () => {
  const net = routed();
  const host = new Harness(net.world, new MemoryState(16));
  host.settle();
  const firstPacket = { edges: [0.001, 0.002], counts: [3, 0, 2], sum: 1.5 };
  const text = await renderMetrics({ ...DAEMON, ...host.engine.status(), firstPacket }, new Map());
  const lines = text.split('\n').filter((line) => line.startsWith('weft_first_packet_seconds'));
  assert.deepEqual(lines, [
    'weft_first_packet_seconds_bucket{le="0.001"} 3',
    'weft_first_packet_seconds_bucket{le="0.002"} 3',
    'weft_first_packet_seconds_bucket{le="+Inf"} 5',
    'weft_first_packet_seconds_sum 1.5',
    'weft_first_packet_seconds_count 5',
  ]);
});

test('the kernel’s table of interfaces is read, odd lines are left out', () => {
  const text = `Inter-|   Receive  |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes
    lo: 1000      10    0    0    0     0          0         0     1000      10    0    0    0     0       0          0
eth0.5@x:77 8 0 0 0 0 0 0 0 0 0 0 0 0 0 0
nonsense
  bad: a b c
`;
  assert.deepEqual(
    [...parseInterfaceCounters(text)],
    [
      ['lo', { packets: 10, bytes: 1000 }],
      ['eth0.5@x', { packets: 8, bytes: 77 }],
    ],
  );
  assert.ok(receivedPerInterface().has('lo'));
});
