/** Membership of a host in a tunnel zone, with the address at which the other members reach it. */
import Type, { type Static } from 'typebox';
import { formatted, ref } from '../fields.ts';
import { tunnelZoneHostId } from '../ids.ts';
import { isAssignableIp, parseIp } from '../ip.ts';
import { defineObject } from '../spec.ts';

const TunnelZoneHostSchema = Type.Object(
  {
    id: formatted('tunnel-zone-host-id', { description: 'zone:host, computed' }),
    tunnelZoneId: ref('TunnelZone', 'cascade'),
    hostId: ref('Host', 'cascade'),
    ipAddress: formatted('ip', { description: 'Underlay address of the tunnels, IPv4 or IPv6' }),
  },
  { additionalProperties: false, description: 'Membership of a host in a tunnel zone' },
);
export type TunnelZoneHost = Static<typeof TunnelZoneHostSchema>;

export const TunnelZoneHostSpec = defineObject('TunnelZoneHost', TunnelZoneHostSchema, {
  unique: [{ fields: ['ipAddress'], scope: 'tunnelZoneId' }],
  immutable: ['tunnelZoneId', 'hostId'],
  complete(value) {
    if (typeof value.tunnelZoneId === 'string' && typeof value.hostId === 'string') {
      value.id = tunnelZoneHostId(value.tunnelZoneId, value.hostId);
    }
  },
  check(value) {
    const bytes = parseIp(value.ipAddress as string)!;
    if (isAssignableIp(bytes)) return [];
    return [{ property: 'ipAddress', message: 'must be a unicast address that other hosts can reach' }];
  },
});
