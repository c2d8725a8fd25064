/**
 * The torn-transaction test. A token is moved between objects by transactions: it is the name of one of two bridges, and
 * the member of one of two reference sets. No watcher may ever see it twice, or not at all.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Nsdb } from '../contract.ts';
import { cannotRestart, type Factory, type Harness, newBridge, newPort, on, until, Watcher } from './harness.ts';

interface Token {
  readonly bridges: readonly [string, string];
  readonly chains: readonly [string, string];
  readonly port: string;
}

async function makeToken(nsdb: Nsdb): Promise<Token> {
  const bridges = [await newBridge(nsdb, 'token'), await newBridge(nsdb, 'none')] as const;
  const chain = async () => (await nsdb.transact((tx) => tx.create('Chain', { name: 'c' }))).result.id as string;
  const chains = [await chain(), await chain()] as const;
  return { bridges, chains, port: await newPort(nsdb, bridges[0], { inboundFilterId: chains[0] }) };
}

async function moveToken(nsdb: Nsdb, { bridges, chains, port }: Token): Promise<void> {
  await nsdb.transact(async (tx) => {
    const [a, b] = await Promise.all(bridges.map(async (id) => (await tx.get('Bridge', id))!.value));
    await tx.update('Bridge', bridges[0], { ...a, name: b.name });
    await tx.update('Bridge', bridges[1], { ...b, name: a.name });
    const { value } = (await tx.get('Port', port))!;
    await tx.update('Port', port, { ...value, inboundFilterId: chains[value.inboundFilterId === chains[0] ? 1 : 0] });
  });
}

/** A watcher that checks the token after every batch; `pause` ms in its callback. */
function watchToken(nsdb: Nsdb, { bridges, chains, port }: Token, pause: () => number): Watcher {
  const objects = bridges.map((id) => `o/Bridge/${id}`);
  const sets = chains.map((id) => `i/Port.inboundFilterId/${id}`);
  const watcher = new Watcher(nsdb, [...objects, ...sets]);
  watcher.afterBatch = async () => {
    const names = objects.map((interest) => watcher.objects.get(interest)?.value.name);
    const members = sets.map((interest) => watcher.sets.get(interest)?.has(port));
    assert.deepEqual([...names].sort(), ['none', 'token'], `token seen ${names} at ${watcher.revision}`);
    assert.deepEqual([...members].sort(), [false, true], `member seen ${members} at ${watcher.revision}`);
    assert.equal(names[0] === 'token', members[0] === true, 'both move together');
    const ms = pause();
    if (ms > 0) await sleep(ms);
  };
  return watcher;
}

/** Moves the token under unrelated load until `disturb` is done; every watcher ends at the last state. */
async function run(harness: Harness, disturb: (moves: () => number) => Promise<void>): Promise<void> {
  const { nsdb } = harness;
  const token = await makeToken(nsdb);
  const handles = [nsdb, await harness.another(), await harness.another()];
  const watchers = [
    watchToken(handles[0], token, () => 0),
    watchToken(handles[1], token, () => 4),
    watchToken(handles[2], token, () => (Math.random() < 0.1 ? 40 : 0)),
  ];
  let moves = 0;
  let running = true;
  const ignoreAway = (error: Error & { code?: string }) => {
    if (error.code !== 'WEFT_STORE_AWAY' && error.code !== 'WEFT_OUTCOME_UNKNOWN') throw error;
    return sleep(5);
  };
  const mover = async (handle: Nsdb) => {
    while (running) await moveToken(handle, token).then(() => void moves++, ignoreAway);
  };
  const noise = async () => {
    while (running) {
      await Promise.all([newPort(nsdb, token.bridges[0]), newBridge(nsdb)]).catch(ignoreAway);
      await sleep(1);
    }
  };
  const work = Promise.all([mover(handles[0]), mover(handles[1]), noise()]);
  try {
    await Promise.race([disturb(() => moves), work]);
  } finally {
    running = false;
  }
  await work;
  let revision = -1;
  await until(async () => (revision = await nsdb.revision().catch(() => -1)) >= 0, 'the store is back');
  for (const watcher of watchers) {
    await watcher.reached(revision);
    assert.ok(watcher.batches.length > 3);
    watcher.close();
  }
}

export function tokenTests(factory: Factory): void {
  describe('a token that transactions move', () => {
    it(
      'is in exactly one place, for fast, slow and stuttering watchers under load',
      on(factory, (harness) => run(harness, (moves) => until(() => moves() >= 300, '300 moves'))),
    );

    it('is in exactly one place, for watchers whose link is cut', async (t) => {
      const harness = await factory();
      try {
        if (harness.cut === undefined) return t.skip('this implementation has no links');
        await run(harness, async (moves) => {
          for (let cut = 0; cut < 8; cut++) {
            const before = moves();
            await harness.cut!();
            await until(() => moves() >= before + 10, 'moves after the cut');
          }
        });
      } finally {
        await harness.close();
      }
    });

    it('is in exactly one place, for watchers whose store restarts', async (t) => {
      const harness = await factory();
      try {
        if (harness.restart === undefined) return t.skip(cannotRestart(harness));
        await run(harness, async (moves) => {
          for (let round = 0; round < 4; round++) {
            const before = moves();
            await harness.restart!();
            await until(() => moves() >= before + 10, 'moves after the restart');
          }
        });
      } finally {
        await harness.close();
      }
    });
  });
}
