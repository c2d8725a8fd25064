import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { DEFAULT_SCENARIO } from './lab.ts';
import { namespacePrefix } from './names.ts';
import { planLab, tunnelOverhead } from './plan.ts';
import { parseScenario } from './scenario/parse.ts';

const scenario = parseScenario(readFileSync(DEFAULT_SCENARIO, 'utf8'), 'default.yaml');

test('a tunnel takes as many bytes as its headers have', () => {
  assert.equal(tunnelOverhead('vxlan', 'ipv4'), 50);
  assert.equal(tunnelOverhead('gre', 'ipv4'), 42);
  assert.equal(tunnelOverhead('vxlan', 'ipv6'), 70);
  assert.equal(tunnelOverhead('gre', 'ipv6'), 62);
});

test('nothing in a plan has the name, id or address of anything else', () => {
  const { hosts, vms, fabric } = planLab(scenario, { hosts: 12 });
  const namespaces = [fabric, ...hosts.map((host) => host.namespace), ...vms.map((vm) => vm.namespace)];
  const addresses = hosts.flatMap((host) => [
    host.tunnelAddress4,
    host.tunnelAddress6,
    ...host.links.flatMap((link) => [link.hostAddress4, link.fabricAddress4, link.hostAddress6, link.fabricAddress6]),
  ]);
  const ids = [...hosts.map((host) => host.id), ...vms.flatMap((vm) => vm.interfaces.map((iface) => iface.portId))];
  for (const names of [namespaces, addresses, ids]) assert.equal(new Set(names).size, names.length);
  for (const vm of vms) for (const iface of vm.interfaces) assert.ok(iface.tap.length <= 15);
});

test('fewer hosts take over the VMs of the others', () => {
  const { hosts, vms } = planLab(scenario, { hosts: 2 });
  assert.deepEqual(
    hosts.map((host) => host.name),
    ['h1', 'h2'],
  );
  for (const vm of vms) assert.ok(['h1', 'h2'].includes(vm.host));
});

test('the same names give the same ids, so that a second `up` finds what the first made', () => {
  assert.deepEqual(planLab(scenario).vms, planLab(scenario).vms);
});

test('no namespace of one lab looks like one of another', () => {
  assert.ok(!namespacePrefix('a-b').startsWith(namespacePrefix('a')));
});

test('options that it does not take are refused by name', () => {
  assert.throws(() => planLab(scenario, { hosts: 0 }), { code: 'WEFT_LAB_OPTION' });
  assert.throws(() => planLab(scenario, { encap: 'mpls' as 'gre' }), /--encap takes one of gre, vxlan/);
  assert.throws(() => planLab(scenario, { name: 'Bad Name' }), { code: 'WEFT_LAB_NAME' });
});
