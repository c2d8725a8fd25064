/**
 * The table of resources: where each object type lives below the root, what can be done to it, and how it is linked to
 * others. Routes, root document, links and OpenAPI are generated from it; a new object type is a new row.
 */
import type { TypeName } from '@weft/topology';
import { type Dialect, PORT_DIALECT, ROUTE_DIALECT, RULE_DIALECT } from './dialects.ts';

/** create (POST to the collection), list, get, update (PUT), delete. */
type Verb = 'C' | 'L' | 'G' | 'U' | 'D';

/** Place below another resource, e.g. the ports below a bridge: `/bridges/{id}/ports`. */
export interface Place {
  readonly parent: TypeName;
  readonly segment: string;
  /** Reference of the object that names the parent. */
  readonly field: string;
  readonly verbs: readonly Verb[];
}

export interface Resource {
  readonly type: TypeName;
  /** Name in media types, and its versions, newest first. */
  readonly media: string;
  readonly versions: readonly number[];
  /** Further names in media types. */
  readonly alsoMedia?: readonly string[];
  /** Name in the root document; its plural names the collection. */
  readonly name: string;
  readonly plural: string;
  /** Collection below the root; absent: found below its parent only. */
  readonly path?: string;
  readonly verbs: readonly Verb[];
  readonly places: readonly Place[];
  /** Query parameter → field, compared for equality in lists. */
  readonly filters: Readonly<Record<string, string>>;
  /** Query parameter → the object that it names, and that object's field with the ids to list. */
  readonly listedBy?: Readonly<Record<string, { readonly type: TypeName; readonly field: string }>>;
  /** Kept by the system: input is ignored, the stored value stays. */
  readonly managed: readonly string[];
  /** A PUT that leaves these out keeps what is stored. */
  readonly kept: readonly string[];
  /** The same, but null takes it away: what clients that do not know the field must not lose. */
  readonly keptUnlessNull?: readonly string[];
  /** Link name → reference field: points to the referenced object. */
  readonly links: Readonly<Record<string, string>>;
  /** Link name → path below the object itself. */
  readonly below: Readonly<Record<string, string>>;
  readonly dialect?: Dialect;
}

const CLGUD: readonly Verb[] = ['C', 'L', 'G', 'U', 'D'];

const FILTERS = { inboundFilter: 'inboundFilterId', outboundFilter: 'outboundFilterId' };

export const RESOURCES: readonly Resource[] = [
  {
    type: 'Bridge',
    media: 'Bridge',
    versions: [5, 4],
    name: 'bridge',
    plural: 'bridges',
    path: 'bridges',
    verbs: CLGUD,
    places: [],
    filters: { tenant_id: 'tenantId', name: 'name' },
    managed: ['tunnelKey'],
    kept: [],
    links: FILTERS,
    below: {
      ports: 'ports',
      peerPorts: 'peer_ports',
      macTable: 'mac_table',
      macPortTemplate: 'mac_table/{macAddress}_{portId}',
      vlanMacTableTemplate: 'vlans/{vlanId}/mac_table',
      vlanMacPortTemplate: 'vlans/{vlanId}/mac_table/{macAddress}_{portId}',
      arpTable: 'arp_table',
    },
  },
  {
    type: 'Router',
    media: 'Router',
    versions: [3],
    name: 'router',
    plural: 'routers',
    path: 'routers',
    verbs: CLGUD,
    places: [],
    filters: { tenant_id: 'tenantId', name: 'name' },
    managed: [],
    kept: [],
    links: { ...FILTERS, localRedirectChain: 'localRedirectChainId', forwardChain: 'forwardChainId' },
    below: { ports: 'ports', peerPorts: 'peer_ports', routes: 'routes', arpTable: 'arp_table' },
  },
  {
    type: 'Port',
    media: 'Port',
    versions: [4, 3],
    name: 'port',
    plural: 'ports',
    path: 'ports',
    verbs: ['L', 'G', 'U', 'D'],
    places: [
      { parent: 'Bridge', segment: 'ports', field: 'bridgeId', verbs: ['C', 'L'] },
      { parent: 'Router', segment: 'ports', field: 'routerId', verbs: ['C', 'L'] },
    ],
    filters: {},
    managed: ['tunnelKey', 'peerId', 'previousHostId', 'nextHostId', 'nextInterfaceName'],
    kept: ['deviceType', 'bridgeId', 'routerId', 'portMac', 'portGroupIds'],
    keptUnlessNull: ['portSecurityEnabled', 'securityGroupIds', 'macAddress', 'fixedIps', 'allowedAddressPairs'],
    links: { ...FILTERS, bridge: 'bridgeId', router: 'routerId', host: 'hostId', peer: 'peerId' },
    below: { link: 'link', portGroups: 'port_groups', securityChains: 'security_chains', migration: 'migration' },
    dialect: PORT_DIALECT,
  },
  {
    type: 'Route',
    media: 'Route',
    versions: [1],
    name: 'route',
    plural: 'routes',
    path: 'routes',
    verbs: ['G', 'D'],
    places: [{ parent: 'Router', segment: 'routes', field: 'routerId', verbs: ['C', 'L'] }],
    filters: {},
    managed: ['learned'],
    kept: [],
    links: { router: 'routerId', nextHopPortLink: 'nextHopPort' },
    below: {},
    dialect: ROUTE_DIALECT,
  },
  {
    type: 'Chain',
    media: 'Chain',
    versions: [1],
    name: 'chain',
    plural: 'chains',
    path: 'chains',
    verbs: ['C', 'L', 'G', 'D'],
    places: [],
    filters: { tenant_id: 'tenantId', name: 'name' },
    managed: ['ruleIds', 'securityGroupId', 'securityPortId'],
    kept: [],
    links: { securityGroup: 'securityGroupId', securityPort: 'securityPortId' },
    below: { rules: 'rules', ruleLoggers: 'rule_loggers' },
  },
  {
    type: 'Rule',
    media: 'Rule',
    versions: [2],
    name: 'rule',
    plural: 'rules',
    path: 'rules',
    verbs: ['G', 'D'],
    places: [{ parent: 'Chain', segment: 'rules', field: 'chainId', verbs: ['C', 'L'] }],
    filters: {},
    managed: [],
    kept: [],
    links: { chain: 'chainId', jumpChain: 'jumpChainId' },
    below: {},
    dialect: RULE_DIALECT,
  },
  {
    type: 'PortGroup',
    media: 'PortGroup',
    versions: [1],
    name: 'portGroup',
    plural: 'portGroups',
    path: 'port_groups',
    verbs: CLGUD,
    places: [],
    filters: { tenant_id: 'tenantId', name: 'name' },
    listedBy: { port_id: { type: 'Port', field: 'portGroupIds' } },
    managed: [],
    kept: [],
    links: {},
    below: { ports: 'ports' },
  },
  {
    type: 'IpAddrGroup',
    media: 'IpAddrGroup',
    versions: [1],
    name: 'ipAddrGroup',
    plural: 'ipAddrGroups',
    path: 'ip_addr_groups',
    verbs: CLGUD,
    places: [],
    filters: { tenant_id: 'tenantId', name: 'name' },
    managed: ['securityGroupId'],
    kept: [],
    links: { securityGroup: 'securityGroupId' },
    below: { addrs: 'ip_addrs' },
  },
  {
    type: 'SecurityGroup',
    media: 'SecurityGroup',
    versions: [1],
    name: 'securityGroup',
    plural: 'securityGroups',
    path: 'security_groups',
    verbs: CLGUD,
    places: [],
    filters: { tenant_id: 'tenantId', name: 'name' },
    listedBy: { port_id: { type: 'Port', field: 'securityGroupIds' } },
    managed: ['remoteGroupIds'],
    kept: ['rules'],
    links: {},
    below: {},
  },
  {
    type: 'LoggingResource',
    media: 'LoggingResource',
    versions: [1],
    name: 'loggingResource',
    plural: 'loggingResources',
    path: 'logging_resources',
    verbs: CLGUD,
    places: [],
    filters: {},
    managed: [],
    kept: [],
    links: {},
    below: { ruleLoggers: 'rule_loggers' },
  },
  {
    type: 'RuleLogger',
    media: 'RuleLogger',
    versions: [1],
    name: 'ruleLogger',
    plural: 'ruleLoggers',
    path: 'rule_loggers',
    verbs: CLGUD,
    places: [
      { parent: 'Chain', segment: 'rule_loggers', field: 'chainId', verbs: ['C', 'L'] },
      { parent: 'LoggingResource', segment: 'rule_loggers', field: 'loggingResourceId', verbs: ['L'] },
    ],
    filters: {},
    managed: [],
    kept: ['loggingResourceId', 'event'],
    links: { chain: 'chainId', loggingResource: 'loggingResourceId' },
    below: {},
  },
  {
    type: 'Host',
    media: 'Host',
    versions: [3],
    name: 'host',
    plural: 'hosts',
    path: 'hosts',
    verbs: ['L', 'G', 'U', 'D'],
    places: [],
    filters: { name: 'name' },
    managed: [],
    kept: ['name'],
    links: {},
    below: { ports: 'ports', interfaces: 'interfaces' },
  },
  {
    type: 'TunnelZone',
    media: 'TunnelZone',
    versions: [1],
    name: 'tunnelZone',
    plural: 'tunnelZones',
    path: 'tunnel_zones',
    verbs: CLGUD,
    places: [],
    filters: { name: 'name' },
    managed: [],
    kept: ['type'],
    links: {},
    below: { hosts: 'hosts' },
  },
  {
    type: 'TunnelZoneHost',
    media: 'TunnelZoneHost',
    versions: [1],
    alsoMedia: ['GreTunnelZoneHost'],
    name: 'tunnelZoneHost',
    plural: 'tunnelZoneHosts',
    verbs: [],
    places: [{ parent: 'TunnelZone', segment: 'hosts', field: 'tunnelZoneId', verbs: ['C', 'L', 'G', 'D'] }],
    filters: {},
    managed: [],
    kept: [],
    links: { host: 'hostId', tunnelZone: 'tunnelZoneId' },
    below: {},
  },
];

const BY_TYPE = new Map(RESOURCES.map((resource) => [resource.type, resource]));

export function resourceOf(type: TypeName): Resource {
  return BY_TYPE.get(type)!;
}
