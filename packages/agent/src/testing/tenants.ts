/**
 * A cloud of tenants, written to a state database: each has a router, four bridges on it and 32 ports for VMs, of which 20 are bound, five
 * to each of four hosts. The chain of a tenant, which its ports pass, jumps to one that all tenants share.
 *
 * With 250 tenants: 10,000 ports, 1,000 bridges, 250 routers. Of 2 hosts for each 5 tenants each has 50 ports of 10 tenants.
 */
import { randomUUID } from 'node:crypto';
import type { Nsdb, Revision, Transaction } from '@weft/nsdb';
import { addRule, createObject, linkPorts } from '@weft/topology';

export const BRIDGES = 4;
/** Ports of a tenant, those between its router and bridges included. */
export const PORTS = 40;
const VM_PORTS = (PORTS - 2 * BRIDGES) / BRIDGES;
const PLACES = 4;
const PORTS_AT_PLACE = 5;
/** Tenants that are made at a time, each by a transaction. */
const CONCURRENCY = 16;

export interface CloudHost {
  readonly id: string;
  /** Number of ports that are bound to it: interfaces `vm0` …. */
  ports: number;
}

export interface Tenant {
  readonly router: string;
  readonly bridges: readonly string[];
  readonly chain: string;
  /** Ports that are bound, and where. */
  readonly bound: readonly { readonly port: string; readonly host: number }[];
}

export interface Cloud {
  readonly hosts: readonly CloudHost[];
  readonly tenants: readonly Tenant[];
  /** The chain that all bound ports pass. */
  readonly shared: string;
  /** Of the last of its objects. */
  readonly revision: Revision;
}

/** Hosts that so many tenants fill with 50 ports each. */
export const hostsOf = (tenants: number): number => Math.max(PLACES, (tenants * 2) / 5);

/** @param tenants a multiple of 5 */
export async function createCloud(nsdb: Nsdb, tenants: number): Promise<Cloud> {
  const hosts: CloudHost[] = Array.from({ length: hostsOf(tenants) }, () => ({ id: randomUUID(), ports: 0 }));
  const { result: shared } = await nsdb.transact(async (tx) => {
    const { id } = await createObject(tx, 'Chain', { name: 'shared' });
    await addRule(tx, { chainId: id, type: 'drop', nwProto: 17, tpDst: { start: 19, end: 19 } });
    return id;
  });
  await nsdb.transact(async (tx) => {
    const zone = await createObject(tx, 'TunnelZone', { name: 'fabric', type: 'vxlan' });
    for (const [i, { id }] of hosts.entries()) {
      await createObject(tx, 'Host', { id, name: `h${i}` });
      const ipAddress = `198.18.${i >> 8}.${i & 255}`;
      await createObject(tx, 'TunnelZoneHost', { tunnelZoneId: zone.id, hostId: id, ipAddress });
    }
  });
  const made: Tenant[] = [];
  let revision: Revision = 0;
  const makeSome = async (first: number): Promise<void> => {
    for (let t = first; t < tenants; t += CONCURRENCY) {
      const places = Array.from({ length: PLACES }, (_, place) => {
        const host = Math.floor(t + (place * hosts.length) / PLACES) % hosts.length;
        const firstInterface = hosts[host].ports;
        hosts[host].ports += PORTS_AT_PLACE;
        return { host, id: hosts[host].id, firstInterface };
      });
      const done = await nsdb.transact((tx) => createTenant(tx, t, places, shared));
      made[t] = done.result;
      revision = Math.max(revision, done.revision);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, (_, first) => makeSome(first)));
  return { hosts, tenants: made, shared, revision };
}

interface Place {
  readonly host: number;
  readonly id: string;
  readonly firstInterface: number;
}

async function createTenant(tx: Transaction, t: number, places: readonly Place[], shared: string): Promise<Tenant> {
  const tenantId = `tenant-${t}`;
  const router = (await createObject(tx, 'Router', { name: `router-${t}`, tenantId })).id;
  const chain = (await createObject(tx, 'Chain', { name: `chain-${t}`, tenantId })).id;
  await addRule(tx, { chainId: chain, type: 'accept' });
  await addRule(tx, { chainId: chain, type: 'jump', jumpChainId: shared });
  const bridges: string[] = [];
  const bound: { port: string; host: number }[] = [];
  for (let b = 0; b < BRIDGES; b++) {
    const bridge = (await createObject(tx, 'Bridge', { name: `bridge-${t}-${b}`, tenantId })).id;
    bridges.push(bridge);
    const subnet = `10.${b}.0`;
    const inner = await createObject(tx, 'Port', { routerId: router, portSubnet: [`${subnet}.1/24`] });
    await createObject(tx, 'Route', { routerId: router, dstSubnet: `${subnet}.0/24`, nextHopPort: inner.id });
    await linkPorts(tx, inner.id, (await createObject(tx, 'Port', { bridgeId: bridge })).id);
    for (let v = 0; v < VM_PORTS; v++) {
      // The first ones of each bridge are bound: a bridge is at four or five places.
      const n = v * BRIDGES + b;
      const place = places[Math.floor(n / PORTS_AT_PLACE)];
      const binding =
        place === undefined
          ? {}
          : { hostId: place.id, interfaceName: `vm${place.firstInterface + (n % PORTS_AT_PLACE)}` };
      const port = await createObject(tx, 'Port', { bridgeId: bridge, inboundFilterId: chain, ...binding });
      if (place !== undefined) bound.push({ port: port.id, host: place.host });
    }
  }
  return { router, bridges, chain, bound };
}
