/** Flows of builds with another layout: which are taken over, as what, and which are not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  A_COUNTER_SLOT,
  A_ETH_DST,
  A_FLAGS,
  A_OUT_PORT,
  A_OUTPUT,
  A_OWNER_CLASS,
  A_REASON,
  ACTION_SIZE,
  actionId,
  actionIntact,
  classFor,
  compileAction,
  describeFlows,
  dropReason,
  F_IP_DST,
  F_IP_TOS,
  F_TP_DST,
  type FieldLayout,
  FLOW_VALUE_SIZE,
  type FlowDescription,
  FlowTranslator,
  K_IP_DST,
  K_IP_TOS,
  K_IP_TTL,
  K_MASK_CLASS,
  KEY_SIZE,
  keyFits,
  MASK_CLASSES,
  maskKey,
  OUT_DROP,
  OUT_PORT,
  readU32le,
} from './index.ts';

const here = describeFlows();

/** A layout with the same fields in another order and with other sizes, one behind the other. */
function relaid(fields: readonly FieldLayout[], change: (f: FieldLayout[]) => FieldLayout[]): FlowDescription['key'] {
  let at = 0;
  const laid = change([...fields]).map(([name, , size, order]): FieldLayout => {
    at += size;
    return [name, at - size, size, order];
  });
  return { size: Math.ceil(at / 8) * 8, fields: laid };
}

const reversed = (f: FieldLayout[]) => f.reverse();

/** A flow of this build for packets with these bytes. */
function flow(firstKey: Uint8Array, read: number, output = OUT_PORT) {
  const cls = classFor(read);
  const masked = new Uint8Array(KEY_SIZE);
  maskKey(firstKey, 0, cls, masked, 0);
  const value = new Uint8Array(FLOW_VALUE_SIZE);
  const final = firstKey.slice();
  compileAction(firstKey, final, value, {
    output,
    outPort: 0x01020304,
    flowId: 77_000_000_000,
    ownerPort: readU32le(firstKey, 0),
    ownerClass: cls,
    counterSlot: 9,
    flags: 3,
    reason: output === OUT_DROP ? dropReason('filtered') : 0,
  });
  value.set(firstKey, ACTION_SIZE);
  return { masked, value };
}

function translate(from: FlowDescription, to: FlowDescription, masked: Uint8Array, value: Uint8Array) {
  const translator = new FlowTranslator(from, to);
  const key = new Uint8Array(to.key.size);
  const out = new Uint8Array(to.action.size + to.key.size);
  const done = translator.flow(masked, value, value, from.action.size, key, out);
  return done ? { masked: key, value: out } : null;
}

const someKey = (seed: number) =>
  Uint8Array.from({ length: KEY_SIZE }, (_, i) => (i === K_MASK_CLASS ? 0 : seed + i * 7));

test('the description is plain data, the same each time', () => {
  assert.deepEqual(JSON.parse(JSON.stringify(here)), here);
  assert.equal(JSON.stringify(describeFlows()), JSON.stringify(here));
  assert.deepEqual(here.classes[0], ['inPort', 'ethSrc', 'ethDst', 'etherType', 'vlan']);
  assert.equal(here.outputs.OUT_TUNNEL, 2);
});

test('fields in another order, in key and action: there and back again is the same flow', () => {
  const other: FlowDescription = {
    ...here,
    key: relaid(here.key.fields, reversed),
    action: relaid(here.action.fields, reversed),
  };
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 0, max: 0x7fff }), (seed, read) => {
      const mine = flow(someKey(seed), read);
      const theirs = translate(here, other, mine.masked, mine.value);
      assert.ok(theirs);
      assert.notDeepEqual(theirs.value, mine.value);
      assert.deepEqual(translate(other, here, theirs.masked, theirs.value), mine);
    }),
  );
});

test('id, slot, owner and output stay', () => {
  const other = { ...here, action: relaid(here.action.fields, reversed) };
  const old = flow(someKey(1), F_TP_DST);
  const stored = translate(here, other, old.masked, old.value)!;
  const { value } = translate(other, here, stored.masked, stored.value)!;
  assert.ok(actionIntact(value));
  assert.equal(actionId(value), 77_000_000_000);
  assert.deepEqual([readU32le(value, A_COUNTER_SLOT), readU32le(value, A_OUT_PORT)], [9, 0x01020304]);
});

describe('mask classes', () => {
  test('a mask that this build does not have is rounded up, with the first packet’s values', () => {
    const without = { ...here, classes: here.classes.filter((_, c) => MASK_CLASSES[c].name !== 'dst') };
    const first = someKey(3);
    const old = flow(first, F_IP_DST);
    const there = translate(here, without, old.masked, old.value)!;
    assert.deepEqual(without.classes[there.masked[K_MASK_CLASS]], here.classes[classFor(F_IP_DST) + 1]);
    assert.equal(there.value[A_OWNER_CLASS], there.masked[K_MASK_CLASS]);
    assert.deepEqual(
      there.masked.subarray(20, 36),
      first.subarray(20, 36),
      'of the source, which the old mask left open',
    );
    assert.ok(there.masked.subarray(52, 63).every((byte) => byte === 0));
  });

  test('a mask that no class of this build holds: no flow', () => {
    const general = { ...here, classes: here.classes.slice(0, 3) };
    const old = flow(someKey(3), F_TP_DST);
    assert.equal(translate(here, general, old.masked, old.value), null);
  });

  test('a flow that looked at a field that is no more: no flow; one that did not look: a flow', () => {
    const gone: FlowDescription = {
      ...here,
      key: relaid(here.key.fields, (f) => f.filter(([name]) => name !== 'ipTos')),
      classes: here.classes.map((fields) => fields.filter((name) => name !== 'ipTos')),
    };
    const looked = flow(someKey(5), F_IP_TOS);
    assert.equal(translate(here, gone, looked.masked, looked.value), null);
    const not = flow(someKey(5), F_TP_DST);
    assert.ok(translate(here, gone, not.masked, not.value));
  });

  test('a field that the stored flow does not know: open where the class leaves it, else absent in the packet', () => {
    const old: FlowDescription = {
      ...here,
      key: relaid(here.key.fields, (f) => f.filter(([name]) => name !== 'ipTos')),
      classes: here.classes.map((fields) => fields.filter((name) => name !== 'ipTos')),
    };
    const mine = flow(someKey(5), F_TP_DST);
    const stored = translate(here, old, mine.masked, mine.value)!;
    const back = translate(old, here, stored.masked, stored.value)!;
    const packet = someKey(5);
    assert.ok(keyFits(packet, 0, back.masked, 0), 'whatever its TOS');
    const exact = flow(someKey(5).with(K_IP_TOS, 0), 0x7fff);
    const narrow = translate({ ...here, classes: old.classes }, old, exact.masked, exact.value)!;
    const again = translate(old, here, narrow.masked, narrow.value)!;
    assert.ok(keyFits(packet.with(K_IP_TOS, 0), 0, again.masked, 0));
    assert.ok(!keyFits(packet.with(K_IP_TOS, 4), 0, again.masked, 0));
  });
});

describe('values', () => {
  const wide = {
    ...here,
    key: relaid(here.key.fields, (f) => f.map(([n, a, s, o]) => [n, a, n === 'ipTtl' || n === 'tpDst' ? 4 : s, o])),
    action: relaid(here.action.fields, (f) => f.map(([n, a, s, o]) => [n, a, n === 'outPort' ? 8 : s, o])),
  };

  test('a wider field has the same value, in either byte order, and gives it back', () => {
    const mine = flow(someKey(9), 0x7fff);
    const there = translate(here, wide, mine.masked, mine.value)!;
    assert.deepEqual(translate(wide, here, there.masked, there.value), mine);
    const at = wide.key.fields.find(([name]) => name === 'tpDst')![1];
    assert.deepEqual([...there.masked.subarray(at, at + 2)], [0, 0], 'network byte order');
  });

  test('what does not fit a narrower field is no flow', () => {
    const mine = flow(someKey(9), 0x7fff);
    for (const name of ['ipTtl', 'outPort']) {
      const there = translate(here, wide, mine.masked, mine.value)!;
      const [layout, base] = name === 'outPort' ? [wide.action, 0] : [wide.key, wide.action.size];
      const [, at, size, order] = layout.fields.find(([one]) => one === name)!;
      there.value[base + at + (order === 'be' ? 0 : size - 1)] = 1;
      assert.equal(translate(wide, here, there.masked, there.value), null, name);
    }
  });

  test('bits and outputs go by name; one that this build does not have is no flow', () => {
    const other: FlowDescription = {
      ...here,
      flags: { AF_REPORT_TCP_FLAGS: 1, AF_PEER: 2 },
      outputs: Object.fromEntries(Object.entries(here.outputs).map(([name, n]) => [name, n + 10])),
    };
    const mine = flow(someKey(1), F_TP_DST);
    mine.value[A_FLAGS] = 1;
    const there = translate(here, other, mine.masked, mine.value)!;
    assert.deepEqual([there.value[A_FLAGS], there.value[A_OUTPUT]], [2, OUT_PORT + 10]);
    const fewer = { ...here, flags: { AF_REPORT_TCP_FLAGS: 2 } };
    assert.equal(translate(here, fewer, mine.masked, mine.value), null);
    const { OUT_PORT: _, ...rest } = here.outputs;
    assert.equal(translate(here, { ...here, outputs: rest }, mine.masked, mine.value), null);
    mine.value[A_FLAGS] = 0x80;
    assert.equal(translate(here, here, mine.masked, mine.value), null);
  });

  test('reasons of drops go by name; an unknown one is none, and the flow drops still', () => {
    const drop = flow(someKey(1), F_TP_DST, OUT_DROP);
    const shifted = { ...here, drops: ['none', ...here.drops] };
    const there = translate(here, shifted, drop.masked, drop.value)!;
    assert.equal(there.value[A_REASON], dropReason('filtered') + 1);
    const fewer = { ...here, drops: here.drops.filter((name) => name !== 'filtered') };
    const unknown = translate(here, fewer, drop.masked, drop.value)!;
    assert.deepEqual([unknown.value[A_REASON], unknown.value[A_OUTPUT]], [0, OUT_DROP]);
  });

  test('a field of the action that is no more must have been nothing', () => {
    const without = { ...here, action: relaid(here.action.fields, (f) => f.filter(([name]) => name !== 'ethDst')) };
    const mine = flow(someKey(1), F_TP_DST);
    assert.ok(translate(here, without, mine.masked, mine.value));
    mine.value[A_ETH_DST] = 2;
    assert.equal(translate(here, without, mine.masked, mine.value), null);
  });
});

test('a first packet of another flow, or a class that never was: no flow', () => {
  const mine = flow(someKey(1), F_IP_DST);
  assert.equal(translate(here, here, mine.masked.with(K_IP_DST, 0), mine.value), null);
  assert.equal(translate(here, here, mine.masked.with(K_MASK_CLASS, 8), mine.value), null);
  mine.value[ACTION_SIZE + K_IP_TTL] ^= 1;
  assert.ok(translate(here, here, mine.masked, mine.value), 'what the mask leaves open may differ');
});

test('a description without what makes a flow is refused', () => {
  const key = { ...here.key, fields: here.key.fields.filter(([name]) => name !== 'maskClass') };
  assert.throws(() => new FlowTranslator({ ...here, key }), RangeError);
});
