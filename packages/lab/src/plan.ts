/** A scenario made concrete: names, addresses and ids of everything that `up` will create. Pure. */
import { formatIp, networkOf, parseCidr, parseIp } from '@weft/topology';
import { LabError } from './errors.ts';
import { vmPortId } from './ids.ts';
import { fabricNamespace, hostNamespace, labUuid, requireLabName, tapName, vmNamespace } from './names.ts';
import { type LabPaths, labPaths } from './paths.ts';
import { type ExternalPlan, planExternals } from './plan-externals.ts';
import { type ManagementPlan, planManagement } from './plan-management.ts';
import { subnetOf } from './scenario/references.ts';
import type { Encapsulation, Scenario, Underlay, Vm, VmInterface } from './scenario/types.ts';

export type DatapathName = 'ebpf' | 'userspace';
/** One process with the store in it, or three servers of ZooKeeper. */
export type StoreName = 'embedded' | 'zookeeper';
/** Where hosts keep their connections: each on its disk, or all in one Cassandra. */
export type ArchiveName = 'embedded' | 'cassandra';

export interface LabOptions {
  /** Default: the scenario's name. */
  readonly name?: string | undefined;
  readonly encap?: Encapsulation | undefined;
  readonly underlay?: Underlay | undefined;
  /** Number of hosts; a scenario's hosts beyond it are folded onto the first ones. Default: as in the scenario. */
  readonly hosts?: number | undefined;
  readonly datapath?: DatapathName | undefined;
  /** Default: embedded. */
  readonly store?: StoreName | undefined;
  /** Default: embedded. */
  readonly archive?: ArchiveName | undefined;
}

/** MTU of every link of the underlay. */
export const UNDERLAY_MTU = 1500;

/** Bytes that a tunnel adds to an IP packet of a VM: outer IP, GRE with key or UDP and VXLAN, inner Ethernet. */
export function tunnelOverhead(encap: Encapsulation, underlay: Underlay): number {
  return (underlay === 'ipv4' ? 20 : 40) + (encap === 'gre' ? 8 : 16) + 14;
}

/** One of the two paths from a host into the fabric. */
export interface UnderlayLink {
  readonly hostInterface: string;
  readonly fabricInterface: string;
  readonly hostAddress4: string;
  readonly fabricAddress4: string;
  readonly hostAddress6: string;
  readonly fabricAddress6: string;
}

export interface HostPlan {
  readonly name: string;
  readonly id: string;
  readonly namespace: string;
  /** Addresses on the loopback, by which the fabric routes to the host over either link. */
  readonly tunnelAddress4: string;
  readonly tunnelAddress6: string;
  readonly links: readonly UnderlayLink[];
}

export interface VmInterfacePlan extends VmInterface {
  /** Unused without a network: the lab makes no port then. */
  readonly portId: string;
  /** Name in the host's namespace. */
  readonly tap: string;
  /** Name in the VM. */
  readonly device: string;
  /** With prefix length. */
  readonly cidrs: readonly string[];
  /** The router's addresses in the network; empty without a router. */
  readonly gateways: readonly string[];
}

/** Where a program can be run that others reach: a VM, or an outside network. */
export interface Place {
  readonly name: string;
  readonly namespace: string;
  readonly addresses: readonly string[];
}

export interface VmPlan extends Omit<Vm, 'interfaces' | 'mtu'>, Place {
  readonly tenant: string;
  readonly namespace: string;
  readonly mtu: number;
  readonly interfaces: readonly VmInterfacePlan[];
}

export interface LabPlan {
  readonly name: string;
  readonly encap: Encapsulation;
  readonly underlay: Underlay;
  readonly datapath: DatapathName;
  readonly paths: LabPaths;
  readonly fabric: string;
  readonly store: StoreName;
  readonly archive: ArchiveName;
  /** Undefined: there is nothing that hosts had to reach by a network. */
  readonly management: ManagementPlan | undefined;
  readonly zoneId: string;
  readonly hosts: readonly HostPlan[];
  readonly vms: readonly VmPlan[];
  readonly externals: readonly ExternalPlan[];
  readonly scenario: Scenario;
}

export function planLab(scenario: Scenario, options: LabOptions = {}): LabPlan {
  const name = requireLabName(options.name ?? scenario.name);
  const encap = oneOf('encap', options.encap ?? scenario.encap, ['gre', 'vxlan']);
  const underlay = oneOf('underlay', options.underlay ?? scenario.underlay, ['ipv4', 'ipv6']);
  const datapath = oneOf('datapath', options.datapath ?? 'ebpf', ['ebpf', 'userspace']);
  const store = oneOf('store', options.store ?? 'embedded', ['embedded', 'zookeeper']);
  const archive = oneOf('archive', options.archive ?? 'embedded', ['embedded', 'cassandra']);
  const hostNames = chooseHosts(scenario, options.hosts);
  const mtu = UNDERLAY_MTU - tunnelOverhead(encap, underlay);
  const hosts = hostNames.map((host, i) => planHost(name, host, i + 1));
  const hostOf = (host: string): string => hostNames[scenario.hosts.indexOf(host) % hostNames.length]!;
  const vms = scenario.tenants.flatMap((tenant) =>
    tenant.vms.map((vm): VmPlan => {
      const interfaces = vm.interfaces.map((iface, i) => {
        const named = {
          ...iface,
          portId: vmPortId(tenant.name, vm.name, i),
          tap: tapName(vm.name, i),
          device: `eth${i}`,
        };
        const network = tenant.networks.find((candidate) => candidate.name === iface.network);
        if (network === undefined) {
          const cidrs = iface.addresses.map((address, a) => `${address}/${iface.lengths[a]}`);
          return { ...named, cidrs, gateways: iface.gateway };
        }
        return {
          ...named,
          cidrs: iface.addresses.map((address) => withLength(address, subnetOf(address, network)!)),
          gateways: network.router === undefined ? [] : network.gateway.map((gateway) => gateway.split('/')[0]!),
        };
      });
      return {
        ...vm,
        tenant: tenant.name,
        namespace: vmNamespace(name, vm.name),
        host: hostOf(vm.host),
        mtu: vm.mtu ?? mtu,
        interfaces,
        addresses: interfaces.flatMap((iface) => iface.addresses),
      };
    }),
  );
  const paths = labPaths(name);
  return {
    name,
    encap,
    underlay,
    datapath,
    paths,
    fabric: fabricNamespace(name),
    store,
    archive,
    management: planManagement(name, paths, hosts, {
      servers: store === 'zookeeper',
      archive: archive === 'cassandra',
    }),
    zoneId: labUuid('zone'),
    hosts,
    vms,
    externals: planExternals(name, scenario.externals, hostOf),
    scenario,
  };
}

function chooseHosts(scenario: Scenario, count = scenario.hosts.length): string[] {
  if (!Number.isInteger(count) || count < 1 || count > 64) {
    throw new LabError('WEFT_LAB_OPTION', `--hosts takes a number from 1 to 64, not ${count}`);
  }
  const names = [...scenario.hosts].slice(0, count);
  for (let i = names.length + 1; names.length < count; i++) {
    if (!names.includes(`h${i}`)) names.push(`h${i}`);
  }
  return names;
}

function planHost(lab: string, name: string, number: number): HostPlan {
  const links = [0, 1].map(
    (link): UnderlayLink => ({
      hostInterface: `u${link}`,
      fabricInterface: `f-${number}-${link}`,
      fabricAddress4: `10.255.${number}.${4 * link + 1}`,
      hostAddress4: `10.255.${number}.${4 * link + 2}`,
      fabricAddress6: `fd00:ffff:${number.toString(16)}:${link}::1`,
      hostAddress6: `fd00:ffff:${number.toString(16)}:${link}::2`,
    }),
  );
  return {
    name,
    id: labUuid('host', name),
    namespace: hostNamespace(lab, name),
    tunnelAddress4: `10.254.0.${number}`,
    tunnelAddress6: `fd00:fffe::${number.toString(16)}`,
    links,
  };
}

export function tunnelAddress(plan: Pick<LabPlan, 'underlay'>, host: HostPlan): string {
  return plan.underlay === 'ipv4' ? host.tunnelAddress4 : host.tunnelAddress6;
}

function withLength(address: string, subnet: string): string {
  return `${address}/${parseCidr(subnet)!.length}`;
}

/** The subnet that an address with prefix length lies in: `10.1.0.1/24` gives `10.1.0.0/24`. */
export function subnetOfCidr(cidr: string): string {
  const parsed = networkOf(parseCidr(cidr)!);
  return `${formatIp(parsed.bytes)}/${parsed.length}`;
}

export function familyOf(address: string): 4 | 6 {
  return parseIp(address)!.length === 4 ? 4 : 6;
}

function oneOf<T extends string>(option: string, value: string, choices: readonly T[]): T {
  if (choices.includes(value as T)) return value as T;
  throw new LabError('WEFT_LAB_OPTION', `--${option} takes one of ${choices.join(', ')}, not "${value}"`);
}
