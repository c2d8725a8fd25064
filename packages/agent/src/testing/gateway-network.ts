/**
 * A host with a VM whose connections leave by a gateway, for tests of what is said of connections:
 *
 *   VM A (10.0.1.10, interface vm0 of this host) – bridge – router – exit (192.0.2.1/24, on another host or as vm2 here) – outside
 *
 * Sources become 192.0.2.100; answers may come by the exit, or by a second one that is in the same stateful port group on a third host.
 */
import { Edge, uuid, type World } from '@weft/simulator/testing';
import { Harness, LOCAL_HOST } from './harness.ts';
import { MemoryState } from './memory-datapath.ts';

export const GATEWAY = '00000000-0000-4000-8000-00000000cccc';
export const OTHER_GATEWAY = '00000000-0000-4000-8000-00000000dddd';

export class GatewayNetwork {
  readonly edge = new Edge();
  readonly world: World = this.edge.world;
  readonly host: Harness;

  /** @param exitHost where the exit is */
  constructor(exitHost = GATEWAY, limits: Record<string, number> = {}) {
    const { edge, world } = this;
    const zone = world.put('TunnelZone', { name: 'fabric', type: 'vxlan' });
    for (const [n, hostId] of [LOCAL_HOST, GATEWAY, OTHER_GATEWAY].entries()) {
      world.put('TunnelZoneHost', { tunnelZoneId: zone, hostId, ipAddress: `198.18.0.${n + 1}` });
    }
    world.patch('Router', edge.router, { name: 'edge' });
    const group = world.put('PortGroup', { name: 'exits', stateful: true });
    const bind = (port: string, hostId: string, interfaceName: string, fields: Record<string, unknown> = {}): void => {
      for (const key of world.tables.get(`active/${port}`)?.keys() ?? []) world.entry(`active/${port}`, key, null);
      world.patch('Port', port, { hostId, interfaceName, ...fields });
      if (hostId !== LOCAL_HOST) world.entry(`active/${port}`, hostId, '');
    };
    bind(edge.a, LOCAL_HOST, 'vm0');
    bind(edge.b, LOCAL_HOST, 'vm1');
    bind(edge.exit, exitHost, exitHost === LOCAL_HOST ? 'vm2' : 'out0', { portGroupIds: [group] });
    const second = { id: uuid(0x800), routerId: edge.router, portSubnet: ['203.0.113.1/30'], portGroupIds: [group] };
    world.put('Port', { ...second, hostId: OTHER_GATEWAY, interfaceName: 'out1' });
    world.entry(`active/${second.id}`, OTHER_GATEWAY, '');
    // What nobody has asked for goes nowhere: not back to the outside.
    world.put('Route', { routerId: edge.router, dstSubnet: '192.0.2.100/32', type: 'blackhole' });
    const range = { addressFrom: '192.0.2.100', portFrom: 1024, portTo: 65_535 };
    edge.rules({
      in: [{ type: 'rev_snat', nwDst: '192.0.2.100/32' }],
      out: [{ type: 'snat', nwSrc: '10.0.1.0/24', natTargets: [range] }],
    });
    this.host = new Harness(world, new MemoryState(1024), { limits });
    this.host.settle();
  }

  /** A frame enters by VM A's interface. */
  fromA(frame: Uint8Array): void {
    this.host.datapath.inject(10, frame);
    this.host.settle();
  }
}
