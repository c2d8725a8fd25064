/** What one part of a scenario says of another must be true: names are unique, and whatever is referred to exists. */
import { overlaps, parseCidr, parseIp } from '@weft/topology';
import { checkExternals } from './external-references.ts';
import type { Reader } from './reader.ts';
import type { Network, Scenario, Tenant } from './types.ts';

/** Throws WEFT_SCENARIO at the first place that does not hold. `root` is the reader of the whole document. */
export function checkReferences(scenario: Scenario, root: Reader): void {
  const at = (...path: (string | number)[]): Reader => {
    let reader = root;
    for (const step of path) reader = typeof step === 'number' ? reader.list()[step]! : reader.openMap().get(step);
    return reader;
  };
  if (scenario.hosts.length < 1 || scenario.hosts.length > 64) at('hosts').fail('must name 1 to 64 hosts');
  unique(scenario.hosts, (i) => at('hosts', i));
  unique(
    scenario.tenants.map((tenant) => tenant.name),
    (i) => at('tenants', i, 'name'),
  );
  unique(
    scenario.checks.map((check) => check.name),
    (i) => at('checks', i, 'name'),
  );
  scenario.tenants.forEach((tenant, t) => {
    checkTenant(scenario, tenant, (...path) => at('tenants', t, ...path));
  });
  const seen = new Set<string>();
  scenario.tenants.forEach((tenant, t) => {
    tenant.vms.forEach((vm, v) => {
      if (seen.has(vm.name)) at('tenants', t, 'vms', v, 'name').fail(`repeats the name of another VM, "${vm.name}"`);
      seen.add(vm.name);
    });
  });
  checkExternals(scenario, at);
}

type At = (...path: (string | number)[]) => Reader;

function checkTenant(scenario: Scenario, tenant: Tenant, at: At): void {
  const networks = new Map(tenant.networks.map((network) => [network.name, network]));
  const chains = new Set(tenant.chains.map((chain) => chain.name));
  const filters = (
    holder: { inboundFilter: string | undefined; outboundFilter: string | undefined },
    ...path: (string | number)[]
  ) => {
    for (const field of ['inboundFilter', 'outboundFilter'] as const) {
      const name = holder[field];
      if (name !== undefined && !chains.has(name)) at(...path, field).fail(`"${name}" is not a chain of the tenant`);
    }
  };
  unique(
    [...tenant.chains].map((chain) => chain.name),
    (i) => at('chains', i, 'name'),
  );
  unique(
    tenant.routers.map((router) => router.name),
    (i) => at('routers', i, 'name'),
  );
  unique(
    tenant.networks.map((network) => network.name),
    (i) => at('networks', i, 'name'),
  );

  tenant.routers.forEach((router, r) => {
    filters(router, 'routers', r);
    router.routes.forEach((route, i) => {
      const served = tenant.networks.filter((network) => network.router === router.name);
      if (route.via !== undefined && !served.some((network) => isWithin(route.via!, network))) {
        at('routers', r, 'routes', i, 'via').fail(`${route.via} is in no network of the router`);
      }
    });
  });
  tenant.networks.forEach((network, n) => {
    filters(network, 'networks', n);
    if (network.router !== undefined && !tenant.routers.some((router) => router.name === network.router)) {
      at('networks', n, 'router').fail(`"${network.router}" is not a router of the tenant`);
    }
    for (const other of tenant.networks.slice(0, n)) {
      if (network.router === undefined || other.router !== network.router) continue;
      const clash = network.gateway.find((a) => other.gateway.some((b) => overlaps(parseCidr(a)!, parseCidr(b)!)));
      if (clash) at('networks', n, 'gateway').fail(`${clash} overlaps network "${other.name}" on the same router`);
    }
  });
  const taken = new Map<string, string>();
  for (const network of tenant.networks) {
    if (network.router === undefined) continue;
    for (const gateway of network.gateway) taken.set(`${network.name} ${gateway.split('/')[0]}`, 'the gateway');
  }
  tenant.vms.forEach((vm, v) => {
    if (!scenario.hosts.includes(vm.host)) at('vms', v, 'host').fail(`"${vm.host}" is not a host of the scenario`);
    vm.interfaces.forEach((iface, i) => {
      const path = at('vms', v).openMap().has('interfaces') ? ['vms', v, 'interfaces', i] : ['vms', v];
      filters(iface, ...path);
      if (iface.network === '') return;
      const network =
        networks.get(iface.network) ?? at(...path, 'network').fail(`"${iface.network}" is not a network of the tenant`);
      iface.addresses.forEach((address, a) => {
        if (!isWithin(address, network)) {
          at(...path, 'addresses', a).fail(`${address} is not in a subnet of network "${network.name}"`);
        }
      });
      const take = (value: string, ...field: (string | number)[]) => {
        const owner = taken.get(`${network.name} ${value}`);
        if (owner !== undefined)
          at(...path, ...field).fail(`${value} is ${owner}'s in network "${network.name}" already`);
        taken.set(`${network.name} ${value}`, `VM ${vm.name}`);
      };
      take(iface.mac, 'mac');
      iface.addresses.forEach((address, a) => {
        take(address, 'addresses', a);
      });
    });
  });
}

/** The network's subnet that holds an address, as `address/length` of the gateway, or undefined. */
export function subnetOf(address: string, network: Network): string | undefined {
  const bits = parseIp(address)!.length * 8;
  const one = parseCidr(`${address}/${bits}`)!;
  return network.gateway.find((gateway) => overlaps(one, parseCidr(gateway)!));
}

function isWithin(address: string, network: Network): boolean {
  return subnetOf(address, network) !== undefined;
}

function unique(names: readonly string[], at: (index: number) => Reader): void {
  names.forEach((name, i) => {
    if (names.indexOf(name) !== i) at(i).fail(`repeats the name "${name}"`);
  });
}
