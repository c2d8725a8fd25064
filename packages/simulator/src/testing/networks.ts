/** Small networks that many tests start from. */
import { uuid, World } from './world.ts';

export const HOST = uuid(0x900);
export const MAC_A = '02:00:00:00:00:0a';
export const MAC_B = '02:00:00:00:00:0b';

/** A bridge port bound to the test's host and active there. */
export function boundPort(world: World, fields: Record<string, unknown>): string {
  const id = world.put('Port', { hostId: HOST, interfaceName: `if${world.objects.size}`, ...fields });
  world.entry(`active/${id}`, HOST, '');
  return id;
}

/** A router port with addresses, linked to a port of the bridge. */
export function attach(world: World, routerId: string, bridgeId: string, portSubnet: string[], mac: string): string {
  const port = world.put('Port', { routerId, portSubnet, portMac: mac });
  world.link(port, world.put('Port', { bridgeId }));
  for (const subnet of portSubnet) {
    // Host bits are cleared by the object model.
    world.put('Route', { routerId, dstSubnet: subnet, nextHopPort: port });
  }
  return port;
}

export interface RoutedNetwork {
  readonly world: World;
  readonly router: string;
  /** Router ports towards the two bridges. */
  readonly left: string;
  readonly right: string;
  readonly leftBridge: string;
  readonly rightBridge: string;
  /** VM ports. */
  readonly a: string;
  readonly b: string;
}

export const LEFT_MAC = 'ac:ca:ba:00:00:01';
export const RIGHT_MAC = 'ac:ca:ba:00:00:02';

/** VM A (10.0.1.10, fd00:1::10) – bridge – router – bridge – VM B (10.0.2.10, fd00:2::10); B's addresses are resolved. */
export function routed(fields: { router?: Record<string, unknown> } = {}): RoutedNetwork {
  const world = new World();
  const router = world.put('Router', fields.router ?? {});
  const leftBridge = world.put('Bridge', {});
  const rightBridge = world.put('Bridge', {});
  const a = boundPort(world, { bridgeId: leftBridge });
  const b = boundPort(world, { bridgeId: rightBridge });
  const left = attach(world, router, leftBridge, ['10.0.1.1/24', 'fd00:1::1/64'], LEFT_MAC);
  const right = attach(world, router, rightBridge, ['10.0.2.1/24', 'fd00:2::1/64'], RIGHT_MAC);
  for (const [bridge, mac, port] of [
    [leftBridge, MAC_A, a],
    [rightBridge, MAC_B, b],
  ]) {
    world.entry(`mac/${bridge}`, mac, port);
  }
  for (const ip of ['10.0.2.10', 'fd00:2::10']) world.entry(`arp/${router}`, ip, MAC_B);
  return { world, router, left, right, leftBridge, rightBridge, a, b };
}
