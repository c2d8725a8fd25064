import assert from 'node:assert/strict';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createApi } from './api.ts';
import { ChangeFeed } from './changes/feed.ts';
import { type Event, Listener } from './changes/testing.ts';
import { TestApi, uuidOf } from './testing.ts';

const t = await TestApi.start({ events: { keep: 200, keepAlive: 40 } });
const socketPath = await t.api.listen({ unixSocket: join(t.dir, 'events.sock') });

const listen = (query = '', headers: Record<string, string> = {}, socket = socketPath) =>
  Listener.open(socket, `/events${query}`, headers);
const short = ({ event, data }: Event) => [event, data.type, data.change, data.id];

test('creations, changes and deletions come in the order of their revisions, a transaction in one piece', async () => {
  const listener = await listen();
  assert.match(listener.response.headers['content-type']!, /^text\/event-stream/);
  const ready = await listener.next();
  assert.deepEqual([ready.event, ready.data.generation], ['ready', t.nsdb.generation]);
  const bridge = await t.create('/bridges', { name: 'b', tenantId: 'blue' });
  const created = await listener.next();
  assert.deepEqual(short(created), ['change', 'Bridge', 'created', bridge.id]);
  assert.deepEqual(
    [created.data.tenantId, created.data.uri.endsWith(`/midonet-api/bridges/${bridge.id}`), created.data.object],
    ['blue', true, undefined],
  );
  const port = await t.create(`/bridges/${bridge.id}/ports`, {});
  assert.deepEqual([short(await listener.next())[1], (await t.call('GET', '/bridges')).status], ['Port', 200]);
  await t.call('PUT', `/bridges/${bridge.id}`, { name: 'c', tenantId: 'blue' });
  assert.deepEqual(short(await listener.next()), ['change', 'Bridge', 'updated', bridge.id]);
  const { headers } = await t.call('DELETE', `/bridges/${bridge.id}`);
  const gone = [await listener.next(), await listener.next()];
  assert.deepEqual(gone.map(({ data }) => `${data.type} ${data.change} ${data.id} ${data.tenantId}`).sort(), [
    `Bridge deleted ${bridge.id} blue`,
    `Port deleted ${port.id} blue`,
  ]);
  assert.deepEqual(
    gone.map(({ id }) => id),
    [undefined, `${t.nsdb.generation}/${headers['x-weft-revision']}`],
  );
  listener.close();
});

test('filters by type and tenant; children belong to their parents; objects on demand', async () => {
  const red = await listen('?tenant_id=red&objects=true');
  const zones = await listen('?type=TunnelZone,TunnelZoneHost');
  await Promise.all([red.next(), zones.next()]);
  await t.create('/bridges', { tenantId: 'blue' });
  const chain = await t.create('/chains', { tenantId: 'red' });
  const rule = await t.create(`/chains/${chain.id}/rules`, { type: 'drop' });
  const host = await t.host(uuidOf(0xa0), '192.0.2.1');
  assert.deepEqual(short(await red.next()), ['change', 'Chain', 'created', chain.id]);
  const both = [await red.next(), await red.next()].sort((a, b) => (a.data.type < b.data.type ? -1 : 1));
  assert.deepEqual(both.map(short), [
    ['change', 'Chain', 'updated', chain.id],
    ['change', 'Rule', 'created', rule.id],
  ]);
  assert.deepEqual([both[1]!.data.object.position, both[1]!.data.object.chainId], [1, chain.id]);
  assert.equal((await zones.next()).data.type, 'TunnelZone');
  const member = await zones.next();
  assert.ok(member.data.uri.endsWith(`/hosts/${host}`), member.data.uri);
  red.close();
  zones.close();
});

test('who comes back with Last-Event-ID misses nothing and hears nothing twice', async () => {
  const first = await listen();
  await first.next();
  const one = await t.create('/bridges', {});
  await first.next();
  first.close();
  const two = await t.create('/bridges', {});
  const three = await t.create('/bridges', {});
  const again = await listen('', { 'last-event-id': first.lastId });
  assert.equal((await again.next()).event, 'ready');
  assert.deepEqual([(await again.next()).data.id, (await again.next()).data.id], [two.id, three.id]);
  assert.ok(one.id);
  again.close();
});

test('what is no longer known is said, not passed over', async () => {
  const [, revision] = (
    await (async () => {
      const listener = await listen();
      await listener.next();
      listener.close();
      return listener.lastId;
    })()
  ).split('/');
  const lost = async (id: string) => {
    const listener = await listen('', { 'last-event-id': id });
    const { event, data } = await listener.next();
    listener.close();
    return [event, data.error];
  };
  for (let i = 0; i < 3; i++) {
    await t.call('POST', '/bulk', { operations: Array.from({ length: 100 }, () => ({ path: '/bridges', body: {} })) });
  }
  const far = await t.nsdb.revision();
  assert.deepEqual(await lost(`${t.nsdb.generation}/${revision}`), ['reset', 'WEFT_API_EVENTS_LOST']);
  assert.deepEqual(await lost(`${uuidOf(1)}/${far}`), ['reset', 'WEFT_API_EVENTS_LOST']);
  assert.deepEqual(await lost(`${t.nsdb.generation}/${far + 5}`), ['reset', 'WEFT_API_EVENTS_LOST']);
});

test('a quiet stream shows life, and its place moves on past what was filtered out', async () => {
  const listener = await listen('?type=Router');
  const { id } = await listener.next();
  await t.create('/bridges', {});
  await listener.until(() => listener.comments > 1 && listener.lastId !== id);
  listener.close();
});

test('a reader that falls behind is cut with a reason, and the server holds little for it', async () => {
  const listener = await listen('?objects=true');
  await listener.next();
  listener.response.pause();
  const name = 'n'.repeat(255);
  const operations = Array.from({ length: 100 }, () => ({ path: '/bridges', body: { name, tenantId: name } }));
  // Far more than sockets and buffers between the two hold: at some point the stream waits, and the feed goes on.
  for (let i = 0; i < 60; i++) await t.call('POST', '/bulk', { operations });
  listener.response.resume();
  let last: Event = {};
  await assert.rejects(async () => {
    for (;;) last = await listener.next();
  });
  assert.deepEqual([last.event, last.data.error], ['end', 'WEFT_API_EVENTS_BEHIND']);
});

test('a tenant hears of its own only', async () => {
  await t.create('/accounts', {
    name: 'blue-user',
    password: 'a long enough password',
    role: 'tenant',
    tenantId: 'blue',
  });
  const api = await createApi({ nsdb: t.nsdb, token: 'the token of the operator' });
  after(() => api.close());
  const { hostname, port } = new URL(await api.listen({ port: 0 }));
  const authorization = `Basic ${Buffer.from('blue-user:a long enough password').toString('base64')}`;
  const login = await fetch(`http://${hostname}:${port}/midonet-api/login`, {
    method: 'POST',
    headers: { authorization },
  });
  const { key } = (await login.json()) as { key: string };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { 'x-auth-token': key };
    const call = request({ hostname, port, path: '/midonet-api/events?objects=true', headers }, resolve);
    call.on('error', reject);
    call.end();
  });
  assert.equal(response.statusCode, 200);
  const blue = new Listener(response);
  after(() => response.destroy());
  await blue.next();
  await t.create('/bridges', { tenantId: 'red' });
  await t.create('/bridges', {});
  const foreign = await t.create('/chains', {});
  await t.host(uuidOf(0xc0), '192.0.2.7');
  const bridge = await t.create('/bridges', { tenantId: 'blue', inboundFilterId: foreign.id });
  const seen = await blue.next();
  assert.deepEqual(short(seen), ['change', 'Bridge', 'created', bridge.id]);
  assert.equal(seen.data.object.id, bridge.id);
  assert.equal(seen.data.object.inboundFilterId, undefined, "the operator's chain is not shown");
  blue.close();
});

test('streams are limited in number and age', async () => {
  const socket = join(t.dir, 'few.sock');
  const api = await createApi({ nsdb: t.nsdb, events: { maxStreams: 1, lifetime: 50 } });
  after(() => api.close());
  await api.listen({ unixSocket: socket });
  const listener = await listen('', {}, socket);
  assert.equal((await listener.next()).event, 'ready');
  const { data } = await listener.next();
  assert.equal(data.error, 'WEFT_API_EVENTS_AGED');
  await listener.until(() => listener.ended);
  const open = await listen('', {}, socket);
  const refused = await listen('', {}, socket);
  assert.equal(refused.response.statusCode, 503);
  open.close();
});

test('closing the API ends the streams', async () => {
  const socket = join(t.dir, 'closing.sock');
  const api = await createApi({ nsdb: t.nsdb });
  await api.listen({ unixSocket: socket });
  const listener = await listen('', {}, socket);
  await listener.next();
  await api.close();
  await listener.until(() => listener.ended);
});

test('bad questions are refused', async () => {
  for (const [path, headers, status] of [
    ['/events?type=Toaster', {}, 400],
    ['/events?type=Account', {}, 400],
    ['/events?objects=maybe', {}, 400],
    ['/events', { 'last-event-id': 'x' }, 400],
    ['/events', { accept: 'application/json' }, 406],
  ] as const) {
    assert.equal((await t.call('GET', path, undefined, headers)).status, status, path);
  }
});

test('after the link to the store was away, the difference is told', async () => {
  const [a, b] = [await t.create('/routers', {}), await t.create('/routers', {})];
  let deliver: (batch: never) => unknown = () => {};
  const fake = {
    subscribe(options: { onBatch: (batch: never) => unknown }) {
      deliver = options.onBatch;
      return { add() {}, remove() {}, close() {}, bytesReceived: 0 };
    },
  };
  const feed = new ChangeFeed(fake as never);
  const routers = (revision: number, ids: [string, number][]) => ({
    generation: 'g',
    revision,
    changes: [
      {
        interest: 'a/Router',
        kind: 'objects',
        reset: true,
        removed: [],
        upserts: ids.map(([id, version]) => ({ type: 'Router', id, version, value: { id } })),
      },
    ],
  });
  const listening = feed.listen(() => {});
  deliver({ generation: 'g', revision: 1, changes: [] } as never);
  deliver(routers(5, [[a.id!, 3], [b.id!, 4]]) as never); // biome-ignore format: one line
  await listening;
  deliver(routers(9, [[a.id!, 7], [uuidOf(9), 8]]) as never); // biome-ignore format: one line
  assert.deepEqual(
    feed.after(5)!.records.map(({ id, change }) => [id, change]),
    [
      [b.id, 'deleted'],
      [a.id, 'updated'],
      [uuidOf(9), 'created'],
    ],
  );
  feed.close();
});
