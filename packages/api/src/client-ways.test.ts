/** How MidoNet's Python client speaks HTTP: each of its habits must be met, also where it is a strange one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestApi, uuidOf } from './testing.ts';

const t = await TestApi.start();
const vendor = (name: string, version: number) => `application/vnd.org.midonet.${name}-v${version}+json`;
const list = (name: string, version: number) => `application/vnd.org.midonet.collection.${name}-v${version}+json`;

test('every request but POST and PUT carries the body {} and no content type', async () => {
  const { id } = await t.create('/bridges', { tenantId: 'blue' });
  for (const path of ['', '/bridges', `/bridges/${id}`, '/system_state', '/tenants', `/bridges/${id}/ports`]) {
    assert.equal((await t.call('GET', path, '{}')).status, 200, path);
  }
  assert.equal((await t.call('DELETE', `/bridges/${id}`, '{}')).status, 204);
  assert.equal((await t.call('GET', `/bridges/${id}`, '{}')).status, 404);
});

test('a path may end in a slash', async () => {
  for (const path of ['/', '/bridges/', '/system_state/']) {
    assert.equal((await t.call('GET', path)).status, 200, path);
  }
});

test('every media type that the client asks for is given', async () => {
  const bridge = await t.create('/bridges', { tenantId: 'blue' });
  const router = await t.create('/routers', { tenantId: 'blue' });
  const port = await t.create(`/routers/${router.id}/ports`, { portAddress: '10.0.0.1', networkLength: '24' });
  const chain = await t.create('/chains', {});
  const rule = await t.create(`/chains/${chain.id}/rules`, { type: 'accept' });
  const portGroup = await t.create('/port_groups', {});
  const addresses = await t.create('/ip_addr_groups', { name: 'g' });
  const host = await t.host(uuidOf(0xa0), '192.0.2.1');
  const zone = (await t.call('GET', '/tunnel_zones')).body[0];
  for (const [path, accept] of [
    ['', vendor('Application', 5)],
    ['/bridges', list('Bridge', 4)],
    ['/bridges?tenant_id=blue', list('Bridge', 5)],
    [`/bridges/${bridge.id}`, vendor('Bridge', 4)],
    [`/bridges/${bridge.id}/ports`, list('Port', 3)],
    [`/bridges/${bridge.id}/peer_ports`, list('Port', 3)],
    [`/bridges/${bridge.id}/mac_table`, list('MacPort', 2)],
    [`/bridges/${bridge.id}/arp_table`, list('IP4Mac', 1)],
    [`/routers/${router.id}`, vendor('Router', 3)],
    [`/routers/${router.id}/routes`, list('Route', 1)],
    [`/ports/${port.id}`, vendor('Port', 3)],
    [`/ports/${port.id}`, vendor('Port', 4)],
    [`/ports/${port.id}/port_groups`, list('PortGroupPort', 1)],
    [`/ports/${port.id}/security_chains`, list('PortSecurityChain', 1)],
    [`/chains/${chain.id}`, vendor('Chain', 1)],
    [`/chains/${chain.id}/rules`, list('Rule', 2)],
    [`/rules/${rule.id}`, vendor('Rule', 2)],
    [`/port_groups/${portGroup.id}`, vendor('PortGroup', 1)],
    [`/port_groups/${portGroup.id}/ports`, list('PortGroupPort', 1)],
    [`/ip_addr_groups/${addresses.id}`, vendor('IpAddrGroup', 1)],
    [`/ip_addr_groups/${addresses.id}/ip_addrs`, list('IpAddrGroupAddr', 1)],
    ['/hosts', list('Host', 3)],
    [`/hosts/${host}`, vendor('Host', 3)],
    [`/hosts/${host}/interfaces`, list('Interface', 1)],
    [`/hosts/${host}/ports`, list('HostInterfacePort', 1)],
    [`/tunnel_zones/${zone.id}`, vendor('TunnelZone', 1)],
    [`/tunnel_zones/${zone.id}/hosts`, list('TunnelZoneHost', 1)],
    [`/tunnel_zones/${zone.id}/hosts`, list('GreTunnelZoneHost', 1)],
    ['/tenants', list('Tenant', 2)],
    ['/system_state', vendor('SystemState', 2)],
  ] as const) {
    const answer = await t.call('GET', path, '{}', { accept });
    assert.deepEqual([answer.status, answer.headers['content-type']], [200, accept], path);
  }
});

test('POST, then GET of Location; PUT of all that came, with what is unknown, and GET again', async () => {
  const bridge = await t.create('/bridges', { tenantId: 'blue' });
  const type = vendor('Port', 3);
  const headers = { accept: type, 'content-type': type };
  const created = await t.call('POST', `/bridges/${bridge.id}/ports`, JSON.stringify({ type: 'Bridge' }), headers);
  const path = new URL(created.headers.location!).pathname.slice('/midonet-api'.length);
  const { body } = await t.call('GET', path, '{}', headers);
  const changed = { ...body, vlanId: '7', adminStateUp: 'false', qosPolicyId: null, poolStatistics: { a: 1 } };
  assert.equal((await t.call('PUT', path, JSON.stringify(changed), headers)).status, 204);
  const again = (await t.call('GET', path, '{}', headers)).body;
  assert.deepEqual(again, { ...body, vlanId: 7, adminStateUp: false });
});

test('a link is asked for with the whole port', async () => {
  const [bridge, router] = [await t.create('/bridges', {}), await t.create('/routers', {})];
  const port = await t.create(`/bridges/${bridge.id}/ports`, {});
  const peer = await t.create(`/routers/${router.id}/ports`, {});
  const linked = await t.call('POST', `/ports/${port.id}/link`, { ...port, peerId: peer.id });
  assert.equal(linked.status, 201);
  assert.equal((await t.call('DELETE', `/ports/${port.id}/link`, '{}')).status, 204);
});

test('rules: nulls and empty lists say nothing', async () => {
  const chain = await t.create('/chains', {});
  const path = `/chains/${chain.id}/rules`;
  const rule = await t.create(path, {
    type: 'drop',
    nwSrcAddress: null,
    nwSrcLength: null,
    inPorts: [],
    tpSrc: null,
    invTpSrc: null,
    properties: null,
    natTargets: [],
    flowAction: null,
    matchForwardFlow: false,
    matchReturnFlow: 'false',
    dlSrc: '02:00:00:00:00:00',
    dlSrcMask: 'ffff.ff00.0000',
    icmpDataSrcIpAddress: '10.0.0.0',
    icmpDataSrcIpLength: '8',
  });
  assert.deepEqual(
    [rule.nwSrc, rule.inPorts, rule.dlSrcMask, rule.icmpDataSrcIp, rule.icmpDataSrcIpLength],
    [undefined, undefined, 'ff:ff:ff:00:00:00', '10.0.0.0/8', 8],
  );
});

test('rules with state, as MidoNet spells them', async () => {
  const chain = await t.create('/chains', {});
  const path = `/chains/${chain.id}/rules`;
  for (const field of ['matchForwardFlow', 'matchReturnFlow']) {
    const rule = await t.create(path, { type: 'accept', [field]: 'true' });
    assert.equal(rule[field], true);
  }
  const both = await t.call('POST', path, { type: 'accept', matchForwardFlow: true, matchReturnFlow: true });
  assert.deepEqual([both.status, both.body.violations[0].property], [400, 'matchReturnFlow']);

  const address = { addressFrom: '192.0.2.1', addressTo: '192.0.2.9' };
  const dnat = await t.create(path, {
    type: 'dnat',
    flowAction: 'ACCEPT',
    nwDstAddress: '203.0.113.1',
    nwDstLength: 32,
    natTargets: [{ ...address, portFrom: '0', portTo: 0 }],
  });
  assert.deepEqual(
    [dnat.type, dnat.flowAction, dnat.natTargets],
    ['dnat', 'accept', [{ ...address, portFrom: 0, portTo: 0 }]],
  );
  const snat = await t.create(path, { type: 'snat', flowAction: 'continue', natTargets: [address] });
  assert.deepEqual(snat.natTargets, [{ ...address, portFrom: 1024, portTo: 65_535 }]);
  for (const type of ['rev_snat', 'rev_dnat', 'masquerade']) {
    const rule = await t.create(path, { type, flowAction: 'return', onChange: 'finish' });
    assert.deepEqual((await t.call('GET', `/rules/${rule.id}`)).body, rule);
    assert.deepEqual([rule.type, rule.flowAction, rule.onChange], [type, 'return', 'finish']);
  }

  const wrong: [rule: object, at: string][] = [
    [{ type: 'snat' }, 'natTargets'],
    [{ type: 'snat', natTargets: [{}] }, 'natTargets.0.addressFrom'],
    [{ type: 'dnat', natTargets: [{ ...address, portFrom: 9, portTo: 'x' }] }, 'natTargets.0.portTo'],
    [{ type: 'dnat', natTargets: [{ ...address, portFrom: 9, portTo: 8 }] }, 'natTargets.0.portTo'],
    [{ type: 'accept', natTargets: [address] }, 'natTargets'],
    [{ type: 'dnat', natTargets: [address], flowAction: 'redirect' }, 'flowAction'],
    [{ type: 'drop', onChange: 'finish' }, 'onChange'],
  ];
  for (const [rule, at] of wrong) {
    const refused = await t.call('POST', path, rule);
    assert.equal(refused.status, 400, JSON.stringify(rule));
    assert.ok(
      refused.body.violations.some(({ property }: { property: string }) => property === at),
      at,
    );
  }
});

test('If-Match counts for every PUT and DELETE of an object', async () => {
  const bridge = await t.create('/bridges', {});
  const chain = await t.create('/chains', {});
  const router = await t.create('/routers', {});
  const zone = await t.create('/tunnel_zones', { name: 'if-match' });
  const host = await t.host(uuidOf(0xb0), '192.0.2.9');
  const resource = await t.create('/logging_resources', {});
  const items = [
    `/bridges/${bridge.id}`,
    `/routers/${router.id}`,
    `/ports/${(await t.create(`/bridges/${bridge.id}/ports`, {})).id}`,
    `/routes/${(await t.create(`/routers/${router.id}/routes`, { type: 'Reject', dstSubnet: '::/0' })).id}`,
    `/rules/${(await t.create(`/chains/${chain.id}/rules`, { type: 'drop' })).id}`,
    `/rule_loggers/${(await t.create(`/chains/${chain.id}/rule_loggers`, { event: 'all', loggingResourceId: resource.id })).id}`,
    `/chains/${chain.id}`,
    `/port_groups/${(await t.create('/port_groups', {})).id}`,
    `/ip_addr_groups/${(await t.create('/ip_addr_groups', { name: 'x' })).id}`,
    `/logging_resources/${resource.id}`,
    `/tunnel_zones/${zone.id}`,
    `/hosts/${host}`,
  ];
  for (const path of items) {
    const { headers, body } = await t.call('GET', path);
    assert.match(headers.etag!, /^"\d+"$/, path);
    for (const method of ['PUT', 'DELETE'] as const) {
      const stale = await t.call(method, path, method === 'PUT' ? body : undefined, { 'if-match': '"1"' });
      if (stale.status === 405) continue;
      assert.deepEqual([stale.status, stale.body.error], [412, 'WEFT_VERSION_CONFLICT'], `${method} ${path}`);
    }
    assert.equal((await t.call('GET', path)).headers.etag, headers.etag, 'nothing changed');
  }
});
