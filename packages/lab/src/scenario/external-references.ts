/** What an outside network says of the rest of the scenario, and what rules say of ports, groups and chains. */
import { overlaps, parseCidr } from '@weft/topology';
import { externalInterface } from '../names.ts';
import type { Reader } from './reader.ts';
import { idOfName, withNames } from './rule-names.ts';
import { allVms, type Scenario } from './types.ts';

type At = (...path: (string | number)[]) => Reader;

/** Throws WEFT_SCENARIO at the first place that does not hold. */
export function checkExternals(scenario: Scenario, at: At): void {
  const vms = new Set(allVms(scenario).map((vm) => vm.name));
  scenario.externals.forEach((external, e) => {
    const here: At = (...path) => at('externals', e, ...path);
    const { name, behind } = external;
    if (name === 'fabric' || name === 'management' || vms.has(name))
      here('name').fail(`"${name}" is the name of something else in the lab`);
    if (scenario.externals.findIndex((other) => other.name === name) !== e) here('name').fail(`repeats "${name}"`);
    if (behind !== undefined) {
      const front = scenario.externals.find((other) => other.name === behind && other.behind === undefined);
      if (front === undefined) here('behind').fail(`"${behind}" is not an outside network with links`);
      else if (!front.forward) here('behind').fail(`"${behind}" does not forward`);
    }
    external.links.forEach((link, l) => {
      const place = (field: string) => here('links', l, field);
      if (!scenario.hosts.includes(link.host)) place('host').fail(`"${link.host}" is not a host of the scenario`);
      const tenant =
        scenario.tenants.find((candidate) => candidate.name === link.tenant) ??
        place('tenant').fail(`"${link.tenant}" is not a tenant of the scenario`);
      if (!tenant.routers.some((router) => router.name === link.router)) {
        place('router').fail(`"${link.router}" is not a router of the tenant`);
      }
      if (vms.has(externalInterface(name, l))) here('name').fail(`makes an interface with the name of a VM`);
      const own = link.addresses.map((text) => parseCidr(text)!);
      const clash = subnetsBefore(scenario, e, l, link).find((other) =>
        own.some((one) => overlaps(one, parseCidr(other)!)),
      );
      if (clash !== undefined) place('addresses').fail(`overlap ${clash} on the same router`);
    });
  });
  scenario.tenants.forEach((tenant, t) => {
    tenant.chains.forEach((chain, c) => {
      chain.rules.forEach((rule, r) => {
        withNames(rule, (text, path) => {
          if (idOfName(scenario, tenant, text) !== undefined) return text;
          return at('tenants', t, 'chains', c, 'rules', r, ...path).fail(`"${text}" is nothing that the tenant has`);
        });
      });
    });
  });
}

/** Subnets that the link's router has already: of its networks, and of links before this one. */
function subnetsBefore(
  scenario: Scenario,
  external: number,
  link: number,
  of: { readonly tenant: string; readonly router: string },
): string[] {
  const tenant = scenario.tenants.find((candidate) => candidate.name === of.tenant)!;
  const networks = tenant.networks.filter((network) => network.router === of.router);
  const links = scenario.externals.flatMap((other, e) =>
    other.links.filter((_, l) => e < external || (e === external && l < link)),
  );
  const same = links.filter((other) => other.tenant === of.tenant && other.router === of.router);
  return [...networks.flatMap((network) => network.gateway), ...same.flatMap((other) => other.addresses)];
}
