import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TopologyError } from './errors.ts';
import { tunnelZoneHostId } from './ids.ts';
import type { ObjectValue } from './spec.ts';
import { MemoryTransaction, uuidOf } from './testing.ts';

const [ZONE, HOST_A, HOST_B, BRIDGE, BRIDGE_2, ROUTER, ROUTER_2, CHAIN] = [1, 2, 3, 4, 5, 6, 7, 8].map(uuidOf) as [
  string,
  string,
  string,
  string,
  string,
  string,
  string,
  string,
];

/** Two hosts (A in a zone), two bridges, two routers, a chain. */
async function network(): Promise<MemoryTransaction> {
  const tx = new MemoryTransaction();
  await tx.create('TunnelZone', { id: ZONE, name: 'tz', type: 'gre' });
  await tx.create('Host', { id: HOST_A });
  await tx.create('Host', { id: HOST_B });
  await tx.create('TunnelZoneHost', { tunnelZoneId: ZONE, hostId: HOST_A, ipAddress: '192.0.2.1' });
  for (const id of [BRIDGE, BRIDGE_2]) await tx.create('Bridge', { id });
  for (const id of [ROUTER, ROUTER_2]) await tx.create('Router', { id });
  await tx.create('Chain', { id: CHAIN });
  return tx;
}

async function refusal(action: Promise<unknown>): Promise<string> {
  try {
    await action;
  } catch (error) {
    if (error instanceof TopologyError) return error.code;
    throw error;
  }
  return 'accepted';
}

test('a port is bound only to a host in a tunnel zone', async () => {
  const tx = await network();
  const bind = (hostId: string) => refusal(tx.create('Port', { bridgeId: BRIDGE, hostId, interfaceName: 'tap0' }));
  assert.equal(await bind(HOST_B), 'WEFT_HOST_NOT_IN_TUNNEL_ZONE');
  assert.equal(await bind(HOST_A), 'accepted');
});

test('a binding is checked when it changes, not again afterwards', async () => {
  const tx = await network();
  const port = await tx.create<ObjectValue>('Port', { bridgeId: BRIDGE, hostId: HOST_A, interfaceName: 'tap0' });
  await tx.delete('TunnelZoneHost', tunnelZoneHostId(ZONE, HOST_A));
  assert.equal(await refusal(tx.update('Port', port.id as string, { ...port, adminStateUp: false })), 'accepted');
});

test('a peer is free, on another device, and of two bridge ports one has a VLAN', async () => {
  const tx = await network();
  const port = async (fields: ObjectValue) => (await tx.create<ObjectValue>('Port', fields)).id as string;
  const onRouter = await port({ routerId: ROUTER });
  const linked = await port({ bridgeId: BRIDGE, peerId: onRouter });
  const bound = await port({ bridgeId: BRIDGE, hostId: HOST_A, interfaceName: 'tap0' });
  const free = await port({ bridgeId: BRIDGE });
  const vlan = await port({ bridgeId: BRIDGE, vlanId: 7 });
  const to = (peerId: string, fields: ObjectValue) => refusal(tx.create('Port', { ...fields, peerId }));
  assert.equal(await to(linked, { routerId: ROUTER_2 }), 'WEFT_PORT_LINKED');
  assert.equal(await to(bound, { routerId: ROUTER_2 }), 'WEFT_PORT_BOUND');
  assert.equal(await to(free, { bridgeId: BRIDGE, vlanId: 3 }), 'WEFT_LINK_NOT_ALLOWED');
  assert.equal(await to(free, { bridgeId: BRIDGE_2 }), 'WEFT_LINK_NOT_ALLOWED');
  assert.equal(await to(vlan, { bridgeId: BRIDGE_2, vlanId: 7 }), 'WEFT_LINK_NOT_ALLOWED');
  assert.equal(await to(vlan, { bridgeId: BRIDGE_2 }), 'accepted');
  assert.equal(await to(free, { routerId: ROUTER_2 }), 'accepted');
});

test('subnets of a router do not overlap; link-local ones do everywhere', async () => {
  const tx = await network();
  const create = (routerId: string, ...portSubnet: string[]) => refusal(tx.create('Port', { routerId, portSubnet }));
  assert.equal(await create(ROUTER, '10.0.0.1/16', 'fd00::1/64', 'fe80::1/64'), 'accepted');
  assert.equal(await create(ROUTER, '10.0.7.1/24'), 'WEFT_SUBNET_OVERLAP');
  assert.equal(await create(ROUTER, 'fd00::2/64'), 'WEFT_SUBNET_OVERLAP');
  assert.equal(await create(ROUTER, '10.1.0.1/16', 'fd00:0:0:1::1/64', 'fe80::1/64'), 'accepted');
  assert.equal(await create(ROUTER_2, '10.0.7.1/24'), 'accepted');
});

test('the next hop leaves by a port of the same router', async () => {
  const tx = await network();
  const port = await tx.create<ObjectValue>('Port', { routerId: ROUTER });
  const route = (routerId: string) =>
    refusal(tx.create('Route', { routerId, dstSubnet: '0.0.0.0/0', nextHopPort: port.id }));
  assert.equal(await route(ROUTER), 'accepted');
  assert.equal(await route(ROUTER_2), 'WEFT_ROUTE_PORT_ON_OTHER_ROUTER');
});

test('the type of a tunnel zone changes only while it is empty', async () => {
  const tx = await network();
  const change = () => refusal(tx.update('TunnelZone', ZONE, { id: ZONE, name: 'tz', type: 'vxlan' }));
  assert.equal(await refusal(tx.update('TunnelZone', ZONE, { id: ZONE, name: 'other', type: 'gre' })), 'accepted');
  assert.equal(await change(), 'WEFT_ZONE_TYPE_IN_USE');
  await tx.delete('TunnelZoneHost', tunnelZoneHostId(ZONE, HOST_A));
  assert.equal(await change(), 'accepted');
});

test('a chain lists its own rules, a rule names ports that exist', async () => {
  const tx = await network();
  const other = await tx.create<ObjectValue>('Chain', {});
  const own = await tx.create<ObjectValue>('Rule', { chainId: CHAIN, type: 'drop' });
  const list = (id: string) => refusal(tx.update('Chain', id, { id, ruleIds: [own.id] }));
  assert.equal(await list(other.id as string), 'WEFT_RULE_NOT_IN_CHAIN');
  assert.equal(await list(CHAIN), 'accepted');
  const port = await tx.create<ObjectValue>('Port', { bridgeId: BRIDGE });
  const rule = (id: unknown) => refusal(tx.create('Rule', { chainId: CHAIN, type: 'drop', inPorts: [id] }));
  assert.equal(await rule(uuidOf(99)), 'WEFT_DANGLING');
  assert.equal(await rule(port.id), 'accepted');
});

test('a rule outlives the ports that it names', async () => {
  const tx = await network();
  const port = await tx.create<ObjectValue>('Port', { bridgeId: BRIDGE });
  const rule = await tx.create<ObjectValue>('Rule', { chainId: CHAIN, type: 'drop', outPorts: [port.id] });
  await tx.delete('Port', port.id as string);
  assert.equal(await refusal(tx.update('Rule', rule.id as string, { ...rule, type: 'accept' })), 'accepted');
});

test('what is fixed at creation stays', async () => {
  const tx = await network();
  const port = await tx.create<ObjectValue>('Port', { bridgeId: BRIDGE });
  const change = (fields: ObjectValue) => refusal(tx.update('Port', port.id as string, { ...port, ...fields }));
  assert.equal(await change({ bridgeId: BRIDGE_2 }), 'WEFT_IMMUTABLE');
  assert.equal(await change({ vlanId: 3 }), 'accepted');
  const router = await tx.create<ObjectValue>('Port', { routerId: ROUTER });
  const route = await tx.create<ObjectValue>('Route', { routerId: ROUTER, dstSubnet: '::/0', nextHopPort: router.id });
  assert.equal(await refusal(tx.update('Route', route.id as string, { ...route, weight: 5 })), 'WEFT_IMMUTABLE');
  assert.equal(await refusal(tx.update('Route', route.id as string, { ...route })), 'accepted');
});

test('a rule names what exists: devices that were traversed', async () => {
  const tx = await network();
  const rule = (traversedDevice: string) =>
    refusal(tx.create('Rule', { chainId: CHAIN, type: 'drop', traversedDevice }));
  assert.equal(await rule(uuidOf(0x99)), 'WEFT_DANGLING');
  assert.equal(await rule(CHAIN), 'WEFT_DANGLING');
  const bridge = await tx.create<ObjectValue>('Bridge', {});
  assert.equal(await rule(bridge.id as string), 'accepted');
});
