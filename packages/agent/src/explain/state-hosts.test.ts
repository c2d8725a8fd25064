/** What a trace says of connections: against what the agent then does with the same packet. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TCP_ACK, TCP_SYN, tcpFrame, toHex, udpFrame } from '@weft/packet';
import { EXIT_MAC, OUTSIDE_MAC } from '@weft/simulator/testing';
import { AgentError } from '../errors.ts';
import { GATEWAY, GatewayNetwork, OTHER_GATEWAY } from '../testing/gateway-network.ts';
import { LOCAL_HOST } from '../testing/harness.ts';
import type { HostRef } from './connection-words.ts';
import type { Trace } from './trace.ts';

const OUTSIDE = '198.51.100.7';

function trace({ host }: GatewayNetwork, port: string, frame: Uint8Array): Trace {
  let answer: Trace | AgentError | undefined;
  host.engine.trace({ port, frame: toHex(frame) }, (a) => {
    answer = a;
  });
  for (let i = 0; answer === undefined && i < 20; i++) host.settle();
  assert.ok(answer !== undefined && !(answer instanceof AgentError), String(answer));
  return answer;
}

const ids = (hosts: readonly HostRef[]) => hosts.map(({ id }) => id);
const opening = ({ edge }: GatewayNetwork, srcPort: number, flags = TCP_SYN) =>
  tcpFrame({ ...edge.fromA, dst: OUTSIDE, srcPort, dstPort: 80, flags });

test('a trace names the hosts that are told, and the translation that the packet then gets', () => {
  const net = new GatewayNetwork();
  const connections = () => net.host.engine.connections({ limit: 10 });
  const told = trace(net, 'vm0', opening(net, 4000));
  assert.equal(told.verdict, 'forward');
  assert.deepEqual(ids(told.toldHosts), [GATEWAY, OTHER_GATEWAY]);
  assert.deepEqual(told.askedHosts, []);
  assert.equal(connections().total, 0, 'nothing has begun');
  net.fromA(opening(net, 4000));
  const [begun] = connections().connections;
  assert.deepEqual(ids(begun!.told).sort(), ids(told.toldHosts));
  const { forward, return: answer } = begun!;
  assert.deepEqual(told.explanation.connections[0], {
    device: begun!.device,
    kind: 'snat',
    state: 'created',
    direction: 'forward',
    forward,
    return: answer,
  });
  const known = trace(net, 'vm0', opening(net, 4000, TCP_ACK));
  assert.deepEqual(ids(known.toldHosts), ids(told.toldHosts));
  assert.equal(known.installed?.agrees, true);
  assert.equal(known.explanation.connections[0]?.state, 'known');
});

test('what begins nothing is told to nobody', () => {
  const net = new GatewayNetwork();
  const frame = udpFrame({ ...net.edge.fromA, dst: '10.0.1.1', srcPort: 1, dstPort: 2 });
  const { toldHosts, askedHosts } = trace(net, 'vm0', frame);
  assert.deepEqual([toldHosts, askedHosts], [[], []]);
});

test('a trace says whom an answer would be asked about that is not known here', () => {
  const net = new GatewayNetwork(LOCAL_HOST);
  const from = { ethSrc: OUTSIDE_MAC, ethDst: EXIT_MAC, src: OUTSIDE, dst: '192.0.2.100', srcPort: 80, dstPort: 2000 };
  assert.deepEqual(ids(trace(net, 'vm2', tcpFrame({ ...from, flags: TCP_ACK })).askedHosts), [OTHER_GATEWAY]);
  assert.deepEqual(ids(trace(net, 'vm2', udpFrame(from)).askedHosts), [OTHER_GATEWAY]);
  assert.deepEqual(
    trace(net, 'vm2', tcpFrame({ ...from, flags: TCP_SYN })).askedHosts,
    [],
    'what opens answers nothing',
  );
});

test('a trace of a connection for which there is no room says so, as the packet is dropped', () => {
  const net = new GatewayNetwork(GATEWAY, { maxConnectionsPerPort: 1 });
  net.fromA(opening(net, 4000));
  const told = trace(net, 'vm0', opening(net, 4001));
  assert.deepEqual([told.verdict, told.reason, told.flow], ['drop', 'cap_connections', null]);
  assert.deepEqual([told.destinations, told.toldHosts], [[], []]);
  net.fromA(opening(net, 4001));
  assert.equal((net.host.engine.status().drops as Record<string, number>).cap_connections, 1);
  assert.equal(trace(net, 'vm0', opening(net, 4000)).verdict, 'forward', 'the one that is known goes on');
});
