/** Which blocks of NAT ports a process believes that the one before it held. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FlowStateTable } from '@weft/flowstate';
import { uuid } from '@weft/simulator/testing';
import { BlockKeeper, type BlockStore, fileBlockStore } from './block-keeper.ts';
import { type NatBlock, NatPools } from './nat-pools.ts';
import { uuidBytes } from './numbers.ts';

const directory = mkdtempSync(join(tmpdir(), 'weft-blocks-'));
after(() => rmSync(directory, { recursive: true }));

const HOUR = 3_600_000;
const BLOCKS: readonly NatBlock[] = [{ pool: `nat/${uuid(9)}/203.0.113.1`, index: 16, token: 3 }];

class Store implements BlockStore {
  kept: ReturnType<BlockStore['load']> = null;
  saves = 0;
  full = false;
  load(): ReturnType<BlockStore['load']> {
    return this.kept;
  }
  save(blocks: readonly NatBlock[]): void {
    if (this.full) throw new Error('ENOSPC');
    this.saves++;
    this.kept = { blocks, ageMs: 0 };
  }
}

function keeper(store: BlockStore | undefined, now = 0): { keeper: BlockKeeper; pools: NatPools } {
  const self = uuidBytes(uuid(1));
  const table = new FlowStateTable({ self, incarnation: 1, capacity: 8, uuids: 8, blocks: 8, now, seed: [1, 2] });
  const effects = { allocateBlocks: () => {}, releaseBlocks: () => {}, log: () => {} };
  const pools = new NatPools({ table, effects, wake: () => {}, now });
  return { pools, keeper: new BlockKeeper(pools, store, () => now) };
}

test('what was held less than an hour ago is held; what is older may be somebody else’s', () => {
  const store = new Store();
  for (const [ageMs, believed] of [
    [0, BLOCKS],
    [HOUR - 1, BLOCKS],
    [HOUR, []],
  ] as const) {
    store.kept = { blocks: BLOCKS, ageMs };
    const { keeper: next, pools } = keeper(store);
    next.restore();
    assert.deepEqual(pools.list(), believed);
  }
  const { keeper: none, pools } = keeper(undefined);
  none.restore();
  assert.deepEqual(pools.list(), []);
});

test('it is written when it changes, and every minute to say that it still holds', () => {
  const store = new Store();
  const { keeper: one, pools } = keeper(store);
  one.tick(50);
  assert.equal(store.saves, 1);
  for (let now = 1_000; now < 60_000; now += 1_000) one.tick(now);
  assert.equal(store.saves, 1);
  pools.confirm(BLOCKS);
  one.tick(60_000);
  assert.deepEqual([store.saves, store.kept?.blocks], [2, BLOCKS]);
  one.tick(119_000);
  assert.equal(store.saves, 2);
  one.tick(120_000);
  assert.equal(store.saves, 3);
});

test('who has slept for over an hour holds nothing any more', () => {
  const store = new Store();
  const { keeper: one, pools } = keeper(store);
  pools.confirm(BLOCKS);
  one.tick(1_000);
  one.tick(1_000 + HOUR);
  assert.deepEqual(pools.list(), BLOCKS);
  one.tick(1_001 + 2 * HOUR);
  assert.deepEqual(pools.list(), []);
  assert.deepEqual(store.kept?.blocks, []);
});

test('a full disk costs the next start its ports, not this one its life', () => {
  const store = new Store();
  store.full = true;
  const { keeper: one, pools } = keeper(store);
  pools.confirm(BLOCKS);
  one.tick(1_000);
  one.save();
  assert.deepEqual(pools.list(), BLOCKS);
});

test('the file is whole, of this boot, and for its owner only', () => {
  const path = join(directory, 'nat-blocks');
  let now = 5_000;
  const store = fileBlockStore(path, 'boot-1', () => now);
  assert.equal(store.load(), null);
  store.save(BLOCKS);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  now = 7_500;
  assert.deepEqual(store.load(), { blocks: BLOCKS, ageMs: 2_500 });
  assert.equal(fileBlockStore(path, 'boot-2', () => now).load(), null, 'the clock of another boot says nothing');
  now = 4_000;
  assert.equal(store.load(), null, 'written in the future');
});

test('a file with something else in it is nothing', () => {
  const path = join(directory, 'damaged');
  const store = fileBlockStore(path, 'b', () => 10);
  store.save(BLOCKS);
  const text = readFileSync(path, 'utf8');
  const damaged = ['', '{', 'null', '7', text.slice(0, -3), text.replace('16', '"16"'), text.replace(/"at":\d+,/, '')];
  for (const content of [...damaged, '{"boot":"b","at":1,"blocks":[null]}', '{"boot":"b","at":1,"blocks":{}}']) {
    writeFileSync(path, content);
    assert.equal(store.load(), null, content);
  }
});
