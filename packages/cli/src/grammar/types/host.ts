/** host, and what is attached to it: interfaces as its agent reports them, ports bound to them. */
import type { ObjectType } from '../types.ts';
import { flag, id, integer, reference, shown, text } from '../values.ts';

const INTERFACE: ObjectType = {
  name: 'interface',
  aliases: ['iface'],
  doc: 'a network interface, as the agent of the host reports it',
  collection: 'interfaces',
  fields: [
    { name: 'iface', property: 'name', value: text, readOnly: true, doc: 'its name' },
    { name: 'host_id', property: 'hostId', value: reference('host'), readOnly: true, doc: 'the host' },
    { name: 'status', property: 'status', value: shown, readOnly: true, doc: 'bit 0: up; bit 1: has a carrier' },
    { name: 'addresses', property: 'addresses', value: shown, readOnly: true, doc: 'of the host' },
    { name: 'mac', property: 'mac', value: shown, readOnly: true, doc: 'MAC address' },
    { name: 'mtu', property: 'mtu', value: shown, readOnly: true, doc: 'bytes' },
    { name: 'type', property: 'type', value: shown, readOnly: true, doc: 'Physical or Virtual' },
    { name: 'endpoint', property: 'endpoint', value: shown, readOnly: true, doc: 'what is behind it' },
  ],
  examples: ['host name h1 list interface', 'host name h1 interface iface eth0 show mtu'],
  children: [],
  verbs: ['list', 'show', 'describe'],
};

const BINDING: ObjectType = {
  name: 'binding',
  aliases: [],
  doc: 'a port bound to an interface of the host',
  collection: 'ports',
  fields: [
    { name: 'host', property: 'hostId', value: reference('host'), readOnly: true, doc: 'the host' },
    {
      name: 'interface',
      property: 'interfaceName',
      value: text,
      doc: 'name of the interface',
      suggest: { collection: 'interfaces', property: 'name' },
    },
    { name: 'port', property: 'portId', value: reference('port'), doc: 'the port' },
  ],
  examples: ['host name h1 add binding interface tap0 port PORT', 'host name h1 binding interface tap0 delete'],
  children: [],
  verbs: ['list', 'show', 'create', 'delete', 'describe'],
};

export const HOST_TYPES: readonly ObjectType[] = [
  {
    name: 'host',
    aliases: [],
    doc: 'a machine with an agent; it appears when its agent starts',
    model: 'Host',
    collection: 'hosts',
    item: 'hosts',
    alias: 'host',
    fields: [
      { name: 'id', property: 'id', value: id, readOnly: true },
      { name: 'name', property: 'name', value: text, readOnly: true },
      { name: 'alive', property: 'alive', value: flag, readOnly: true, doc: 'the agent answers' },
      { name: 'addresses', property: 'addresses', value: shown, readOnly: true, doc: 'addresses of its interfaces' },
      {
        name: 'flooding-proxy-weight',
        property: 'floodingProxyWeight',
        value: integer,
        doc: 'share of floods that it passes on for others',
      },
      {
        name: 'container-weight',
        property: 'containerWeight',
        value: integer,
        doc: 'share of service containers that it takes',
      },
      {
        name: 'container-limit',
        property: 'containerLimit',
        value: integer,
        doc: 'most service containers; -1: no limit',
      },
      { name: 'enforce-container-limit', property: 'enforceContainerLimit', value: flag, doc: 'the limit holds' },
    ],
    examples: ['host list', 'host name h1 list interface'],
    children: [INTERFACE, BINDING],
    verbs: ['list', 'show', 'set', 'delete', 'describe'],
  },
];
