import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Nsdb } from '@weft/nsdb';
import { createApi } from './api.ts';
import { Listener } from './changes/testing.ts';
import { ConvergenceWatch } from './convergence/watch.ts';
import { TestApi, uuidOf } from './testing.ts';

const t = await TestApi.start();
const socketPath = await t.api.listen({ unixSocket: join(t.dir, 'convergence.sock') });
const EVENTS = { accept: 'text/event-stream' };
const watch = (revision: number, query = '') => Listener.open(socketPath, `/convergence/${revision}${query}`, EVENTS);

/** What it needs of the answers of the store. */
type Standing = Awaited<ReturnType<Nsdb['convergence']>>[number];
const standing = (hostId: string, applied: number | null, reachable = true): Standing => ({
  hostId,
  applied,
  reachable,
  unknownFor: reachable ? null : 12_000,
});

test('a stream tells how far a change has got, who is away and since when, and ends when it is live on all', async () => {
  const [h1, h2] = [uuidOf(1), uuidOf(2)];
  for (const [id, name] of [
    [h1, 'h1'],
    [h2, 'h2'],
  ])
    await t.nsdb.transact((tx) => tx.create('Host', { id, name }));
  const one = await t.nsdb.openSession(h1);
  const gone = await t.nsdb.openSession(h2);
  const { headers } = await t.call('POST', '/bridges', {});
  const revision = Number(headers['x-weft-revision']);
  const listener = await watch(revision);
  assert.match(listener.response.headers['content-type']!, /^text\/event-stream/);
  const first = await listener.next();
  assert.equal(first.event, 'progress');
  assert.deepEqual([first.data.converged, first.data.applied, first.data.hosts], [false, 0, 2]);

  one.reportApplied(revision);
  const until = async (holds: (data: { applied: number; reachable: number }) => boolean) => {
    for (;;) {
      const { event, data } = await listener.next();
      assert.equal(event, 'progress');
      if (holds(data)) return data;
    }
  };
  const half = await until(({ applied }) => applied === 1);
  assert.deepEqual(
    half.behind.map(({ name, reachable }: { name: string; reachable: boolean }) => [name, reachable]),
    [['h2', true]],
  );

  const left = Date.now();
  await gone.close();
  const away = await until(({ reachable }) => reachable === 1);
  assert.deepEqual([away.hosts, away.applied, away.converged], [2, 1, false], 'it stays a host');
  const [{ name, unknownSince, unknownForMs }] = away.behind;
  assert.deepEqual([name, away.slowest.name], ['h2', 'h2']);
  assert.ok(unknownForMs >= 0 && Math.abs(Date.parse(unknownSince) - left) < 20_000, unknownSince);

  // The same is told anew, and for longer.
  const later = await until(() => true);
  assert.ok(later.behind[0].unknownForMs > unknownForMs);

  const back = await t.nsdb.openSession(h2);
  back.reportApplied(revision);
  for (;;) {
    const { event, data } = await listener.next();
    if (event === 'progress') continue;
    assert.equal(event, 'converged');
    assert.deepEqual([data.converged, data.applied, data.hosts, data.behind], [true, 2, 2, []]);
    break;
  }
  await listener.until(() => listener.ended);
  await one.close({ leave: true });
  await back.close({ leave: true });
});

test('what a stream is not given for is refused as an answer', async () => {
  const ahead = (await t.nsdb.revision()) + 1;
  for (const [path, status, error] of [
    [`/convergence/${ahead}`, 404, 'WEFT_API_REVISION_AHEAD'],
    ['/convergence/1?generation=other', 409, 'WEFT_API_GENERATION'],
  ] as const) {
    const { status: got, body } = await t.call('GET', path, undefined, EVENTS);
    assert.deepEqual([got, body.error], [status, error]);
  }
});

test('one look at a time serves all who wait, and nobody looks when nobody waits', async () => {
  let asked = 0;
  let underWay = 0;
  const database = {
    generation: 'g',
    list: async () => [],
    convergence: async () => {
      asked++;
      assert.equal(++underWay, 1, 'one at a time');
      await new Promise((resolve) => setTimeout(resolve, 20));
      underWay--;
      return [standing('a', 1)];
    },
  } as unknown as Nsdb;
  const watch = new ConvergenceWatch(database);
  const seen = new Map<number, number>();
  const stops = Array.from({ length: 50 }, (_, i) => watch.listen(() => seen.set(i, (seen.get(i) ?? 0) + 1)));
  const three = () => [...seen.values()].length === 50 && [...seen.values()].every((n) => n >= 3);
  while (!three()) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(asked <= 2 + Math.max(...seen.values()), `${asked} looks`);
  for (const stop of stops) stop();
  // The look that is under way ends, and is the last.
  while (underWay > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const before = asked;
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(asked, before);
  const again = await new Promise<number>((resolve) => {
    const stop = watch.listen(({ hosts }) => {
      stop();
      resolve(hosts.length);
    });
  });
  assert.equal(again, 1);
});

test('a store that is away is told of, and does not end the stream; one of another generation does', async (context) => {
  const { nsdb } = t;
  let answer: () => Promise<Standing[]> = async () => [standing(uuidOf(3), 0)];
  let generation = 'one';
  const database = new Proxy(nsdb, {
    get: (target, name) => {
      if (name === 'generation') return generation;
      if (name === 'convergence') return () => answer();
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const api = await createApi({ nsdb: database });
  context.after(() => api.close());
  const socket = await api.listen({ unixSocket: join(t.dir, 'away.sock') });
  const listener = await Listener.open(socket, `/convergence/${await nsdb.revision()}`, EVENTS);
  const nextOther = async (than: string) => {
    for (;;) {
      const event = await listener.next();
      if (event.event !== than) return event;
    }
  };
  assert.equal((await listener.next()).event, 'progress');
  answer = () => Promise.reject(Object.assign(new Error('The store is away'), { code: 'WEFT_STORE_AWAY' }));
  const trouble = await nextOther('progress');
  assert.deepEqual([trouble.event, trouble.data.error], ['trouble', 'WEFT_STORE_AWAY']);
  answer = async () => [standing(uuidOf(3), 0, false)];
  const { event, data } = await nextOther('trouble');
  assert.deepEqual([event, data.reachable, data.behind[0].unknownForMs], ['progress', 0, 12_000]);
  generation = 'two';
  const end = await nextOther('progress');
  assert.deepEqual([end.event, end.data.error], ['end', 'WEFT_API_GENERATION']);
});
