/** Creates the virtual topology of a scenario through the REST API. Ids derive from names, so repeating it changes nothing. */
import { bridgeId, chainId, externalGroupId, gatewayPortId, routerId, uplinkPortId } from './ids.ts';
import { labUuid } from './names.ts';
import { familyOf, type LabPlan, subnetOfCidr, tunnelAddress } from './plan.ts';
import { type RestClient, RestError } from './rest.ts';
import { subnetOf } from './scenario/references.ts';
import { idOfName, withNames } from './scenario/rule-names.ts';
import type { Tenant } from './scenario/types.ts';

/** Tunnel zone and its members; the hosts must have registered. */
export async function createTunnelZone(plan: LabPlan, api: RestClient): Promise<void> {
  await ensure(api, '/tunnel_zones', `/tunnel_zones/${plan.zoneId}`, {
    id: plan.zoneId,
    name: 'lab',
    type: plan.encap,
  });
  for (const host of plan.hosts) {
    const hosts = `/tunnel_zones/${plan.zoneId}/hosts`;
    await ensure(api, hosts, `${hosts}/${host.id}`, { hostId: host.id, ipAddress: tunnelAddress(plan, host) });
  }
}

export async function createTopology(plan: LabPlan, api: RestClient): Promise<void> {
  for (const tenant of plan.scenario.tenants) {
    await createChains(tenant, api);
    await createRouters(tenant, api);
    await createNetworks(tenant, api);
    await createRoutes(tenant, api);
  }
  await createExternalPorts(plan, api);
  await createVmPorts(plan, api);
  // Rules name ports, groups and chains: those have to be there.
  for (const tenant of plan.scenario.tenants) await createRules(plan, tenant, api);
}

async function createChains(tenant: Tenant, api: RestClient): Promise<void> {
  for (const chain of tenant.chains) {
    const id = chainId(tenant.name, chain.name);
    await ensure(api, '/chains', `/chains/${id}`, { id, tenantId: tenant.name, name: chain.name });
  }
}

async function createRules({ scenario }: LabPlan, tenant: Tenant, api: RestClient): Promise<void> {
  for (const chain of tenant.chains) {
    const id = chainId(tenant.name, chain.name);
    for (const [i, rule] of chain.rules.entries()) {
      const ruleId = labUuid('rule', tenant.name, chain.name, String(i));
      const spelled = withNames(rule, (text) => idOfName(scenario, tenant, text)!);
      await ensure(api, `/chains/${id}/rules`, `/rules/${ruleId}`, { ...spelled, id: ruleId, position: i + 1 });
    }
  }
}

async function createRouters(tenant: Tenant, api: RestClient): Promise<void> {
  for (const router of tenant.routers) {
    const id = routerId(tenant.name, router.name);
    const body = { id, tenantId: tenant.name, name: router.name, ...filters(tenant, router) };
    await ensure(api, '/routers', `/routers/${id}`, body);
  }
}

async function createNetworks(tenant: Tenant, api: RestClient): Promise<void> {
  for (const network of tenant.networks) {
    const bridge = bridgeId(tenant.name, network.name);
    const body = { id: bridge, tenantId: tenant.name, name: network.name, ...filters(tenant, network) };
    await ensure(api, '/bridges', `/bridges/${bridge}`, body);
    if (network.router === undefined) continue;

    const router = routerId(tenant.name, network.router);
    const gateway = gatewayPortId(tenant.name, network.name);
    const uplink = uplinkPortId(tenant.name, network.name);
    await ensure(api, `/routers/${router}/ports`, `/ports/${gateway}`, {
      id: gateway,
      portMac: gatewayMac(network.name),
      portSubnet: network.gateway,
    });
    await ensure(api, `/bridges/${bridge}/ports`, `/ports/${uplink}`, { id: uplink });
    const port = await api.get<{ peerId?: string | null }>(`/ports/${gateway}`);
    if (port.peerId !== uplink) await api.post(`/ports/${gateway}/link`, { peerId: uplink });
    for (const subnet of network.gateway.map(subnetOfCidr)) {
      const id = labUuid('connected', tenant.name, network.name, subnet);
      await ensure(api, `/routers/${router}/routes`, `/routes/${id}`, {
        id,
        type: 'normal',
        srcSubnet: anySource(subnet),
        dstSubnet: subnet,
        nextHopPort: gateway,
        weight: 0,
      });
    }
  }
}

async function createRoutes(tenant: Tenant, api: RestClient): Promise<void> {
  for (const router of tenant.routers) {
    for (const [i, route] of router.routes.entries()) {
      const id = labUuid('route', tenant.name, router.name, String(i));
      const via = route.via;
      const network =
        via && tenant.networks.find((candidate) => candidate.router === router.name && subnetOf(via, candidate));
      await ensure(api, `/routers/${routerId(tenant.name, router.name)}/routes`, `/routes/${id}`, {
        id,
        type: route.type,
        srcSubnet: route.src ?? anySource(route.dst),
        dstSubnet: route.dst,
        weight: route.weight,
        ...(network && { nextHopPort: gatewayPortId(tenant.name, network.name), nextHopGateway: via }),
      });
    }
  }
}

/** Bound router ports, their group, and the ways in and out. */
async function createExternalPorts(plan: LabPlan, api: RestClient): Promise<void> {
  const hosts = new Map(plan.hosts.map((host) => [host.name, host]));
  for (const external of plan.externals) {
    if (external.links.length === 0) continue;
    const group = externalGroupId(external.name);
    // Answers may come in by another gateway than the one by which the questions left.
    await ensure(api, '/port_groups', `/port_groups/${group}`, { id: group, name: external.name, stateful: true });
    for (const link of external.links) {
      const router = `/routers/${routerId(link.tenant, link.router)}`;
      await ensure(api, `${router}/ports`, `/ports/${link.portId}`, {
        id: link.portId,
        portMac: link.portMac,
        portSubnet: link.addresses,
      });
      const members = `/port_groups/${group}/ports`;
      await ensure(api, members, `${members}/${link.portId}`, { portId: link.portId });
      const route = (kind: string, dst: string, more: object) => {
        const id = labUuid(kind, link.portId, dst);
        const srcSubnet = anySource(dst);
        const body = { id, type: 'normal', srcSubnet, dstSubnet: dst, nextHopPort: link.portId, weight: 0, ...more };
        return ensure(api, `${router}/routes`, `/routes/${id}`, body);
      };
      for (const subnet of link.addresses.map(subnetOfCidr)) await route('connected', subnet, {});
      for (const peer of link.default ? link.peer : []) {
        await route('default', familyOf(peer) === 4 ? '0.0.0.0/0' : '::/0', { nextHopGateway: peer });
      }
      const bindings = `/hosts/${hosts.get(link.host)!.id}/ports`;
      const binding = { portId: link.portId, interfaceName: link.hostInterface };
      await ensure(api, bindings, `${bindings}/${link.portId}`, binding);
    }
  }
}

async function createVmPorts(plan: LabPlan, api: RestClient): Promise<void> {
  const hosts = new Map(plan.hosts.map((host) => [host.name, host]));
  for (const vm of plan.vms) {
    const tenant = plan.scenario.tenants.find((candidate) => candidate.name === vm.tenant)!;
    for (const iface of vm.interfaces) {
      if (iface.network === '') continue;
      const bridge = bridgeId(vm.tenant, iface.network);
      await ensure(api, `/bridges/${bridge}/ports`, `/ports/${iface.portId}`, {
        id: iface.portId,
        vifId: iface.tap,
        ...filters(tenant, iface),
      });
      const bindings = `/hosts/${hosts.get(vm.host)!.id}/ports`;
      await ensure(api, bindings, `${bindings}/${iface.portId}`, { portId: iface.portId, interfaceName: iface.tap });
      if (!iface.known) continue;
      await ensure(
        api,
        `/bridges/${bridge}/mac_table`,
        `/bridges/${bridge}/mac_table/${dashed(iface.mac)}_${iface.portId}`,
        {
          macAddr: iface.mac,
          portId: iface.portId,
        },
      );
      for (const ip of iface.addresses) {
        const entry = `/bridges/${bridge}/arp_table/${encodeURIComponent(ip)}_${dashed(iface.mac)}`;
        await ensure(api, `/bridges/${bridge}/arp_table`, entry, { ip, mac: iface.mac });
      }
    }
  }
}

/** Creates unless it is there already. */
async function ensure(api: RestClient, collection: string, item: string, body: unknown): Promise<void> {
  try {
    await api.post(collection, body);
  } catch (error) {
    if (!(error instanceof RestError) || error.status !== 409) throw error;
    if ((await api.find(item)) === undefined) throw error;
  }
}

function filters(
  tenant: Tenant,
  holder: { readonly inboundFilter: string | undefined; readonly outboundFilter: string | undefined },
): { inboundFilterId?: string; outboundFilterId?: string } {
  return {
    ...(holder.inboundFilter !== undefined && { inboundFilterId: chainId(tenant.name, holder.inboundFilter) }),
    ...(holder.outboundFilter !== undefined && { outboundFilterId: chainId(tenant.name, holder.outboundFilter) }),
  };
}

/** In URIs a MAC is written with dashes. */
function dashed(mac: string): string {
  return mac.replaceAll(':', '-');
}

/** By the network's name alone: tenants with equal networks have equal gateways, so nothing but the tenant tells them apart. */
function gatewayMac(network: string): string {
  const hex = labUuid('gateway-mac', network).slice(0, 6);
  return `ac:ca:ba:${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4, 6)}`;
}

function anySource(subnet: string): string {
  return familyOf(subnet.split('/')[0]!) === 4 ? '0.0.0.0/0' : '::/0';
}
