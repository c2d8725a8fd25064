/**
 * A port of a bridge or a router. It is *exterior* when bound to a host's interface (`hostId` + `interfaceName`),
 * *interior* when linked to another port (`peerId`), else unplugged.
 */
import Type, { type Static } from 'typebox';
import { adminStateUp, formatted, id, ref, refs, tunnelKey } from '../fields.ts';
import { routerPortMac } from '../mac.ts';
import { defineObject } from '../spec.ts';
import { localRoutes } from './port-routes.ts';
import { checkPort, checkPortNeighbours } from './port-rules.ts';
import { portSecurityFields, securityGroupMembers } from './port-security.ts';

const PortSchema = Type.Object(
  {
    id: id(),
    deviceType: Type.Enum(['bridge', 'router'], { description: 'Follows from bridgeId or routerId when absent' }),
    bridgeId: Type.Optional(ref('Bridge', 'cascade')),
    routerId: Type.Optional(ref('Router', 'cascade')),
    adminStateUp: adminStateUp(),
    tunnelKey: Type.Optional(tunnelKey('Marks the frames for this port in tunnels')),
    inboundFilterId: Type.Optional(ref('Chain', 'clear', 'Chain that packets pass when they enter by this port')),
    outboundFilterId: Type.Optional(ref('Chain', 'clear', 'Chain that packets pass when they leave by this port')),
    hostId: Type.Optional(ref('Host', 'refuse', 'Host that the port is bound to')),
    interfaceName: Type.Optional(
      Type.String({
        // IFNAMSIZ of Linux is 16 with the final zero.
        maxLength: 15,
        pattern: '^[^/:\\s\\u0000]+$',
        description: 'Network interface of the host that the port is bound to',
      }),
    ),
    previousHostId: Type.Optional(ref('Host', 'clear', 'Host that the port was bound to before it moved')),
    nextHostId: Type.Optional(ref('Host', 'refuse', 'Host that the port is about to move to')),
    nextInterfaceName: Type.Optional(
      Type.String({
        maxLength: 15,
        pattern: '^[^/:\\s\\u0000]+$',
        description: 'Network interface of that host',
      }),
    ),
    peerId: Type.Optional(ref('Port', 'clear', 'Port at the other end of a link between virtual devices')),
    portGroupIds: Type.Optional(
      refs('PortGroup', 'clear', {
        maxItems: 256,
        uniqueItems: true,
        description: 'Port groups that the port is a member of',
      }),
    ),
    vifId: Type.Optional(
      Type.String({ maxLength: 255, description: "The cloud platform's name for what is attached" }),
    ),
    vlanId: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 4094, description: 'Bridge port: VLAN that the peer sees untagged' }),
    ),
    ...portSecurityFields,
    portMac: Type.Optional(formatted('mac', { description: "Router port: the port's own MAC address" })),
    portSubnet: Type.Optional(
      Type.Array(formatted('address-with-prefix'), {
        maxItems: 64,
        uniqueItems: true,
        description: "Router port: the port's addresses with the prefix length of their subnets, IPv4 and IPv6",
      }),
    ),
  },
  { additionalProperties: false, description: 'A port of a bridge or a router' },
);
export type Port = Static<typeof PortSchema>;

/** A port of a bridge. */
export type BridgePort = Port & { deviceType: 'bridge'; bridgeId: string };
/** A port of a router; the model guarantees MAC and (possibly empty) addresses. */
export type RouterPort = Port & { deviceType: 'router'; routerId: string; portMac: string; portSubnet: string[] };

export const PortSpec = defineObject('Port', PortSchema, {
  unique: [
    {
      fields: ['hostId', 'interfaceName'],
      code: 'WEFT_INTERFACE_IN_USE',
      message: 'another port is bound to this interface of the host; unbind it or name another interface',
    },
    {
      fields: ['nextHostId', 'nextInterfaceName'],
      code: 'WEFT_INTERFACE_IN_USE',
      message: 'another port is about to move to this interface of the host; name another interface',
    },
    { fields: ['vlanId'], scope: 'bridgeId' },
  ],
  immutable: ['deviceType', 'bridgeId', 'routerId'],
  complete(value, random) {
    if (value.deviceType === undefined) {
      if (value.bridgeId !== undefined && value.routerId === undefined) value.deviceType = 'bridge';
      if (value.routerId !== undefined && value.bridgeId === undefined) value.deviceType = 'router';
    }
    if (value.deviceType === 'router') {
      value.portMac ??= routerPortMac(random.bytes(3));
      value.portSubnet ??= [];
    }
  },
  check: checkPort,
  checkOthers: checkPortNeighbours,
  derive: localRoutes,
  entries: securityGroupMembers,
});

export function isBridgePort(port: Port): port is BridgePort {
  return port.deviceType === 'bridge';
}

export function isRouterPort(port: Port): port is RouterPort {
  return port.deviceType === 'router';
}
