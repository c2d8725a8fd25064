/** All object types. To add one: a file here, a line below, and (for the REST API) a row in `api`'s table of resources. */
import type { ObjectSpec } from '../spec.ts';
import { type Account, AccountSpec, type AuthToken, AuthTokenSpec } from './account.ts';
import { type Bridge, BridgeSpec } from './bridge.ts';
import { type Chain, ChainSpec } from './chain.ts';
import { type Host, HostSpec } from './host.ts';
import { type IpAddrGroup, IpAddrGroupSpec } from './ip-addr-group.ts';
import { type LoggingResource, LoggingResourceSpec } from './logging-resource.ts';
import { type Port, PortSpec } from './port.ts';
import { type PortGroup, PortGroupSpec } from './port-group.ts';
import { type Route, RouteSpec } from './route.ts';
import { type Router, RouterSpec } from './router.ts';
import { type Rule, RuleSpec } from './rule.ts';
import { type RuleLogger, RuleLoggerSpec } from './rule-logger.ts';
import { type SecurityGroup, SecurityGroupSpec } from './security-group.ts';
import { type TunnelZone, TunnelZoneSpec } from './tunnel-zone.ts';
import { type TunnelZoneHost, TunnelZoneHostSpec } from './tunnel-zone-host.ts';

/** From the name of an object type to its TypeScript type. */
export interface ObjectTypes {
  Host: Host;
  TunnelZone: TunnelZone;
  TunnelZoneHost: TunnelZoneHost;
  Bridge: Bridge;
  Router: Router;
  Port: Port;
  Route: Route;
  Chain: Chain;
  Rule: Rule;
  PortGroup: PortGroup;
  IpAddrGroup: IpAddrGroup;
  SecurityGroup: SecurityGroup;
  RuleLogger: RuleLogger;
  LoggingResource: LoggingResource;
  Account: Account;
  AuthToken: AuthToken;
}

export type TypeName = keyof ObjectTypes;

export const OBJECT_TYPES: Readonly<Record<TypeName, ObjectSpec>> = {
  Host: HostSpec,
  TunnelZone: TunnelZoneSpec,
  TunnelZoneHost: TunnelZoneHostSpec,
  Bridge: BridgeSpec,
  Router: RouterSpec,
  Port: PortSpec,
  Route: RouteSpec,
  Chain: ChainSpec,
  Rule: RuleSpec,
  PortGroup: PortGroupSpec,
  IpAddrGroup: IpAddrGroupSpec,
  SecurityGroup: SecurityGroupSpec,
  RuleLogger: RuleLoggerSpec,
  LoggingResource: LoggingResourceSpec,
  Account: AccountSpec,
  AuthToken: AuthTokenSpec,
};

export function isTypeName(name: string): name is TypeName {
  return Object.hasOwn(OBJECT_TYPES, name);
}
