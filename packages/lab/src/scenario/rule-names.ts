/**
 * Names that stand for ids in the rules of a scenario, whose writer knows none:
 *
 *   inPorts, outPorts                      uplink:EXTERNAL:LINK   a router's port towards an outside network, by number of the link
 *                                          network:NAME           the router's port in a network
 *                                          vm:NAME, vm:NAME:ethN  a VM's port, of its first interface or of that one
 *   portGroup, inPortGroup, outPortGroup   external:NAME          all ports towards an outside network
 *   jumpChainId                            chain:NAME
 */
import type { ObjectValue } from '@weft/topology';
import { chainId, externalGroupId, externalPortId, gatewayPortId, vmPortId } from '../ids.ts';
import type { Scenario, Tenant } from './types.ts';

type Named = 'port' | 'group' | 'chain';

const FIELDS: Readonly<Record<string, Named>> = {
  inPorts: 'port',
  outPorts: 'port',
  portGroup: 'group',
  inPortGroup: 'group',
  outPortGroup: 'group',
  jumpChainId: 'chain',
};

const PATTERNS: Readonly<Record<Named, RegExp>> = {
  port: /^(uplink:[a-z0-9-]+:\d{1,2}|network:[a-z0-9-]+|vm:[a-z0-9-]+(:eth\d)?)$/,
  group: /^external:[a-z0-9-]+$/,
  chain: /^chain:[a-z0-9-]+$/,
};

/** The rule with each name replaced by what `replace` says of it; `path` leads to the name within the rule. */
export function withNames(
  rule: ObjectValue,
  replace: (text: string, path: readonly (string | number)[]) => string,
): ObjectValue {
  const result: Record<string, unknown> = { ...rule };
  for (const [field, named] of Object.entries(FIELDS)) {
    const value = rule[field];
    const one = (item: unknown, ...path: (string | number)[]): unknown =>
      typeof item === 'string' && PATTERNS[named].test(item) ? replace(item, [field, ...path]) : item;
    if (value !== undefined) result[field] = Array.isArray(value) ? value.map((item, i) => one(item, i)) : one(value);
  }
  return result;
}

/** Id of what a name means in a rule of this tenant; undefined: the tenant has nothing of that name. */
export function idOfName(scenario: Scenario, tenant: Tenant, text: string): string | undefined {
  const [kind, name, part] = text.split(':') as [string, string, string | undefined];
  switch (kind) {
    case 'uplink': {
      const link = scenario.externals.find((external) => external.name === name)?.links[Number(part)];
      return link?.tenant === tenant.name ? externalPortId(name, Number(part)) : undefined;
    }
    case 'network': {
      const network = tenant.networks.find((candidate) => candidate.name === name);
      return network?.router === undefined ? undefined : gatewayPortId(tenant.name, name);
    }
    case 'vm': {
      const index = part === undefined ? 0 : Number(part.slice('eth'.length));
      const iface = tenant.vms.find((candidate) => candidate.name === name)?.interfaces[index];
      return iface === undefined || iface.network === '' ? undefined : vmPortId(tenant.name, name, index);
    }
    case 'external': {
      const external = scenario.externals.find((candidate) => candidate.name === name);
      return external?.links.some((link) => link.tenant === tenant.name) ? externalGroupId(name) : undefined;
    }
    default:
      return tenant.chains.some((chain) => chain.name === name) ? chainId(tenant.name, name) : undefined;
  }
}
