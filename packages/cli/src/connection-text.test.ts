import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConnectionDump, ConnectionList } from '@weft/agent';
import type { KnownHost } from './agents.ts';
import { connectionLines, connectionTable, sharedConnections } from './connection-text.ts';

const H1: KnownHost = { hostId: '11111111-0000-4000-8000-000000000001', name: 'h1' };
const G1: KnownHost = { hostId: '22222222-0000-4000-8000-000000000002', name: 'g1' };
const G2: KnownHost = { hostId: '33333333-0000-4000-8000-000000000003', name: 'g2' };
const HOSTS = [H1, G1, G2];

/** As the agent of `at` tells it: it calls itself "this host". */
function connection(at: KnownHost, fields: Partial<ConnectionDump> = {}): ConnectionDump {
  const host = ({ hostId }: KnownHost) => ({
    id: hostId,
    name: hostId === at.hostId ? 'this host' : `host ${hostId.slice(0, 8)} (192.0.2.9)`,
  });
  return {
    device: { kind: 'router', id: 'edge', name: 'router "edge"' },
    kind: 'snat',
    text: 'tcp 10.0.1.10:4000 > 198.51.100.7:80',
    translation: 'source 10.0.1.10:4000 becomes 192.0.2.100:2073',
    forward: { protocol: 'tcp', src: '10.0.1.10', srcPort: 4000, dst: '198.51.100.7', dstPort: 80 },
    return: { protocol: 'tcp', src: '198.51.100.7', srcPort: 80, dst: '192.0.2.100', dstPort: 2073 },
    rule: { kind: 'rule', id: 'r', name: 'rule 1 of chain "nat-out"' },
    keeps: false,
    state: 'established',
    owner: host(H1),
    told: [host(G2), host(G1)],
    ingress: { kind: 'port', id: 'a', name: 'port vm0 of bridge "web"' },
    egress: { kind: 'port', id: 'x', name: `port out0 on host ${G1.hostId.slice(0, 8)} (192.0.2.9) of router "edge"` },
    ageMs: 3_100,
    idleMs: 400,
    endsInMs: 7_439_600,
    flows: 1,
    ...fields,
  };
}

function answer(host: KnownHost, connections: readonly ConnectionDump[], fields: Partial<ConnectionList> = {}) {
  const list = { connections, total: connections.length, matching: connections.length, complete: true, ...fields };
  return { host, list };
}

test('a table names hosts as people do', () => {
  const [head, row] = connectionTable([connection(H1)], HOSTS).split('\n');
  assert.match(head!, /^KIND +DEVICE +CONNECTION +STATE +BECOMES +IDLE +ENDS IN +FLOWS +OWNER +TOLD$/);
  assert.match(row!, /^source NAT +router "edge" +tcp 10\.0\.1\.10:4000 > 198\.51\.100\.7:80 +established +source /);
  assert.match(row!, / 0\.4 s +2\.1 h +1 +h1 +g1, g2$/);
  assert.match(connectionTable([connection(H1, { translation: '', told: [] })], HOSTS), /established +- .* h1 +-$/m);
});

test('all that is known of one', () => {
  assert.deepEqual(connectionLines(connection(G1, { keeps: true, endsInMs: 600_000 }), HOSTS), [
    'tcp 10.0.1.10:4000 > 198.51.100.7:80 (source NAT at router "edge"): established, by rule 1 of chain "nat-out", finishes although rules change',
    '  source 10.0.1.10:4000 becomes 192.0.2.100:2073',
    '  in by port vm0 of bridge "web", out by port out0 on host g1 of router "edge"',
    '  age 3.1 s, idle 0.4 s, ends in 10 min, flows here: 1',
    '  owner h1, told g1, g2',
  ]);
});

test('connections of several hosts are listed once, as their owner tells them, with who does not know them', () => {
  const other = { text: 'udp 10.0.1.10:53 > 198.51.100.7:53' };
  const shared = sharedConnections([
    answer(G1, [connection(G1, { flows: 0 }), connection(G1, { ...other })]),
    answer(H1, [connection(H1, { flows: 5 })]),
    answer(G2, []),
  ]);
  assert.deepEqual(
    shared.map(({ text, flows, knownOn, missingOn }) => ({ text, flows, knownOn, missingOn })),
    [
      { text: connection(H1).text, flows: 5, knownOn: ['g1', 'h1'], missingOn: ['g2'] },
      { text: other.text, flows: 1, knownOn: ['g1'], missingOn: ['h1', 'g2'] },
    ],
  );
  assert.match(connectionTable(shared, HOSTS), / h1 +g1, g2; NOT KNOWN on g2$/m);
});

test('nothing is said to be missing on a host that did not tell all', () => {
  for (const part of [{ complete: false }, { matching: 9 }]) {
    const [one] = sharedConnections([answer(H1, [connection(H1)]), answer(G1, [], part), answer(G2, [connection(G2)])]);
    assert.deepEqual(one!.missingOn, []);
  }
});
