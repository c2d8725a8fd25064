/** Moves of ports: what each step is answered with, and what the object then says. The hosts' part is played by their sessions. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import type { HostSession } from '@weft/nsdb';
import { TestApi, uuidOf } from './testing.ts';

const A = uuidOf(0xa);
const B = uuidOf(0xb);
let bridge: string;
let sessions: HostSession[];

const t = await TestApi.start();

before(async () => {
  await t.host(A, '192.0.2.1');
  await t.host(B, '192.0.2.2');
  bridge = (await t.create('/bridges', { name: 'br' })).id!;
  sessions = [await t.nsdb.openSession(A), await t.nsdb.openSession(B)];
});

async function boundPort(interfaceName: string): Promise<string> {
  const port = await t.create(`/bridges/${bridge}/ports`, {});
  await t.create(`/hosts/${A}/ports`, { portId: port.id, interfaceName });
  return port.id!;
}

/** What the agent of host B writes. */
async function say(port: string, said: object): Promise<void> {
  const notice = { role: 'to', interfaceName: 'tapb', ready: false, awaits: [], connections: 7, ...said };
  await sessions[1]!.put(`moving/${port}`, B, JSON.stringify(notice));
}

const stage = async (port: string) => {
  const { status, body } = await t.call('GET', `/ports/${port}/migration`);
  return status === 200 ? [body.stage, body.awaits, body.connections] : status;
};

const hosts = async (port: string) => {
  const { body } = await t.call('GET', `/ports/${port}`);
  return [body.hostId, body.interfaceName, body.previousHostId, body.nextHostId];
};

test('prepare, ready, switch, done', async () => {
  const port = await boundPort('tapa');
  assert.equal(await stage(port), 404);
  const made = await t.call('POST', `/ports/${port}/migration`, { hostId: B, interfaceName: 'tapb' });
  assert.equal(made.status, 201);
  const { hostId, fromHostId, interfaceName, stage: first } = made.body;
  assert.deepEqual([hostId, fromHostId, interfaceName, first], [B, A, 'tapb', 'preparing']);
  assert.deepEqual(await stage(port), ['preparing', ['agent'], null]);
  await say(port, { awaits: ['interface', 'connections'] });
  assert.deepEqual(await stage(port), ['preparing', ['interface', 'connections'], 7]);

  const early = await t.call('PUT', `/ports/${port}/migration/switch`);
  assert.deepEqual([early.status, early.body.error], [409, 'WEFT_API_NOT_READY']);
  assert.match(early.body.message, /interface, connections/);
  assert.deepEqual(await hosts(port), [A, 'tapa', undefined, B]);

  await say(port, { ready: true });
  assert.deepEqual(await stage(port), ['ready', [], 7]);
  const turned = await t.call('PUT', `/ports/${port}/migration/switch`);
  assert.deepEqual([turned.status, turned.body.stage, turned.body.fromHostId], [200, 'switched', A]);
  assert.deepEqual(await hosts(port), [B, 'tapb', A, undefined]);
  const again = await t.call('PUT', `/ports/${port}/migration/switch`);
  assert.deepEqual([again.status, again.body.error], [409, 'WEFT_PORT_NOT_MOVING']);

  assert.equal((await t.call('DELETE', `/ports/${port}/migration`)).status, 204);
  assert.deepEqual(await hosts(port), [B, 'tapb', undefined, undefined]);
  assert.equal((await t.call('DELETE', `/ports/${port}/migration`)).status, 404);
  await t.call('DELETE', `/hosts/${B}/ports/${port}`);
});

test('what another host says, or what was said of another move, does not count', async () => {
  const port = await boundPort('tapc');
  await t.create(`/ports/${port}/migration`, { hostId: B, interfaceName: 'tapb' });
  await sessions[0]!.put(
    `moving/${port}`,
    B,
    JSON.stringify({ role: 'to', interfaceName: 'tapb', ready: true, awaits: [] }),
  );
  assert.deepEqual(await stage(port), ['preparing', ['agent'], null]);
  await say(port, { ready: true, interfaceName: 'tapx' });
  assert.deepEqual(await stage(port), ['preparing', ['agent'], null]);
  // Whoever knows better may go on.
  const forced = await t.call('PUT', `/ports/${port}/migration/switch?force=true`);
  assert.equal(forced.body.stage, 'switched', JSON.stringify(forced.body));
  await t.call('DELETE', `/ports/${port}/migration`);
  await t.call('DELETE', `/hosts/${B}/ports/${port}`);
});

test('a move that is given up leaves the port where it is', async () => {
  const port = await boundPort('tapd');
  await t.create(`/ports/${port}/migration`, { hostId: B, interfaceName: 'tapb' });
  // The target is needed, and cannot go meanwhile.
  const refused = await t.call('POST', `/ports/${await boundPort('tape')}/migration`, {
    hostId: B,
    interfaceName: 'tapb',
  });
  assert.deepEqual([refused.status, refused.body.error], [409, 'WEFT_INTERFACE_IN_USE']);
  assert.equal((await t.call('DELETE', `/ports/${port}/migration`)).status, 204);
  assert.deepEqual(await hosts(port), [A, 'tapd', undefined, undefined]);
});

test('a changed binding is a move in one step, and voids what was prepared', async () => {
  const port = await boundPort('tapf');
  await t.create(`/ports/${port}/migration`, { hostId: B, interfaceName: 'tapb' });
  const { body } = await t.call('GET', `/ports/${port}`);
  const put = await t.call('PUT', `/ports/${port}`, { ...body, hostId: B, interfaceName: 'tapg' });
  assert.equal(put.status, 204);
  assert.deepEqual(await hosts(port), [B, 'tapg', A, undefined]);
  assert.deepEqual(await stage(port), ['switched', [], null]);
  assert.equal((await t.call('DELETE', `/ports/${port}/migration`)).status, 204);
});

test('a host that a port is about to move to stays; with one that it came from that is forgotten', async () => {
  const [next, old] = [uuidOf(0xc), uuidOf(0xd)];
  await t.host(next, '192.0.2.3');
  await t.host(old, '192.0.2.4');
  const port = await boundPort('tapi');
  await t.create(`/ports/${port}/migration`, { hostId: next, interfaceName: 'tapb' });
  const refused = await t.call('DELETE', `/hosts/${next}`);
  assert.deepEqual([refused.status, refused.body.error], [403, 'WEFT_API_HOST_IN_USE']);
  assert.match(refused.body.message, /about to move/);
  await t.call('DELETE', `/ports/${port}/migration`);
  assert.equal((await t.call('DELETE', `/hosts/${next}`)).status, 200);

  const body = (await t.call('GET', `/ports/${port}`)).body;
  await t.call('PUT', `/ports/${port}`, { ...body, hostId: old, interfaceName: 'tapi' });
  const there = (await t.call('GET', `/ports/${port}`)).body;
  await t.call('PUT', `/ports/${port}`, { ...there, hostId: A, interfaceName: 'tapi' });
  assert.deepEqual(await hosts(port), [A, 'tapi', old, undefined]);
  assert.equal((await t.call('DELETE', `/hosts/${old}`)).status, 200);
  assert.deepEqual(await hosts(port), [A, 'tapi', undefined, undefined]);
  assert.equal(await stage(port), 404);
  // What somebody had read before names the host still.
  assert.equal((await t.call('PUT', `/ports/${port}`, { ...there, hostId: B, interfaceName: 'tapi' })).status, 204);
  assert.deepEqual(await hosts(port), [B, 'tapi', A, undefined]);
  assert.equal((await t.call('DELETE', `/ports/${port}/migration`)).status, 204);
  assert.equal((await t.call('DELETE', `/hosts/${B}/ports/${port}`)).status, 204);
});

test('what cannot be is refused', async () => {
  const port = await boundPort('taph');
  const free = (await t.create(`/bridges/${bridge}/ports`, {})).id!;
  for (const [path, body, status, code] of [
    [port, { hostId: A, interfaceName: 'tapb' }, 400, 'WEFT_INVALID'],
    [port, { hostId: uuidOf(0xdead), interfaceName: 'tapb' }, 404, 'WEFT_NOT_FOUND'],
    [port, { hostId: B }, 400, 'WEFT_INVALID'],
    [port, { hostId: B, interfaceName: 'a name with spaces' }, 400, 'WEFT_INVALID'],
    [free, { hostId: B, interfaceName: 'tapb' }, 409, 'WEFT_PORT_NOT_BOUND'],
    [uuidOf(0xdead), { hostId: B, interfaceName: 'tapb' }, 404, 'WEFT_NOT_FOUND'],
  ] as const) {
    const answer = await t.call('POST', `/ports/${path}/migration`, body);
    assert.deepEqual([answer.status, answer.body.error], [status, code], JSON.stringify(answer.body));
  }
});
