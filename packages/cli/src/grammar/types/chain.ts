/** chain, and the rules below it. */
import type { ObjectType } from '../types.ts';
import { ethertype, flag, integer, list, portRange, prefix, protocol, reference, text, word } from '../values.ts';

const RULE: ObjectType = {
  name: 'rule',
  aliases: [],
  collection: 'rules',
  item: 'rules',
  fields: [
    { name: 'id', property: 'id', value: reference },
    { name: 'pos', property: 'position', value: integer },
    { name: 'type', property: 'type', value: word },
    { name: 'inverted', property: 'conjunctionInv', value: flag },
    { name: 'in-ports', property: 'inPorts', value: list, inverted: 'invInPorts' },
    { name: 'out-ports', property: 'outPorts', value: list, inverted: 'invOutPorts' },
    { name: 'hw-src', property: 'dlSrc', value: text, inverted: 'invDlSrc' },
    { name: 'hw-src-mask', property: 'dlSrcMask', value: text },
    { name: 'hw-dst', property: 'dlDst', value: text, inverted: 'invDlDst' },
    { name: 'hw-dst-mask', property: 'dlDstMask', value: text },
    { name: 'ethertype', property: 'dlType', value: ethertype, inverted: 'invDlType' },
    { name: 'src', property: 'nwSrc', value: prefix, inverted: 'invNwSrc' },
    { name: 'dst', property: 'nwDst', value: prefix, inverted: 'invNwDst' },
    { name: 'proto', property: 'nwProto', value: protocol, inverted: 'invNwProto' },
    { name: 'tos', property: 'nwTos', value: integer, inverted: 'invNwTos' },
    { name: 'src-port', property: 'tpSrc', value: portRange, inverted: 'invTpSrc' },
    { name: 'dst-port', property: 'tpDst', value: portRange, inverted: 'invTpDst' },
    { name: 'fragment-policy', property: 'fragmentPolicy', value: word },
    { name: 'vlan', property: 'vlan', value: integer },
    { name: 'no-vlan', property: 'noVlan', value: flag },
  ],
  children: [],
  verbs: ['list', 'show', 'create', 'delete', 'describe'],
};

export const CHAIN_TYPES: readonly ObjectType[] = [
  {
    name: 'chain',
    aliases: [],
    collection: 'chains',
    item: 'chains',
    fields: [
      { name: 'id', property: 'id', value: reference },
      { name: 'tenant', property: 'tenantId', value: text },
      { name: 'name', property: 'name', value: text },
    ],
    children: [RULE],
    verbs: ['list', 'show', 'create', 'delete', 'describe'],
  },
];
