/** A scenario: what a lab consists of and what must hold in it. Read from YAML by `parse.ts`. */
import type { Reader } from './reader.ts';

export type Encapsulation = 'gre' | 'vxlan';
export type Underlay = 'ipv4' | 'ipv6';

export interface Scenario {
  /** Default name of the lab. */
  readonly name: string;
  readonly encap: Encapsulation;
  readonly underlay: Underlay;
  readonly hosts: readonly string[];
  readonly tenants: readonly Tenant[];
  readonly externals: readonly External[];
  /** Fields added to every agent's configuration. */
  readonly agent: Readonly<Record<string, unknown>>;
  readonly checks: readonly CheckSpec[];
}

export interface Tenant {
  readonly name: string;
  readonly chains: readonly ScenarioChain[];
  readonly routers: readonly ScenarioRouter[];
  readonly networks: readonly Network[];
  readonly vms: readonly Vm[];
}

export interface ScenarioChain {
  readonly name: string;
  /** Rules in order, with the field names of the REST API. */
  readonly rules: readonly Readonly<Record<string, unknown>>[];
}

export interface ScenarioRouter {
  readonly name: string;
  readonly inboundFilter: string | undefined;
  readonly outboundFilter: string | undefined;
  readonly routes: readonly ScenarioRoute[];
}

export interface ScenarioRoute {
  readonly dst: string;
  readonly src: string | undefined;
  readonly type: 'normal' | 'blackhole' | 'reject';
  /** Next router, in a network of this router; only in normal routes. */
  readonly via: string | undefined;
  readonly weight: number;
}

/** A bridge, and the router port on it. */
export interface Network {
  readonly name: string;
  /** Router of the same tenant that serves the network, if any. */
  readonly router: string | undefined;
  /** With a router its addresses in this network, else only the subnets: `10.1.0.1/24`, `fd00:1::1/64`. */
  readonly gateway: readonly string[];
  readonly inboundFilter: string | undefined;
  readonly outboundFilter: string | undefined;
}

export interface Vm {
  /** Unique in the whole scenario; also the name of its interface on the host. */
  readonly name: string;
  readonly host: string;
  readonly interfaces: readonly VmInterface[];
  /** Routes besides the default ones, in the words of `ip route`: `10.2.0.0/24 via 10.1.0.9`. */
  readonly routes: readonly string[];
  /** The VM forwards packets between its interfaces. */
  readonly forward: boolean;
  /** IP MTU, or undefined: what the tunnels carry. */
  readonly mtu: number | undefined;
}

export interface VmInterface {
  /** Empty: the interface is there, but belongs to no network yet; whoever uses the lab makes port and binding. */
  readonly network: string;
  readonly mac: string;
  readonly addresses: readonly string[];
  /** Without a network: prefix lengths of the addresses, in their order, and the routers that the VM believes in. */
  readonly lengths: readonly number[];
  readonly gateway: readonly string[];
  /** The bridge is told MAC and addresses when the VM is made, as a cloud platform does. Else it has to learn them. */
  readonly known: boolean;
  readonly inboundFilter: string | undefined;
  readonly outboundFilter: string | undefined;
}

/** A network outside of the cloud: a namespace of its own, which routes and answers like the internet would. */
export interface External {
  readonly name: string;
  /** Its own, on its loopback. */
  readonly addresses: readonly string[];
  /** It passes packets on, between its links and to networks behind it. */
  readonly forward: boolean;
  /** Outside network that this one is reached through; it has no links of its own then. */
  readonly behind: string | undefined;
  /** IP MTU of its links. */
  readonly mtu: number;
  readonly links: readonly ExternalLink[];
  /** Ways back into the cloud. Of several with one destination the first counts whose link is up. */
  readonly routes: readonly ExternalRoute[];
}

/** A wire between a gateway host and an outside network: at the cloud's end it is a port of a router. */
export interface ExternalLink {
  readonly host: string;
  readonly tenant: string;
  readonly router: string;
  /** The router's, with prefix length. */
  readonly addresses: readonly string[];
  /** Those of the far end: at most one per IP version, each in a subnet of `addresses`. */
  readonly peer: readonly string[];
  /** The router has default routes by this link. */
  readonly default: boolean;
}

export interface ExternalRoute {
  readonly dst: string;
  /** Numbers of links; several share the flows. */
  readonly via: readonly number[];
}

/** One thing to verify. What its fields mean is the affair of its kind (`../checks/`), which reads them from `reader`. */
export interface CheckSpec {
  readonly name: string;
  readonly kind: string;
  readonly reader: Reader;
}

export function allVms(scenario: Scenario): Vm[] {
  return scenario.tenants.flatMap((tenant) => tenant.vms);
}
