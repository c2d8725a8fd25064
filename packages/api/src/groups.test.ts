import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestApi, uuidOf } from './testing.ts';

const t = await TestApi.start();
const below = (uri: string) => new URL(uri).pathname.slice('/midonet-api'.length);

test('port groups: members from both sides, a PUT of the port keeps them', async () => {
  const bridge = await t.create('/bridges', {});
  const [a, b] = [await t.create(`/bridges/${bridge.id}/ports`, {}), await t.create(`/bridges/${bridge.id}/ports`, {})];
  const group = await t.create('/port_groups', { name: 'web', tenantId: 'blue', stateful: 'true' });
  const other = await t.create('/port_groups', { name: 'db', tenantId: 'blue' });
  assert.equal(group.stateful, true);
  const joined = await t.call('POST', below(group.ports!), { portId: a.id });
  assert.deepEqual([joined.status, joined.headers.location], [201, joined.body.uri]);
  assert.equal((await t.call('POST', below(group.ports!), { portId: a.id })).status, 201, 'again: no harm');
  await t.create(below(group.ports!), { portId: b.id!.toUpperCase() });
  await t.create(below(other.ports!), { portId: a.id });

  const members = (await t.call('GET', below(group.ports!))).body.map((m: { portId: string }) => m.portId);
  assert.deepEqual(members, [a.id, b.id].sort());
  const groups = (await t.call('GET', `/ports/${a.id}/port_groups`)).body;
  assert.deepEqual(
    groups.map((m: { portGroupId: string }) => m.portGroupId),
    [group.id, other.id],
  );
  const listed = async (query: string) =>
    (await t.call('GET', `/port_groups${query}`)).body.map((g: { id: string }) => g.id);
  assert.deepEqual(await listed(`?port_id=${b.id}`), [group.id]);
  assert.deepEqual(await listed(`?port_id=${a.id}&name=db&tenant_id=blue`), [other.id]);
  assert.equal((await t.call('GET', `/port_groups?port_id=${uuidOf(9)}`)).status, 404);

  assert.equal((await t.call('PUT', `/ports/${a.id}`, { adminStateUp: false })).status, 204);
  assert.equal((await t.call('GET', below(joined.body.uri))).body.portId, a.id);
  assert.equal((await t.call('DELETE', below(joined.body.uri))).status, 204);
  assert.equal((await t.call('GET', below(joined.body.uri))).status, 404);
  assert.equal((await t.call('DELETE', below(joined.body.uri))).status, 404);
  assert.equal((await t.call('DELETE', `/port_groups/${other.id}`)).status, 204);
  assert.deepEqual((await t.call('GET', `/ports/${a.id}`)).body.portGroupIds ?? [], []);
});

test('address groups: addresses and prefixes of both versions, in pages', async () => {
  const group = await t.create('/ip_addr_groups', { name: 'bad', tenantId: 'blue' });
  const addrs = below(group.addrs!);
  for (const [addr, path] of [
    ['10.0.0.1', 'versions/4/ip_addrs/10.0.0.1'],
    ['10.0.0.2/32', 'versions/4/ip_addrs/10.0.0.2'],
    ['10.7.1.1/16', 'versions/4/ip_addrs/10.7.0.0_16'],
    ['FD00::1', 'versions/6/ip_addrs/fd00::1'],
    ['fd00:1::/32', 'versions/6/ip_addrs/fd00:1::_32'],
  ] as const) {
    const added = await t.call('POST', addrs, { addr, version: path[9] });
    assert.equal(added.status, 201, JSON.stringify(added.body));
    assert.ok(added.headers.location!.endsWith(`/ip_addr_groups/${group.id}/${path}`), added.headers.location);
    assert.deepEqual((await t.call('GET', below(added.headers.location!))).body, added.body);
  }
  assert.equal((await t.call('GET', `${addrs}?limit=2`)).body.length, 2);
  assert.equal((await t.call('GET', addrs)).body.length, 5);
  const path = `/ip_addr_groups/${group.id}/versions/4/ip_addrs`;
  assert.equal((await t.call('GET', `${path}/10.7.0.0%2F16`)).status, 200, 'a slash may be encoded, too');
  assert.equal((await t.call('GET', `/ip_addr_groups/${group.id}/versions/6/ip_addrs/10.0.0.1`)).status, 404);
  assert.equal((await t.call('DELETE', `${path}/10.0.0.1`)).status, 204);
  assert.equal((await t.call('DELETE', `${path}/10.0.0.1`)).status, 404);
  for (const body of [
    {},
    { addr: 7 },
    { addr: '10.0.0' },
    { addr: '10.0.0.1', version: 6 },
    { addr: 'x'.repeat(999) },
  ]) {
    assert.equal((await t.call('POST', addrs, body)).status, 400, JSON.stringify(body));
  }
  assert.equal((await t.call('POST', `/ip_addr_groups/${uuidOf(9)}/ip_addrs`, { addr: '10.0.0.1' })).status, 404);
});

test('what a rule names cannot be deleted under it; loggers go with their chain', async () => {
  const [chain, target] = [await t.create('/chains', {}), await t.create('/chains', {})];
  const group = await t.create('/ip_addr_groups', { name: 'g' });
  const rules = below(chain.rules!);
  const jump = await t.create(rules, {
    type: 'jump',
    jumpChainId: target.id,
    ipAddrGroupSrc: group.id,
    invIpAddrGroupSrc: 'true',
  });
  assert.equal(jump.jumpChain, target.uri);
  for (const uri of [target.uri!, group.uri!]) {
    const refused = await t.call('DELETE', below(uri));
    assert.deepEqual([refused.status, refused.body.error], [409, 'WEFT_IN_USE']);
  }
  const resource = await t.create('/logging_resources', {});
  const logger = await t.create(below(chain.ruleLoggers!), { event: 'DROP', loggingResourceId: resource.id });
  assert.deepEqual([logger.event, logger.chain, logger.loggingResource], ['drop', chain.uri, resource.uri]);
  assert.equal((await t.call('PUT', below(logger.uri!), { event: 'all' })).status, 204);
  for (const uri of [chain.ruleLoggers!, resource.ruleLoggers!])
    assert.equal((await t.call('GET', below(uri))).body.length, 1);
  assert.equal((await t.call('DELETE', below(chain.uri!))).status, 204);
  assert.equal((await t.call('GET', below(logger.uri!))).status, 404);
  assert.equal((await t.call('DELETE', below(target.uri!))).status, 204);
});

test('tenants are those who own something', async () => {
  await t.create('/routers', { tenantId: 'red/ü' });
  const list = (await t.call('GET', '/tenants')).body;
  const red = list.find((tenant: { id: string }) => tenant.id === 'red/ü');
  assert.deepEqual((await t.call('GET', below(red.uri))).body, red);
  const routers = new URL(red.routers);
  assert.equal((await t.call('GET', below(red.routers) + routers.search)).body.length, 1);
  assert.equal((await t.call('GET', '/tenants/nobody')).status, 404);
  assert.equal((await t.call('POST', '/tenants', {})).status, 405);
});

test("MidoNet's media types say null where plain JSON says nothing", async () => {
  const bridge = await t.create('/bridges', {});
  const accept = 'application/vnd.org.midonet.Port-v3+json';
  const { body } = await t.call('POST', `/bridges/${bridge.id}/ports`, {}, { accept });
  assert.deepEqual([body.peerId, body.vlanId, body.interfaceName, body.adminStateUp], [null, null, null, true]);
  assert.equal((await t.call('PUT', `/ports/${body.id}`, body)).status, 204);
  assert.ok(!('peerId' in (await t.call('GET', `/ports/${body.id}`)).body));
});

test('tables come in pages', async () => {
  const bridge = await t.create('/bridges', {});
  const port = await t.create(`/bridges/${bridge.id}/ports`, {});
  const macs = `/bridges/${bridge.id}/mac_table`;
  for (let i = 0; i < 5; i++) await t.create(macs, { macAddr: `02:00:00:00:00:0${i}`, portId: port.id });
  const seen: string[] = [];
  for (let next: string | undefined = `${macs}?limit=2`; next !== undefined; ) {
    const { body, headers } = await t.call('GET', next);
    seen.push(...body.map((entry: { macAddr: string }) => entry.macAddr.slice(-1)));
    const link = /<([^>]+)>/.exec(headers.link ?? '')?.[1];
    next = link && below(link) + new URL(link).search;
  }
  assert.deepEqual(seen, ['0', '1', '2', '3', '4']);
});
