import assert from 'node:assert/strict';
import { type IncomingMessage, request } from 'node:http';
import { test } from 'node:test';
import { ERRORS as STORE } from '@weft/nsdb';
import { ERRORS as MODEL } from '@weft/topology';
import { ERRORS } from './errors.ts';
import { TestApi, uuidOf } from './testing.ts';

const t = await TestApi.start();

const host = await t.host(uuidOf(0xa0), '192.0.2.1');
await t.nsdb.transact((tx) => tx.create('Host', { id: uuidOf(0xa1) }));
const bridge = (await t.create('/bridges', { name: 'b' })).id;
const bridge2 = (await t.create('/bridges', { name: 'b2' })).id;
const router = (await t.create('/routers', { name: 'r' })).id;
const router2 = (await t.create('/routers', { name: 'r2' })).id;
const chain = (await t.create('/chains', { name: 'c' })).id;
const zone = (await t.create('/tunnel_zones', { name: 'tz' })).id;
const port = (await t.create(`/bridges/${bridge}/ports`, {})).id;
const bound = (await t.create(`/bridges/${bridge}/ports`, {})).id;
await t.create(`/hosts/${host}/ports`, { portId: bound, interfaceName: 'tap0' });
const routerPort = (await t.create(`/routers/${router}/ports`, { portSubnet: ['10.0.0.1/24'] })).id;
const [a, b] = [
  (await t.create(`/routers/${router}/ports`, {})).id,
  (await t.create(`/bridges/${bridge2}/ports`, {})).id,
];
await t.create(`/ports/${a}/link`, { peerId: b });
const usedZone = (await t.call('GET', '/tunnel_zones')).body.find((z: { name: string }) =>
  z.name.startsWith('zone-'),
).id;

type Case = [
  method: 'POST' | 'PUT' | 'DELETE' | 'GET' | 'PATCH',
  path: string,
  body: unknown,
  status: number,
  error: string,
  property?: string,
];

const UNKNOWN = uuidOf(0xdead);
const CASES: Record<string, Case[]> = {
  'malformed JSON': [
    ['POST', '/bridges', '{"name": ', 400, 'WEFT_API_MALFORMED_JSON'],
    ['PUT', `/bridges/${bridge}`, 'name=b', 400, 'WEFT_API_MALFORMED_JSON'],
    ['POST', '/bridges', '[]', 400, 'WEFT_INVALID', ''],
    ['POST', '/bridges', 'null', 400, 'WEFT_INVALID', ''],
    ['POST', '/bridges', undefined, 400, 'WEFT_INVALID', ''],
    ['POST', '/bridges', '"x"', 400, 'WEFT_INVALID', ''],
  ],
  'wrong types and values': [
    ['POST', '/bridges', { name: 7 }, 400, 'WEFT_INVALID', 'name'],
    ['POST', '/bridges', { name: 'n'.repeat(256) }, 400, 'WEFT_INVALID', 'name'],
    ['POST', '/bridges', { adminStateUp: 'maybe' }, 400, 'WEFT_INVALID', 'adminStateUp'],
    ['POST', '/bridges', { id: 'b1' }, 400, 'WEFT_INVALID', 'id'],
    ['PUT', `/bridges/${bridge}`, { adminStateUp: [] }, 400, 'WEFT_INVALID', 'adminStateUp'],
    ['PUT', `/bridges/${bridge}`, { id: bridge2 }, 400, 'WEFT_INVALID', 'id'],
    ['POST', '/tunnel_zones', {}, 400, 'WEFT_INVALID', 'name'],
    ['POST', '/tunnel_zones', { name: 'x', type: 'geneve' }, 400, 'WEFT_INVALID', 'type'],
    ['POST', `/chains/${chain}/rules`, { type: 'explode' }, 400, 'WEFT_INVALID', 'type'],
    ['POST', `/chains/${chain}/rules`, { type: 'drop', tpDst: { start: 5, end: 1 } }, 400, 'WEFT_INVALID', 'tpDst.end'],
    ['POST', `/chains/${chain}/rules`, { type: 'drop', position: 9 }, 400, 'WEFT_RULE_POSITION', 'position'],
    ['POST', `/chains/${chain}/rules`, { type: 'drop', position: {} }, 400, 'WEFT_INVALID', 'position'],
    ['POST', `/bridges/${bridge}/ports`, { type: 'Toaster' }, 400, 'WEFT_INVALID', 'deviceType'],
    ['POST', `/bridges/${bridge}/ports`, { deviceId: bridge2, bridgeId: bridge2 }, 400, 'WEFT_INVALID', 'bridgeId'],
    ['POST', `/bridges/${bridge}/ports`, { hostId: host }, 400, 'WEFT_INVALID', 'interfaceName'],
    ['PUT', `/ports/${port}`, { bridgeId: bridge2 }, 400, 'WEFT_IMMUTABLE', 'bridgeId'],
    ['GET', '/bridges?limit=x', undefined, 400, 'WEFT_INVALID', 'limit'],
    ['GET', '/bridges?name=a&name=b', undefined, 400, 'WEFT_INVALID', 'name'],
  ],
  'bad addresses and CIDRs': [
    ['POST', `/routers/${router}/ports`, { portSubnet: ['10.1.0.1/33'] }, 400, 'WEFT_INVALID', 'portSubnet.0'],
    ['POST', `/routers/${router}/ports`, { portSubnet: ['10.1.0.0/24'] }, 400, 'WEFT_INVALID', 'portSubnet.0'],
    [
      'POST',
      `/routers/${router}/ports`,
      { portAddress: '10.1.0', networkLength: 24 },
      400,
      'WEFT_INVALID',
      'portSubnet.0',
    ],
    ['POST', `/routers/${router}/ports`, { portMac: '01:00:00:00:00:00' }, 400, 'WEFT_INVALID', 'portMac'],
    [
      'POST',
      `/routers/${router}/routes`,
      { dstSubnet: 'fd00::/200', nextHopPort: routerPort },
      400,
      'WEFT_INVALID',
      'dstSubnet',
    ],
    [
      'POST',
      `/routers/${router}/routes`,
      { type: 'Normal', dstSubnet: '0.0.0.0/0' },
      400,
      'WEFT_INVALID',
      'nextHopPort',
    ],
    ['POST', `/tunnel_zones/${zone}/hosts`, { hostId: host, ipAddress: '127.0.0.1' }, 400, 'WEFT_INVALID', 'ipAddress'],
    [
      'POST',
      `/bridges/${bridge}/mac_table`,
      { macAddr: 'ff:ff:ff:ff:ff:ff', portId: port },
      400,
      'WEFT_INVALID',
      'macAddr',
    ],
    [
      'POST',
      `/bridges/${bridge}/mac_table`,
      { macAddr: '02:00:00:00:00:01', portId: b },
      400,
      'WEFT_INVALID',
      'portId',
    ],
    ['POST', `/routers/${router}/arp_table`, { ip: '10.0.0', mac: '02:00:00:00:00:01' }, 400, 'WEFT_INVALID', 'ip'],
  ],
  'references to what does not exist': [
    ['POST', '/bridges', { inboundFilterId: UNKNOWN }, 409, 'WEFT_REFERENCE', 'inboundFilterId'],
    ['PUT', `/bridges/${bridge}`, { outboundFilterId: UNKNOWN }, 409, 'WEFT_REFERENCE', 'outboundFilterId'],
    ['POST', `/chains/${chain}/rules`, { type: 'drop', inPorts: [UNKNOWN] }, 409, 'WEFT_DANGLING', 'inPorts'],
    [
      'POST',
      `/routers/${router}/routes`,
      { dstSubnet: '0.0.0.0/0', nextHopPort: UNKNOWN },
      409,
      'WEFT_REFERENCE',
      'nextHopPort',
    ],
    [
      'POST',
      `/tunnel_zones/${zone}/hosts`,
      { hostId: UNKNOWN, ipAddress: '192.0.2.7' },
      409,
      'WEFT_REFERENCE',
      'hostId',
    ],
    ['POST', `/ports/${port}/link`, { peerId: UNKNOWN }, 404, 'WEFT_NOT_FOUND'],
    ['POST', `/hosts/${host}/ports`, { portId: UNKNOWN, interfaceName: 'x' }, 404, 'WEFT_NOT_FOUND'],
  ],
  'unknown paths, ids and methods': [
    ['GET', '/nothing', undefined, 404, 'WEFT_API_NO_SUCH_PATH'],
    ['GET', `/bridges/${UNKNOWN}`, undefined, 404, 'WEFT_NOT_FOUND'],
    ['GET', '/bridges/b1', undefined, 404, 'WEFT_NOT_FOUND'],
    ['PUT', `/routers/${bridge}`, {}, 404, 'WEFT_NOT_FOUND'],
    ['DELETE', `/ports/${UNKNOWN}`, undefined, 404, 'WEFT_NOT_FOUND'],
    ['POST', `/bridges/${UNKNOWN}/ports`, {}, 404, 'WEFT_NOT_FOUND'],
    ['POST', `/chains/${UNKNOWN}/rules`, { type: 'drop' }, 404, 'WEFT_NOT_FOUND'],
    ['GET', `/routers/${UNKNOWN}/routes`, undefined, 404, 'WEFT_NOT_FOUND'],
    ['GET', `/bridges/${UNKNOWN}/mac_table`, undefined, 404, 'WEFT_NOT_FOUND'],
    ['GET', `/bridges/${bridge}/vlans/5000/mac_table`, undefined, 404, 'WEFT_NOT_FOUND'],
    ['DELETE', `/tunnel_zones/${zone}/hosts/${host}`, undefined, 404, 'WEFT_NOT_FOUND'],
    ['POST', '/hosts', { name: 'h' }, 405, 'WEFT_API_METHOD'],
    ['GET', '/bridges/%zz', undefined, 400, 'WEFT_API_BAD_REQUEST'],
    ['GET', `/bridges/${'x'.repeat(300)}`, undefined, 404, 'WEFT_API_NO_SUCH_PATH'],
    ['PATCH', `/bridges/${bridge}`, {}, 405, 'WEFT_API_METHOD'],
    ['PUT', `/chains/${chain}`, {}, 405, 'WEFT_API_METHOD'],
  ],
  duplicates: [
    ['POST', '/bridges', { id: bridge }, 409, 'WEFT_DUPLICATE'],
    ['POST', '/tunnel_zones', { name: 'tz' }, 409, 'WEFT_DUPLICATE'],
    ['PUT', `/tunnel_zones/${usedZone}`, { name: 'tz' }, 409, 'WEFT_DUPLICATE'],
    ['POST', `/tunnel_zones/${usedZone}/hosts`, { hostId: host, ipAddress: '192.0.2.9' }, 409, 'WEFT_DUPLICATE'],
    [
      'POST',
      `/tunnel_zones/${usedZone}/hosts`,
      { hostId: uuidOf(0xa1), ipAddress: '192.0.2.1' },
      409,
      'WEFT_DUPLICATE',
    ],
    ['POST', `/hosts/${host}/ports`, { portId: port, interfaceName: 'tap0' }, 409, 'WEFT_INTERFACE_IN_USE'],
    ['POST', `/routers/${router}/ports`, { portSubnet: ['10.0.0.7/16'] }, 409, 'WEFT_SUBNET_OVERLAP'],
  ],
  'links, bindings and deletions that the state forbids': [
    ['POST', `/ports/${port}/link`, { peerId: b }, 409, 'WEFT_PORT_LINKED'],
    ['POST', `/ports/${routerPort}/link`, { peerId: bound }, 409, 'WEFT_PORT_BOUND'],
    ['POST', `/ports/${port}/link`, { peerId: port }, 400, 'WEFT_INVALID', 'peerId'],
    ['POST', `/ports/${port}/link`, {}, 400, 'WEFT_INVALID', 'peerId'],
    ['POST', `/hosts/${host}/ports`, { portId: a, interfaceName: 'tap1' }, 409, 'WEFT_PORT_LINKED'],
    [
      'POST',
      `/hosts/${uuidOf(0xa1)}/ports`,
      { portId: port, interfaceName: 'tap1' },
      409,
      'WEFT_HOST_NOT_IN_TUNNEL_ZONE',
      'hostId',
    ],
    ['POST', `/hosts/${host}/ports`, { portId: port, interfaceName: 'a/b' }, 400, 'WEFT_INVALID', 'interfaceName'],
    [
      'POST',
      `/routers/${router2}/routes`,
      { dstSubnet: '0.0.0.0/0', nextHopPort: routerPort },
      400,
      'WEFT_ROUTE_PORT_ON_OTHER_ROUTER',
      'nextHopPort',
    ],
    ['PUT', `/tunnel_zones/${usedZone}`, { name: 'y', type: 'gre' }, 409, 'WEFT_ZONE_TYPE_IN_USE', 'type'],
    ['DELETE', `/hosts/${host}`, undefined, 403, 'WEFT_API_HOST_IN_USE'],
  ],
};

for (const [title, cases] of Object.entries(CASES)) {
  test(`${title}: coded, and nothing changes`, async () => {
    for (const [method, path, body, status, error, property] of cases) {
      const before = await t.nsdb.revision();
      const answer = await t.call(method, path, body);
      const what = `${method} ${path} ${JSON.stringify(body)}: ${JSON.stringify(answer.body)}`;
      assert.deepEqual([answer.status, answer.body.error, answer.body.code], [status, error, status], what);
      assert.ok(answer.body.message.length > 10, what);
      if (property !== undefined) {
        assert.ok(
          answer.body.violations.some((v: { property: string }) => v.property === property),
          what,
        );
      }
      assert.equal(await t.nsdb.revision(), before, what);
      assert.ok(error in ERRORS || error in STORE || error in MODEL, `${error} is in no table`);
    }
  });
}

test('a body that is too large or not JSON is refused by its kind', async () => {
  const large = await t.call('POST', '/bridges', JSON.stringify({ name: 'x'.repeat(2 ** 20) }), {
    'content-type': 'application/json',
  });
  assert.deepEqual([large.status, large.body.error], [413, 'WEFT_API_BODY_TOO_LARGE']);
  const form = await t.call('POST', '/bridges', 'name=b', { 'content-type': 'application/x-www-form-urlencoded' });
  assert.deepEqual([form.status, form.body.error], [415, 'WEFT_API_MEDIA_TYPE']);
});

test('unknown fields and links are ignored, hostile keys too', async () => {
  const body =
    '{"name": "h", "__proto__": {"adminStateUp": false}, "constructor": {"prototype": {}}, "ports": "http://x"}';
  const { status, body: made } = await t.call('POST', '/bridges', body, { 'content-type': 'application/json' });
  assert.deepEqual([status, made.adminStateUp], [201, true]);
  assert.deepEqual(Object.keys((await t.nsdb.get('Bridge', made.id))!.value).sort(), [
    'adminStateUp',
    'id',
    'name',
    'tunnelKey',
  ]);
});

test('what nobody foresaw is a 500 that tells nothing', async () => {
  const broken = { ...t.nsdb, generation: '', list: () => Promise.reject(new Error('secret path /etc/shadow')) };
  const { createApi } = await import('./api.ts');
  const api = await createApi({ nsdb: broken as unknown as typeof t.nsdb });
  const answer = await api.fastify.inject('/midonet-api/bridges');
  assert.equal(answer.statusCode, 500);
  assert.equal(answer.json().error, 'WEFT_API_INTERNAL');
  assert.ok(!answer.body.includes('shadow'));
  await api.close();
});

test('a store that is away is a 503', async () => {
  const away = Object.assign(new Error('away'), { code: 'WEFT_STORE_AWAY' });
  const { createApi } = await import('./api.ts');
  const api = await createApi({
    nsdb: { generation: '', list: () => Promise.reject(away) } as unknown as typeof t.nsdb,
  });
  const answer = await api.fastify.inject('/midonet-api/bridges');
  assert.deepEqual(
    [answer.statusCode, answer.json().error, answer.headers['retry-after']],
    [503, 'WEFT_STORE_AWAY', '1'],
  );
  await api.close();
});

test('methods that a resource does not have are a 405 with those that it has', async () => {
  const socketPath = await t.api.listen({ unixSocket: `${t.dir}/methods.sock` });
  for (const method of ['HEAD', 'PATCH', 'OPTIONS', 'TRACE', 'QUERY']) {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const options = { socketPath, path: `/midonet-api/ports/${uuidOf(1)}/link`, method };
      request(method === 'HEAD' ? { ...options, path: '/midonet-api/bulk' } : options, resolve)
        .on('error', reject)
        .end();
    });
    answer.resume();
    assert.equal(answer.statusCode, 405, method);
    assert.match(answer.headers.allow!, /POST/);
  }
});
