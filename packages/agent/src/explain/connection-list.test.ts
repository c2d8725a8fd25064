import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { icmpEcho, TCP_ACK, TCP_SYN, tcpFrame, udpFrame } from '@weft/packet';
import { cutRequest } from '../host/connection-requests.ts';
import { GATEWAY, GatewayNetwork, OTHER_GATEWAY } from '../testing/gateway-network.ts';
import { LOCAL_HOST } from '../testing/harness.ts';

const OUTSIDE = '198.51.100.7';

function busy(): GatewayNetwork {
  const net = new GatewayNetwork();
  const { fromA } = net.edge;
  net.fromA(tcpFrame({ ...fromA, dst: OUTSIDE, srcPort: 4000, dstPort: 80, flags: TCP_SYN }));
  net.fromA(udpFrame({ ...fromA, dst: OUTSIDE, srcPort: 4000, dstPort: 53 }));
  net.fromA(icmpEcho({ ...fromA, dst: '198.51.100.8', id: 7, seq: 1 }));
  return net;
}

const list = ({ host }: GatewayNetwork, query: Record<string, string> = {}, limit = 100) =>
  host.engine.connections({ limit, ...query });

describe('the list of connections', () => {
  test('says what each is, what becomes of its packets, and who knows it', () => {
    const net = busy();
    const { connections, total, matching, complete } = list(net);
    assert.deepEqual([connections.length, total, matching, complete], [3, 3, 3, true]);
    const tcp = connections.find(({ forward }) => forward.protocol === 'tcp')!;
    assert.deepEqual(tcp.device, { kind: 'router', id: net.edge.router, name: 'router "edge"' });
    assert.deepEqual([tcp.kind, tcp.state, tcp.keeps, tcp.flows], ['snat', 'syn', false, 1]);
    assert.equal(tcp.text, `tcp 10.0.1.10:4000 > ${OUTSIDE}:80`);
    const { dstPort } = tcp.return;
    assert.deepEqual(tcp.return, { protocol: 'tcp', src: OUTSIDE, srcPort: 80, dst: '192.0.2.100', dstPort });
    assert.equal(tcp.translation, `source 10.0.1.10:4000 becomes 192.0.2.100:${dstPort}`);
    assert.deepEqual(tcp.owner, { id: LOCAL_HOST, name: 'this host' });
    assert.deepEqual(tcp.told.map(({ id }) => id).sort(), [GATEWAY, OTHER_GATEWAY]);
    assert.deepEqual(tcp.told.map(({ name }) => name).sort(), [
      'host 00000000 (198.18.0.2)',
      'host 00000000 (198.18.0.3)',
    ]);
    assert.match(tcp.ingress?.name ?? '', /^port vm0 of bridge /);
    assert.equal(tcp.egress?.name, 'port out0 on host 00000000 (198.18.0.2) of router "edge"');
    assert.match(tcp.rule?.name ?? '', /^rule 1 of chain /);
    const echo = connections.find(({ forward }) => forward.protocol === 'icmp')!;
    assert.equal(echo.text, 'icmp 10.0.1.10 > 198.51.100.8 id 7');
    assert.equal(echo.translation, `source 10.0.1.10 id 7 becomes 192.0.2.100 id ${echo.return.id}`);
  });

  test('tells ages by the clock of the agent', () => {
    const net = busy();
    net.host.now += 5_000;
    const [udp] = list(net, { protocol: 'udp' }).connections;
    const { ageMs, idleMs, endsInMs } = udp!;
    assert.ok(ageMs >= 5_000 && idleMs >= 5_000 && idleMs <= ageMs, JSON.stringify({ ageMs, idleMs }));
    assert.equal(idleMs + endsInMs, 30_000);
  });

  test('every condition chooses, and all must hold', () => {
    const net = busy();
    const count = (query: Record<string, string>) => list(net, query).matching;
    const cases: readonly [Record<string, string>, number][] = [
      [{ protocol: 'tcp' }, 1],
      [{ protocol: '17' }, 1],
      [{ protocol: 'gre' }, 0],
      [{ state: 'syn' }, 1],
      [{ state: 'unreplied' }, 1],
      [{ address: OUTSIDE }, 2],
      [{ address: `${OUTSIDE}:53` }, 1],
      [{ address: '192.0.2.100' }, 3],
      [{ address: '[fd00::1]:53' }, 0],
      [{ device: 'edge' }, 3],
      [{ device: net.edge.router }, 3],
      [{ device: 'edg' }, 0],
      [{ port: 'vm0' }, 3],
      [{ port: 'vm1' }, 0],
      [{ port: net.edge.exit }, 3],
      [{ host: GATEWAY }, 3],
      [{ host: '198.18.0.3' }, 3],
      [{ host: LOCAL_HOST }, 3],
      [{ host: '198.18.0.9' }, 0],
      [{ protocol: 'tcp', address: `${OUTSIDE}:53` }, 0],
    ];
    for (const [query, wanted] of cases) assert.equal(count(query), wanted, JSON.stringify(query));
  });

  test('is cut at the limit, and says how many there are', () => {
    const { connections, matching, total } = list(busy(), { address: '10.0.1.10' }, 2);
    assert.deepEqual([connections.length, matching, total], [2, 3, 3]);
  });

  test('what is not understood is refused by name', () => {
    const net = busy();
    for (const [field, text] of [
      ['protocol', 'tpc'],
      ['protocol', '256'],
      ['state', 'open'],
      ['address', '10.0.1'],
      ['address', '10.0.1.10:70000'],
      ['address', 'fd00::1]:80'],
    ]) {
      assert.throws(
        () => list(net, { [field!]: text! }),
        new RegExp(`^AgentError: ${field} must be .*"${text!.replaceAll(/[.[\]]/g, '\\$&')}"$`),
      );
    }
  });
});

test('connections that are cut are gone, and their flows decided anew', () => {
  const net = busy();
  const { engine } = net.host;
  const before = list(net, { protocol: 'tcp' }).connections[0]!.return.dstPort;
  assert.deepEqual(engine.cutConnections({ ...cutRequest({ protocol: 'tcp' }) }), {
    cut: 1,
    matching: 1,
    complete: true,
  });
  assert.deepEqual([list(net).total, list(net, { protocol: 'tcp' }).matching], [2, 0]);
  net.host.settle();
  assert.equal(engine.flows({ limit: 10, address: OUTSIDE }).matching, 1, 'the flow of the other connection stays');
  net.fromA(tcpFrame({ ...net.edge.fromA, dst: OUTSIDE, srcPort: 4000, dstPort: 80, flags: TCP_SYN }));
  const [again] = list(net, { protocol: 'tcp' }).connections;
  assert.notEqual(again!.return.dstPort, before);
});

test('flows say which connections they belong to, and their explanations agree', () => {
  const net = busy();
  const { flows } = net.host.engine.flows({ limit: 10, explain: true });
  assert.equal(flows.length, 3);
  for (const { states, why } of flows) {
    assert.equal(states.length, 1);
    assert.deepEqual(
      [states[0]!.kind, states[0]!.direction, states[0]!.device.name],
      ['snat', 'forward', 'router "edge"'],
    );
    assert.match(states[0]!.translation, /^source 10\.0\.1\.10.* becomes 192\.0\.2\.100/);
    assert.ok(why?.agrees, why?.explanation.summary.join());
  }
});

test('flows that are flushed come again by the connections that stand', () => {
  const net = busy();
  const { engine, datapath } = net.host;
  const before = list(net)
    .connections.map((one) => one.translation)
    .sort();
  assert.deepEqual(engine.flushFlows(), { removed: 3 });
  assert.equal(datapath.state.flows.size, 0);
  assert.equal(engine.status().flows, 0);
  net.host.settle();
  net.fromA(tcpFrame({ ...net.edge.fromA, dst: OUTSIDE, srcPort: 4000, dstPort: 80, flags: TCP_ACK }));
  assert.equal(datapath.state.flows.size, 1);
  assert.deepEqual(
    list(net)
      .connections.map((one) => one.translation)
      .sort(),
    before,
  );
});
