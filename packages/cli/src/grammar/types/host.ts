/** host, and what is attached to it: interfaces as its agent reports them, ports bound to them. */
import type { ObjectType } from '../types.ts';
import { flag, integer, list, reference, text } from '../values.ts';

const INTERFACE: ObjectType = {
  name: 'interface',
  aliases: ['iface'],
  collection: 'interfaces',
  key: 'name',
  fields: [
    { name: 'iface', property: 'name', value: text },
    { name: 'host_id', property: 'hostId', value: reference, readOnly: true },
    { name: 'status', property: 'status', value: text, readOnly: true },
    { name: 'addresses', property: 'addresses', value: list, readOnly: true },
    { name: 'mac', property: 'mac', value: text, readOnly: true },
    { name: 'mtu', property: 'mtu', value: integer, readOnly: true },
    { name: 'type', property: 'type', value: text, readOnly: true },
    { name: 'endpoint', property: 'endpoint', value: text, readOnly: true },
  ],
  children: [],
  verbs: ['list', 'show', 'describe'],
};

const BINDING: ObjectType = {
  name: 'binding',
  aliases: [],
  collection: 'ports',
  key: 'portId',
  fields: [
    { name: 'host', property: 'hostId', value: reference, readOnly: true },
    { name: 'interface', property: 'interfaceName', value: text },
    { name: 'port', property: 'portId', value: reference },
  ],
  children: [],
  verbs: ['list', 'show', 'create', 'delete', 'describe'],
};

export const HOST_TYPES: readonly ObjectType[] = [
  {
    name: 'host',
    aliases: [],
    collection: 'hosts',
    item: 'hosts',
    fields: [
      { name: 'id', property: 'id', value: reference, readOnly: true },
      { name: 'name', property: 'name', value: text, readOnly: true },
      { name: 'alive', property: 'alive', value: flag, readOnly: true },
      { name: 'addresses', property: 'addresses', value: list, readOnly: true },
      { name: 'flooding-proxy-weight', property: 'floodingProxyWeight', value: integer },
      { name: 'container-weight', property: 'containerWeight', value: integer },
      { name: 'container-limit', property: 'containerLimit', value: integer },
      { name: 'enforce-container-limit', property: 'enforceContainerLimit', value: flag },
    ],
    children: [INTERFACE, BINDING],
    verbs: ['list', 'show', 'set', 'delete', 'describe'],
  },
];
