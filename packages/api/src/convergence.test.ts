import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestApi, uuidOf } from './testing.ts';

const t = await TestApi.start();

test('a change is live once every registered host has applied it', async () => {
  const ids = [uuidOf(1), uuidOf(2)] as const;
  for (const id of ids) await t.nsdb.transact((tx) => tx.create('Host', { id }));
  const [one, two] = [await t.nsdb.openSession(ids[0]), await t.nsdb.openSession(ids[1])];
  const { headers } = await t.call('POST', '/bridges', {});
  const revision = Number(headers['x-weft-revision']);
  const path = `/convergence/${revision}`;

  const nobody = (await t.call('GET', path)).body;
  assert.deepEqual([nobody.converged, nobody.hosts, nobody.applied, nobody.behind.length], [false, 2, 0, 2]);
  one.reportApplied(revision);
  two.reportApplied(revision - 1);
  const half = (await t.call('GET', path)).body;
  assert.deepEqual([half.converged, half.applied, half.slowest.hostId, half.behind.length], [false, 1, ids[1], 1]);
  assert.equal(half.slowest.applied, revision - 1);

  const waiting = t.call('GET', `${path}?wait=30000&generation=${headers['x-weft-generation']}`);
  two.reportApplied(revision);
  const all = (await waiting).body;
  assert.deepEqual([all.converged, all.applied, all.reachable, all.behind], [true, 2, 2, []]);

  // A host that is away stays in the denominator.
  await two.close({ leave: true });
  const later = await t.call('POST', '/bridges', {});
  one.reportApplied(Number(later.headers['x-weft-revision']));
  const away = (await t.call('GET', `/convergence/${later.headers['x-weft-revision']}`)).body;
  assert.deepEqual([away.converged, away.hosts, away.reachable], [false, 2, 1]);
  await one.close({ leave: true });
});

test('a wait ends', async () => {
  const revision = await t.nsdb.revision();
  const { body } = await t.call('GET', `/convergence/${revision}?wait=50`);
  assert.equal(body.converged, false);
  // That it waited, not how long: a timer may fire a little early by the clock that `waitedMs` is read from.
  assert.ok(body.waitedMs > 0);
});

test('revisions that are none, to come, or of another generation', async () => {
  const ahead = (await t.nsdb.revision()) + 1;
  for (const [path, status, error] of [
    ['/convergence/x', 404, 'WEFT_NOT_FOUND'],
    ['/convergence/-1', 404, 'WEFT_NOT_FOUND'],
    [`/convergence/${ahead}`, 404, 'WEFT_API_REVISION_AHEAD'],
    ['/convergence/1?generation=other', 409, 'WEFT_API_GENERATION'],
    ['/convergence/1?wait=60001', 400, 'WEFT_INVALID'],
  ] as const) {
    const answer = await t.call('GET', path);
    assert.deepEqual([answer.status, answer.body.error], [status, error], path);
  }
});
