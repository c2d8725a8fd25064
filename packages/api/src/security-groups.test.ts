import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  groupTable,
  type ObjectValue,
  portSecurityChains,
  securityGroupAddressesId,
  securityGroupChainId,
  securityInChainId,
  securityOutChainId,
} from '@weft/topology';
import { issueToken } from './auth/tokens.ts';
import { TestApi, uuidOf } from './testing.ts';

type Method = Parameters<TestApi['call']>[0];
const t = await TestApi.start();

const members = async (groupId: string) =>
  (await t.nsdb.entries(groupTable(securityGroupAddressesId(groupId)))).map(({ key }) => key).sort();

/** Rules of a chain, as words: type and what tells them apart. */
async function rulesOf(chainId: string) {
  const { status, body } = await t.call('GET', `/chains/${chainId}/rules`);
  return status === 200 ? body : status;
}

/** The chains of a port's security: id → rules. */
async function securityOf(portId: string, headers: Record<string, string> = {}): Promise<Map<string, ObjectValue[]>> {
  const { status, body } = await t.call('GET', `/ports/${portId}/security_chains`, undefined, headers);
  assert.equal(status, 200);
  return new Map(body.map(({ id, rules }: { id: string; rules: ObjectValue[] }) => [id, rules]));
}

async function securePort(bridgeId: string, fields: object) {
  const secure = { portSecurityEnabled: true, macAddress: '02:00:00:00:00:01' };
  return t.create(`/bridges/${bridgeId}/ports`, { ...secure, ...fields });
}

test('a group is made, read, changed and deleted, and its chains with it', async () => {
  const group = await t.create('/security_groups', { name: 'web', tenantId: 'blue' });
  assert.deepEqual(
    group.rules,
    ['ipv4', 'ipv6'].map((etherType) => ({ direction: 'egress', etherType })),
  );
  const [ingress, egress] = [securityGroupChainId(group.id!, 'ingress'), securityGroupChainId(group.id!, 'egress')];
  assert.deepEqual([(await rulesOf(ingress)).length, (await rulesOf(egress)).length], [0, 2]);
  const [kept] = await rulesOf(egress);

  const rules = [
    {
      direction: 'INGRESS',
      etherType: 'IPv4',
      protocol: 'tcp',
      portMin: '80',
      portMax: 90,
      remotePrefix: '10.0.0.7/8',
    },
    { direction: 'egress' },
    { direction: 'ingress', remoteGroupId: group.id },
  ];
  assert.equal((await t.call('PUT', `/security_groups/${group.id}`, { ...group, rules })).status, 204);
  const now = (await t.call('GET', `/security_groups/${group.id}`)).body;
  assert.deepEqual(now.rules, [
    { direction: 'ingress', etherType: 'ipv4', protocol: 6, portMin: 80, portMax: 90, remotePrefix: '10.0.0.0/8' },
    { direction: 'egress', etherType: 'ipv4' },
    { direction: 'ingress', etherType: 'ipv4', remoteGroupId: group.id },
  ]);
  assert.deepEqual(now.remoteGroupIds, [group.id]);
  const shown = (await rulesOf(ingress)).map(({ type, nwSrc, tpDst, ipAddrGroupSrc, position }: never) => [
    ...[position, type, nwSrc, tpDst, ipAddrGroupSrc],
  ]);
  assert.deepEqual(shown, [
    [1, 'accept', '10.0.0.0/8', { start: 80, end: 90 }, undefined],
    [2, 'accept', undefined, undefined, securityGroupAddressesId(group.id!)],
  ]);
  assert.deepEqual(
    (await rulesOf(egress)).map(({ id }: { id: string }) => id),
    [kept.id],
    'a rule that stays is the same object',
  );

  assert.equal((await t.call('PUT', `/security_groups/${group.id}`, { name: 'new' })).status, 204);
  assert.equal((await t.call('GET', `/security_groups/${group.id}`)).body.rules.length, 3, 'left out: kept');
  const listed = (await t.call('GET', '/security_groups?tenant_id=blue')).body;
  assert.deepEqual(listed, [], 'the PUT took its tenant away');
  assert.equal((await t.call('DELETE', `/security_groups/${group.id}`)).status, 204);
  assert.deepEqual([await rulesOf(ingress), await rulesOf(egress)], [404, 404]);
  assert.equal((await t.call('GET', `/rules/${kept.id}`)).status, 404);
});

test('what is wrong is named', async () => {
  const wrong: [body: object, property: string][] = [
    [{ rules: [{ direction: 'ingress', protocol: 'tcp', portMin: 9, portMax: 8 }] }, 'rules.0.portMax'],
    [{ rules: [{ direction: 'ingress', remotePrefix: 'web' }] }, 'rules.0.remotePrefix'],
    [{ rules: [{ direction: 'ingress' }, {}] }, 'rules.1.direction'],
  ];
  for (const [body, property] of wrong) {
    const { status, body: answer } = await t.call('POST', '/security_groups', body);
    assert.equal(status, 400);
    assert.ok(
      answer.violations.some((violation: { property: string }) => violation.property === property),
      property,
    );
  }
  const nowhere = await t.call('POST', '/security_groups', {
    rules: [{ direction: 'ingress', remoteGroupId: '00000000-0000-4000-8000-00000000dead' }],
  });
  assert.deepEqual([nowhere.status, nowhere.body.error], [409, 'WEFT_REFERENCE']);
});

test('ports are members while they are in the group and secured', async () => {
  const bridge = await t.create('/bridges', {});
  const group = await t.create('/security_groups', {});
  const port = await securePort(bridge.id!, { securityGroupIds: [group.id], fixedIps: ['10.0.0.5', 'FD00::5'] });
  const other = await securePort(bridge.id!, {
    securityGroupIds: [group.id],
    fixedIps: ['10.0.0.6'],
    allowedAddressPairs: [{ ipAddress: '10.0.0.5/32' }, { ipAddress: '10.9.0.1/24' }],
  });
  assert.deepEqual(await members(group.id!), ['10.0.0.5', '10.0.0.6', '10.9.0.0/24', 'fd00::5']);
  const listed = (await t.call('GET', `/ip_addr_groups/${securityGroupAddressesId(group.id!)}/ip_addrs`)).body;
  assert.equal(listed.length, 4);
  assert.deepEqual(
    (await t.call('GET', `/security_groups?port_id=${port.id}`)).body.map((g: { id: string }) => g.id),
    [group.id],
  );

  const used = await t.call('DELETE', `/security_groups/${group.id}`);
  assert.deepEqual([used.status, used.body.error], [409, 'WEFT_IN_USE']);
  // A client that knows nothing of port security does not switch it off.
  assert.equal((await t.call('PUT', `/ports/${port.id}`, { adminStateUp: false })).status, 204);
  assert.equal((await t.call('GET', `/ports/${port.id}`)).body.portSecurityEnabled, true);
  assert.equal((await t.call('PUT', `/ports/${port.id}`, { fixedIps: null })).status, 204);
  assert.deepEqual(await members(group.id!), ['10.0.0.5', '10.0.0.6', '10.9.0.0/24'], 'the other has it too');
  assert.equal((await t.call('DELETE', `/ports/${other.id}`)).status, 204);
  assert.deepEqual(await members(group.id!), []);
  assert.equal((await t.call('PUT', `/ports/${port.id}`, { fixedIps: ['10.0.0.8'] })).status, 204);
  assert.deepEqual(await members(group.id!), ['10.0.0.8']);
  assert.equal((await t.call('DELETE', `/bridges/${bridge.id}`)).status, 204);
  assert.deepEqual(await members(group.id!), []);
  assert.equal((await t.call('DELETE', `/security_groups/${group.id}`)).status, 204);
});

test('what carries out the security of a port is shown, and is no object', async () => {
  const bridge = await t.create('/bridges', {});
  const group = await t.create('/security_groups', {});
  const known = (await t.nsdb.list('Chain')).length;
  const port = await securePort(bridge.id!, { securityGroupIds: [group.id], fixedIps: ['10.0.0.5'] });
  assert.equal((await t.nsdb.list('Chain')).length, known);
  const chains = await securityOf(port.id!);
  const [inward, addresses, outward] = [...chains.values()];
  assert.deepEqual(
    [chains.get(securityInChainId(port.id!)), chains.get(securityOutChainId(port.id!))],
    [inward, outward],
  );
  assert.equal(chains.size, 3);
  assert.deepEqual(
    inward!.map(({ position }) => position),
    inward!.map((_, i) => i + 1),
  );
  assert.equal(inward!.at(-2)!.jumpChainId, securityGroupChainId(group.id!, 'egress'));
  const own = addresses!.find(({ nwSrc }) => nwSrc === '10.0.0.5/32')!;
  assert.deepEqual(
    [own.type, own.dlSrc, own.nwSrcAddress, own.nwSrcLength],
    ['return', '02:00:00:00:00:01', '10.0.0.5', 32],
  );
  const shown = (await t.call('GET', `/ports/${port.id}`)).body;
  assert.match(shown.securityChains, new RegExp(`/ports/${port.id}/security_chains$`));
  const loggingResourceId = (await t.create('/logging_resources', {})).id;
  const logger = { loggingResourceId, event: 'drop' };
  for (const chain of chains.keys()) {
    assert.equal((await t.call('GET', `/chains/${chain}`)).status, 404);
    assert.equal((await t.call('POST', `/chains/${chain}/rules`, { type: 'accept' })).status, 404);
    assert.equal((await t.call('POST', `/chains/${chain}/rule_loggers`, logger)).status, 404);
  }
  assert.equal((await t.call('PUT', `/ports/${port.id}`, { portSecurityEnabled: false })).status, 204);
  assert.equal((await securityOf(port.id!)).size, 0);
  assert.equal((await t.call('GET', `/ports/${uuidOf(0xdead)}/security_chains`)).status, 404);
});

test('many secured ports are made, and deleted with their bridge, in one transaction', async () => {
  const bridge = uuidOf(0xb0);
  const group = (await t.create('/security_groups', {})).id!;
  const secure = { portSecurityEnabled: true, macAddress: '02:00:00:00:00:01', securityGroupIds: [group] };
  const ports = Array.from({ length: 1000 }, (_, i) => ({ ...secure, fixedIps: [`10.1.${i >> 8}.${i & 255}`] }));
  const operations = [
    { path: '/bridges', body: { id: bridge } },
    ...ports.map((body) => ({ path: `/bridges/${bridge}/ports`, body })),
  ];
  assert.equal((await t.call('POST', '/bulk', { operations })).status, 200);
  assert.equal((await members(group)).length, 1000);
  assert.equal((await t.call('DELETE', `/bridges/${bridge}`)).status, 204);
  assert.deepEqual(await members(group), []);
});

test('chains that an earlier version has stored for a port are not written, and go with the port', async () => {
  const bridge = await t.create('/bridges', {});
  const group = await t.create('/security_groups', {});
  const port = await securePort(bridge.id!, { securityGroupIds: [group.id], fixedIps: ['10.0.0.5'] });
  const { value } = (await t.nsdb.get('Port', port.id!))!;
  await t.nsdb.transact(async (tx) => {
    for (const { chain, rules } of portSecurityChains(value)) {
      await tx.create('Chain', chain);
      for (const rule of rules) await tx.create('Rule', { ...rule });
    }
  });
  const chain = securityInChainId(port.id!);
  assert.ok((await rulesOf(chain)).length > 5);
  const refused = await t.call('POST', `/chains/${chain}/rules`, { type: 'accept' });
  assert.deepEqual([refused.status, refused.body.error], [409, 'WEFT_API_DERIVED']);
  assert.match(refused.body.message, new RegExp(port.id!));
  assert.equal((await t.call('PUT', `/ports/${port.id}`, { fixedIps: ['10.0.0.6'] })).status, 204);
  assert.equal((await t.call('DELETE', `/ports/${port.id}`)).status, 204);
  assert.equal(await rulesOf(chain), 404);
  assert.equal((await t.call('DELETE', `/security_groups/${group.id}`)).status, 204);
});

test('chains and address groups of security groups are read, not written', async () => {
  const bridge = await t.create('/bridges', {});
  const group = await t.create('/security_groups', {});
  const port = await securePort(bridge.id!, { securityGroupIds: [group.id], fixedIps: ['10.0.0.5'] });
  const before = await t.nsdb.revision();
  const refusals: [method: Method, path: string, body?: object][] = [];
  const chain = securityGroupChainId(group.id!, 'egress');
  const [rule] = await rulesOf(chain);
  refusals.push(['POST', `/chains/${chain}/rules`, { type: 'accept' }]);
  refusals.push(['DELETE', `/chains/${chain}`], ['DELETE', `/rules/${rule.id}`]);
  const addresses = `/ip_addr_groups/${securityGroupAddressesId(group.id!)}`;
  refusals.push(['PUT', addresses, { name: 'mine' }], ['DELETE', addresses]);
  refusals.push(['POST', `${addresses}/ip_addrs`, { addr: '10.0.0.9' }]);
  refusals.push(['DELETE', `${addresses}/versions/4/ip_addrs/10.0.0.5`]);
  for (const [method, path, body] of refusals) {
    const answer = await t.call(method, path, body);
    assert.deepEqual([answer.status, answer.body?.error], [409, 'WEFT_API_DERIVED'], `${method} ${path}`);
    assert.match(answer.body.message, new RegExp(group.id!));
  }
  assert.equal(await t.nsdb.revision(), before);
  const claimed = await t.create('/chains', { name: 'x', securityPortId: port.id, securityGroupId: group.id });
  assert.deepEqual([claimed.securityPortId, claimed.securityGroupId], [undefined, undefined]);
  assert.equal((await t.call('POST', `/chains/${claimed.id}/rules`, { type: 'accept' })).status, 201);
});

test('tenants have groups of their own, name no others, and keep those that the operator has given', async () => {
  const tokenOf = async (tenantId: string) => {
    const account = { name: tenantId, passwordHash: 'none', role: 'tenant', tenantId };
    const { result } = await t.nsdb.transact((tx) => tx.create<{ id: string }>('Account', account));
    return { 'x-auth-token': (await issueToken(t.nsdb, result.id, 60_000)).key };
  };
  const [blue, red] = [await tokenOf('blue'), await tokenOf('red')];
  const as = (who: Record<string, string>, method: Method, path: string, body?: object) =>
    t.call(method, path, body, who);
  const own = (await as(blue, 'POST', '/security_groups', { rules: [] })).body;
  const foreign = (await as(red, 'POST', '/security_groups', {})).body;
  const operators = await t.create('/security_groups', { name: 'monitoring' });
  assert.equal(own.tenantId, 'blue');
  assert.equal((await as(blue, 'GET', `/security_groups/${foreign.id}`)).status, 404);
  const bridge = (await as(blue, 'POST', '/bridges', {})).body;
  const secure = { portSecurityEnabled: true, macAddress: '02:00:00:00:00:01', fixedIps: ['10.0.0.5'] };
  const refused = [
    await as(blue, 'POST', `/bridges/${bridge.id}/ports`, { ...secure, securityGroupIds: [foreign.id] }),
    await as(blue, 'PUT', `/security_groups/${own.id}`, {
      rules: [{ direction: 'ingress', remoteGroupId: foreign.id }],
    }),
  ];
  for (const { status, body } of refused) assert.deepEqual([status, body.error], [409, 'WEFT_REFERENCE']);

  const made = await as(blue, 'POST', `/bridges/${bridge.id}/ports`, { ...secure, securityGroupIds: [own.id] });
  assert.equal(made.status, 201, JSON.stringify(made.body));
  const port = made.body;
  const path = `/ports/${port.id}`;
  await t.call('PUT', path, { securityGroupIds: [own.id, operators.id] });
  const jumps = async (headers?: Record<string, string>) =>
    (await securityOf(port.id, headers))
      .get(securityOutChainId(port.id))!
      .flatMap(({ jumpChainId }) => jumpChainId ?? []);
  const both = [own.id, operators.id].map((id) => securityGroupChainId(id, 'ingress'));
  assert.deepEqual(await jumps(), both);
  assert.deepEqual(await jumps(blue), both.slice(0, 1), 'as the groups of the port, so the chains');
  assert.deepEqual((await as(blue, 'GET', path)).body.securityGroupIds, [own.id]);
  const changed = await as(blue, 'PUT', path, { securityGroupIds: [own.id], fixedIps: ['10.0.0.6'] });
  assert.equal(changed.status, 204, JSON.stringify(changed.body));
  assert.deepEqual(await jumps(), both, "the operator's group stays");
  assert.deepEqual([await members(own.id), await members(operators.id!)], [['10.0.0.6'], ['10.0.0.6']]);
  assert.equal((await as(blue, 'PUT', path, { securityGroupIds: [] })).status, 204);
  assert.deepEqual(await jumps(), both.slice(1));
  const ingress = { rules: [{ direction: 'ingress', protocol: 'icmp' }] };
  assert.equal((await as(blue, 'PUT', `/security_groups/${own.id}`, ingress)).status, 204);
  assert.equal((await rulesOf(securityGroupChainId(own.id, 'ingress'))).length, 1);
  assert.equal((await as(blue, 'DELETE', path)).status, 204);
  assert.equal((await as(blue, 'DELETE', `/security_groups/${own.id}`)).status, 204);
});
