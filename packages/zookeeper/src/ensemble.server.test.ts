/** Three servers: what the client sees of them while all is well, while they die, and while they stand still. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { isZooKeeperError, type RequestOptions, type WatchEvent, ZooKeeper } from './index.ts';
import { type Action, checkHistory, type Step } from './testing/history.ts';
import { needsServer, startServers, type TestEnsemble } from './testing/index.ts';

const PATHS = ['/a', '/b'];

const path = fc.constantFrom(...PATHS);
const version = fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 2 }));
const action: fc.Arbitrary<{ action: Action; sync: boolean; pause: boolean }> = fc.record({
  action: fc.oneof(
    fc.record({ kind: fc.constant('create' as const), path, data: fc.constant('') }),
    fc.record({ kind: fc.constant('setData' as const), path, data: fc.constant(''), version }),
    fc.record({ kind: fc.constant('delete' as const), path, version }),
    fc.record({ kind: fc.constant('read' as const), path }),
    fc.record({ kind: fc.constant('read' as const), path }),
  ),
  sync: fc.boolean(),
  pause: fc.boolean(),
});

describe('an ensemble', { skip: needsServer() }, () => {
  let ensemble: TestEnsemble;
  let runs = 0;

  before(async () => {
    ensemble = await startServers({ count: 3 });
  });
  after(() => ensemble?.close());

  const connect = (servers = ensemble.connectString, root = '') =>
    ZooKeeper.connect({ servers: `${servers}${root}`, sessionTimeout: 4_000, connectTimeout: 60_000 });

  it('does what it promises to clients of all its servers', async () => {
    const root = '/history';
    const clients = await Promise.all(ensemble.servers.map(({ address }) => connect(address, root)));
    await clients[0].ensurePath('/');
    try {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(action, { maxLength: 12 }), { minLength: 3, maxLength: 3 }),
          async (plans) => {
            const run = `/run${runs++}`;
            await clients[0].ensurePath(run);
            await Promise.all(clients.map((zk) => zk.sync()));
            const steps: Step[] = [];
            let time = 0;
            await Promise.all(
              plans.map(async (plan, client) => {
                const underWay: Promise<void>[] = [];
                for (const [i, { action, sync, pause }] of plan.entries()) {
                  const one = { ...action, data: `${client}.${i}` } as Action;
                  underWay.push(
                    perform(clients[client], client, run, one, sync, () => ++time).then(
                      (step) => void steps.push(step),
                    ),
                  );
                  // Without a pause the next one is pipelined behind it.
                  if (pause) await Promise.all(underWay);
                }
                await Promise.all(underWay);
              }),
            );
            checkHistory(steps);
          },
        ),
        { numRuns: 60 },
      );
    } finally {
      await Promise.all(clients.map((zk) => zk.close()));
    }
  });

  it('loses no change that was acknowledged, and does none twice, while servers are killed', async () => {
    const root = '/counter';
    const clients = await Promise.all([1, 2, 3].map(() => connect(undefined, root)));
    await clients[0].ensurePath('/');
    await clients[0].setData('/', 'start');
    let going = true;
    const acknowledged = new Map<number, string>();
    let unknown = 0;
    const work = clients.map(async (zk, client) => {
      for (let i = 0; going; i++) {
        try {
          const { stat } = await zk.getData('/');
          const data = `${client}.${i}`;
          const { version } = await zk.setData('/', data, { version: stat.version });
          assert.equal(version, stat.version + 1);
          assert.equal(acknowledged.has(version), false, 'a version was given twice');
          acknowledged.set(version, data);
        } catch (error) {
          assert.ok(isZooKeeperError(error, 'WEFT_ZK_BAD_VERSION', 'WEFT_ZK_CONNECTION_LOST'), String(error));
          if (error.outcomeUnknown) unknown++;
        }
        // Not a busy loop on a shared machine.
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    });
    const progress = async () => {
      const before = acknowledged.size;
      while (acknowledged.size < before + 20) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    try {
      await progress();
      for (const role of ['leader', 'follower', 'leader'] as const) {
        const victim = await ensemble[role]();
        await victim.kill();
        await progress();
        await victim.start();
        await progress();
      }
    } finally {
      going = false;
      await Promise.all(work);
    }
    await clients[0].sync('/');
    const { data, stat } = await clients[0].getData('/');
    const last = Math.max(...acknowledged.keys());
    assert.ok(stat.version >= last);
    if (stat.version === last) assert.equal(data.toString(), acknowledged.get(last));
    // The first setData of the test made version 1; each version is an acknowledged change or one of the unknown ones.
    assert.ok(stat.version - 1 - acknowledged.size <= unknown, `${stat.version} ${acknowledged.size} ${unknown}`);
    await Promise.all(clients.map((zk) => zk.close()));
  });

  it('keeps sessions, ephemeral nodes and watches when the server of a client dies', async () => {
    const zk = await connect(undefined, '/move');
    const other = await connect(undefined, '/move');
    await zk.ensurePath('/');
    const { id } = zk.session;
    await zk.create('/e', '', { mode: 'ephemeral' });
    const watch = await zk.addWatch('/', { recursive: true });
    const victim = ensemble.servers.find(({ address }) => address === zk.server)!;
    const reconnected = once(zk, 'reconnected');
    await victim.kill();
    const [{ server }] = await reconnected;
    assert.notEqual(server, victim.address);
    assert.equal(zk.session.id, id);
    await other.whenConnected();
    await retry(() => other.create('/seen'));
    const seen = new Set<string>();
    for await (const event of watch as AsyncIterable<WatchEvent>) {
      if (event.type === 'gap') for (const child of (await zk.getChildren('/')).children) seen.add(`/${child}`);
      else seen.add(event.path);
      if (seen.has('/seen')) break;
    }
    assert.equal((await other.exists('/e'))?.ephemeralOwner, id);
    await victim.start();
    await Promise.all([zk.close(), other.close()]);
  });

  it('is waited for while all of it stands still', async () => {
    const zk = await connect(undefined, '/still');
    await zk.ensurePath('/');
    const disconnected = once(zk, 'disconnected');
    for (const server of ensemble.servers) server.pause();
    let waiting: Promise<unknown> | undefined;
    try {
      await disconnected;
      waiting = zk.exists('/');
    } finally {
      for (const server of ensemble.servers) server.resume();
    }
    // The session may have expired or not: its servers disagree about how long they stood still. Either way the client knows.
    const outcome = await waiting!.then(
      () => 'answered',
      (error) => error.code,
    );
    assert.ok(['answered', 'WEFT_ZK_SESSION_EXPIRED'].includes(outcome), outcome);
    assert.equal(zk.state, outcome === 'answered' ? 'connected' : 'expired');
    await zk.close();
    const fresh = await connect();
    await fresh.sync();
    await fresh.close();
  });
});

/** Repeats what was lost with a connection. */
async function retry(change: () => Promise<unknown>): Promise<void> {
  for (;;) {
    try {
      await change();
      return;
    } catch (error) {
      if (isZooKeeperError(error, 'WEFT_ZK_NODE_EXISTS')) return;
      if (!isZooKeeperError(error, 'WEFT_ZK_CONNECTION_LOST')) throw error;
    }
  }
}

async function perform(
  zk: ZooKeeper,
  client: number,
  run: string,
  action: Action,
  sync: boolean,
  tick: () => number,
): Promise<Step> {
  const begin = tick();
  const full = run + action.path;
  let zxid = 0n;
  const options: RequestOptions = {
    onZxid: (at) => {
      zxid = at;
    },
  };
  const wantsSync = action.kind === 'read' && sync;
  const rest = { client, action, begin, syncBegin: wantsSync ? begin : undefined };
  try {
    let node: Step['node'];
    if (wantsSync) zk.sync(full);
    if (action.kind === 'create') {
      const { stat } = await zk.create(full, action.data, options);
      zxid = stat.czxid;
      node = { data: action.data, version: stat.version, czxid: stat.czxid, mzxid: stat.mzxid };
    } else if (action.kind === 'setData') {
      const stat = await zk.setData(full, action.data, { ...options, version: action.version });
      zxid = stat.mzxid;
      node = { data: action.data, version: stat.version, czxid: stat.czxid, mzxid: stat.mzxid };
    } else if (action.kind === 'delete') await zk.delete(full, { ...options, version: action.version });
    else {
      const read = await zk.getData(full, options).catch((error) => {
        if (!isZooKeeperError(error, 'WEFT_ZK_NO_NODE')) throw error;
        return undefined;
      });
      if (read !== undefined) {
        const { version, czxid, mzxid } = read.stat;
        node = { data: read.data.toString(), version, czxid, mzxid };
      }
    }
    return { ...rest, end: tick(), zxid, error: undefined, node };
  } catch (error) {
    if (!isZooKeeperError(error)) throw error;
    return { ...rest, end: tick(), zxid, error: error.code, node: undefined };
  }
}
