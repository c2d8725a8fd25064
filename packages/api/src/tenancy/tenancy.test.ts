import assert from 'node:assert/strict';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { OBJECT_TYPES } from '@weft/topology';
import { issueToken } from '../auth/tokens.ts';
import { TestApi, uuidOf } from '../testing.ts';
import { ownershipOf } from './ownership.ts';

const t = await TestApi.start();

async function tokenOf(tenantId: string): Promise<Record<string, string>> {
  const account = { name: tenantId, passwordHash: 'none', role: 'tenant', tenantId };
  const { result } = await t.nsdb.transact((tx) => tx.create<{ id: string }>('Account', account));
  return { 'x-auth-token': (await issueToken(t.nsdb, result.id, 60_000)).key };
}
const blue = await tokenOf('blue');
const red = await tokenOf('red');
const create = async (headers: Record<string, string>, path: string, body: object = {}) => {
  const answer = await t.call('POST', path, body, headers);
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body;
};

test('whose each type is', () => {
  const kinds = Object.fromEntries(Object.keys(OBJECT_TYPES).map((type) => [type, ownershipOf(type).kind]));
  assert.deepEqual(kinds, {
    Host: 'operator',
    TunnelZone: 'operator',
    TunnelZoneHost: 'operator',
    Bridge: 'field',
    Router: 'field',
    Port: 'parents',
    Route: 'parents',
    Chain: 'field',
    Rule: 'parents',
    PortGroup: 'field',
    IpAddrGroup: 'field',
    SecurityGroup: 'field',
    RuleLogger: 'operator',
    LoggingResource: 'operator',
    Account: 'operator',
    AuthToken: 'operator',
  });
});

test('a tenant makes things of its own and of nobody else', async () => {
  assert.equal((await create(blue, '/bridges')).tenantId, 'blue');
  assert.equal((await create(blue, '/bridges', { tenantId: 'blue' })).tenantId, 'blue');
  const foreign = await t.call('POST', '/bridges', { tenantId: 'red' }, blue);
  assert.deepEqual([foreign.status, foreign.body.error], [403, 'WEFT_API_FORBIDDEN']);
  const own = await create(blue, '/bridges', { name: 'kept' });
  const given = await t.call('PUT', `/bridges/${own.id}`, { name: 'kept', tenantId: 'red' }, blue);
  assert.equal(given.status, 403);
  assert.equal((await t.call('PUT', `/bridges/${own.id}`, { name: 'new' }, blue)).status, 204);
  const now = (await t.call('GET', `/bridges/${own.id}`)).body;
  assert.deepEqual([now.tenantId, now.name], ['blue', 'new']);
});

test('what the operator has set in a tenant’s port is not seen, stays, and cannot be replaced', async () => {
  const bridge = await create(blue, '/bridges');
  const port = await create(blue, `/bridges/${bridge.id}/ports`);
  const guard = await t.create('/chains', { name: 'guard' });
  const host = await t.host(uuidOf(1), '192.0.2.1');
  await t.call('POST', `/hosts/${host}/ports`, { portId: port.id, interfaceName: 'tap0' });
  const whole = (await t.call('GET', `/ports/${port.id}`)).body;
  await t.call('PUT', `/ports/${port.id}`, { ...whole, inboundFilterId: guard.id });

  const seen = (await t.call('GET', `/ports/${port.id}`, undefined, blue)).body;
  for (const field of ['hostId', 'interfaceName', 'inboundFilterId', 'host', 'hostInterfacePort', 'inboundFilter']) {
    assert.equal(seen[field], undefined, field);
  }
  assert.equal((await t.call('PUT', `/ports/${port.id}`, { ...seen, adminStateUp: false }, blue)).status, 204);
  const after = (await t.call('GET', `/ports/${port.id}`)).body;
  assert.deepEqual(
    [after.adminStateUp, after.hostId, after.interfaceName, after.inboundFilterId],
    [false, host, 'tap0', guard.id],
  );
  const own = await create(blue, '/chains');
  for (const change of [{ inboundFilterId: own.id }, { hostId: uuidOf(99), interfaceName: 'eth0' }]) {
    assert.equal(
      (await t.call('PUT', `/ports/${port.id}`, { ...seen, ...change }, blue)).status,
      403,
      JSON.stringify(change),
    );
  }
  assert.deepEqual((await t.call('GET', `/ports/${port.id}`)).body, after);
});

test('what belongs to others is as if it were not there', async () => {
  const bridge = await create(blue, '/bridges');
  const port = await create(blue, `/bridges/${bridge.id}/ports`);
  const router = await create(red, '/routers');
  const foreign = await create(red, `/routers/${router.id}/ports`, { portSubnet: ['10.0.0.1/24'] });
  const chain = await create(red, '/chains');
  const none = uuidOf(4711);
  // The same request about something foreign and about nothing at all gets the same answer.
  const pairs: [string, string, (id: string) => [string, unknown]][] = [
    ['POST', foreign.id, (id) => [`/ports/${port.id}/link`, { peerId: id }]],
    ['POST', chain.id, (id) => ['/bridges', { inboundFilterId: id }]],
    ['PUT', chain.id, (id) => [`/bridges/${bridge.id}`, { inboundFilterId: id }]],
    ['POST', router.id, (id) => [`/routers/${id}/ports`, { portSubnet: [] }]],
    ['DELETE', foreign.id, (id) => [`/ports/${id}`, undefined]],
    ['DELETE', chain.id, (id) => [`/chains/${id}`, undefined]],
    ['POST', chain.id, (id) => [`/chains/${id}/rules`, { type: 'accept' }]],
    ['POST', router.id, (id) => ['/bulk', { operations: [{ path: `/routers/${id}/ports`, body: {} }] }]],
  ];
  for (const [method, id, of] of pairs) {
    const answers = [];
    for (const one of [id, none]) {
      const [path, body] = of(one);
      const { status, body: answer } = await t.call(method as 'POST', path, body, blue);
      // Ids that were made up for the new object differ; so do the ones that were asked for.
      answers.push([status, JSON.stringify(answer).replaceAll(/[0-9a-f-]{36}/g, 'ID')]);
    }
    assert.deepEqual(answers[0], answers[1], `${method} ${of(id)[0]}`);
    assert.ok((answers[0]![0] as number) >= 400, `${method} ${of(id)[0]}`);
  }
  assert.equal((await t.call('GET', `/ports/${foreign.id}`)).body.peerId, undefined);
});

test('a link to another owner’s port is the operator’s', async () => {
  const router = await create(blue, '/routers');
  const port = await create(blue, `/routers/${router.id}/ports`, { portSubnet: ['10.0.0.1/24'] });
  const provider = await t.create('/routers', {});
  const uplink = await t.create(`/routers/${provider.id}/ports`, { portSubnet: ['10.0.0.2/24'] });
  await t.call('POST', `/ports/${port.id}/link`, { peerId: uplink.id });
  assert.equal((await t.call('GET', `/ports/${port.id}/link`, undefined, blue)).status, 404);
  await t.call('DELETE', `/ports/${port.id}/link`, undefined, blue);
  assert.equal((await t.call('GET', `/ports/${port.id}`)).body.peerId, uplink.id);
  assert.deepEqual((await t.call('GET', `/routers/${router.id}/peer_ports`, undefined, blue)).body, []);
  // Its port goes with the tenant's router, and the other end is free.
  assert.equal((await t.call('DELETE', `/routers/${router.id}`, undefined, blue)).status, 204);
  assert.equal((await t.call('GET', `/ports/${uplink.id}`)).body.peerId, undefined);
});

test('accounts and tokens are in no list, no event and no address', async () => {
  for (const path of ['/auth_tokens', '/Account', '/AuthToken', '/objects/Account']) {
    assert.equal((await t.call('GET', path)).status, 404, path);
  }
  const answer = await t.call('GET', '/events?type=Account', undefined, { accept: 'text/event-stream' });
  assert.equal(answer.status, 400);
  const accounts = await t.call('GET', '/accounts');
  assert.ok(accounts.body.length >= 2);
  assert.ok(!JSON.stringify(accounts.body).includes('passwordHash'));
});

test('a stream of changes shows each listener its part, whoever woke it', async () => {
  const socketPath = join(t.dir, 'events.sock');
  await t.api.listen({ unixSocket: socketPath });
  const listen = (headers: Record<string, string>) =>
    new Promise<{ text(): string; stop(): void }>((resolve, reject) => {
      let text = '';
      const call = request({ socketPath, path: '/midonet-api/events?objects=true', headers }, (response) => {
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
          if (text.includes('event: ready')) resolve({ text: () => text, stop: () => call.destroy() });
        });
        response.on('error', () => {});
      });
      call.on('error', reject);
      call.end();
    });
  // The administrator's stream is the first: the one subscription for all is made in its request.
  const all = await listen({});
  const own = await listen(blue);
  const foreign = await listen(red);
  const bridge = await create(blue, '/bridges', { name: 'watched' });
  const port = await create(blue, `/bridges/${bridge.id}/ports`);
  const host = await t.host(uuidOf(77), '192.0.2.77');
  await t.call('POST', `/hosts/${host}/ports`, { portId: port.id, interfaceName: 'tap77' });
  await t.create('/routers', { tenantId: 'red', name: 'last' });
  await t.create('/routers', { tenantId: 'blue', name: 'last' });
  const complete = () => [all, own, foreign].every((stream) => stream.text().includes('"name":"last"'));
  for (let i = 0; i < 2000 && !complete(); i++) await sleep(5);
  assert.ok(complete(), 'a stream ended before the last change');
  for (const stream of [all, own, foreign]) stream.stop();
  assert.ok(all.text().includes('tap77') && all.text().includes(host));
  assert.ok(own.text().includes(bridge.id) && own.text().includes(port.id));
  assert.ok(!own.text().includes('tap77') && !own.text().includes(host), 'what the operator set is not shown');
  assert.ok(!foreign.text().includes(bridge.id) && !foreign.text().includes(port.id) && !foreign.text().includes(host));
});
