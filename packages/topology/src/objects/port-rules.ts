/** Constraints on a port: alone, and with its host, its peer and the other ports of its router. */
import { type Cidr, formatIp, isAssignableIp, isLinkLocalIpv6, networkOf, overlaps, parseCidr } from '../ip.ts';
import { isAssignableMac } from '../mac.ts';
import type { Lookup, ObjectValue, Problem, Violation } from '../spec.ts';
import { checkPortSecurity, PORT_SECURITY_FIELDS } from './port-security.ts';

export function checkPort(port: ObjectValue): Violation[] {
  const violations: Violation[] = [];
  const refuse = (property: string, message: string) => violations.push({ property, message });
  const onRouter = port.deviceType === 'router';

  const [own, other] = onRouter ? ['routerId', 'bridgeId'] : ['bridgeId', 'routerId'];
  if (port[own!] === undefined) refuse(own!, `is required in a port of a ${port.deviceType}`);
  for (const field of [other!, ...(onRouter ? ['vlanId', ...PORT_SECURITY_FIELDS] : ['portMac', 'portSubnet'])]) {
    if (port[field] !== undefined) refuse(field, `is not allowed in a port of a ${port.deviceType}`);
  }
  if ((port.hostId === undefined) !== (port.interfaceName === undefined)) {
    const missing = port.hostId === undefined ? 'hostId' : 'interfaceName';
    refuse(missing, 'hostId and interfaceName belong together: set both or none');
  }
  if (port.hostId !== undefined && port.peerId !== undefined) {
    refuse('peerId', 'a port is bound to a host or linked to a peer, not both');
  }
  if ((port.nextHostId === undefined) !== (port.nextInterfaceName === undefined)) {
    const missing = port.nextHostId === undefined ? 'nextHostId' : 'nextInterfaceName';
    refuse(missing, 'nextHostId and nextInterfaceName belong together: set both or none');
  }
  if (port.nextHostId !== undefined && port.hostId === undefined) {
    refuse('nextHostId', 'a port that is bound to no host moves to none: bind it');
  }
  if (port.nextHostId !== undefined && port.nextHostId === port.hostId) {
    refuse('nextHostId', 'is the host that the port is bound to');
  }
  if (port.peerId !== undefined && port.peerId === port.id) refuse('peerId', 'a port cannot be its own peer');
  if (port.interfaceName === '.' || port.interfaceName === '..') {
    refuse('interfaceName', 'is not a name that Linux gives to an interface');
  }
  if (onRouter) {
    if (!isAssignableMac(port.portMac as string)) refuse('portMac', 'must be a unicast MAC address other than zero');
    checkAddresses(port.portSubnet as string[], refuse);
  } else checkPortSecurity(port, refuse);
  return violations;
}

function checkAddresses(subnets: readonly string[], refuse: (property: string, message: string) => void): void {
  const seen = new Set<string>();
  for (const [i, text] of subnets.entries()) {
    const cidr = parseCidr(text)!;
    const address = formatIp(cidr.bytes);
    if (seen.has(address)) refuse(`portSubnet.${i}`, `repeats the address ${address}`);
    seen.add(address);
    if (!isAssignableIp(cidr.bytes)) refuse(`portSubnet.${i}`, 'must be an address that an interface can own');
    else if (isSubnetReserved(cidr)) {
      refuse(`portSubnet.${i}`, "must not be the subnet's own or broadcast address; give the port's address in it");
    }
  }
}

/** The all-zeros host (IPv6: the subnet-router anycast, RFC 4291) and, in IPv4, the broadcast; /31, /127 and longer have none. */
function isSubnetReserved(cidr: Cidr): boolean {
  const bits = cidr.bytes.length * 8;
  if (cidr.length >= bits - 1) return false;
  const network = networkOf(cidr).bytes;
  if (cidr.bytes.every((byte, i) => byte === network[i])) return true;
  if (cidr.family === 6) return false;
  return cidr.bytes.every((byte, i) => byte === (network[i]! | hostMaskByte(cidr.length, i)));
}

function hostMaskByte(length: number, index: number): number {
  return 0xff >> Math.min(8, Math.max(0, length - 8 * index));
}

export async function checkPortNeighbours(
  port: ObjectValue,
  lookup: Lookup,
  previous: ObjectValue | undefined,
): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const field of ['hostId', 'nextHostId']) {
    if (port[field] === undefined || port[field] === previous?.[field]) continue;
    problems.push(...(await checkHost(port[field] as string, field, lookup)));
  }
  if (port.peerId !== undefined && (port.peerId !== previous?.peerId || port.vlanId !== previous?.vlanId)) {
    problems.push(...(await checkPeer(port, lookup)));
  }
  if (port.deviceType === 'router') problems.push(...(await checkSubnets(port, lookup, previous)));
  return problems;
}

async function checkHost(hostId: string, property: string, lookup: Lookup): Promise<Problem[]> {
  const zones = await lookup.referrers('TunnelZoneHost', 'hostId', hostId);
  if (zones.length > 0) return [];
  const message = `host ${hostId} is in no tunnel zone; add it to one before binding ports to it`;
  return [{ code: 'WEFT_HOST_NOT_IN_TUNNEL_ZONE', property, message }];
}

async function checkPeer(port: ObjectValue, lookup: Lookup): Promise<Problem[]> {
  const peer = await lookup.get('Port', port.peerId as string);
  if (!peer) return [];
  const problem = (code: string, message: string): Problem[] => [{ code, property: 'peerId', message }];
  if (peer.hostId !== undefined) {
    return problem('WEFT_PORT_BOUND', `port ${peer.id} is bound to host ${peer.hostId}; unbind it before linking it`);
  }
  if (peer.peerId !== undefined && peer.peerId !== port.id) {
    return problem('WEFT_PORT_LINKED', `port ${peer.id} is linked to port ${peer.peerId}; unlink it first`);
  }
  const device = port.bridgeId ?? port.routerId;
  if (device === (peer.bridgeId ?? peer.routerId)) {
    return problem('WEFT_LINK_NOT_ALLOWED', `ports ${port.id} and ${peer.id} belong to the same device`);
  }
  if (port.deviceType === 'bridge' && peer.deviceType === 'bridge') {
    if ((port.vlanId === undefined) === (peer.vlanId === undefined)) {
      return problem('WEFT_LINK_NOT_ALLOWED', 'of two linked bridge ports exactly one must have a vlanId');
    }
  }
  return [];
}

/** Two ports in one subnet would make the way out a matter of chance. Link-local prefixes are the same on every link. */
async function checkSubnets(port: ObjectValue, lookup: Lookup, previous: ObjectValue | undefined): Promise<Problem[]> {
  const before = new Set((previous?.portSubnet ?? []) as string[]);
  const added = (port.portSubnet as string[]).filter((text) => !before.has(text) && !isLinkLocal(text));
  if (added.length === 0) return [];
  const problems: Problem[] = [];
  for (const id of await lookup.referrers('Port', 'routerId', port.routerId as string)) {
    if (id === port.id) continue;
    const other = await lookup.get('Port', id);
    for (const theirs of (other?.portSubnet ?? []) as string[]) {
      const clash = isLinkLocal(theirs)
        ? undefined
        : added.find((ours) => overlaps(parseCidr(ours)!, parseCidr(theirs)!));
      if (clash) {
        problems.push({
          code: 'WEFT_SUBNET_OVERLAP',
          property: 'portSubnet',
          message: `${clash} overlaps ${theirs} of port ${id} on the same router`,
        });
      }
    }
  }
  return problems;
}

function isLinkLocal(text: string): boolean {
  return isLinkLocalIpv6(parseCidr(text)!.bytes);
}
