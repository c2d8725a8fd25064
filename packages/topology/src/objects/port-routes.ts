/** A router port's own addresses are routes: one `local` host route each, which comes and goes with the address. */
import { derivedUuid } from '../ids.ts';
import { formatIp, parseCidr } from '../ip.ts';
import type { DerivedObject, ObjectValue } from '../spec.ts';

export function localRoutes(port: ObjectValue): DerivedObject[] {
  if (port.deviceType !== 'router') return [];
  return ((port.portSubnet ?? []) as string[]).map((text) => {
    const cidr = parseCidr(text)!;
    const address = formatIp(cidr.bytes);
    return {
      type: 'Route',
      value: {
        id: derivedUuid('local-route', port.id as string, address),
        routerId: port.routerId,
        type: 'local',
        srcSubnet: cidr.family === 4 ? '0.0.0.0/0' : '::/0',
        dstSubnet: `${address}/${cidr.family === 4 ? 32 : 128}`,
        nextHopPort: port.id,
        weight: 0,
        learned: false,
      },
    };
  });
}
