import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Chain } from './objects/chain.ts';
import { OBJECT_TYPES, type TypeName } from './objects/index.ts';
import type { Port } from './objects/port.ts';
import {
  addRule,
  applyDerived,
  bindPort,
  createObject,
  endMove,
  linkPorts,
  prepareMove,
  switchMove,
  unbindPort,
  unlinkPort,
  updateObject,
} from './operations.ts';
import { MemoryTransaction, MINIMAL, uuidOf } from './testing.ts';
import { validateObject } from './validate.ts';

async function value<T>(tx: MemoryTransaction, type: string, id: string): Promise<T> {
  const stored = (await tx.get(type, id)) as { value: T };
  return stored.value;
}

test('a link is set and taken away at both ends', async () => {
  const tx = new MemoryTransaction();
  const a = await tx.create<Port>('Port', { routerId: uuidOf(1) });
  const b = await tx.create<Port>('Port', { bridgeId: uuidOf(2) });
  const c = await tx.create<Port>('Port', { bridgeId: uuidOf(3) });
  await linkPorts(tx, a.id, b.id);
  assert.equal((await value<Port>(tx, 'Port', a.id)).peerId, b.id);
  assert.equal((await value<Port>(tx, 'Port', b.id)).peerId, a.id);
  await assert.rejects(linkPorts(tx, b.id, c.id), { code: 'WEFT_PORT_LINKED' });
  await assert.rejects(linkPorts(tx, c.id, b.id), { code: 'WEFT_PORT_LINKED' });
  await assert.rejects(linkPorts(tx, c.id, uuidOf(99)), { code: 'WEFT_DANGLING' });
  await unlinkPort(tx, b.id);
  await unlinkPort(tx, b.id);
  assert.deepEqual(await value(tx, 'Port', a.id), a);
  assert.deepEqual(await value(tx, 'Port', b.id), b);
});

test('a port that moves remembers the host it came from', async () => {
  const tx = new MemoryTransaction();
  for (const [i, hostId] of [uuidOf(10), uuidOf(11)].entries()) {
    await tx.create('TunnelZoneHost', { tunnelZoneId: uuidOf(12), hostId, ipAddress: `192.0.2.${i + 1}` });
  }
  const port = await tx.create<Port>('Port', { bridgeId: uuidOf(1) });
  await bindPort(tx, port.id, uuidOf(10), 'tap0');
  const moved = await bindPort(tx, port.id, uuidOf(11), 'tap1');
  assert.deepEqual([moved.hostId, moved.interfaceName, moved.previousHostId], [uuidOf(11), 'tap1', uuidOf(10)]);
  const router = await tx.create<Port>('Port', { routerId: uuidOf(2) });
  await assert.rejects(linkPorts(tx, port.id, router.id), { code: 'WEFT_PORT_BOUND' });
  await unbindPort(tx, port.id);
  assert.deepEqual(await value(tx, 'Port', port.id), { ...port, previousHostId: uuidOf(11) });
  await linkPorts(tx, port.id, router.id);
  await assert.rejects(bindPort(tx, port.id, uuidOf(10), 'tap0'), { code: 'WEFT_PORT_LINKED' });
});

test('a move in three steps: prepared, switched, done', async () => {
  const tx = new MemoryTransaction();
  const [a, b, c] = [10, 11, 12].map(uuidOf);
  for (const [i, hostId] of [a, b, c].entries()) {
    await tx.create('TunnelZoneHost', { tunnelZoneId: uuidOf(13), hostId, ipAddress: `192.0.2.${i + 1}` });
  }
  const port = await tx.create<Port>('Port', { bridgeId: uuidOf(1) });
  await assert.rejects(prepareMove(tx, port.id, b!, 'tap1'), { code: 'WEFT_PORT_NOT_BOUND' });
  const bound = await bindPort(tx, port.id, a!, 'tap0');
  await assert.rejects(switchMove(tx, port.id), { code: 'WEFT_PORT_NOT_MOVING' });
  assert.deepEqual(await prepareMove(tx, port.id, b!, 'tap1'), { ...bound, nextHostId: b, nextInterfaceName: 'tap1' });
  await endMove(tx, port.id);
  assert.deepEqual(await value(tx, 'Port', port.id), bound);
  await prepareMove(tx, port.id, b!, 'tap1');
  await prepareMove(tx, port.id, c!, 'tap2');
  const moved = { ...bound, hostId: c, interfaceName: 'tap2', previousHostId: a };
  assert.deepEqual(await switchMove(tx, port.id), moved);
  await endMove(tx, port.id);
  const { previousHostId: _, ...there } = moved;
  assert.deepEqual(await value(tx, 'Port', port.id), there);
  // To be bound elsewhere, or nowhere, voids what was prepared.
  await prepareMove(tx, port.id, b!, 'tap1');
  assert.equal((await bindPort(tx, port.id, a!, 'tap0')).nextHostId, undefined);
  await prepareMove(tx, port.id, b!, 'tap1');
  await unbindPort(tx, port.id);
  assert.deepEqual(await value(tx, 'Port', port.id), { ...port, previousHostId: a });
});

test('rules are listed where they were put', async () => {
  const tx = new MemoryTransaction();
  const chain = await tx.create<Chain>('Chain', {});
  const add = async (position?: number) => (await addRule(tx, { chainId: chain.id, type: 'drop' }, position)).id;
  const first = await add();
  const last = await add(2);
  const middle = await add(2);
  const newFirst = await add();
  assert.deepEqual((await value<Chain>(tx, 'Chain', chain.id)).ruleIds, [newFirst, first, middle, last]);
  for (const position of [0, 6, 1.5, Number.NaN]) await assert.rejects(add(position), { code: 'WEFT_RULE_POSITION' });
});

test("a router port's local routes follow its addresses", async () => {
  const tx = new MemoryTransaction();
  const routes = () =>
    tx
      .list('Route')
      .map((r) => `${r.type} ${r.dstSubnet} ${r.nextHopPort === port.id}`)
      .sort();
  const port = await createObject(tx, 'Port', { routerId: uuidOf(1), portSubnet: ['10.0.0.1/24', 'fd00::1/64'] });
  assert.deepEqual(routes(), ['local 10.0.0.1/32 true', 'local fd00::1/128 true']);
  const kept = tx.list('Route').find((r) => r.dstSubnet === '10.0.0.1/32');
  await updateObject(tx, 'Port', port.id, { ...port, portSubnet: ['10.0.0.1/16', '10.1.0.1/24'] });
  assert.deepEqual(routes(), ['local 10.0.0.1/32 true', 'local 10.1.0.1/32 true']);
  assert.ok(tx.list('Route').includes(kept!));
  await applyDerived(tx, 'Port', undefined, await value(tx, 'Port', port.id));
  assert.equal(tx.list('Route').length, 2);
  await createObject(tx, 'Port', { bridgeId: uuidOf(2) });
  assert.equal(tx.list('Route').length, 2);
});

test('derived objects are valid as they are', () => {
  const port = validateObject('Port', { routerId: uuidOf(1), portSubnet: ['10.0.0.1/24', 'FD00::1/64'] });
  assert.ok(port.ok);
  for (const item of OBJECT_TYPES.Port.derive!(port.value)) {
    assert.deepEqual(validateObject(item.type, item.value), { ok: true, value: item.value });
  }
});

test('references point to object types, unique and immutable fields exist', () => {
  for (const [type, spec] of Object.entries(OBJECT_TYPES)) {
    const fields = Object.keys(spec.schema.properties);
    for (const reference of spec.references) {
      assert.ok(reference.target in OBJECT_TYPES, `${type}.${reference.field} → ${reference.target}`);
      assert.ok(fields.includes(reference.field));
      // A cleared single reference must leave a valid object behind.
      if (reference.onTargetDelete === 'clear' && !reference.many) {
        assert.ok(!spec.schema.required?.includes(reference.field), `${type}.${reference.field} is required`);
      }
    }
    for (const unique of spec.unique) {
      for (const field of [...unique.fields, ...(unique.scope ? [unique.scope] : [])])
        assert.ok(fields.includes(field));
    }
    for (const field of spec.immutable) assert.ok(fields.includes(field), `${type}.${field}`);
    assert.equal(spec.name, type);
    assert.ok(MINIMAL[type as TypeName]);
  }
  assert.deepEqual(
    Object.values(OBJECT_TYPES)
      .filter((s) => s.tunnelKey)
      .map((s) => s.name),
    ['Bridge', 'Port'],
  );
});
