import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { OBJECT_TYPES, type TypeName } from './objects/index.ts';
import { canonicalGroupMember } from './objects/ip-addr-group.ts';
import { RULE_TYPES } from './objects/rule.ts';
import type { ObjectValue } from './spec.ts';
import { MINIMAL, uuidOf } from './testing.ts';
import { applyDefaults, validateObject } from './validate.ts';

const TYPES = Object.keys(OBJECT_TYPES) as TypeName[];

function accepted(type: TypeName, value: ObjectValue, options = {}): ObjectValue {
  const result = validateObject(type as string, value, options);
  assert.ok(result.ok, `${type} ${JSON.stringify(value)}: ${JSON.stringify(result)}`);
  return result.value;
}

function refusedAt(type: TypeName, value: ObjectValue, options = {}): string[] {
  const result = validateObject(type as string, value, options);
  assert.ok(!result.ok, `${type} ${JSON.stringify(value)} was accepted`);
  return result.violations.map((v) => v.property).sort();
}

/** Per type: property, a value that is accepted and one that is refused, each in the smallest object. */
const CASES: Record<TypeName, [property: string, good: unknown, bad: unknown][]> = {
  Host: [
    ['id', uuidOf(9), 'x'],
    ['name', 'n'.repeat(255), 'n'.repeat(256)],
    ['floodingProxyWeight', 65_535, 65_536],
    ['containerWeight', 0, -1],
    ['containerLimit', -1, -2],
    ['enforceContainerLimit', true, 'true'],
  ],
  TunnelZone: [
    ['name', 'n', ''],
    ['type', 'gre', 'geneve'],
  ],
  TunnelZoneHost: [
    ['ipAddress', 'fd00::1', '10.0.0.0/24'],
    ['ipAddress', '192.0.2.9', '127.0.0.1'],
    ['hostId', uuidOf(3), 'monk'],
  ],
  Bridge: [
    ['adminStateUp', false, 0],
    ['tunnelKey', 0xfffffe, 0xffffff],
    ['inboundFilterId', uuidOf(1), 'chain0'],
    ['tenantId', 'blue', 7],
  ],
  Router: [
    ['asNumber', 4_294_967_295, 4_294_967_296],
    ['forwardChainId', uuidOf(1), {}],
  ],
  Port: [
    ['bridgeId', uuidOf(1), ''],
    ['deviceType', 'bridge', 'service'],
    ['vlanId', 4094, 4095],
    ['portMac', undefined, '02:00:00:00:00:01'],
    ['portSubnet', undefined, ['10.0.0.1/24']],
    ['peerId', uuidOf(1), [uuidOf(1)]],
    ['portGroupIds', [uuidOf(1), uuidOf(2)], [uuidOf(1), uuidOf(1)]],
    ['securityGroupIds', [uuidOf(1), uuidOf(2)], [uuidOf(1), uuidOf(1)]],
    ['portSecurityEnabled', false, 'yes'],
    ['macAddress', '02:00:00:00:00:01', '01:00:00:00:00:01'],
    ['fixedIps', ['10.0.0.5', 'fd00::5'], ['10.0.0.5', '224.0.0.1']],
    ['fixedIps', [], ['10.0.0.0/24']],
    ['allowedAddressPairs', [{ ipAddress: '10.0.0.0/24' }], [{ macAddress: '02:00:00:00:00:01' }]],
    ['allowedAddressPairs', [{ ipAddress: 'fd00::5', macAddress: '02:00:00:00:00:01' }], [{ ipAddress: 'web' }]],
    ['allowedAddressPairs', [], [{ ipAddress: 'fd00::5', macAddress: '00:00:00:00:00:00' }]],
  ],
  Route: [
    ['dstSubnet', '0.0.0.0/0', '0.0.0.0/33'],
    ['srcSubnet', '10.0.0.0/8', 'fd00::/8'],
    ['type', 'normal', 'fib64'],
    ['weight', 0, -1],
    ['nextHopGateway', '10.0.0.254', 'fd00::254'],
    ['nextHopPort', uuidOf(1), undefined],
  ],
  Chain: [
    ['ruleIds', [uuidOf(1), uuidOf(2)], [uuidOf(1), uuidOf(1)]],
    ['ruleIds', [], ['x']],
    ['metadata', {}, { key: 'v'.repeat(256) }],
  ],
  Rule: [
    ['type', 'drop', 'l2_transform'],
    ['type', 'masquerade', 'SNAT'],
    ['natTargets', undefined, [{ addressFrom: '192.0.2.1' }]],
    ['flowAction', undefined, 'accept'],
    ['onChange', 'finish', 'keep'],
    ['matchForwardFlow', true, 'true'],
    ['matchReturnFlow', true, 1],
    ['dlType', 0x600, 0x5ff],
    ['inPorts', [uuidOf(1)], []],
    ['nwProto', 255, 256],
    ['nwSrc', 'fd00::/8', 'fd00::/129'],
    ['tpDst', { start: 0, end: 65_535 }, { start: 0, end: 65_536 }],
    ['dlSrc', '02:00:00:00:00:01', '02:00'],
    ['invNwSrc', true, 1],
    ['fragmentPolicy', 'unfragmented', 'some'],
    ['vlan', 4094, 4095],
    ['jumpChainId', undefined, uuidOf(1)],
    ['metadata', { ticket: '17' }, { ticket: 17 }],
    ['portGroup', uuidOf(1), [uuidOf(1)]],
    ['invPortGroup', true, 'yes'],
    ['inPortGroup', uuidOf(1), 'trusted'],
    ['outPortGroup', uuidOf(1), ''],
    ['ipAddrGroupSrc', uuidOf(1), '10.0.0.1'],
    ['ipAddrGroupDst', uuidOf(1), 4],
    ['icmpDataSrcIp', '10.0.0.0/8', '10.0.0.0/40'],
    ['icmpDataDstIp', 'fd00::/8', 'web'],
    ['traversedDevice', uuidOf(1), 'router0'],
    ['matchNwDstRewritten', true, 1],
  ],
  PortGroup: [
    ['name', '', 'n'.repeat(256)],
    ['stateful', true, 'true'],
    ['tenantId', 'blue', 7],
  ],
  IpAddrGroup: [
    ['name', 'web', ''],
    ['tenantId', 'blue', 7],
  ],
  SecurityGroup: [
    ['name', 'web', 'n'.repeat(256)],
    ['tenantId', 'blue', 7],
    ['rules', [], [{}]],
    ['rules', [{ direction: 'ingress' }], [{ direction: 'in' }]],
    ['rules', [{ direction: 'egress', protocol: 'tcp', portMin: 80 }], [{ direction: 'egress', protocol: 'http' }]],
  ],
  RuleLogger: [
    ['event', 'drop', 'reject'],
    ['chainId', uuidOf(2), undefined],
    ['loggingResourceId', uuidOf(2), 'log'],
  ],
  LoggingResource: [
    ['type', 'file', 'syslog'],
    ['enabled', false, 0],
  ],
  Account: [
    ['name', 'ann@example.org', 'ann:'],
    ['name', 'a', '../a'],
    ['role', 'viewer', 'root'],
    ['tenantId', undefined, 'blue'],
    ['passwordHash', 'y', 7],
  ],
  AuthToken: [
    ['tokenHash', 'f'.repeat(64), 'F'.repeat(64)],
    ['expires', 2 ** 50, -1],
  ],
};

for (const type of TYPES) {
  test(`${type}: each constrained property accepts and refuses`, () => {
    accepted(type, MINIMAL[type]);
    for (const [property, good, bad] of CASES[type]) {
      accepted(type, { ...MINIMAL[type], [property]: good });
      const at = refusedAt(type, { ...MINIMAL[type], [property]: bad });
      assert.ok(
        at.some((p) => p === property || p.startsWith(`${property}.`)),
        `${type}.${property}: violations are at ${at}`,
      );
    }
  });
}

test('defaults', () => {
  const { id, ...host } = accepted('Host', {});
  assert.match(id as string, /^[0-9a-f-]{36}$/);
  assert.deepEqual(host, {
    floodingProxyWeight: 1,
    containerWeight: 1,
    containerLimit: -1,
    enforceContainerLimit: false,
  });
  assert.equal(accepted('Bridge', {}).adminStateUp, true);
  assert.equal(accepted('Router', {}).asNumber, -1);
  assert.equal(accepted('Route', { ...MINIMAL.Route, dstSubnet: 'fd00::/8' }).srcSubnet, '::/0');
  assert.equal(accepted('Route', MINIMAL.Route).srcSubnet, '0.0.0.0/0');
  assert.equal(accepted('Rule', MINIMAL.Rule).fragmentPolicy, 'any');
  assert.equal(accepted('Rule', { ...MINIMAL.Rule, tpDst: { start: 1, end: 1 } }).fragmentPolicy, 'header');
});

test('a router port gets a recognisable MAC from the injected randomness, and its device type', () => {
  const random = { uuid: () => uuidOf(7), bytes: () => Uint8Array.of(1, 2, 0xff) };
  const port = accepted('Port', { routerId: uuidOf(1) }, { random });
  assert.deepEqual(port, {
    id: uuidOf(7),
    deviceType: 'router',
    routerId: uuidOf(1),
    adminStateUp: true,
    portMac: 'ac:ca:ba:01:02:ff',
    portSubnet: [],
  });
  assert.equal(accepted('Port', { bridgeId: uuidOf(1) }).portMac, undefined);
});

test('values are stored in canonical spelling, nulls are absent', () => {
  const port = accepted('Port', {
    id: uuidOf(0xabc).toUpperCase(),
    routerId: uuidOf(1),
    portMac: '02-00-00-00-00-AB',
    portSubnet: ['FD00:0::1/64'],
    peerId: null,
  });
  assert.equal(port.id, uuidOf(0xabc));
  assert.equal(port.portMac, '02:00:00:00:00:ab');
  assert.deepEqual(port.portSubnet, ['fd00::1/64']);
  assert.ok(!('peerId' in port));
});

test('port: what belongs together and what excludes each other', () => {
  const onRouter = { routerId: uuidOf(1) };
  const onBridge = { bridgeId: uuidOf(1) };
  accepted('Port', { ...onBridge, hostId: uuidOf(2), interfaceName: 'tap0' });
  assert.deepEqual(refusedAt('Port', { ...onBridge, hostId: uuidOf(2) }), ['interfaceName']);
  assert.deepEqual(refusedAt('Port', { ...onBridge, interfaceName: 'tap0' }), ['hostId']);
  for (const name of ['a'.repeat(16), 'a/b', 'a b', '', '..']) {
    assert.deepEqual(refusedAt('Port', { ...onBridge, hostId: uuidOf(2), interfaceName: name }), ['interfaceName']);
  }
  const both = { hostId: uuidOf(2), interfaceName: 'tap0', peerId: uuidOf(3) };
  assert.deepEqual(refusedAt('Port', { ...onBridge, ...both }), ['peerId']);
  assert.deepEqual(refusedAt('Port', { ...onBridge, id: uuidOf(3), peerId: uuidOf(3) }), ['peerId']);
  assert.deepEqual(refusedAt('Port', { ...onBridge, ...onRouter }), ['deviceType']);
  assert.deepEqual(refusedAt('Port', { ...onBridge, ...onRouter, deviceType: 'bridge' }), ['routerId']);
  assert.deepEqual(refusedAt('Port', { deviceType: 'router' }), ['routerId']);
  assert.deepEqual(refusedAt('Port', { ...onRouter, vlanId: 3 }), ['vlanId']);
  assert.deepEqual(refusedAt('Port', {}), ['deviceType']);
  for (const portMac of ['01:00:00:00:00:01', '00:00:00:00:00:00']) {
    assert.deepEqual(refusedAt('Port', { ...onRouter, portMac }), ['portMac']);
  }
});

test('router port addresses', () => {
  const withSubnets = (...portSubnet: string[]) => ({ routerId: uuidOf(1), portSubnet });
  accepted(
    'Port',
    withSubnets('10.0.1.1/24', '10.0.2.1/24', 'fd00:1::1/64', 'fe80::1/64', '10.0.3.0/31', '10.0.4.1/32'),
  );
  for (const bad of [
    '10.0.1.0/24',
    '10.0.1.255/24',
    'fd00::/64',
    '127.0.0.1/8',
    'ff02::1/128',
    '224.0.0.1/32',
    '0.0.0.0/0',
  ]) {
    assert.deepEqual(refusedAt('Port', withSubnets('192.0.2.1/24', bad)), ['portSubnet.1'], bad);
  }
  assert.deepEqual(refusedAt('Port', withSubnets('10.0.1.1/24', '10.0.1.1/16')), ['portSubnet.1']);
  assert.deepEqual(refusedAt('Port', withSubnets('10.0.1.1/24', '10.0.1.300/24')), ['portSubnet.1']);
});

test('route: next hop', () => {
  const route = { routerId: uuidOf(1), dstSubnet: '10.0.0.7/24' };
  assert.equal(accepted('Route', { ...route, nextHopPort: uuidOf(2) }).dstSubnet, '10.0.0.0/24');
  accepted('Route', { ...route, type: 'blackhole' });
  assert.deepEqual(refusedAt('Route', { ...route, type: 'normal' }), ['nextHopPort']);
  assert.deepEqual(refusedAt('Route', { ...route, type: 'reject', nextHopGateway: '10.0.0.1' }), ['nextHopGateway']);
});

test('condition: fields that contradict each other', () => {
  const rule = MINIMAL.Rule;
  accepted('Rule', { ...rule, tpSrc: { start: 5, end: 5 }, fragmentPolicy: 'unfragmented' });
  assert.deepEqual(refusedAt('Rule', { ...rule, tpSrc: { start: 6, end: 5 } }), ['tpSrc.end']);
  assert.deepEqual(refusedAt('Rule', { ...rule, tpSrc: { start: 6 } }), ['tpSrc.end']);
  accepted('Rule', { ...rule, fragmentPolicy: 'nonheader' });
  const ports = { tpDst: { start: 1, end: 2 } };
  assert.deepEqual(refusedAt('Rule', { ...rule, ...ports, fragmentPolicy: 'nonheader' }), ['fragmentPolicy']);
  assert.equal(accepted('Rule', { ...rule, ...ports, fragmentPolicy: 'any' }).fragmentPolicy, 'any');
  accepted('Rule', { ...rule, matchForwardFlow: true, matchReturnFlow: false });
  assert.deepEqual(refusedAt('Rule', { ...rule, matchForwardFlow: true, matchReturnFlow: true }), ['matchReturnFlow']);
  accepted('Rule', { ...rule, noVlan: false, vlan: 3 });
  assert.deepEqual(refusedAt('Rule', { ...rule, noVlan: true, vlan: 3 }), ['vlan']);
  accepted('Rule', { ...rule, dlSrc: '02:00:00:00:00:01', dlSrcMask: 'ffff.ff00.0000' });
  assert.deepEqual(refusedAt('Rule', { ...rule, dlDstMask: 'ffff.ff00.0000' }), ['dlDstMask']);
  accepted('Rule', { ...rule, nwSrc: '10.0.0.0/8', nwDst: '0.0.0.0/0' });
  assert.deepEqual(refusedAt('Rule', { ...rule, nwSrc: '10.0.0.0/8', nwDst: '::/0' }), ['nwDst']);
});

test('unknown keys are reported, or dropped on demand', () => {
  assert.deepEqual(refusedAt('Bridge', { uri: 'http://x' }), ['uri']);
  assert.ok(!('uri' in accepted('Bridge', { uri: 'http://x' }, { unknownKeys: 'drop' })));
  // Within a field one that is left out could make it mean more: a rule of a security group without its prefix allows everybody.
  for (const unknownKeys of ['report', 'drop'] as const) {
    const ports = { ...MINIMAL.Rule, tpSrc: { start: 1, end: 2, step: 1 } };
    assert.deepEqual(refusedAt('Rule', ports, { unknownKeys }), ['tpSrc.step']);
    const rules = [{ direction: 'ingress', remoteIpPrefix: '10.0.0.0/8' }];
    assert.deepEqual(refusedAt('SecurityGroup', { rules }, { unknownKeys }), ['rules.0.remoteIpPrefix']);
  }
  const hostile = JSON.parse('{"__proto__": {"adminStateUp": false}, "constructor": 1}');
  assert.deepEqual(refusedAt('Bridge', hostile), ['__proto__', 'constructor']);
  assert.equal(accepted('Bridge', hostile, { unknownKeys: 'drop' }).adminStateUp, true);
});

test('strings are coerced on demand only', () => {
  const written = { type: 'VXLAN', name: 'tz' };
  assert.equal(accepted('TunnelZone', written, { coerce: true }).type, 'vxlan');
  assert.deepEqual(refusedAt('TunnelZone', written), ['type']);
  const rule = {
    ...MINIMAL.Rule,
    nwProto: '6',
    dlType: '0x0800',
    invNwProto: 'true',
    tpDst: { start: '22', end: '22' },
  };
  const coerced = accepted('Rule', rule, { coerce: true });
  assert.deepEqual(
    [coerced.nwProto, coerced.dlType, coerced.invNwProto, coerced.tpDst],
    [6, 0x800, true, { start: 22, end: 22 }],
  );
  assert.deepEqual(refusedAt('Rule', rule), ['dlType', 'invNwProto', 'nwProto', 'tpDst.end', 'tpDst.start']);
  assert.deepEqual(refusedAt('Rule', { ...MINIMAL.Rule, nwProto: '6x' }, { coerce: true }), ['nwProto']);
});

test('what is no object at all is refused', () => {
  for (const value of [null, undefined, 1, 'x', [], [{}]]) assert.ok(!validateObject('Bridge', value).ok);
  assert.ok(!validateObject('Brigde', {}).ok);
});

/** Objects that are often nearly right: known keys, values of all kinds. */
function nearlyValid(type: TypeName): fc.Arbitrary<ObjectValue> {
  const value = fc.oneof(
    fc.constantFrom(
      null,
      true,
      0,
      1,
      5,
      65_536,
      -1,
      '',
      'x',
      'gre',
      'normal',
      'local',
      'drop',
      'header',
      'tap0',
      uuidOf(1),
      uuidOf(2).toUpperCase(),
      '10.0.0.1',
      '10.0.0.1/24',
      'FD00::1/64',
      'fe80::1',
      '02:00:00:00:00:01',
      [uuidOf(1)],
      ['10.0.0.1/24', 'FD00::1/64'],
      { start: 1, end: 2 },
    ),
    fc.jsonValue(),
  );
  const keys = Object.keys(OBJECT_TYPES[type].schema.properties);
  return fc
    .dictionary(fc.constantFrom(...keys), value, { maxKeys: 6 })
    .map((extra) => ({ ...MINIMAL[type], ...extra }));
}

for (const type of TYPES) {
  test(`${type}: validation is idempotent and leaves its input alone`, () => {
    let valid = 0;
    fc.assert(
      fc.property(nearlyValid(type), (input) => {
        const before = structuredClone(input);
        const once = validateObject(type as string, input);
        assert.deepEqual(input, before);
        if (!once.ok) return assert.ok(once.violations.length > 0);
        valid++;
        assert.deepEqual(validateObject(type as string, once.value), once);
        assert.deepEqual(applyDefaults(type, once.value), once.value);
      }),
      { numRuns: 300 },
    );
    assert.ok(valid > 10, `only ${valid} of 300 generated objects were valid`);
  });
}

test('whatever JSON comes in, validation does not throw', () => {
  fc.assert(
    fc.property(fc.constantFrom(...TYPES), fc.jsonValue(), (type, value) => {
      validateObject(type as string, value);
      validateObject(type as string, value, { unknownKeys: 'drop', coerce: true });
    }),
  );
});

test('a jump rule names its chain, no other does', () => {
  const jump = { ...MINIMAL.Rule, type: 'jump', jumpChainId: uuidOf(8) };
  accepted('Rule', jump);
  accepted('Rule', { ...jump, jumpChainId: uuidOf(6) });
  assert.deepEqual(refusedAt('Rule', { ...MINIMAL.Rule, type: 'jump' }), ['jumpChainId']);
  for (const type of RULE_TYPES) {
    if (type === 'jump') continue;
    const natTargets = type === 'snat' || type === 'dnat' ? [{ addressFrom: '192.0.2.1' }] : undefined;
    accepted('Rule', { ...MINIMAL.Rule, type, natTargets });
    assert.deepEqual(refusedAt('Rule', { ...MINIMAL.Rule, type, natTargets, jumpChainId: uuidOf(8) }), ['jumpChainId']);
  }
});

test('both prefixes of a pair are of one IP version', () => {
  const pair = { icmpDataSrcIp: '10.0.0.0/8', icmpDataDstIp: '10.9.0.0/16' };
  accepted('Rule', { ...MINIMAL.Rule, ...pair });
  assert.deepEqual(refusedAt('Rule', { ...MINIMAL.Rule, ...pair, icmpDataDstIp: 'fd00::/8' }), ['icmpDataDstIp']);
});

test('what a rule names stays while it names it', () => {
  const onDelete = Object.fromEntries(
    OBJECT_TYPES.Rule.references.map((r) => [r.field, `${r.target} ${r.onTargetDelete}`]),
  );
  assert.deepEqual(onDelete, {
    chainId: 'Chain cascade',
    jumpChainId: 'Chain refuse',
    portGroup: 'PortGroup refuse',
    inPortGroup: 'PortGroup refuse',
    outPortGroup: 'PortGroup refuse',
    ipAddrGroupSrc: 'IpAddrGroup refuse',
    ipAddrGroupDst: 'IpAddrGroup refuse',
  });
});

test('members of address groups have one spelling', () => {
  const table: [string, string | undefined][] = [
    ['10.0.0.1', '10.0.0.1'],
    ['10.0.0.1/32', '10.0.0.1'],
    ['10.0.0.77/24', '10.0.0.0/24'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['FD00:0::1', 'fd00::1'],
    ['fd00::1/128', 'fd00::1'],
    ['fd00::1/64', 'fd00::/64'],
    ['::/32', '::/32'],
    ['10.0.0.1/33', undefined],
    ['web', undefined],
    ['', undefined],
  ];
  for (const [text, member] of table) assert.equal(canonicalGroupMember(text), member, text);
});

test('an account of role tenant names its tenant, an admin none', () => {
  const account = MINIMAL.Account;
  accepted('Account', { ...account, role: 'tenant', tenantId: 'blue' });
  accepted('Account', { ...account, role: 'viewer', tenantId: 'blue' });
  accepted('Account', { ...account, role: 'viewer' });
  assert.deepEqual(refusedAt('Account', { ...account, role: 'tenant' }), ['tenantId']);
  assert.deepEqual(refusedAt('Account', { ...account, role: 'admin', tenantId: 'blue' }), ['tenantId']);
});
