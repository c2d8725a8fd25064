/**
 * Where MidoNet's JSON spells a field differently from the object model. Its clients' spelling is understood and written
 * beside the model's own; where both are sent, the model's own wins.
 */
import { formatIp, type ObjectValue, parseCidr } from '@weft/topology';
import Type, { type TSchema } from 'typebox';

export interface Dialect {
  /** Additional or differently spelled properties, for OpenAPI. */
  readonly fields: Readonly<Record<string, TSchema>>;
  /** Translates a body in place to the model's names. */
  read(body: ObjectValue): void;
  /** Adds to (or respells) what is sent. */
  write(value: ObjectValue): void;
}

const text = (description: string) => Type.Optional(Type.String({ description }));
const length = (description: string) => Type.Optional(Type.Integer({ minimum: 0, maximum: 128, description }));

/** An address and a length in two properties, as one prefix; undefined leaves the model's own alone. */
function prefix(body: ObjectValue, address: string, bits: string): string | undefined {
  if (typeof body[address] !== 'string') return undefined;
  return body[bits] === undefined || body[bits] === null ? body[address] : `${body[address]}/${body[bits]}`;
}

function splitPrefix(cidr: unknown): [address: string, length: number] | undefined {
  const parsed = typeof cidr === 'string' ? parseCidr(cidr) : undefined;
  return parsed && [formatIp(parsed.bytes), parsed.length];
}

const isSet = (value: unknown) => value !== undefined && value !== null;

export const PORT_DIALECT: Dialect = {
  fields: {
    type: Type.Optional(Type.Enum(['Bridge', 'Router'], { description: 'deviceType' })),
    deviceId: text('bridgeId or routerId'),
    portAddress: text('First IPv4 address of portSubnet'),
    networkAddress: text('Network of portAddress'),
    networkLength: length('Prefix length of portAddress'),
  },
  read(body) {
    if (!isSet(body.deviceType) && typeof body.type === 'string') {
      const kind = /^(?:Exterior|Interior)?(Bridge|Router)$/i.exec(body.type);
      body.deviceType = kind ? kind[1]!.toLowerCase() : body.type;
    }
    if (isSet(body.deviceId)) {
      if (body.deviceType === 'router' && !isSet(body.routerId)) body.routerId = body.deviceId;
      if (body.deviceType === 'bridge' && !isSet(body.bridgeId)) body.bridgeId = body.deviceId;
    }
    if (!isSet(body.portSubnet)) {
      const address = prefix(body, 'portAddress', 'networkLength');
      if (address !== undefined) body.portSubnet = [address];
    } else if (typeof body.portSubnet === 'string') body.portSubnet = [body.portSubnet];
  },
  write(value) {
    value.type = value.deviceType === 'router' ? 'Router' : 'Bridge';
    value.deviceId = value.bridgeId ?? value.routerId;
    const first = ((value.portSubnet ?? []) as string[]).map((cidr) => parseCidr(cidr)).find((c) => c?.family === 4);
    if (!first) return;
    value.portAddress = formatIp(first.bytes);
    value.networkLength = first.length;
    const network = first.bytes.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, first.length - 8 * i))));
    value.networkAddress = formatIp(network);
  },
};

const ROUTE_TYPES: Readonly<Record<string, string>> = {
  normal: 'Normal',
  blackhole: 'BlackHole',
  reject: 'Reject',
  local: 'Local',
};

export const ROUTE_DIALECT: Dialect = {
  fields: {
    type: Type.Enum(Object.values(ROUTE_TYPES), { description: 'Read in any case' }),
    srcNetworkAddr: text('Address of srcSubnet'),
    srcNetworkLength: length('Prefix length of srcSubnet'),
    dstNetworkAddr: text('Address of dstSubnet'),
    dstNetworkLength: length('Prefix length of dstSubnet'),
  },
  read(body) {
    for (const end of ['src', 'dst']) {
      if (!isSet(body[`${end}Subnet`])) {
        body[`${end}Subnet`] = prefix(body, `${end}NetworkAddr`, `${end}NetworkLength`);
      }
    }
    // Clients write an unset gateway as the zero address.
    if (body.nextHopGateway === '0.0.0.0') body.nextHopGateway = undefined;
  },
  write(value) {
    value.type = ROUTE_TYPES[value.type as string] ?? value.type;
    for (const end of ['src', 'dst']) {
      const split = splitPrefix(value[`${end}Subnet`]);
      if (split) [value[`${end}NetworkAddr`], value[`${end}NetworkLength`]] = split;
    }
  },
};

/** Prefixes of rules, which MidoNet spells in two properties each. */
const RULE_PREFIXES = ['nwSrc', 'nwDst', 'icmpDataSrcIp', 'icmpDataDstIp'] as const;

export const RULE_DIALECT: Dialect = {
  fields: {
    position: Type.Optional(
      Type.Integer({ minimum: 1, description: 'Place in the chain, from 1; on creation 1 when absent' }),
    ),
    condInvert: Type.Optional(Type.Boolean({ description: 'conjunctionInv' })),
    nwSrcAddress: text('Address of nwSrc'),
    nwSrcLength: length('Prefix length of nwSrc'),
    nwDstAddress: text('Address of nwDst'),
    nwDstLength: length('Prefix length of nwDst'),
    icmpDataSrcIpAddress: text('Address of icmpDataSrcIp'),
    icmpDataSrcIpLength: length('Prefix length of icmpDataSrcIp'),
    icmpDataDstIpAddress: text('Address of icmpDataDstIp'),
    icmpDataDstIpLength: length('Prefix length of icmpDataDstIp'),
  },
  read(body) {
    if (!isSet(body.conjunctionInv)) body.conjunctionInv = body.condInvert;
    for (const field of RULE_PREFIXES) {
      if (!isSet(body[field])) body[field] = prefix(body, `${field}Address`, `${field}Length`);
    }
    // An empty list is how clients write "no constraint".
    for (const list of ['inPorts', 'outPorts', 'natTargets']) {
      if (Array.isArray(body[list]) && body[list].length === 0) body[list] = undefined;
    }
  },
  write(value) {
    if (value.conjunctionInv !== undefined) value.condInvert = value.conjunctionInv;
    for (const field of RULE_PREFIXES) {
      const split = splitPrefix(value[field]);
      if (split) [value[`${field}Address`], value[`${field}Length`]] = split;
    }
  },
};
