import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isZooKeeperError, ZooKeeperError } from '../errors.ts';
import { Chroot } from '../paths.ts';
import type { WatchEvent } from './events.ts';
import { WatchRegistry } from './registry.ts';
import { Watch } from './watch.ts';

const EXPIRED = new ZooKeeperError('WEFT_ZK_SESSION_EXPIRED');
const isArgumentError = (error: unknown) => isZooKeeperError(error, 'WEFT_ZK_ARGUMENT');

/** One-shot watches of each kind at a path, and what they were told. */
function armed(registry: WatchRegistry, path: string): string[] {
  const told: string[] = [];
  for (const kind of ['data', 'exists', 'children'] as const) {
    registry.claim(path, 'one-shot');
    registry.arm(path, kind, (event) => told.push(`${kind} ${event.type} ${event.path}`));
  }
  return told;
}

function persistent(registry: WatchRegistry, path: string, recursive: boolean, maxEvents = 100): Watch {
  const watch = new Watch(path, { recursive, maxEvents }, async () => {
    registry.detach(path, watch);
  });
  registry.claim(path, recursive ? 'recursive' : 'persistent');
  registry.attach(path, watch);
  return watch;
}

/** What waits in a watch. */
async function drained(watch: Watch): Promise<string[]> {
  const events: string[] = [];
  watch.lost(undefined);
  for await (const event of watch)
    events.push(event.type === 'gap' ? `gap ${event.reason}` : `${event.type} ${event.path}`);
  return events;
}

describe('the registry of watches', () => {
  it('uses up those one-shot watches that an event concerns, once', () => {
    const expected = {
      created: ['data', 'exists'],
      dataChanged: ['data', 'exists'],
      deleted: ['data', 'exists', 'children'],
      childrenChanged: ['children'],
    } as const;
    for (const [type, kinds] of Object.entries(expected)) {
      const registry = new WatchRegistry(new Chroot('/root'));
      const told = armed(registry, '/root/a');
      registry.dispatch(type as keyof typeof expected, '/root/b', undefined);
      assert.deepEqual(told, []);
      for (let i = 0; i < 2; i++) registry.dispatch(type as keyof typeof expected, '/root/a', undefined);
      assert.deepEqual(
        told,
        kinds.map((kind) => `${kind} ${type} /a`),
      );
      registry.end(EXPIRED);
      assert.equal(told.length, 3, 'the others are lost with the session');
      assert.equal(registry.size, 0);
    }
  });

  it('tells persistent watches of their path, and recursive ones of all below, but not that children changed', async () => {
    const registry = new WatchRegistry(new Chroot(''));
    const [one, below, root] = [
      persistent(registry, '/a', false),
      persistent(registry, '/a/b', true),
      persistent(registry, '/', true),
    ];
    registry.dispatch('childrenChanged', '/a', 5n);
    registry.dispatch('created', '/a/b/c/d', 6n);
    registry.dispatch('created', '/a/bb', 7n);
    registry.dispatch('dataChanged', '/a', 8n);
    assert.deepEqual(await drained(one), ['childrenChanged /a', 'dataChanged /a']);
    assert.deepEqual(await drained(below), ['created /a/b/c/d']);
    assert.deepEqual(await drained(root), ['created /a/b/c/d', 'created /a/bb', 'dataChanged /a']);
  });

  it('keeps watches of one mode at a path, also while they are only asked for', () => {
    const registry = new WatchRegistry(new Chroot(''));
    registry.claim('/a', 'one-shot');
    assert.throws(() => registry.claim('/a', 'persistent'), isArgumentError);
    registry.claim('/a', 'one-shot');
    assert.equal(registry.release('/a'), false);
    assert.equal(registry.release('/a'), true);
    registry.claim('/a', 'recursive');
    assert.throws(() => registry.claim('/a', 'persistent'), isArgumentError);
    assert.throws(() => registry.claim('/a', 'one-shot'), isArgumentError);
  });

  it('names after a reconnect what is armed, and nothing that is only asked for, in bounded portions', () => {
    const registry = new WatchRegistry(new Chroot(''));
    registry.claim('/asked', 'persistent');
    armed(registry, '/a');
    persistent(registry, '/p', false);
    persistent(registry, '/r', true);
    const all = [...registry.paths(1_000)];
    assert.deepEqual(all, [{ data: ['/a'], exists: ['/a'], children: ['/a'], persistent: ['/p'], recursive: ['/r'] }]);
    for (let i = 0; i < 1_000; i++) armed(registry, `/many${i}`);
    const portions = [...registry.paths(1_000)];
    assert.ok(portions.every((portion) => JSON.stringify(portion).length < 2_000));
    assert.equal(new Set(portions.flatMap(({ data }) => data)).size, 1_001);
    registry.dispatch('deleted', '/a', undefined);
    assert.ok(![...registry.paths(1_000)].flatMap(({ data }) => data).includes('/a'));
  });

  it('goes on when a callback throws, which is an uncaught exception', async () => {
    const registry = new WatchRegistry(new Chroot(''));
    const told: string[] = [];
    registry.claim('/a', 'one-shot');
    registry.arm('/a', 'data', () => {
      throw new Error('of the callback');
    });
    registry.claim('/a', 'one-shot');
    registry.arm('/a', 'data', ({ type }) => told.push(type));
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const uncaught = new Promise<Error>((resolve) => process.once('uncaughtException', resolve));
    registry.dispatch('deleted', '/a', undefined);
    assert.deepEqual(told, ['deleted']);
    assert.equal((await uncaught).message, 'of the callback');
    for (const listener of listeners) process.on('uncaughtException', listener);
  });

  it('tells of a watch that came too late that it is lost', () => {
    const registry = new WatchRegistry(new Chroot(''));
    const told: string[] = [];
    registry.claim('/a', 'one-shot');
    registry.end(EXPIRED);
    registry.arm('/a', 'data', ({ type }) => told.push(type));
    assert.deepEqual(told, ['lost']);
  });
});

describe('a persistent watch', () => {
  const event = (i: number): WatchEvent => ({ type: 'created', path: `/${i}`, zxid: undefined });
  const make = (options = {}) => new Watch('/a', options, async () => {});

  it('delivers in order, to readers that wait and to those that come later', async () => {
    const watch = make();
    const iterator = watch[Symbol.asyncIterator]();
    const first = [iterator.next(), iterator.next()];
    for (let i = 0; i < 4; i++) watch.event(event(i));
    const results = await Promise.all([...first, iterator.next(), iterator.next()]);
    assert.deepEqual(
      results.map(({ value }) => value),
      [0, 1, 2, 3].map(event),
    );
  });

  it('drops what waits for a reader that is too slow, and says so', async () => {
    const watch = make({ maxEvents: 3 });
    for (let i = 0; i < 5; i++) watch.event(event(i));
    assert.deepEqual(await drained(watch), ['gap overflow', 'created /3', 'created /4']);
  });

  it('throws at the end of the session behind its last event, once', async () => {
    const watch = make();
    watch.event(event(1));
    watch.lost(EXPIRED);
    watch.event(event(2));
    const iterator = watch[Symbol.asyncIterator]();
    assert.deepEqual((await iterator.next()).value, event(1));
    await assert.rejects(iterator.next(), EXPIRED);
    assert.equal((await iterator.next()).done, true);
  });

  it('ends for readers that wait when it is closed, and by leaving the loop', async () => {
    const watch = make();
    const waiting = watch[Symbol.asyncIterator]().next();
    await watch.close();
    assert.deepEqual(await waiting, { done: true, value: undefined });
    const other = make();
    other.event(event(1));
    for await (const _ of other) break;
    assert.equal(other.closed, true);
  });

  it('has one reader', async () => {
    const told: string[] = [];
    const watch = make({ onEvent: ({ type }: { type: string }) => told.push(type) });
    assert.throws(() => watch[Symbol.asyncIterator](), isArgumentError);
    watch.event(event(1));
    watch.event({ type: 'gap', reason: 'reconnected', path: '/a' });
    watch.lost(EXPIRED);
    assert.deepEqual(told, ['created', 'gap', 'lost']);
    const other = make();
    other[Symbol.asyncIterator]();
    assert.throws(() => other[Symbol.asyncIterator](), isArgumentError);
  });
});
