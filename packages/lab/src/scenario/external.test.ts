/** Outside networks and names in rules: what is read, and that whatever is wrong is named by line and field. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { prepareChecks } from '../checks/index.ts';
import type { LabError } from '../errors.ts';
import { externalGroupId, externalPortId, gatewayPortId, vmPortId } from '../ids.ts';
import { GATEWAY_SCENARIO } from '../lab.ts';
import { planLab } from '../plan.ts';
import { parseScenario } from './parse.ts';
import { idOfName, withNames } from './rule-names.ts';

const GOOD = `hosts: [h1, g1, g2]
tenants:
  - name: green
    chains:
      - name: nat
        rules:
          - { type: accept, inPorts: ['uplink:inet:1', 'vm:a1', 'network:web'], outPortGroup: 'external:inet' }
          - { type: jump, jumpChainId: 'chain:nat' }
    routers: [{ name: edge }]
    networks: [{ name: web, router: edge, gateway: [10.1.0.1/24] }]
    vms: [{ name: a1, host: h1, network: web, mac: '02:00:00:00:00:01', addresses: [10.1.0.11] }]
  - { name: blue, networks: [] }
externals:
  - name: inet
    addresses: [198.51.100.1/32, '2001:db8::1']
    forward: true
    links:
      - { host: g1, tenant: green, router: edge, addresses: [203.0.113.1/30, 'fd00:9::1/64'], peer: [203.0.113.2, 'fd00:9::2'] }
      - { host: g2, tenant: green, router: edge, addresses: [203.0.113.5/30], peer: [203.0.113.6], default: false }
    routes:
      - { dst: 192.0.2.0/28, via: [1] }
      - { dst: 192.0.2.0/28, via: [0, 1] }
      - { dst: 'fd00::/16', via: [0] }
  - { name: far, addresses: [198.51.100.9], behind: inet, mtu: 1300 }
`;

const parse = (text: string) => parseScenario(text, 'demo.yaml');

test('an outside network is read as written, with defaults', () => {
  const [inet, far] = parse(GOOD).externals;
  assert.deepEqual(inet!.addresses, ['198.51.100.1', '2001:db8::1']);
  assert.deepEqual(
    inet!.links.map((link) => link.default),
    [true, false],
  );
  assert.deepEqual([inet!.mtu, far!.mtu, far!.behind, far!.forward], [1500, 1300, 'inet', false]);
});

test('of a link follow port, interface and ways back; links of one host stay apart when hosts are folded', () => {
  const [inet, far] = planLab(parse(GOOD), { name: 'one', hosts: 1 }).externals;
  assert.deepEqual(
    inet!.links.map((link) => [link.host, link.hostInterface, link.device]),
    [
      ['h1', 'x-inet0', 'link0'],
      ['h1', 'x-inet1', 'link1'],
    ],
  );
  assert.equal(new Set(inet!.links.flatMap((link) => [link.portMac, link.deviceMac, link.portId])).size, 6);
  assert.deepEqual(inet!.links[0]!.peerCidrs, ['203.0.113.2/30', 'fd00:9::2/64']);
  const hop = (gateway: string, link: number) => ({ gateway, device: `link${link}` });
  assert.deepEqual(inet!.routes, [
    { dst: '192.0.2.0/28', metric: 100, source: '198.51.100.1', hops: [hop('203.0.113.5', 1)] },
    { dst: '192.0.2.0/28', metric: 101, source: '198.51.100.1', hops: [hop('203.0.113.1', 0), hop('203.0.113.5', 1)] },
    { dst: 'fd00::/16', metric: 102, source: '2001:db8::1', hops: [hop('fd00:9::1', 0)] },
  ]);
  assert.equal(far!.behind!.namespace, inet!.namespace);
});

test('names in rules become the ids of what they name', () => {
  const scenario = parse(GOOD);
  const [green] = scenario.tenants;
  const [rule] = green!.chains[0]!.rules;
  assert.deepEqual(
    withNames(rule!, (text) => idOfName(scenario, green!, text)!),
    {
      type: 'accept',
      inPorts: [externalPortId('inet', 1), vmPortId('green', 'a1', 0), gatewayPortId('green', 'web')],
      outPortGroup: externalGroupId('inet'),
    },
  );
});

test('the scenario with gateways that Weft comes with is in order', () => {
  const scenario = parseScenario(readFileSync(GATEWAY_SCENARIO, 'utf8'), 'gateway.yaml');
  assert.ok(prepareChecks(scenario).length > 10);
});

describe('what is wrong is named by line and field', () => {
  const cases: [what: string, from: string, to: string, line: number, message: RegExp][] = [
    ['an uplink that is not there', 'uplink:inet:1', 'uplink:inet:2', 7, /rules\[0\]\.inPorts\[0\] "uplink:inet:2" is/],
    ['a VM that is not there', 'vm:a1', 'vm:a2', 7, /rules\[0\]\.inPorts\[1\] "vm:a2" is nothing that the tenant has/],
    ['an interface that is not there', 'vm:a1', 'vm:a1:eth1', 7, /inPorts\[1\] "vm:a1:eth1" is nothing/],
    ['a network that is not there', 'network:web', 'network:db', 7, /inPorts\[2\] "network:db" is nothing/],
    ['a group that is not there', 'external:inet', 'external:net', 7, /outPortGroup "external:net" is nothing/],
    ['a group without links of the tenant', 'external:inet', 'external:far', 7, /outPortGroup "external:far" is/],
    ['a chain that is not there', 'chain:nat', 'chain:tan', 8, /jumpChainId "chain:tan" is nothing/],
    ['a name of the wrong kind', 'vm:a1', 'chain:nat', 7, /inPorts\[1\] must be a UUID/],
    ['an unknown host', 'host: g2', 'host: g3', 19, /externals\[0\]\.links\[1\]\.host "g3" is not a host/],
    ['an unknown tenant', 'host: g2, tenant: green', 'host: g2, tenant: red', 19, /tenant "red" is not a tenant/],
    ['a router of another tenant', 'g2, tenant: green', 'g2, tenant: blue', 19, /router "edge" is not a router of/],
    ['a far end elsewhere', '203.0.113.6', '203.0.113.9', 19, /peer\[0\] 203\.0\.113\.9 is in no subnet of the link/],
    ['a far end that is the near one', '[203.0.113.6]', '[203.0.113.5]', 19, /peer\[0\] .* is the router's own/],
    ['two far ends', '[203.0.113.6]', '[203.0.113.6, 203.0.113.4]', 19, /peer\[1\] is a second IPv4 address/],
    ['overlapping links', '203.0.113.5/30', '203.0.113.5/29', 19, /addresses overlap 203\.0\.113\.1\/30 on the same/],
    [
      'a link in a network',
      '203.0.113.5/30], peer: [203.0.113.6]',
      '10.1.0.9/24], peer: [10.1.0.10]',
      19,
      /overlap 10/,
    ],
    ['an address without length', '[203.0.113.5/30]', '[203.0.113.5]', 19, /addresses\[0\] must be an address with/],
    [
      'a whole subnet as an address',
      '198.51.100.1/32',
      '198.51.100.1/24',
      15,
      /addresses\[0\] must be an address such/,
    ],
    ['a way back by no link', 'via: [1]', 'via: [2]', 21, /routes\[0\]\.via\[0\] must be a whole number from 0 to 1/],
    ['a way back by nothing', 'via: [1]', 'via: []', 21, /routes\[0\]\.via must name a link/],
    ['a way back of another family', "'fd00::/16', via: [0]", "'fd00::/16', via: [1]", 23, /is a link without IPv6/],
    ['an outside without links', ', behind: inet', '', 24, /externals\[1\] must have 1 to 10 links/],
    ['behind nothing', 'behind: inet', 'behind: net', 24, /behind "net" is not an outside network with links/],
    ['behind what does not forward', '    forward: true\n', '', 23, /externals\[1\]\.behind "inet" does not forward/],
    ['links behind another', 'mtu: 1300', 'links: []', 24, /links has no meaning behind another/],
    ['the name of a VM', 'name: far', 'name: a1', 24, /name "a1" is the name of something else/],
    ['a name twice', 'name: far', 'name: inet', 24, /externals\[1\]\.name repeats "inet"/],
  ];
  for (const [what, from, to, line, message] of cases) {
    test(what, () => {
      assert.ok(GOOD.includes(from));
      assert.throws(
        () => parse(GOOD.replace(from, to)),
        (error: LabError) => {
          assert.equal(error.code, 'WEFT_SCENARIO', String(error.stack));
          assert.match(error.message, new RegExp(`^demo\\.yaml:${line}:\\d+: `), error.message);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }
});
