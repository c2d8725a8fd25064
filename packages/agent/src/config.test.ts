import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from './config.ts';

test('an empty configuration has every default', () => {
  const config = parseConfig({});
  assert.equal(config.encap, 'vxlan');
  assert.equal(config.vxlanPort, 4789);
  assert.equal(config.hostId, null);
  assert.equal(config.limits.flowIdleMs, 60_000);
  assert.equal(config.controlSocket, '/run/weft/agent.sock');
});

test('metrics are served by TCP only where that is said, on loopback', () => {
  assert.equal(parseConfig({}).metrics, null);
  const tokenFile = '/etc/weft/metrics.token';
  for (const [listen, host] of [
    ['127.0.0.2:9464', '127.0.0.2'],
    ['[::1]:9464', '::1'],
  ]) {
    assert.deepEqual(parseConfig({ metrics: { listen, tokenFile } }).metrics, { host, port: 9464, tokenFile });
  }
});

test('connections are archived on the host unless something else is said', () => {
  assert.deepEqual(parseConfig({ stateDir: '/s' }).archive, { kind: 'embedded', dir: '/s/archive' });
  assert.deepEqual(parseConfig({ archive: { kind: 'off' } }).archive, { kind: 'off' });
  const fields = { kind: 'cassandra', contactPoints: ['10.0.0.1'], localDataCenter: 'dc1' };
  const defaults = { keyspace: 'weft', replication: null, credentialsFile: null, tls: null };
  assert.deepEqual(parseConfig({ archive: fields }).archive, { ...fields, ...defaults });
  const more = { replication: { class: 'NetworkTopologyStrategy', dc1: 3 }, credentialsFile: '/c' };
  const tls = { ca: '/ca', serverName: 'c.test', cert: '/cert', key: '/key' };
  assert.deepEqual(parseConfig({ archive: { ...fields, ...more, tls } }).archive, {
    ...fields,
    ...defaults,
    ...more,
    tls,
  });
});

for (const [what, raw, field] of [
  ['an unknown field', { nmae: 'x' }, 'nmae'],
  ['an unknown limit', { limits: { maxFlow: 1 } }, 'maxFlow'],
  ['a relative path', { stateDir: 'var' }, 'stateDir'],
  ['a wrong choice', { encap: 'geneve' }, 'encap'],
  ['a number as text', { vxlanPort: '4789' }, 'vxlanPort'],
  ['a limit of zero', { limits: { maxFlows: 0 } }, 'maxFlows'],
  ['a long instance name', { instance: 'far-too-long' }, 'instance'],
  ['an id that is none', { hostId: 'me' }, 'hostId'],
  ['metrics for everybody', { metrics: { listen: '0.0.0.0:9464', tokenFile: '/t' } }, 'listen'],
  ['a port that there is not', { metrics: { listen: '127.0.0.1:99999', tokenFile: '/t' } }, 'listen'],
  ['metrics without a token', { metrics: { listen: '127.0.0.1:9464' } }, 'tokenFile'],
  ['an archive of another kind', { archive: { kind: 'tape' } }, 'kind'],
  ['Cassandra without a node', { archive: { kind: 'cassandra', localDataCenter: 'dc1' } }, 'contactPoints'],
  ['Cassandra without a data center', { archive: { kind: 'cassandra', contactPoints: ['a'] } }, 'localDataCenter'],
  ['a node of an archive that has none', { archive: { contactPoints: ['a'] } }, 'contactPoints'],
  [
    'an unknown field of TLS',
    { archive: { kind: 'cassandra', contactPoints: ['a'], localDataCenter: 'd', tls: { x: 1 } } },
    'x',
  ],
  ['something that is no object', [], 'object'],
] as const) {
  test(`${what} is refused by name`, () => {
    assert.throws(
      () => parseConfig(raw),
      (error: Error & { code?: string }) => error.code === 'WEFT_AGENT_CONFIG' && error.message.includes(field),
    );
  });
}
