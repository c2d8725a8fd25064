import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createObject, updateObject } from '../operations.ts';
import type { DerivedObject, ObjectValue } from '../spec.ts';
import { MemoryTransaction, uuidOf } from '../testing.ts';
import { validateObject } from '../validate.ts';
import { objectsOf } from './derived-chain.ts';
import { OBJECT_TYPES, type TypeName } from './index.ts';
import {
  hasPortSecurity,
  portSecurityChains,
  securityGroupMembers,
  securityInChainId,
  securityOutChainId,
} from './port-security.ts';
import { securityGroupAddressesId, securityGroupChainId, securityGroupObjects } from './security-group-chains.ts';

const GROUP = uuidOf(1);
const OTHER = uuidOf(2);
const PORT = uuidOf(3);
const MAC = '02:00:00:00:00:01';

function stored(type: TypeName, value: ObjectValue): ObjectValue {
  const result = validateObject(type as string, value);
  assert.ok(result.ok, JSON.stringify(result));
  return result.value;
}

function refusedAt(rules: unknown[]): string[] {
  const result = validateObject('SecurityGroup' as string, { rules });
  assert.ok(!result.ok, `${JSON.stringify(rules)} was accepted`);
  return result.violations.map(({ property }) => property);
}

/** The chains of a port as if they were stored. */
const securityChains = (value: ObjectValue) => portSecurityChains(value).flatMap(objectsOf);

/** Rules of a derived chain in their order, without what is the same in all. */
function rulesOf(objects: readonly DerivedObject[], chainId: string): ObjectValue[] {
  const chain = objects.find(({ type, value }) => type === 'Chain' && value.id === chainId)!;
  return (chain.value.ruleIds as string[]).map((ruleId) => {
    const { id, chainId: of, ...fields } = objects.find(({ value }) => value.id === ruleId)!.value;
    assert.deepEqual([id, of], [ruleId, chainId]);
    return fields;
  });
}

const group = (rules: ObjectValue[], extra: ObjectValue = {}) =>
  stored('SecurityGroup', { id: GROUP, name: 'web', rules, ...extra });
const port = (extra: ObjectValue = {}) =>
  stored('Port', { id: PORT, bridgeId: uuidOf(4), portSecurityEnabled: true, macAddress: MAC, ...extra });

test('without rules a group lets its ports send anything, and nothing reach them', () => {
  const { rules } = stored('SecurityGroup', {});
  assert.deepEqual(rules, [
    { direction: 'egress', etherType: 'ipv4' },
    { direction: 'egress', etherType: 'ipv6' },
  ]);
  assert.deepEqual(stored('SecurityGroup', { rules: [] }).rules, []);
});

test('rules are completed', () => {
  const table: [given: ObjectValue, stored: ObjectValue][] = [
    [
      { protocol: 'TCP', portMin: 80 },
      { protocol: 6, portMin: 80, portMax: 80 },
    ],
    [
      { protocol: 'udp', portMin: 1, portMax: 9 },
      { protocol: 17, portMin: 1, portMax: 9 },
    ],
    [
      { protocol: 'icmp', portMin: 8 },
      { protocol: 1, portMin: 8 },
    ],
    [
      { etherType: 'ipv6', protocol: 'icmp' },
      { etherType: 'ipv6', protocol: 58 },
    ],
    [
      { etherType: 'ipv6', protocol: 'icmpv6', portMin: 128, portMax: 0 },
      { etherType: 'ipv6', protocol: 58, portMin: 128, portMax: 0 },
    ],
    [{ remotePrefix: '10.0.0.7/8' }, { remotePrefix: '10.0.0.0/8' }],
  ];
  for (const [given, expected] of table) {
    const [rule] = group([{ direction: 'ingress', ...given }]).rules as ObjectValue[];
    assert.deepEqual(rule, { direction: 'ingress', etherType: 'ipv4', ...expected });
  }
  const { remoteGroupIds } = group(
    [
      { direction: 'ingress', remoteGroupId: OTHER },
      { direction: 'egress', remoteGroupId: OTHER },
      { direction: 'egress', remoteGroupId: GROUP },
    ],
    { remoteGroupIds: [uuidOf(99)] },
  );
  assert.deepEqual(remoteGroupIds, [OTHER, GROUP], 'what the rules name, whatever is given');
  assert.equal(group([], { remoteGroupIds: [OTHER] }).remoteGroupIds, undefined);
});

test('rules that mean nothing are refused where they are wrong', () => {
  const ok = { direction: 'ingress' };
  const table: [rule: unknown, at: string][] = [
    [{}, 'rules.0.direction'],
    [7, 'rules.0'],
    [{ ...ok, etherType: 'arp' }, 'rules.0.etherType'],
    [{ ...ok, protocol: 'http' }, 'rules.0.protocol'],
    [{ ...ok, protocol: 'icmpv6' }, 'rules.0.protocol'],
    [{ ...ok, portMin: 80 }, 'rules.0.portMin'],
    [{ ...ok, protocol: 'gre' }, 'rules.0.protocol'],
    [{ ...ok, protocol: 47, portMin: 80 }, 'rules.0.portMin'],
    [{ ...ok, protocol: 6, portMax: 80 }, 'rules.0.portMin'],
    [{ ...ok, protocol: 6, portMin: 81, portMax: 80 }, 'rules.0.portMax'],
    [{ ...ok, protocol: 1, portMin: 256 }, 'rules.0.portMin'],
    [{ ...ok, protocol: 1, portMin: 3, portMax: 256 }, 'rules.0.portMax'],
    [{ ...ok, remotePrefix: 'fd00::/8' }, 'rules.0.remotePrefix'],
    [{ ...ok, remotePrefix: '10.0.0.0/8', remoteGroupId: OTHER }, 'rules.0.remoteGroupId'],
    [{ ...ok, description: 'x' }, 'rules.0.description'],
  ];
  for (const [rule, at] of table) assert.ok(refusedAt([rule]).includes(at), `${JSON.stringify(rule)} not at ${at}`);
  assert.deepEqual(refusedAt([ok, { ...ok, etherType: 'ipv4' }]), ['rules.1']);
  assert.deepEqual(refusedAt(new Array(1001).fill(ok)), ['rules']);
});

test('a group is two chains of rules that accept, and the addresses of its members', () => {
  const derived = securityGroupObjects(
    group([
      { direction: 'ingress', protocol: 6, portMin: 80, portMax: 81 },
      { direction: 'egress', etherType: 'ipv6' },
      { direction: 'ingress', protocol: 1, portMin: 8, portMax: 0, remotePrefix: '10.0.0.0/8' },
      { direction: 'ingress', etherType: 'ipv6', protocol: 17, remoteGroupId: GROUP },
      { direction: 'egress', protocol: 6, portMin: 5432, remoteGroupId: OTHER },
    ]),
  );
  const [web, db] = [securityGroupAddressesId(GROUP), securityGroupAddressesId(OTHER)];
  assert.deepEqual(rulesOf(derived, securityGroupChainId(GROUP, 'ingress')), [
    { type: 'accept', dlType: 0x800, nwProto: 6, tpDst: { start: 80, end: 81 }, fragmentPolicy: 'any' },
    {
      type: 'accept',
      dlType: 0x800,
      nwProto: 1,
      nwSrc: '10.0.0.0/8',
      tpSrc: { start: 8, end: 8 },
      tpDst: { start: 0, end: 0 },
      fragmentPolicy: 'any',
    },
    { type: 'accept', dlType: 0x86dd, nwProto: 17, ipAddrGroupSrc: web, fragmentPolicy: 'any' },
  ]);
  assert.deepEqual(rulesOf(derived, securityGroupChainId(GROUP, 'egress')), [
    { type: 'accept', dlType: 0x86dd, fragmentPolicy: 'any' },
    {
      type: 'accept',
      dlType: 0x800,
      nwProto: 6,
      tpDst: { start: 5432, end: 5432 },
      ipAddrGroupDst: db,
      fragmentPolicy: 'any',
    },
  ]);
  assert.deepEqual(
    derived.filter(({ type }) => type === 'IpAddrGroup').map(({ value }) => value),
    [{ id: web, name: 'security group web', securityGroupId: GROUP }],
  );
});

test('a port lets its own addresses out, what a machine needs, answers, and what its groups allow', () => {
  const derived = securityChains(
    port({
      fixedIps: ['10.0.0.5', 'fd00::5'],
      securityGroupIds: [GROUP, OTHER],
      allowedAddressPairs: [
        { ipAddress: '10.9.0.0/24' },
        { ipAddress: '10.0.0.100', macAddress: '00:00:5e:00:01:07' },
        { ipAddress: '10.0.0.5' },
      ],
    }),
  );
  const any = { fragmentPolicy: 'any' };
  const head = { fragmentPolicy: 'header' };
  const range = (start: number, end = start) => ({ start, end });
  const dhcp = (dlType: number, from: number, to: number) => ({
    dlType,
    nwProto: 17,
    tpSrc: range(from),
    tpDst: range(to),
    ...head,
  });
  const icmpv6 = (first: number, last = first) => ({ dlType: 0x86dd, nwProto: 58, tpSrc: range(first, last), ...head });
  const [jump, ...inbound] = rulesOf(derived, securityInChainId(PORT));
  assert.equal(jump!.type, 'jump');
  assert.deepEqual(inbound, [
    { type: 'accept', dlType: 0x806, ...any },
    { type: 'accept', ...icmpv6(131, 136) },
    { type: 'accept', ...icmpv6(143) },
    { type: 'accept', ...dhcp(0x800, 68, 67) },
    { type: 'accept', ...dhcp(0x86dd, 546, 547) },
    { type: 'accept', matchReturnFlow: true, ...any },
    { type: 'jump', jumpChainId: securityGroupChainId(GROUP, 'egress'), ...any },
    { type: 'jump', jumpChainId: securityGroupChainId(OTHER, 'egress'), ...any },
    { type: 'drop', ...any },
  ]);
  const own = { type: 'return', dlSrc: MAC };
  const virtual = { type: 'return', dlSrc: '00:00:5e:00:01:07' };
  assert.deepEqual(rulesOf(derived, jump!.jumpChainId as string), [
    { type: 'drop', ...icmpv6(134) },
    { type: 'drop', ...dhcp(0x800, 67, 68) },
    { type: 'drop', ...dhcp(0x86dd, 547, 546) },
    { ...own, nwSrc: '10.0.0.5/32', ...any },
    { ...own, nwSrc: 'fd00::5/128', ...any },
    { ...own, nwSrc: '10.9.0.0/24', ...any },
    { ...virtual, nwSrc: '10.0.0.100/32', ...any },
    { ...own, nwSrc: 'fe80::ff:fe00:1/128', ...any },
    { ...virtual, nwSrc: 'fe80::200:5eff:fe00:107/128', ...any },
    { ...own, nwSrc: '0.0.0.0/32', nwDst: '255.255.255.255/32', ...dhcp(0x800, 68, 67) },
    { ...own, dlType: 0x806, nwSrc: '0.0.0.0/32', ...any },
    { ...own, nwSrc: '::/128', ...icmpv6(131, 135) },
    { ...own, nwSrc: '::/128', ...icmpv6(143) },
    { type: 'drop', ...any },
  ]);
  assert.deepEqual(rulesOf(derived, securityOutChainId(PORT)), [
    { type: 'accept', dlType: 0x806, ...any },
    { type: 'accept', ...icmpv6(130, 136) },
    { type: 'accept', ...dhcp(0x800, 67, 68) },
    { type: 'accept', ...dhcp(0x86dd, 547, 546) },
    { type: 'accept', matchReturnFlow: true, ...any },
    { type: 'jump', jumpChainId: securityGroupChainId(GROUP, 'ingress'), ...any },
    { type: 'jump', jumpChainId: securityGroupChainId(OTHER, 'ingress'), ...any },
    { type: 'drop', ...any },
  ]);
});

test('without port security nothing derives, and the port is in no group', () => {
  const groups = { securityGroupIds: [GROUP], fixedIps: ['10.0.0.5'] };
  for (const portSecurityEnabled of [false, undefined]) {
    const off = port({ ...groups, portSecurityEnabled });
    assert.deepEqual([hasPortSecurity(off), securityChains(off), securityGroupMembers(off)], [false, [], []]);
  }
  const router = stored('Port', { routerId: uuidOf(5) });
  assert.deepEqual([hasPortSecurity(router), securityChains(router), securityGroupMembers(router)], [false, [], []]);
  const result = validateObject('Port' as string, { bridgeId: uuidOf(4), portSecurityEnabled: true });
  assert.deepEqual(!result.ok && result.violations.map(({ property }) => property), ['macAddress']);
  const onRouter = validateObject('Port' as string, { routerId: uuidOf(4), portSecurityEnabled: false, fixedIps: [] });
  assert.deepEqual(!onRouter.ok && onRouter.violations.map(({ property }) => property), [
    'portSecurityEnabled',
    'fixedIps',
  ]);
});

test("a port's addresses and allowed pairs are members of each of its groups", () => {
  const members = securityGroupMembers(
    port({
      fixedIps: ['10.0.0.5', 'FD00::5'],
      allowedAddressPairs: [{ ipAddress: '10.9.0.7/24' }, { ipAddress: '10.0.0.5/32', macAddress: MAC }],
      securityGroupIds: [GROUP, OTHER],
    }),
  );
  const keys = ['10.0.0.5', 'fd00::5', '10.9.0.0/24'];
  const tables = [GROUP, OTHER].map((id) => `addresses/${securityGroupAddressesId(id)}`);
  assert.deepEqual(
    members,
    tables.flatMap((table) => keys.map((key) => ({ table, key }))),
  );
});

// ---- properties ----

const address = fc.oneof(
  fc.integer({ min: 1, max: 30 }).map((n) => `10.0.0.${n}`),
  fc.integer({ min: 1, max: 30 }).map((n) => `fd00::${n}`),
);
const mac = fc.integer({ min: 1, max: 5 }).map((n) => `02:00:00:00:00:0${n}`);
const ports = fc
  .record(
    {
      portSecurityEnabled: fc.boolean(),
      macAddress: mac,
      fixedIps: fc.uniqueArray(address, { maxLength: 4 }),
      allowedAddressPairs: fc.array(
        fc.record({ ipAddress: address, macAddress: mac }, { requiredKeys: ['ipAddress'] }),
        { maxLength: 4 },
      ),
      securityGroupIds: fc.subarray([GROUP, OTHER]),
    },
    { requiredKeys: ['macAddress'] },
  )
  .map((fields) => stored('Port', { id: PORT, bridgeId: uuidOf(4), ...fields }));
const rule = fc.record(
  {
    direction: fc.constantFrom('ingress', 'egress'),
    etherType: fc.constantFrom('ipv4', 'ipv6'),
    protocol: fc.constantFrom(undefined, 'tcp', 'udp', 'icmp', 47),
    portMin: fc.constantFrom(undefined, 0, 80),
    portMax: fc.constantFrom(undefined, 80, 90),
    remotePrefix: fc.constantFrom(undefined, '10.0.0.0/8', 'fd00::/8'),
    remoteGroupId: fc.constantFrom(undefined, GROUP, OTHER),
  },
  { requiredKeys: ['direction'] },
);
const groups = fc
  .record({ name: fc.string(), rules: fc.array(rule, { maxLength: 6 }) }, { requiredKeys: [] })
  .map((fields) => validateObject('SecurityGroup' as string, { id: GROUP, ...fields }))
  .filter(({ ok }) => ok)
  .map((result) => (result as { value: ObjectValue }).value);

test('what derives is valid as it stands, names only what is there, and is the same every time', () => {
  const context = [GROUP, OTHER].flatMap((id) => securityGroupObjects({ id, rules: [] }));
  const check = (objects: readonly DerivedObject[], roots: readonly string[]) => {
    const known = new Set([...roots, ...[...context, ...objects].map(({ type, value }) => `${type}/${value.id}`)]);
    const listed = new Set(objects.flatMap(({ value }) => (value.ruleIds ?? []) as string[]));
    for (const { type, value } of objects) {
      assert.deepEqual(stored(type as TypeName, value), value);
      if (type === 'Rule') assert.ok(listed.has(value.id as string), 'every rule is in its chain');
      for (const { field, target } of OBJECT_TYPES[type as TypeName].references) {
        for (const id of [value[field] ?? []].flat()) assert.ok(known.has(`${target}/${id}`), `${type}.${field} ${id}`);
      }
    }
    assert.equal(new Set(objects.map(({ value }) => value.id)).size, objects.length);
  };
  fc.assert(
    fc.property(ports, groups, (onePort, oneGroup) => {
      check(securityChains(onePort), [`Port/${PORT}`]);
      check(securityGroupObjects(oneGroup), [`SecurityGroup/${GROUP}`]);
      assert.deepEqual(securityChains(structuredClone(onePort)), securityChains(onePort));
      assert.deepEqual(securityGroupObjects(structuredClone(oneGroup)), securityGroupObjects(oneGroup));
    }),
  );
});

test('the chains of a port name it, are in the order of their evaluation, and are nowhere in the store', async () => {
  await fc.assert(
    fc.asyncProperty(ports, async (value) => {
      const tx = new MemoryTransaction();
      await createObject(tx, 'Port', value);
      assert.deepEqual([...tx.list('Chain'), ...tx.list('Rule')], []);
      const chains = portSecurityChains(value);
      assert.equal(chains.length, hasPortSecurity(value) ? 3 : 0);
      for (const { chain, rules } of chains) {
        assert.equal(chain.securityPortId, PORT);
        assert.deepEqual(
          rules.map(({ id }) => id),
          chain.ruleIds,
        );
      }
    }),
    { numRuns: 50 },
  );
});

test('after any changes there is what derives from the last value, and nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(groups, { minLength: 1, maxLength: 4 }), async ([first, ...changes]) => {
      const tx = new MemoryTransaction();
      await createObject(tx, 'SecurityGroup', first!);
      for (const next of changes) await updateObject(tx, 'SecurityGroup', GROUP, next);
      const expected = securityGroupObjects(changes.at(-1) ?? first!).map(({ value }) => value);
      const found = ['Chain', 'Rule', 'IpAddrGroup'].flatMap((type) => tx.list(type));
      const sorted = (values: ObjectValue[]) => values.sort((a, b) => (String(a.id) < String(b.id) ? -1 : 1));
      assert.deepEqual(sorted(found), sorted(expected));
    }),
    { numRuns: 50 },
  );
});
