export { type Checked, checkObject } from './check.ts';
export { type Condition, conditionFields, FRAGMENT_POLICIES } from './condition.ts';
export { ERRORS, TopologyError, type TopologyErrorCode } from './errors.ts';
export { FORMATS, type FormatName } from './formats.ts';
export { canonicalUuid, derivedUuid, tunnelZoneHostId } from './ids.ts';
export {
  type Cidr,
  canonicalAddressWithPrefix,
  canonicalIp,
  canonicalSubnet,
  formatCidr,
  formatIp,
  type IpFamily,
  networkOf,
  overlaps,
  parseCidr,
  parseIp,
} from './ip.ts';
export { canonicalMac, isAssignableMac, linkLocalOf, ROUTER_PORT_MAC_PREFIX } from './mac.ts';
export { ACCOUNT_ROLES, type Account, type AccountRole, type AuthToken } from './objects/account.ts';
export type { Bridge } from './objects/bridge.ts';
export type { Chain } from './objects/chain.ts';
export type { DerivedChain } from './objects/derived-chain.ts';
export type { Host } from './objects/host.ts';
export { isTypeName, OBJECT_TYPES, type ObjectTypes, type TypeName } from './objects/index.ts';
export { canonicalGroupMember, groupTable, type IpAddrGroup } from './objects/ip-addr-group.ts';
export type { LoggingResource } from './objects/logging-resource.ts';
export { type BridgePort, isBridgePort, isRouterPort, type Port, type RouterPort } from './objects/port.ts';
export type { PortGroup } from './objects/port-group.ts';
export {
  hasPortSecurity,
  PORT_SECURITY_FIELDS,
  portSecurityChains,
  securityInChainId,
  securityOutChainId,
} from './objects/port-security.ts';
export type { Route } from './objects/route.ts';
export type { Router } from './objects/router.ts';
export { RULE_TYPES, type Rule } from './objects/rule.ts';
export type { RuleLogger } from './objects/rule-logger.ts';
export { isNatType, NAT_TYPES, type NatTarget, type NatType } from './objects/rule-nat.ts';
export type { SecurityGroup } from './objects/security-group.ts';
export {
  type SecurityGroupRule,
  securityGroupAddressesId,
  securityGroupChainId,
} from './objects/security-group-chains.ts';
export type { TunnelZone } from './objects/tunnel-zone.ts';
export type { TunnelZoneHost } from './objects/tunnel-zone-host.ts';
export * from './operations.ts';
export type {
  DerivedObject,
  Lookup,
  ObjectRules,
  ObjectSpec,
  ObjectValue,
  OnTargetDelete,
  Problem,
  Random,
  Reference,
  TableKey,
  Unique,
  Violation,
} from './spec.ts';
export { applyDefaults, type Validated, type ValidateOptions, validateObject } from './validate.ts';
