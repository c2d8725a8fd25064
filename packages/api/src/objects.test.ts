import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestApi, uuidOf } from './testing.ts';

const t = await TestApi.start();

/** Fields in which a PUT of an object's own representation could make a difference. */
async function stored(type: string, id: string) {
  return (await t.nsdb.get(type, id))?.value;
}

test('bridge: create, list with filters, get, replace, delete', async () => {
  const created = await t.call('POST', '/bridges', { name: 'b1', tenantId: 'blue' });
  assert.equal(created.status, 201);
  const { id } = created.body;
  const uri = `http://weft.example:8181/midonet-api/bridges/${id}`;
  assert.equal(created.headers.location, uri);
  assert.equal(created.body.uri, uri);
  assert.equal(created.body.ports, `${uri}/ports`);
  assert.equal(created.headers['x-weft-revision'], String(await t.nsdb.revision()));
  const got = await t.call('GET', `/bridges/${id}`);
  assert.deepEqual(got.body, created.body);
  assert.equal(got.headers.etag, created.headers.etag);

  await t.create('/bridges', { name: 'b2', tenantId: 'red' });
  const names = async (query: string) =>
    (await t.call('GET', `/bridges${query}`)).body.map((b: { name: string }) => b.name).sort();
  assert.deepEqual(await names(''), ['b1', 'b2']);
  assert.deepEqual(await names('?tenant_id=red'), ['b2']);
  assert.deepEqual(await names('?tenant_id=red&name=b1'), []);

  const put = await t.call('PUT', `/bridges/${id}`, {
    ...created.body,
    name: 'renamed',
    adminStateUp: 'false',
    tunnelKey: 77,
    extra: {},
  });
  assert.equal(put.status, 204);
  assert.equal(put.headers['x-weft-revision'], String(await t.nsdb.revision()));
  const { tunnelKey } = created.body;
  assert.deepEqual(await stored('Bridge', id), {
    id,
    name: 'renamed',
    tenantId: 'blue',
    adminStateUp: false,
    tunnelKey,
  });

  assert.equal((await t.call('DELETE', `/bridges/${id}`)).status, 204);
  assert.equal((await t.call('GET', `/bridges/${id}`)).status, 404);
  assert.equal((await t.call('DELETE', `/bridges/${id}`)).status, 404);
});

test('an id may be given, in any case, and an unset filter is null', async () => {
  const chain = await t.create('/chains', { name: 'c' });
  const id = 'AAAAAAAA-0000-4000-8000-00000000000A';
  const created = await t.create('/routers', { id, inboundFilterId: chain.id });
  assert.equal(created.id, id.toLowerCase());
  assert.equal(created.inboundFilter, `http://weft.example:8181/midonet-api/chains/${chain.id}`);
  assert.equal((await t.call('PUT', `/routers/${id}`, { ...created, inboundFilterId: null })).status, 204);
  assert.ok(!('inboundFilterId' in (await stored('Router', created.id!))!));
});

test('ports: both spellings of the device and its addresses; a PUT keeps what it may not change', async () => {
  const router = await t.create('/routers', { name: 'r' });
  const bridge = await t.create('/bridges', { name: 'b' });
  const port = await t.create(`/routers/${router.id}/ports`, {
    type: 'Router',
    portAddress: '10.0.0.1',
    networkAddress: '10.0.0.0',
    networkLength: '24',
  });
  assert.deepEqual(port.portSubnet, ['10.0.0.1/24']);
  assert.match(port.portMac!, /^ac:ca:ba:/);
  assert.deepEqual([port.type, port.deviceId, port.networkAddress], ['Router', router.id, '10.0.0.0']);
  const peer = await t.create(`/bridges/${bridge.id}/ports`, { type: 'ExteriorBridge', deviceId: bridge.id });
  assert.equal((await t.call('POST', `/ports/${port.id}/link`, { peerId: peer.id })).status, 201);

  const before = await stored('Port', port.id!);
  const put = await t.call('PUT', `/ports/${port.id}`, {
    portSubnet: ['10.0.0.1/24', 'FD00::1/64'],
    peerId: uuidOf(1),
    adminStateUp: false,
  });
  assert.equal(put.status, 204);
  assert.deepEqual(await stored('Port', port.id!), {
    ...before,
    portSubnet: ['10.0.0.1/24', 'fd00::1/64'],
    adminStateUp: false,
  });
  const routes = (await t.call('GET', `/routers/${router.id}/routes`)).body;
  assert.deepEqual(routes.map((r: { type: string; dstSubnet: string }) => `${r.type} ${r.dstSubnet}`).sort(), [
    'Local 10.0.0.1/32',
    'Local fd00::1/128',
  ]);

  assert.equal((await t.call('GET', `/bridges/${bridge.id}/peer_ports`)).body[0].id, port.id);
  assert.equal((await t.call('GET', '/ports')).body.length, 2);
  assert.equal((await t.call('DELETE', `/routers/${router.id}`)).status, 204);
  assert.equal((await t.call('GET', `/ports/${port.id}`)).status, 404);
  assert.ok(!('peerId' in (await stored('Port', peer.id!))!));
  assert.equal((await t.nsdb.list('Route')).length, 0);
});

test('a link is made and taken away at both ends', async () => {
  const router = await t.create('/routers', {});
  const bridge = await t.create('/bridges', {});
  const a = await t.create(`/routers/${router.id}/ports`, {});
  const b = await t.create(`/bridges/${bridge.id}/ports`, {});
  const linked = await t.call('POST', `/ports/${a.id}/link`, { peerId: b.id });
  assert.equal(linked.headers.location, `http://weft.example:8181/midonet-api/ports/${a.id}/link`);
  assert.equal((await t.call('GET', `/ports/${b.id}`)).body.peerId, a.id);
  assert.equal((await t.call('GET', `/ports/${b.id}/link`)).body.peerId, a.id);
  assert.equal((await t.call('DELETE', `/ports/${b.id}/link`, '{}')).status, 204);
  assert.equal((await t.call('GET', `/ports/${b.id}/link`)).status, 404);
  assert.equal((await t.call('GET', `/ports/${a.id}`)).body.peerId, undefined);
});

test('routes: both spellings, no PUT', async () => {
  const router = await t.create('/routers', {});
  const port = await t.create(`/routers/${router.id}/ports`, { portSubnet: ['10.0.0.1/24'] });
  const route = await t.create(`/routers/${router.id}/routes`, {
    type: 'Normal',
    srcNetworkAddr: '0.0.0.0',
    srcNetworkLength: 0,
    dstNetworkAddr: '192.168.7.9',
    dstNetworkLength: 16,
    nextHopPort: port.id,
    nextHopGateway: '10.0.0.254',
    weight: '100',
  });
  assert.deepEqual(
    [route.type, route.dstSubnet, route.dstNetworkAddr, route.weight],
    ['Normal', '192.168.0.0/16', '192.168.0.0', 100],
  );
  assert.equal(
    (await t.create(`/routers/${router.id}/routes`, { type: 'BlackHole', dstSubnet: '::/0' })).srcSubnet,
    '::/0',
  );
  const put = await t.call('PUT', `/routes/${route.id}`, route);
  assert.equal(put.status, 405);
  assert.match(put.headers.allow!, /^(?=.*GET)(?=.*DELETE)(?!.*PUT)/);
  assert.equal((await t.call('DELETE', `/routes/${route.id}`)).status, 204);
});

test('chains and rules: order, positions, cascade', async () => {
  const chain = await t.create('/chains', { name: 'in', tenantId: 'blue', ruleIds: [uuidOf(1)] });
  const add = (body: object) => t.create(`/chains/${chain.id}/rules`, { type: 'drop', ...body });
  const one = await add({ nwSrcAddress: '10.0.0.0', nwSrcLength: 8, condInvert: true, inPorts: [] });
  assert.deepEqual([one.nwSrc, one.conjunctionInv, one.position, one.inPorts], ['10.0.0.0/8', true, 1, undefined]);
  const two = await add({ position: 2, tpDst: { start: '22', end: '22' }, nwProto: '6' });
  const head = await add({});
  const list = (await t.call('GET', `/chains/${chain.id}/rules`)).body;
  assert.deepEqual(
    list.map((r: { id: string; position: number }) => [r.id, r.position]),
    [
      [head.id, 1],
      [one.id, 2],
      [two.id, 3],
    ],
  );
  assert.equal((await t.call('DELETE', `/rules/${one.id}`)).status, 204);
  assert.deepEqual((await t.call('GET', `/chains/${chain.id}`)).body.ruleIds, [head.id, two.id]);
  const bridge = await t.create('/bridges', { inboundFilterId: chain.id });
  assert.equal((await t.call('DELETE', `/chains/${chain.id}`)).status, 204);
  assert.equal((await t.call('GET', `/rules/${two.id}`)).status, 404);
  assert.equal((await t.call('GET', `/bridges/${bridge.id}`)).body.inboundFilterId, undefined);
});

test('tunnel zones and members', async () => {
  const zone = await t.create('/tunnel_zones', { name: 'tz', type: 'GRE' });
  assert.equal(zone.type, 'gre');
  // The same name again is no conflict with itself; the type stays when left out.
  assert.equal((await t.call('PUT', `/tunnel_zones/${zone.id}`, { name: 'tz' })).status, 204);
  assert.equal((await t.call('GET', `/tunnel_zones/${zone.id}`)).body.type, 'gre');
  await t.nsdb.transact((tx) => tx.create('Host', { id: uuidOf(0xa0) }));
  const member = await t.call('POST', `/tunnel_zones/${zone.id}/hosts`, { hostId: uuidOf(0xa0), ipAddress: 'FD00::1' });
  const path = `/tunnel_zones/${zone.id}/hosts/${uuidOf(0xa0)}`;
  assert.equal(member.headers.location, `http://weft.example:8181/midonet-api${path}`);
  assert.equal((await t.call('GET', path)).body.ipAddress, 'fd00::1');
  assert.equal((await t.call('GET', `/tunnel_zones/${zone.id}/hosts`)).body.length, 1);
  assert.equal((await t.call('DELETE', path)).status, 204);
  assert.equal((await t.call('DELETE', `/tunnel_zones/${zone.id}`)).status, 204);
});

test('hosts: bindings, interfaces, PUT, refusal to delete one that is alive or bound', async () => {
  const id = await t.host(uuidOf(0xb0), '192.0.2.1');
  const other = await t.host(uuidOf(0xb1), '192.0.2.2');
  const bridge = await t.create('/bridges', {});
  const port = await t.create(`/bridges/${bridge.id}/ports`, {});
  const bound = await t.call('POST', `/hosts/${id}/ports`, { portId: port.id, interfaceName: 'tap0' });
  assert.equal(bound.headers.location, `http://weft.example:8181/midonet-api/hosts/${id}/ports/${port.id}`);
  const shown = (await t.call('GET', `/ports/${port.id}`)).body;
  assert.deepEqual([shown.hostId, shown.interfaceName, shown.hostInterfacePort], [id, 'tap0', bound.headers.location]);
  assert.equal((await t.call('GET', `/hosts/${id}/ports/${port.id}`)).body.interfaceName, 'tap0');

  assert.equal(
    (await t.call('PUT', `/ports/${port.id}`, { ...shown, hostId: other, interfaceName: 'tap9' })).status,
    204,
  );
  assert.equal((await t.call('GET', `/ports/${port.id}`)).body.previousHostId, id);
  assert.deepEqual((await t.call('GET', `/hosts/${id}/ports`)).body, []);
  assert.equal((await t.call('GET', `/hosts/${id}/ports/${port.id}`)).status, 404);
  const inUse = await t.call('DELETE', `/hosts/${other}`);
  assert.deepEqual([inUse.status, inUse.body.error], [403, 'WEFT_API_HOST_IN_USE']);
  assert.equal((await t.call('DELETE', `/hosts/${other}/ports/${port.id}`)).status, 204);

  const session = await t.nsdb.openSession(id);
  await session.put(
    `interfaces/${id}`,
    'eth0',
    JSON.stringify({ mac: '02:00:00:00:00:01', addresses: ['192.0.2.1'], name: 'x' }),
  );
  await session.put(`interfaces/${id}`, 'odd', 'no json');
  const host = (await t.call('GET', `/hosts/${id}`)).body;
  assert.deepEqual([host.alive, host.addresses], [true, ['192.0.2.1']]);
  const interfaces = (await t.call('GET', `/hosts/${id}/interfaces`)).body;
  assert.deepEqual(
    interfaces.map((i: { name: string }) => i.name),
    ['eth0', 'odd'],
  );
  assert.equal((await t.call('GET', `/hosts/${id}/interfaces/eth0`)).body.mac, '02:00:00:00:00:01');
  assert.equal((await t.call('GET', `/hosts/${id}/interfaces/eth1`)).status, 404);
  assert.equal((await t.call('DELETE', `/hosts/${id}`)).status, 403);
  await session.close({ leave: true });

  assert.equal((await t.call('PUT', `/hosts/${id}`, { floodingProxyWeight: 5 })).status, 200);
  assert.deepEqual(await stored('Host', id), {
    id,
    name: host.name,
    floodingProxyWeight: 5,
    containerWeight: 1,
    containerLimit: -1,
    enforceContainerLimit: false,
  });
  assert.equal((await t.call('DELETE', `/hosts/${id}`)).status, 200);
});

test('MAC and ARP tables: seeded entries come and go, learned ones are shown', async () => {
  const host = await t.host(uuidOf(0xc0), '192.0.2.3');
  const bridge = await t.create('/bridges', {});
  const router = await t.create('/routers', {});
  const port = await t.create(`/bridges/${bridge.id}/ports`, {});
  const macs = `/bridges/${bridge.id}/mac_table`;
  const seeded = await t.call('POST', macs, { macAddr: '02-00-00-00-00-0A', portId: port.id });
  const path = `${macs}/02-00-00-00-00-0a_${port.id}`;
  assert.equal(seeded.headers.location, `http://weft.example:8181/midonet-api${path}`);
  assert.equal((await t.call('GET', path)).body.learned, false);
  assert.equal((await t.call('GET', `${macs}/02:00:00:00:00:0A_${port.id}`)).body.macAddr, '02:00:00:00:00:0a');
  const session = await t.nsdb.openSession(host);
  await session.put(`mac/${bridge.id}`, '7|02:00:00:00:00:0b', port.id!);
  const tagged = (await t.call('GET', macs)).body.find((e: { vlanId?: number }) => e.vlanId === 7);
  assert.deepEqual([tagged.learned, tagged.hostId, tagged.macAddr], [true, host, '02:00:00:00:00:0b']);
  assert.equal((await t.call('GET', `/bridges/${bridge.id}/vlans/7/mac_table`)).body.length, 1);
  assert.equal((await t.call('GET', `/bridges/${bridge.id}/vlans/8/mac_table`)).body.length, 0);
  assert.equal((await t.call('GET', new URL(tagged.uri).pathname.slice('/midonet-api'.length))).status, 200);
  assert.equal((await t.call('DELETE', path)).status, 204);
  assert.equal((await t.call('GET', path)).status, 404);
  await t.create(`/bridges/${bridge.id}/vlans/9/mac_table`, { macAddr: '02:00:00:00:00:0c', portId: port.id });
  assert.ok((await t.nsdb.entries(`mac/${bridge.id}`)).some((e) => e.key === '9|02:00:00:00:00:0c'));

  for (const [owner, ip] of [
    [`/bridges/${bridge.id}`, '10.0.0.9'],
    [`/routers/${router.id}`, 'FD00::9'],
  ]) {
    const arp = await t.call('POST', `${owner}/arp_table`, { ip, mac: '02:00:00:00:00:0d' });
    assert.equal(arp.status, 201);
    const entry = new URL(arp.headers.location!).pathname.slice('/midonet-api'.length);
    assert.equal((await t.call('GET', entry)).body.ip, ip!.toLowerCase());
    assert.equal((await t.call('GET', `${owner}/arp_table`)).body.length, 1);
    assert.equal((await t.call('DELETE', entry)).status, 204);
    assert.equal((await t.call('GET', `${owner}/arp_table`)).body.length, 0);
  }
  await session.close({ leave: true });
});

test('long lists come in pages that together are the whole', async () => {
  const router = await t.create('/routers', { tenantId: 'pages' });
  for (let i = 0; i < 5; i++) await t.create(`/routers/${router.id}/ports`, {});
  const seen: string[] = [];
  let next: string | undefined = `/routers/${router.id}/ports?limit=2`;
  for (let pages = 0; next !== undefined; pages++) {
    assert.ok(pages < 4);
    const page = await t.call('GET', next);
    seen.push(...page.body.map((p: { id: string }) => p.id));
    const link: string | undefined = /<([^>]+)>; rel="next"/.exec(page.headers.link ?? '')?.[1];
    next = link?.slice('http://weft.example:8181/midonet-api'.length);
  }
  assert.deepEqual(seen, (await t.nsdb.referrers('Port', 'routerId', router.id!)).sort());
});

test('a change can demand the version that it was made for', async () => {
  const { body, headers } = await t.call('POST', '/bridges', { name: 'v1' });
  const put = (name: string, tag: string) => t.call('PUT', `/bridges/${body.id}`, { name }, { 'if-match': tag });
  assert.equal((await put('v2', headers.etag!)).status, 204);
  const stale = await put('v3', headers.etag!);
  assert.deepEqual([stale.status, stale.body.error], [412, 'WEFT_VERSION_CONFLICT']);
  assert.equal((await put('v3', '"nonsense"')).status, 412);
  assert.equal((await t.call('DELETE', `/bridges/${body.id}`, undefined, { 'if-match': headers.etag! })).status, 412);
  assert.equal((await t.call('GET', `/bridges/${body.id}`)).body.name, 'v2');
  assert.equal((await put('v3', '*')).status, 204);
});

test('vendor media types are understood and given back', async () => {
  const type = 'application/vnd.org.midonet.Bridge-v4+json';
  const created = await t.call('POST', '/bridges', JSON.stringify({ name: 'm' }), {
    'content-type': type,
    accept: `${type}, */*;q=0.1`,
  });
  assert.deepEqual([created.status, created.headers['content-type']], [201, type]);
  const list = 'application/vnd.org.midonet.collection.Bridge-v5+json';
  assert.equal((await t.call('GET', '/bridges', undefined, { accept: list })).headers['content-type'], list);
  assert.match(
    (await t.call('GET', '/bridges', undefined, { accept: '*/*' })).headers['content-type']!,
    /^application\/json/,
  );
  const refused = await t.call('GET', '/bridges', undefined, { accept: 'text/html' });
  assert.deepEqual([refused.status, refused.body.error], [406, 'WEFT_API_NOT_ACCEPTABLE']);
});

test('the root document leads to every collection; system state', async () => {
  const root = (await t.call('GET', '')).body;
  assert.equal(root.version, 'v5.0');
  for (const key of ['bridges', 'routers', 'ports', 'chains', 'hosts', 'tunnelZones', 'systemState']) {
    const path = root[key].slice('http://weft.example:8181/midonet-api'.length);
    assert.equal((await t.call('GET', path)).status, 200, key);
  }
  assert.equal(root.ruleTemplate, 'http://weft.example:8181/midonet-api/rules/{id}');
  assert.equal((await t.call('GET', '/system_state')).body.state, 'ACTIVE');
});

test('a Host header that is none does not get into links', async () => {
  const { body } = await t.call('GET', '', undefined, { host: '"><script>' });
  assert.equal(body.uri, 'http://localhost/midonet-api');
});
