/** Scenario files: what is read, and that whatever is wrong is named by line and field. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { prepareChecks } from '../checks/index.ts';
import { LabError } from '../errors.ts';
import { DEFAULT_SCENARIO } from '../lab.ts';
import { planLab } from '../plan.ts';
import { parseScenario } from './parse.ts';

const GOOD = `name: demo
hosts: [h1, h2]
tenants:
  - name: blue
    chains:
      - name: gate
        rules:
          - { type: drop, nwProto: 6 }
    routers:
      - name: edge
        routes:
          - { dst: 10.9.0.0/16, via: 10.1.0.9 }
    networks:
      - { name: left, router: edge, gateway: [10.1.0.1/24] }
      - { name: alone, gateway: [10.5.0.1/24] }
    vms:
      - { name: a1, host: h1, network: left, mac: '02:00:00:00:00:01', addresses: [10.1.0.11], inboundFilter: gate }
      - name: gw
        host: h2
        forward: true
        interfaces:
          - { network: left, mac: '02:00:00:00:00:02', addresses: [10.1.0.9] }
          - { network: alone, mac: '02:00:00:00:00:03', addresses: [10.5.0.9] }
checks:
  - { name: one, kind: ping, from: a1, to: gw }
`;

function parse(text: string): void {
  prepareChecks(parseScenario(text, 'demo.yaml'));
}

test('the scenarios that Weft comes with are in order', () => {
  assert.ok(parseScenario(readFileSync(DEFAULT_SCENARIO, 'utf8'), 'default.yaml').checks.length > 40);
  prepareChecks(parseScenario(readFileSync(DEFAULT_SCENARIO, 'utf8'), 'default.yaml'));
});

test('a scenario is read as written, with defaults', () => {
  const scenario = parseScenario(GOOD, 'demo.yaml');
  assert.deepEqual([scenario.name, scenario.encap, scenario.underlay], ['demo', 'vxlan', 'ipv4']);
  const [blue] = scenario.tenants;
  assert.deepEqual(blue!.chains[0]!.rules, [{ type: 'drop', nwProto: 6 }]);
  assert.deepEqual(
    blue!.vms.map((vm) => vm.interfaces.map((iface) => iface.network)),
    [['left'], ['left', 'alone']],
  );
  assert.equal(blue!.vms[0]!.interfaces[0]!.known, true);
  parse(GOOD);
});

describe('what is wrong is named by line and field', () => {
  /** Replaces a piece of the good file; the error must name this line and this. */
  const cases: [what: string, from: string, to: string, line: number, message: RegExp][] = [
    ['no YAML', 'hosts: [h1, h2]', 'hosts: [h1, h2', 3, /./],
    ['an unknown field', 'name: demo', 'nome: demo', 1, /nome is not a field here; the fields are: name/],
    ['a missing field', 'hosts: [h1, h2]\n', '', 1, /lacks the field "hosts"/],
    ['a wrong type', 'hosts: [h1, h2]', 'hosts: 3', 2, /hosts must be a list/],
    ['a bad name', 'hosts: [h1, h2]', 'hosts: [h1, H2]', 2, /hosts\[1\] must be 1 to 12/],
    ['a repeated host', 'hosts: [h1, h2]', 'hosts: [h1, h1]', 2, /hosts\[1\] repeats/],
    ['a bad MAC', '02:00:00:00:00:01', '02:00:00:00:00', 17, /tenants\[0\]\.vms\[0\]\.mac must be a MAC/],
    ['a bad address', 'addresses: [10.1.0.11]', 'addresses: [10.1.0.300]', 17, /addresses\[0\] must be an IPv4/],
    ['an address elsewhere', '[10.1.0.11]', '[10.7.0.11]', 17, /10\.7\.0\.11 is not in a subnet of network "left"/],
    ['an unknown host', 'name: a1, host: h1', 'name: a1, host: h7', 17, /vms\[0\]\.host "h7" is not a host/],
    ['an unknown network', 'network: left, mac', 'network: lift, mac', 17, /"lift" is not a network/],
    ['an unknown chain', 'inboundFilter: gate', 'inboundFilter: door', 17, /"door" is not a chain/],
    ['an unknown router', 'name: alone,', 'name: alone, router: age,', 15, /networks\[1\]\.router "age"/],
    ['a next hop elsewhere', 'via: 10.1.0.9', 'via: 10.2.0.9', 12, /routes\[0\]\.via 10\.2\.0\.9 is in no network/],
    ['a normal route to nowhere', ', via: 10.1.0.9', '', 12, /lacks the field "via"/],
    ['a VM name twice', 'name: gw', 'name: a1', 18, /vms\[1\]\.name repeats the name of another VM/],
    ['an unknown kind', 'kind: ping', 'kind: pang', 25, /"pang" is not a kind of check; the kinds are: agent-restart/],
    ['an unknown VM in a check', 'to: gw', 'to: nobody', 25, /checks\[0\]\.to "nobody" is not a VM/],
    ['an unknown field of a check', 'to: gw', 'to: gw, colour: 1', 25, /checks\[0\]\.colour is not a field here/],
    [
      'hops that are no addresses',
      'kind: ping, from: a1, to: gw',
      'kind: trace, from: a1, to: gw, hops: [10.1.0]',
      25,
      /checks\[0\]\.hops\[0\] must be an IP/,
    ],
    [
      'a bad type of a rule',
      'type: drop, nwProto',
      'type: explode, nwProto',
      8,
      /rules\[0\]\.type must be one of accept/,
    ],
    ['an unknown field of a rule', 'nwProto: 6', 'nwProtocol: 6', 8, /rules\[0\]\.nwProtocol is not a known/],
    ['a bad prefix in a rule', 'nwProto: 6', 'nwSrc: 10.0.0.0/99', 8, /rules\[0\]\.nwSrc must be a CIDR/],
    ['a range the wrong way round', 'nwProto: 6', 'tpDst: { start: 5, end: 1 }', 8, /rules\[0\]\.tpDst\.end must not/],
    ['a jump to nowhere', 'type: drop, nwProto: 6', 'type: jump', 8, /rules\[0\]\.jumpChainId is required/],
    [
      'a target without an address',
      'type: drop, nwProto: 6',
      'type: dnat, natTargets: [{ portFrom: 5 }]',
      8,
      /rules\[0\]\.natTargets\[0\]\.addressFrom is required/,
    ],
    [
      'targets the wrong way round',
      'type: drop, nwProto: 6',
      'type: dnat, natTargets: [{ addressFrom: 10.0.0.9, addressTo: 10.0.0.5 }]',
      8,
      /rules\[0\]\.natTargets\[0\]\.addressTo must not be less/,
    ],
    [
      'a rule for both directions',
      'nwProto: 6',
      'matchForwardFlow: true, matchReturnFlow: true',
      8,
      /matchReturnFlow contradicts/,
    ],
    ['a port that has no id', 'nwProto: 6', 'inPorts: [x]', 8, /rules\[0\]\.inPorts\[0\] must be a UUID/],
    ['a chain named by a rule', 'nwProto: 6', 'position: 2', 8, /rules\[0\]\.position follows from/],
    ['a next hop of the other family', 'via: 10.1.0.9', "via: 'fd00::9'", 12, /routes\[0\]\.via is not IPv4/],
    [
      'a source of the other family',
      'via: 10.1.0.9',
      "src: 'fd00::/8', via: 10.1.0.9",
      12,
      /routes\[0\]\.src is not IPv4/,
    ],
    ['a MAC of a group', '02:00:00:00:00:01', '03:00:00:00:00:01', 17, /vms\[0\]\.mac must be a MAC address, no group/],
    [
      'a MAC twice',
      '02:00:00:00:00:02',
      '02:00:00:00:00:01',
      22,
      /interfaces\[0\]\.mac .* is VM a1's in network "left"/,
    ],
    ['an address twice', '[10.1.0.9]', '[10.1.0.11]', 22, /addresses\[0\] 10\.1\.0\.11 is VM a1's/],
    ['the address of the gateway', '[10.1.0.9]', '[10.1.0.1]', 22, /addresses\[0\] 10\.1\.0\.1 is the gateway's/],
    ['no route', 'forward: true', 'routes: [defualt via 10.1.0.1]', 20, /vms\[1\]\.routes\[0\] must be a route/],
    [
      'a route by nobody',
      'forward: true',
      'routes: [default via]',
      20,
      /routes\[0\] must be a route .* "via" needs an address/,
    ],
    ['a word of no route', 'forward: true', 'routes: [default vai 10.1.0.1]', 20, /"vai" is none of them/],
    ['agents with one id', 'name: demo', 'name: demo\nagent: { hostId: x }', 2, /agent\.hostId is set by the lab/],
    [
      'an encapsulation of agents',
      'name: demo',
      'name: demo\nagent: { encap: gre }',
      2,
      /agent\.encap is the same on all hosts/,
    ],
    ['a bad value in a check', 'to: gw', 'to: gw, count: 0', 25, /checks\[0\]\.count must be a whole number from 1/],
  ];
  for (const [what, from, to, line, message] of cases) {
    test(what, () => {
      assert.ok(GOOD.includes(from));
      assert.throws(
        () => parse(GOOD.replace(from, to)),
        (error: LabError) => {
          assert.equal(error.code, 'WEFT_SCENARIO');
          assert.match(error.message, new RegExp(`^demo\\.yaml:${line}:\\d+: `), error.message);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }

  test('an interface without a network: addresses with lengths, gateways, nothing of a port', () => {
    const vm = (fields: string) => {
      const text = `hosts: [h1]\ntenants:\n  - { name: t, networks: [], vms: [{ name: a, host: h1, ${fields} }] }\n`;
      return parseScenario(text, 'demo.yaml');
    };
    const mac = "mac: '02:00:00:00:00:01'";
    const scenario = vm(`${mac}, addresses: [10.1.0.11/24, 'fd00::5/64'], gateway: [10.1.0.1]`);
    const [iface] = scenario.tenants[0]!.vms[0]!.interfaces;
    assert.equal(iface!.network, '');
    assert.equal(iface!.known, false);
    const [planned] = planLab(scenario).vms[0]!.interfaces;
    assert.deepEqual(planned!.cidrs, ['10.1.0.11/24', 'fd00::5/64']);
    assert.deepEqual(planned!.gateways, ['10.1.0.1']);
    assert.throws(() => vm(`${mac}, addresses: [10.1.0.11]`), /addresses\[0\] must be an address with prefix length/);
    assert.throws(() => vm(`${mac}, addresses: [10.1.0.11/24], known: true`), /known has no meaning without a network/);
    const other = GOOD.replace('network: left, mac', 'network: left, gateway: [10.1.0.1], mac');
    assert.throws(() => parse(other), /gateway follows from the network/);
  });

  test('the scenarios that Weft comes with are read', () => {
    for (const file of ['default.yaml', 'empty.yaml']) {
      const path = resolve(import.meta.dirname, '../../scenarios', file);
      assert.ok(parseScenario(readFileSync(path, 'utf8'), file).hosts.length > 0);
    }
  });

  test('what the agent would refuse', () => {
    const check = (fields: Record<string, unknown>) => {
      if ('colour' in fields) throw new Error('colour is unknown');
    };
    const text = GOOD.replace('name: demo', 'agent:\n  log: {}\n  colour: 1');
    assert.throws(
      () => parseScenario(text, 'demo.yaml', check),
      /^LabError: demo\.yaml:3:\d+: agent\.colour is refused by the agent: colour is unknown/,
    );
    parseScenario(text.replace('colour', 'limits'), 'demo.yaml', check);
  });

  test('overlapping networks on one router', () => {
    const text = GOOD.replace(
      'name: alone, gateway: [10.5.0.1/24]',
      'name: alone, router: edge, gateway: [10.1.0.200/25]',
    );
    assert.throws(() => parse(text), /demo\.yaml:15:\d+: .*overlaps network "left"/);
  });

  test('whatever the text, the outcome is a scenario or a coded error', () => {
    const pieces = GOOD.split(/(?<=[\n{}[\],:])/);
    const damaged = fc
      .array(fc.tuple(fc.nat(pieces.length - 1), fc.oneof(fc.string({ maxLength: 6 }), fc.constantFrom(...pieces))), {
        minLength: 1,
        maxLength: 4,
      })
      .map((changes) => {
        const copy = [...pieces];
        for (const [at, text] of changes) copy[at] = text;
        return copy.join('');
      });
    fc.assert(
      fc.property(fc.oneof(damaged, fc.string()), (text) => {
        try {
          parse(text);
        } catch (error) {
          assert.ok(error instanceof LabError, String((error as Error).stack));
        }
      }),
      { numRuns: 500 },
    );
  });
});
