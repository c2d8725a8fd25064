import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { formatIp } from '../ip.ts';
import type { ObjectValue } from '../spec.ts';
import { MINIMAL } from '../testing.ts';
import { validateObject } from '../validate.ts';
import { NAT_TYPES, type NatTarget } from './rule-nat.ts';

const rule = (type: string, natTargets?: unknown, extra: ObjectValue = {}) => ({
  ...MINIMAL.Rule,
  type,
  natTargets,
  ...extra,
});

function stored(value: ObjectValue): ObjectValue {
  const result = validateObject('Rule' as string, value);
  assert.ok(result.ok, JSON.stringify(result));
  return result.value;
}

function refusedAt(value: ObjectValue): string[] {
  const result = validateObject('Rule' as string, value);
  assert.ok(!result.ok, `${JSON.stringify(value)} was accepted`);
  return result.violations.map(({ property }) => property).sort();
}

const target = (addressFrom: string, addressTo: string, portFrom: number, portTo: number): NatTarget => ({
  addressFrom,
  addressTo,
  portFrom,
  portTo,
});

test('targets are completed', () => {
  const [a, b, c] = ['192.0.2.1', '192.0.2.2', '192.0.2.9'];
  const table: [type: string, given: Partial<NatTarget>[], stored: NatTarget[]][] = [
    ['snat', [{ addressFrom: a }], [target(a, a, 0, 0)]],
    ['snat', [{ addressFrom: a, portFrom: 0, portTo: 0 }], [target(a, a, 0, 0)]],
    ['snat', [{ addressFrom: a, portFrom: 1024, portTo: 65_535 }], [target(a, a, 1024, 65_535)]],
    ['snat', [{ addressFrom: a, portFrom: 7 }], [target(a, a, 7, 7)]],
    ['snat', [{ addressFrom: a, addressTo: c }], [target(a, c, 1024, 65_535)]],
    ['snat', [{ addressFrom: a, addressTo: c, portFrom: 5, portTo: 9 }], [target(a, c, 5, 9)]],
    ['snat', [{ addressFrom: a }, { addressFrom: b, portFrom: 9 }], [target(a, a, 1024, 65_535), target(b, b, 9, 9)]],
    ['snat', [{ addressFrom: 'FD00:0::1' }], [target('fd00::1', 'fd00::1', 0, 0)]],
    ['dnat', [{ addressFrom: a }, { addressFrom: b }], [target(a, a, 0, 0), target(b, b, 0, 0)]],
    ['dnat', [{ addressFrom: a, addressTo: c }], [target(a, c, 0, 0)]],
    ['dnat', [{ addressFrom: a, portFrom: 8080 }], [target(a, a, 8080, 8080)]],
  ];
  for (const [type, given, expected] of table) {
    assert.deepEqual(stored(rule(type, given)).natTargets, expected, `${type} ${JSON.stringify(given)}`);
  }
});

test('targets belong to snat and dnat, flowAction to all types that translate', () => {
  const one = [{ addressFrom: '192.0.2.1' }];
  for (const type of NAT_TYPES) {
    const needed = type === 'snat' || type === 'dnat';
    assert.deepEqual(refusedAt(rule(type, needed ? undefined : one)), ['natTargets']);
    assert.equal(stored(rule(type, needed ? one : undefined)).flowAction, 'accept');
    for (const flowAction of ['continue', 'return']) {
      assert.equal(stored(rule(type, needed ? one : undefined, { flowAction })).flowAction, flowAction);
    }
  }
  assert.deepEqual(refusedAt(rule('accept', one, { flowAction: 'accept' })), ['flowAction', 'natTargets']);
  assert.equal(stored(rule('accept')).flowAction, undefined);
});

test('targets that no packet could be given are refused where they are wrong', () => {
  const ok = { addressFrom: '192.0.2.1' };
  const table: [targets: unknown, at: string][] = [
    [[], 'natTargets'],
    [new Array(17).fill(ok), 'natTargets'],
    [[{}], 'natTargets.0.addressFrom'],
    [[7], 'natTargets.0'],
    [[{ addressFrom: '192.0.2.0/24' }], 'natTargets.0.addressFrom'],
    [[{ addressFrom: '192.0.2.9', addressTo: '192.0.2.1' }], 'natTargets.0.addressTo'],
    [[{ addressFrom: 'fd00::2', addressTo: 'fd00::1' }], 'natTargets.0.addressTo'],
    [[{ addressFrom: '192.0.2.9', addressTo: 'fd00::1' }], 'natTargets.0.addressTo'],
    [[ok, { addressFrom: 'fd00::1' }], 'natTargets.1.addressFrom'],
    [[ok, { addressFrom: '224.0.0.1' }], 'natTargets.1.addressFrom'],
    [[{ addressFrom: '192.0.2.1', addressTo: '255.255.255.255' }], 'natTargets.0.addressTo'],
    [[{ addressFrom: '0.0.0.0' }], 'natTargets.0.addressFrom'],
    [[{ ...ok, portTo: 5 }], 'natTargets.0.portFrom'],
    [[{ ...ok, portFrom: 6, portTo: 5 }], 'natTargets.0.portTo'],
    [[{ ...ok, portFrom: 65_536 }], 'natTargets.0.portFrom'],
    [[{ ...ok, weight: 1 }], 'natTargets.0.weight'],
  ];
  for (const [targets, at] of table) {
    assert.ok(refusedAt(rule('dnat', targets)).includes(at), `${JSON.stringify(targets)}: not at ${at}`);
  }
});

test('a condition that only the other IP version meets is refused', () => {
  const [four, six] = [[{ addressFrom: '192.0.2.1' }], [{ addressFrom: 'fd00::1' }]];
  stored(rule('snat', four, { nwSrc: '10.0.0.0/8', dlType: 0x0800 }));
  stored(rule('dnat', six, { nwDst: 'fd00::/8', dlType: 0x86dd }));
  assert.deepEqual(refusedAt(rule('snat', four, { nwSrc: 'fd00::/8' })), ['nwSrc']);
  assert.deepEqual(refusedAt(rule('snat', six, { nwDst: '10.0.0.0/8' })), ['nwDst']);
  assert.deepEqual(refusedAt(rule('dnat', six, { dlType: 0x0800 })), ['dlType']);
  assert.deepEqual(refusedAt(rule('dnat', four, { dlType: 0x0806 })), ['dlType']);
  // Inverted, such a condition lets all packets of the right version pass.
  stored(rule('snat', four, { nwSrc: 'fd00::/8', invNwSrc: true }));
  stored(rule('snat', four, { dlType: 0x86dd, invDlType: true }));
  stored(rule('snat', four, { nwSrc: 'fd00::/8', conjunctionInv: true }));
});

test('rules that translate take all fragments of a packet, unless they say otherwise', () => {
  const ports = { tpDst: { start: 80, end: 80 } };
  assert.equal(stored(rule('dnat', [{ addressFrom: '192.0.2.1' }], ports)).fragmentPolicy, 'any');
  assert.equal(stored(rule('rev_snat', undefined, ports)).fragmentPolicy, 'any');
  assert.equal(stored(rule('accept', undefined, ports)).fragmentPolicy, 'header');
  assert.equal(stored(rule('masquerade', undefined, { ...ports, fragmentPolicy: 'header' })).fragmentPolicy, 'header');
});

test('onChange is for rules that establish connections', () => {
  for (const type of ['accept', 'return', 'masquerade', 'rev_dnat']) {
    for (const onChange of ['finish', 'reevaluate']) {
      assert.equal(stored(rule(type, undefined, { onChange })).onChange, onChange);
    }
  }
  for (const type of ['drop', 'reject', 'continue']) {
    assert.deepEqual(refusedAt(rule(type, undefined, { onChange: 'finish' })), ['onChange']);
  }
});

test('what is stored is complete, ordered, and validates to itself', () => {
  const address = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }).map(formatIp),
    fc.uint8Array({ minLength: 16, maxLength: 16 }).map(formatIp),
  );
  const port = fc.option(fc.integer({ min: 0, max: 65_535 }), { nil: undefined });
  const targets = fc.array(
    fc.record({
      addressFrom: address,
      addressTo: fc.option(address, { nil: undefined, freq: 2 }),
      portFrom: port,
      portTo: port,
    }),
    { minLength: 1, maxLength: 3 },
  );
  let valid = 0;
  fc.assert(
    fc.property(fc.constantFrom('snat', 'dnat'), targets, (type, natTargets) => {
      const result = validateObject('Rule' as string, rule(type, natTargets));
      if (!result.ok) return;
      valid++;
      const all = result.value.natTargets as NatTarget[];
      assert.equal(new Set(all.map(({ addressFrom }) => addressFrom.includes(':'))).size, 1);
      for (const { addressFrom, addressTo, portFrom, portTo } of all) {
        assert.ok(portFrom <= portTo && (portFrom > 0 || portTo === 0));
        if (type === 'snat' && portFrom === 0) assert.ok(all.length === 1 && addressFrom === addressTo);
      }
      assert.deepEqual(validateObject('Rule' as string, result.value), result);
    }),
    { numRuns: 500 },
  );
  assert.ok(valid > 30, `only ${valid} of 500`);
});
