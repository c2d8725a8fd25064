import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BLOCK_PORTS } from './block-table.ts';
import { chooseTarget, NAT_CHOSEN, NAT_EXHAUSTED, NAT_NO_BLOCK, SnatPool } from './nat-pool.ts';
import { type ConnectionRecord, R_RETURN } from './record.ts';
import type { FlowStateTable } from './table.ts';
import { address, newTable, recordOf, tuple, uuid } from './testing/fixtures.ts';
import { KIND_DNAT, KIND_SNAT } from './tuple.ts';
import { addressToWords } from './words.ts';

const OUTSIDE = new Int32Array(4);
addressToWords(address('2.2.2.2'), 0, OUTSIDE, 0);

function poolOf(
  table: FlowStateTable,
  options: { portFrom?: number; portTo?: number; lowWater?: number } = {},
): SnatPool {
  return new SnatPool(
    table,
    {
      device: table.uuids.intern(uuid(100)),
      from: address('2.2.2.2'),
      to: address('2.2.2.2'),
      portFrom: 1024,
      portTo: 65_535,
      ...options,
    },
    42,
  );
}

function outgoing(table: FlowStateTable, client: number, peer = '1.1.1.1', protocol = 6): ConnectionRecord {
  return recordOf(tuple(table, KIND_SNAT, protocol, '10.0.0.1', client, peer, 80));
}

const portOf = (record: ConnectionRecord) => record.words[R_RETURN] & 0xffff;

test('no two bindings to a peer are the same; ports are shared between peers only when all are busy', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ client: fc.nat(400), peer: fc.nat(2), udp: fc.boolean(), remove: fc.boolean() }), {
        maxLength: 400,
      }),
      fc.integer({ min: 1, max: 3 }),
      (steps, blocks) => {
        const table = newTable({ capacity: 1024 });
        const pool = poolOf(table);
        for (let b = 0; b < blocks; b++) assert.ok(pool.add(OUTSIDE, 0, 16 + b * 5, 9) > 0);
        const model = new Map<string, string>();
        for (const { client, peer, udp, remove } of steps) {
          const record = outgoing(table, client, `1.1.1.${peer}`, udp ? 17 : 6);
          const name = record.words.subarray(0, 10).join();
          const match = table.find(record.words, 0);
          if (match >= 0) {
            if (remove) {
              table.remove(match >>> 1);
              model.delete(name);
            }
            continue;
          }
          const idle = pool.idlePorts();
          assert.equal(
            idle,
            blocks * BLOCK_PORTS - new Set([...model.values()].map((other) => other.split(' ')[2])).size,
          );
          const result = pool.choose(record);
          const binding = `${udp} ${peer} ${portOf(record)}`;
          const busy = [...model.values()].filter((other) => other.startsWith(`${udp} ${peer} `)).length;
          if (result === NAT_EXHAUSTED) {
            // Only sharing can fail, and with so few ports all of them are tried.
            assert.equal(idle, 0);
            assert.equal(busy, blocks * BLOCK_PORTS);
            continue;
          }
          assert.equal(result, NAT_CHOSEN);
          assert.equal([...model.values()].includes(binding), false);
          if (idle > 0)
            assert.equal(
              [...model.values()].some((other) => other.endsWith(` ${portOf(record)}`)),
              false,
            );
          assert.equal(record.token, 9);
          assert.ok(table.insert(record, 0) >= 0);
          model.set(name, binding);
        }
      },
    ),
    { numRuns: 60 },
  );
});

test('a raised low-water mark makes another block wanted early, a lost block too', () => {
  const table = newTable();
  const pool = poolOf(table);
  const blocks = [16, 17, 18].map((index) => pool.add(OUTSIDE, 0, index, 1));
  const take = (client: number) => {
    const record = outgoing(table, client);
    assert.equal(pool.choose(record), NAT_CHOSEN);
    assert.ok(table.insert(record, 0) >= 0);
    return pool.wantsBlock;
  };
  assert.equal(take(1), false);
  pool.lowWater = 2 * BLOCK_PORTS;
  assert.equal(take(2), false);
  for (let client = 3; client <= BLOCK_PORTS; client++) take(client);
  assert.equal(take(100), true);
  pool.lowWater = 32;
  assert.equal(take(101), false);
  // Of the two blocks that hold no connection one, and most of what is idle, goes.
  for (const n of blocks.filter((n) => table.blocks.liveRecords(n) === 0).slice(0, 1)) pool.drop(n);
  pool.lowWater = 64;
  assert.equal(take(102), true);
});

test('another block is wanted before the last port is gone, then the pool says exhausted', () => {
  const table = newTable();
  const pool = poolOf(table, { lowWater: 10 });
  assert.equal(pool.choose(outgoing(table, 1)), NAT_NO_BLOCK);
  assert.equal(pool.wantsBlock, true);
  const block = pool.add(OUTSIDE, 0, 16, 1);
  assert.equal(pool.wantsBlock, false);
  let wantedAt = -1;
  for (let i = 0; i < BLOCK_PORTS; i++) {
    const record = outgoing(table, i);
    assert.equal(pool.choose(record), NAT_CHOSEN);
    assert.ok(table.insert(record, 0) >= 0);
    if (pool.wantsBlock && wantedAt < 0) wantedAt = i;
  }
  assert.ok(wantedAt > 40 && wantedAt <= BLOCK_PORTS - 10, `wanted after ${wantedAt}`);
  assert.equal(pool.choose(outgoing(table, 1000)), NAT_EXHAUSTED);
  assert.equal(pool.choose(outgoing(table, 1000, '1.1.1.2')), NAT_CHOSEN, 'to another peer ports are shared');
  assert.deepEqual(pool.unused(), []);
  for (let at = table.nextRecord(0); at >= 0; at = table.nextRecord(at + 1)) table.remove(at);
  assert.deepEqual(pool.unused(), [block]);
  assert.equal(table.blocks.liveRecords(block), 0);
  pool.drop(block);
  assert.equal(pool.choose(outgoing(table, 1)), NAT_NO_BLOCK);
});

test('a port that was used comes last', () => {
  const table = newTable();
  const pool = poolOf(table);
  pool.add(OUTSIDE, 0, 16, 1);
  const used = new Set<number>();
  for (let i = 0; i < BLOCK_PORTS; i++) {
    const record = outgoing(table, i);
    pool.choose(record);
    assert.equal(used.has(portOf(record)), false);
    used.add(portOf(record));
    table.remove(table.insert(record, 0));
  }
  // Then it begins anew: the last idle port is found among all that were used.
  for (let i = 0; i < BLOCK_PORTS; i++) {
    const record = outgoing(table, 100 + i, `1.1.${i}.1`);
    assert.equal(pool.choose(record), NAT_CHOSEN);
    table.insert(record, 0);
  }
  assert.equal(pool.idlePorts(), 0);
  const one = table.nextRecord(0);
  const port = table.words[one * 32 + R_RETURN] & 0xffff;
  table.remove(one);
  const record = outgoing(table, 500, '1.1.200.1');
  assert.equal(pool.choose(record), NAT_CHOSEN);
  assert.equal(portOf(record), port);
});

test('ports outside the range of the rule are not chosen', () => {
  const table = newTable();
  const pool = poolOf(table, { portFrom: 1030, portTo: 1033 });
  pool.add(OUTSIDE, 0, 16, 1);
  const ports = new Set<number>();
  for (let i = 0; i < 4; i++) {
    const record = outgoing(table, i);
    assert.equal(pool.choose(record), NAT_CHOSEN);
    table.insert(record, 0);
    ports.add(portOf(record));
  }
  assert.deepEqual([...ports].sort(), [1030, 1031, 1032, 1033]);
  assert.equal(pool.choose(outgoing(table, 9)), NAT_EXHAUSTED);
});

test('a block whose newer token is known is not taken; a newer one fences what was', () => {
  const table = newTable();
  const pool = poolOf(table);
  const block = pool.add(OUTSIDE, 0, 16, 5);
  const record = outgoing(table, 1);
  pool.choose(record);
  const at = table.insert(record, 0);
  assert.equal(table.isVisible(at), true);
  assert.equal(pool.add(OUTSIDE, 0, 16, 4), 0);
  assert.equal(pool.add(OUTSIDE, 0, 16, 6), block);
  assert.equal(table.isVisible(at), false);
  assert.equal(table.blocks.liveRecords(block), 1, 'it still counts until it expires');
});

test('echo identifiers are chosen like ports', () => {
  const table = newTable();
  const pool = poolOf(table);
  pool.add(OUTSIDE, 0, 16, 1);
  const ids = [7, 8].map((id) => {
    const record = recordOf(tuple(table, KIND_SNAT, 1, `10.0.0.${id}`, 77, '1.1.1.1', 77));
    assert.equal(pool.choose(record), NAT_CHOSEN);
    assert.ok(table.insert(record, 0) >= 0);
    assert.equal(record.words[R_RETURN] >>> 16, portOf(record));
    return portOf(record);
  });
  assert.notEqual(ids[0], ids[1]);
});

test('a target is one whose answers no other connection expects', () => {
  const table = newTable();
  const range = { from: address('10.0.1.254'), to: address('10.0.2.1'), portFrom: 8000, portTo: 8001 };
  const chosen = new Set<string>();
  // One client port to ten virtual addresses: eight targets.
  for (let i = 0; i < 10; i++) {
    const record = recordOf(tuple(table, KIND_DNAT, 6, '10.9.0.1', 500, `5.5.5.${i}`, 80));
    const result = chooseTarget(table, range, record, i * 0x12345678);
    if (i >= 8) {
      assert.equal(result, NAT_EXHAUSTED);
      continue;
    }
    assert.equal(result, NAT_CHOSEN);
    assert.ok(table.insert(record, 0) >= 0);
    chosen.add(`${record.words[R_RETURN + 4]} ${record.words[R_RETURN] >>> 16}`);
  }
  assert.equal(chosen.size, 8);
  const kept = recordOf(tuple(table, KIND_DNAT, 6, '10.9.0.2', 500, '5.5.5.5', 81));
  const fixed = { from: address('10.0.1.1'), to: address('10.0.1.1'), portFrom: 0, portTo: 0 };
  assert.equal(chooseTarget(table, fixed, kept, 1), NAT_CHOSEN);
  assert.equal(kept.words[R_RETURN] >>> 16, 81);
});

test('a preview comes to what the next choice comes to, and changes nothing that choices go by', () => {
  const table = newTable({ capacity: 1024 });
  const pool = poolOf(table);
  assert.equal(pool.preview(outgoing(table, 1)), NAT_NO_BLOCK);
  assert.ok(pool.add(OUTSIDE, 0, 16, 9) > 0);
  for (let client = 1; client <= 2 * BLOCK_PORTS; client++) {
    const said = outgoing(table, client, `1.1.1.${client}`);
    const low = pool.wantsBlock;
    assert.equal(pool.preview(said), NAT_CHOSEN);
    assert.equal(pool.wantsBlock, low);
    const done = outgoing(table, client, `1.1.1.${client}`);
    assert.equal(pool.choose(done), NAT_CHOSEN);
    assert.deepEqual([portOf(said), said.token], [portOf(done), done.token]);
    assert.ok(table.insert(done, 0) >= 0);
  }
});
