/** Ids of the virtual objects that the lab makes: each follows from names. */
import { labUuid } from './names.ts';

export const chainId = (tenant: string, name: string): string => labUuid('chain', tenant, name);
export const routerId = (tenant: string, name: string): string => labUuid('router', tenant, name);
export const bridgeId = (tenant: string, network: string): string => labUuid('bridge', tenant, network);
/** Router port that serves a network. */
export const gatewayPortId = (tenant: string, network: string): string => labUuid('gateway', tenant, network);
/** Bridge port at the other end of the gateway port's link. */
export const uplinkPortId = (tenant: string, network: string): string => labUuid('uplink', tenant, network);
/** Bridge port of a VM's interface. */
export const vmPortId = (tenant: string, vm: string, index: number): string =>
  labUuid('port', tenant, vm, String(index));
/** Router port at a gateway host, towards an outside network. */
export const externalPortId = (external: string, link: number): string => labUuid('external', external, String(link));
/** Port group of all router ports towards an outside network. */
export const externalGroupId = (external: string): string => labUuid('external-group', external);
