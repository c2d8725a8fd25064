/** port-group and ip-address-group, and their members; security-group. */
import { securityRules } from '../security-values.ts';
import type { ObjectType } from '../types.ts';
import { address, flag, id, integer, reference, references, text } from '../values.ts';

const MEMBER: ObjectType = {
  name: 'member',
  aliases: [],
  doc: 'a port in the group',
  collection: 'ports',
  fields: [
    { name: 'port-group', property: 'portGroupId', value: reference('port-group'), readOnly: true, doc: 'the group' },
    { name: 'port', property: 'portId', value: reference('port'), doc: 'the port' },
  ],
  examples: ['port-group GROUP add member port PORT', 'port-group GROUP member port PORT delete'],
  children: [],
  verbs: ['list', 'show', 'create', 'delete', 'describe'],
};

const IP: ObjectType = {
  name: 'ip',
  aliases: [],
  doc: 'an address or prefix in the group',
  collection: 'ip_addrs',
  fields: [
    {
      name: 'ip-address-group',
      property: 'ipAddrGroupId',
      value: reference('ip-address-group'),
      readOnly: true,
      doc: 'the group',
    },
    {
      name: 'address',
      property: 'addr',
      value: { ...address, takes: 'an address or prefix, IPv4 or IPv6' },
      doc: 'the member',
    },
    { name: 'version', property: 'version', value: integer, readOnly: true, doc: '4 or 6' },
  ],
  examples: ['ip-address-group GROUP add ip address 10.0.0.0/8', 'ip-address-group GROUP ip address 10.0.0.5 delete'],
  children: [],
  verbs: ['list', 'show', 'create', 'delete', 'describe'],
};

export const GROUP_TYPES: readonly ObjectType[] = [
  {
    name: 'port-group',
    aliases: ['pgroup'],
    doc: 'ports that rules name together',
    model: 'PortGroup',
    collection: 'port_groups',
    item: 'port_groups',
    alias: 'pgroup',
    fields: [
      { name: 'id', property: 'id', value: id },
      { name: 'tenant', property: 'tenantId', value: text },
      { name: 'name', property: 'name', value: text },
      { name: 'stateful', property: 'stateful', value: flag },
    ],
    examples: ['port-group create name web', 'port-group name web add member port PORT'],
    children: [MEMBER],
    verbs: ['list', 'show', 'create', 'set', 'clear', 'delete', 'describe'],
  },
  {
    name: 'ip-address-group',
    aliases: ['ipg'],
    doc: 'addresses and prefixes that rules name together',
    model: 'IpAddrGroup',
    collection: 'ip_addr_groups',
    item: 'ip_addr_groups',
    alias: 'ipg',
    fields: [
      { name: 'id', property: 'id', value: id },
      { name: 'tenant', property: 'tenantId', value: text },
      { name: 'name', property: 'name', value: text },
      { name: 'security-group', property: 'securityGroupId', value: reference('security-group'), readOnly: true },
    ],
    examples: ['ip-address-group create name office', 'ip-address-group name office add ip address 192.0.2.0/24'],
    children: [IP],
    verbs: ['list', 'show', 'create', 'set', 'clear', 'delete', 'describe'],
  },
  {
    name: 'security-group',
    aliases: ['sgroup'],
    doc: 'what may reach the ports that are in it, and what they may send',
    model: 'SecurityGroup',
    collection: 'security_groups',
    item: 'security_groups',
    alias: 'sgroup',
    fields: [
      { name: 'id', property: 'id', value: id },
      { name: 'tenant', property: 'tenantId', value: text },
      { name: 'name', property: 'name', value: text },
      { name: 'rules', property: 'rules', value: securityRules },
      { name: 'remote-groups', property: 'remoteGroupIds', value: references('security-group'), readOnly: true },
    ],
    examples: [
      'security-group create name web rules "ingress tcp 80-443, ingress icmp 8, egress, egress ipv6"',
      'security-group name web set rules "ingress tcp 22 from 10.0.0.0/8, ingress from GROUP"',
      'bridge BRIDGE port PORT set port-security true mac 02:00:00:00:00:01 ips 10.0.0.5 security-groups GROUP',
    ],
    children: [],
    verbs: ['list', 'show', 'create', 'set', 'clear', 'delete', 'describe'],
  },
];
