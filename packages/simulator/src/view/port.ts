/** Port object → SimPort. */
import { TAG_PORT_GROUPS, tag } from '@weft/flow';
import { cidrParse, linkLocalFromMac, macParse, prefixMatches } from '@weft/packet';
import { hasPortSecurity, type Port, securityInChainId, securityOutChainId } from '@weft/topology';
import { PORT_BRIDGE, PORT_ROUTER, type SimPort } from '../contract.ts';
import type { Handles } from './handles.ts';

/** Stands for a change of any port's groups. */
export const ANY_PORT_GROUPS_TAG = tag(TAG_PORT_GROUPS);

const NO_BYTES = new Uint8Array(0);
const NO_MAC = new Uint8Array(6);

/** Compiles a port; undefined if the value is none (neither of a bridge nor of a router). */
export function compilePort(value: Record<string, unknown>, handles: Handles): SimPort | undefined {
  const port = value as Partial<Port> & { id: string };
  const device = port.bridgeId ?? port.routerId;
  if (device === undefined) return undefined;
  const router = port.bridgeId === undefined;
  const mac = router && port.portMac ? macParse(port.portMac) : NO_MAC;
  const secured = hasPortSecurity(port);
  const own = router ? ownAddresses(port.portSubnet ?? [], mac) : { addresses: NO_BYTES, prefixes: NO_BYTES };
  // A binding wins over a link: the model never has both.
  const bound = port.hostId !== undefined && port.interfaceName !== undefined;
  return {
    handle: handles.of(port.id),
    id: port.id,
    kind: router ? PORT_ROUTER : PORT_BRIDGE,
    device: handles.of(device),
    adminUp: port.adminStateUp !== false,
    peer: bound ? 0 : handles.of(port.peerId ?? ''),
    hostId: bound ? port.hostId! : '',
    interfaceName: bound ? port.interfaceName! : '',
    tunnelKey: port.tunnelKey ?? 0,
    inFilter: handles.of(port.inboundFilterId ?? ''),
    outFilter: handles.of(port.outboundFilterId ?? ''),
    securityIn: secured ? handles.of(securityInChainId(port.id)) : 0,
    securityOut: secured ? handles.of(securityOutChainId(port.id)) : 0,
    vlan: router ? 0 : (port.vlanId ?? 0),
    mac,
    addresses: own.addresses,
    prefixes: own.prefixes,
    groups: Int32Array.from(port.portGroupIds ?? [], (group) => handles.of(group)).sort(),
  };
}

/** `isFiltered` of the stored object. */
export function isFilteredPort(port: Pick<Port, 'outboundFilterId' | 'deviceType' | 'portSecurityEnabled'>): boolean {
  return port.outboundFilterId !== undefined || hasPortSecurity(port);
}

/** The configured addresses in their order, then the link-local one that every IPv6 interface has (RFC 4291 §2.1). */
function ownAddresses(subnets: readonly string[], mac: Uint8Array): { addresses: Uint8Array; prefixes: Uint8Array } {
  const addresses = new Uint8Array((subnets.length + 1) * 16);
  const prefixes = new Uint8Array(subnets.length + 1);
  subnets.forEach((text, i) => {
    const cidr = cidrParse(text, 'keep');
    addresses.set(cidr.ip, i * 16);
    prefixes[i] = cidr.bits;
  });
  addresses.set(linkLocalFromMac(mac), subnets.length * 16);
  prefixes[subnets.length] = 64;
  return { addresses, prefixes };
}

/** Whether a port is in the same groups as before. A port that is not there is in none. */
export function sameGroups(a: SimPort | undefined, b: SimPort | undefined): boolean {
  return String(a?.groups ?? '') === String(b?.groups ?? '');
}

/** Whether nothing differs that anyone could decide on, but for its groups. Handles stand for ids. */
export function samePort(a: SimPort | undefined, b: SimPort | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.kind === b.kind &&
    a.device === b.device &&
    a.adminUp === b.adminUp &&
    a.peer === b.peer &&
    a.hostId === b.hostId &&
    a.interfaceName === b.interfaceName &&
    a.tunnelKey === b.tunnelKey &&
    a.inFilter === b.inFilter &&
    a.outFilter === b.outFilter &&
    a.securityIn === b.securityIn &&
    a.securityOut === b.securityOut &&
    a.vlan === b.vlan &&
    sameBytes(a.mac, b.mac) &&
    sameBytes(a.addresses, b.addresses) &&
    sameBytes(a.prefixes, b.prefixes)
  );
}

/** Whether a known port has the filters that it had. One that comes or goes is no change of filters. */
export function sameFilters(a: SimPort | undefined, b: SimPort | undefined): boolean {
  if (a === undefined || b === undefined) return true;
  return (
    a.inFilter === b.inFilter &&
    a.outFilter === b.outFilter &&
    a.securityIn === b.securityIn &&
    a.securityOut === b.securityOut
  );
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Index in `port.addresses` of the address at `offset`, or -1. */
export function ownAddress(port: SimPort, bytes: Uint8Array, offset: number): number {
  const { addresses } = port;
  for (let at = 0; at < addresses.length; at += 16) {
    let i = 15;
    while (i >= 0 && addresses[at + i] === bytes[offset + i]) i--;
    if (i < 0) return at >> 4;
  }
  return -1;
}

/** Index in `port.addresses` of the first address whose subnet holds the address at `offset`, or -1. */
export function ownSubnet(port: SimPort, bytes: Uint8Array, offset: number): number {
  const { addresses, prefixes } = port;
  for (let n = 0; n < prefixes.length; n++) {
    if (prefixMatches(addresses, n * 16, bytes, offset, prefixes[n])) return n;
  }
  return -1;
}
