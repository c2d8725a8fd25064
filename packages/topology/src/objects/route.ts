/** An entry of a router's routing table, IPv4 or IPv6. Immutable. */
import Type, { type Static } from 'typebox';
import { formatted, id, ref } from '../fields.ts';
import { parseCidr, parseIp } from '../ip.ts';
import { defineObject, type Lookup, type ObjectValue, type Problem, type Violation } from '../spec.ts';

const RouteSchema = Type.Object(
  {
    id: id(),
    routerId: ref('Router', 'cascade'),
    type: Type.Enum(['normal', 'blackhole', 'reject', 'local'], {
      default: 'normal',
      description:
        'normal: forward by nextHopPort; blackhole: drop; reject: drop and tell the sender; local: the router itself',
    }),
    srcSubnet: formatted('subnet', {
      description: 'Source prefix that packets must have; any when absent on creation',
    }),
    dstSubnet: formatted('subnet', { description: 'Destination prefix' }),
    nextHopPort: Type.Optional(ref('Port', 'cascade', 'Port of this router by which packets leave')),
    nextHopGateway: Type.Optional(
      formatted('ip', { description: 'Next router; absent: the destination is on the link' }),
    ),
    weight: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, default: 0, description: 'Lowest wins; equals share' }),
    attributes: Type.Optional(Type.String({ maxLength: 255 })),
    learned: Type.Boolean({ default: false, readOnly: true, description: 'Learned by a routing protocol' }),
  },
  { additionalProperties: false, description: "An entry of a router's routing table" },
);
export type Route = Static<typeof RouteSchema>;

export const RouteSpec = defineObject('Route', RouteSchema, {
  immutable: Object.keys(RouteSchema.properties),
  complete(value) {
    if (value.srcSubnet === undefined && typeof value.dstSubnet === 'string') {
      value.srcSubnet = value.dstSubnet.includes(':') ? '::/0' : '0.0.0.0/0';
    }
  },
  check: checkRoute,
  checkOthers: checkNextHop,
});

function checkRoute(value: ObjectValue): Violation[] {
  const violations: Violation[] = [];
  const { family } = parseCidr(value.dstSubnet as string)!;
  if (parseCidr(value.srcSubnet as string)!.family !== family) {
    violations.push({ property: 'srcSubnet', message: 'must be of the same IP version as dstSubnet' });
  }
  if (value.type === 'normal' && value.nextHopPort === undefined) {
    violations.push({ property: 'nextHopPort', message: 'is required in a normal route' });
  }
  if (value.nextHopGateway !== undefined) {
    if (value.type !== 'normal') {
      violations.push({ property: 'nextHopGateway', message: 'is allowed in a normal route only' });
    }
    if ((parseIp(value.nextHopGateway as string)!.length === 4 ? 4 : 6) !== family) {
      violations.push({ property: 'nextHopGateway', message: 'must be of the same IP version as dstSubnet' });
    }
  }
  return violations;
}

async function checkNextHop(value: ObjectValue, lookup: Lookup): Promise<Problem[]> {
  if (value.nextHopPort === undefined) return [];
  const port = await lookup.get('Port', value.nextHopPort as string);
  if (!port || port.routerId === value.routerId) return [];
  return [
    {
      code: 'WEFT_ROUTE_PORT_ON_OTHER_ROUTER',
      property: 'nextHopPort',
      message: `port ${value.nextHopPort} is not a port of router ${value.routerId}; name one of its ports`,
    },
  ];
}
