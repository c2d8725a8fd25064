import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestApi, uuidOf } from './testing.ts';

const t = await TestApi.start();
const bulk = (operations: unknown, headers = {}) => t.call('POST', '/bulk', { operations }, headers);

test('a whole network in one transaction, objects named by ids of the client', async () => {
  const [bridge, router, chain, a, b] = [1, 2, 3, 4, 5].map(uuidOf) as [string, string, string, string, string];
  const before = await t.nsdb.revision();
  const { status, body, headers } = await bulk([
    // A filter that is created further down: the order matters for parents only.
    { path: '/bridges', body: { id: bridge, name: 'b', inboundFilterId: chain } },
    { path: '/routers', body: { id: router, name: 'r', tenantId: 'blue' } },
    { path: `/bridges/${bridge}/ports`, body: { id: a } },
    {
      path: `http://weft.example:8181/midonet-api/routers/${router}/ports`,
      body: { id: b, portSubnet: ['10.0.0.1/24'] },
    },
    { path: `/ports/${a}/link`, body: { peerId: b } },
    { path: '/chains', body: { id: chain } },
    { path: `/chains/${chain}/rules`, body: { type: 'accept', nwProto: '6' } },
    { path: `/chains/${chain}/rules`, body: { type: 'drop', position: 2 } },
    { path: `/chains/${chain}/rules`, body: { type: 'drop', nwProto: 17 } },
    { path: '/port_groups', body: { id: uuidOf(6), name: 'g' } },
    { path: `/port_groups/${uuidOf(6)}/ports`, body: { portId: a } },
    { path: '/ip_addr_groups', body: { id: uuidOf(7), name: 'ips' } },
    { path: `/ip_addr_groups/${uuidOf(7)}/ip_addrs`, body: { addr: '10.1.0.0/16' } },
    { path: `/bridges/${bridge}/mac_table`, body: { macAddr: '02:00:00:00:00:01', portId: a } },
  ]);
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(body.revision, before + 1);
  assert.equal(headers['x-weft-revision'], String(body.revision));
  assert.equal(body.results.length, 14);
  assert.deepEqual(
    [body.results[0].uri, body.results[6].position, body.results[7].position, body.results[8].position],
    [`http://weft.example:8181/midonet-api/bridges/${bridge}`, 2, 3, 1],
  );
  assert.equal((await t.call('GET', `/ports/${a}`)).body.peerId, b);
  assert.equal((await t.call('GET', `/routers/${router}/routes`)).body.length, 1, 'the derived local route');
  const rules = (await t.call('GET', `/chains/${chain}/rules`)).body;
  assert.deepEqual(
    rules.map((r: { nwProto?: number }) => r.nwProto),
    [17, 6, undefined],
  );
  for (const { uri } of body.results) {
    const path = new URL(uri).pathname.slice('/midonet-api'.length);
    assert.equal((await t.call('GET', path)).status, 200, path);
  }
});

test('all or nothing: each kind of refusal names its operation and leaves nothing', async () => {
  await t.create('/tunnel_zones', { name: 'taken' });
  const good = { path: '/bridges', body: { name: 'never' } };
  const cases: [unknown, number, string, string][] = [
    [{ path: '/bridges', body: { adminStateUp: 'maybe' } }, 400, 'WEFT_INVALID', 'operations.1.body.adminStateUp'],
    [{ path: '/bridges', body: [] }, 400, 'WEFT_INVALID', 'operations.1.body'],
    [{ path: '/bridges' }, 400, 'WEFT_INVALID', 'operations.1.body'],
    [7, 400, 'WEFT_INVALID', 'operations.1'],
    [{ path: '/hosts', body: {} }, 400, 'WEFT_INVALID', 'operations.1.path'],
    [{ path: '/bulk', body: {} }, 400, 'WEFT_INVALID', 'operations.1.path'],
    [{ path: '/bridges/%/ports', body: {} }, 400, 'WEFT_INVALID', 'operations.1.path'],
    [{ path: `/bridges/${uuidOf(99)}/ports`, body: {} }, 404, 'WEFT_NOT_FOUND', 'operations.1'],
    [
      { path: '/bridges', body: { inboundFilterId: uuidOf(98) } },
      409,
      'WEFT_REFERENCE',
      'operations.1.body.inboundFilterId',
    ],
    [{ path: '/tunnel_zones', body: { name: 'taken' } }, 409, 'WEFT_DUPLICATE', 'operations.1'],
    [
      { path: `/chains/${uuidOf(3)}/rules`, body: { type: 'drop', position: 9 } },
      400,
      'WEFT_RULE_POSITION',
      'operations.1.body.position',
    ],
    [
      { path: `/chains/${uuidOf(3)}/rules`, body: { type: 'drop', inPorts: [uuidOf(97)] } },
      409,
      'WEFT_DANGLING',
      'operations.1.body.inPorts',
    ],
  ];
  for (const [bad, status, error, property] of cases) {
    const revision = await t.nsdb.revision();
    const answer = await bulk([good, bad, good]);
    assert.deepEqual([answer.status, answer.body.error], [status, error], JSON.stringify([bad, answer.body]));
    assert.equal(answer.body.violations[0].property, property, JSON.stringify(answer.body));
    assert.equal(await t.nsdb.revision(), revision);
  }
  for (const operations of [[], 'x', undefined, new Array(5_001).fill(good)]) {
    assert.equal((await bulk(operations)).body.violations[0].property, 'operations');
  }
});

test('a thousand rules in one chain are one write of the chain', async () => {
  const { id } = await t.create('/chains', {});
  const one = (i: number) => ({ path: `/chains/${id}/rules`, body: { type: 'drop', nwTos: i % 256, position: i + 1 } });
  const { status, body } = await bulk(Array.from({ length: 1_000 }, (_, i) => one(i)));
  assert.equal(status, 200);
  assert.deepEqual(
    [body.results[0].position, body.results[999].position, body.results[999].nwTos],
    [1, 1_000, 999 % 256],
  );
  const ids = (await t.call('GET', `/chains/${id}`)).body.ruleIds;
  assert.deepEqual(
    ids,
    body.results.map((r: { id: string }) => r.id),
  );
});

test('too much for one transaction is refused, not split', async () => {
  const revision = await t.nsdb.revision();
  // 60 routers with 60 ports of 3 addresses: 3,660 operations, but each address brings a route.
  const operations = Array.from({ length: 60 }, (_, r) => [
    { path: '/routers', body: { id: uuidOf(0x1000 + r) } },
    ...Array.from({ length: 60 }, (_, p) => ({
      path: `/routers/${uuidOf(0x1000 + r)}/ports`,
      body: { portSubnet: [1, 2, 3].map((n) => `10.${p}.${n}.1/24`) },
    })),
  ]).flat();
  const large = await bulk(operations);
  assert.deepEqual([large.status, large.body.error], [413, 'WEFT_TOO_LARGE']);
  const huge = await bulk([{ path: '/bridges', body: { x: 'x'.repeat(5 * 1024 * 1024) } }]);
  assert.deepEqual([huge.status, huge.body.error], [413, 'WEFT_API_BODY_TOO_LARGE']);
  assert.equal(await t.nsdb.revision(), revision);
});

test('strict handling refuses what is otherwise ignored or coerced', async () => {
  const strict = { prefer: 'respond-async, handling=strict' };
  const refused = await t.call('POST', '/bridges', { nmae: 'typo' }, strict);
  assert.deepEqual([refused.status, refused.body.violations[0].property], [400, 'nmae']);
  assert.equal((await t.call('POST', '/bridges', { adminStateUp: 'false' }, strict)).status, 400);
  const { body } = await t.call('POST', '/bridges', { name: 'x' }, strict);
  assert.equal((await t.call('PUT', `/bridges/${body.id}`, body, strict)).status, 204, 'links may come back');
  assert.equal((await t.call('PUT', `/bridges/${body.id}`, { ...body, colour: 1 }, strict)).status, 400);
  assert.equal((await bulk([{ path: '/bridges', body: { nmae: 1 } }], strict)).status, 400);
  assert.equal((await t.call('POST', '/bridges', { nmae: 'typo', adminStateUp: 'false' })).status, 201);
  const rules = [{ direction: 'ingress', remoteIpPrefix: '10.0.0.0/8' }];
  const open = await t.call('POST', '/security_groups', { rules });
  assert.deepEqual([open.status, open.body.violations?.[0].property], [400, 'rules.0.remoteIpPrefix']);
});
