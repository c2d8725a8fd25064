/**
 * Translations that undo themselves: routers of a random network with an outside, to which they show other addresses. Every answer to
 * what such a router lets through can be led back.
 */
import fc from 'fast-check';
import { type PacketPlan, packetPlan, type Scenario, worldPlan } from './generate.ts';

type Value = Record<string, unknown>;

const index = fc.nat({ max: 1000 });

export const natPlan = fc.array(
  fc.record({
    router: index,
    /** Which of its ports is the outside. */
    outside: index,
    /** What leaves: as it is, dynamic, by the port's address, one to one. */
    source: fc.nat({ max: 3 }),
    /** What comes: as it is, to a port of a VM, to one of several VMs, one to one. */
    destination: fc.nat({ max: 3 }),
    vm: index,
    finish: fc.boolean(),
  }),
  { minLength: 1, maxLength: 3 },
);
export type NatPlan = typeof natPlan extends fc.Arbitrary<infer T> ? T : never;

/** Networks with something to translate: a router between two bridges, with a way out; what goes on beside is random. */
export const natWorldPlan = fc
  .tuple(
    worldPlan,
    fc.record({
      bridges: fc.array(fc.constantFrom(2, 1, 3), { minLength: 2, maxLength: 3 }),
      routers: fc.integer({ min: 1, max: 2 }),
      attachments: fc.array(fc.tuple(index, index), { maxLength: 3 }),
      exits: fc.array(index, { maxLength: 1 }),
      knownMacs: fc.constant(0xfff),
      knownNeighbours: fc.constant(0xfff),
    }),
  )
  .map(([plan, { attachments, exits, ...rest }]) => ({
    ...plan,
    ...rest,
    attachments: [[0, 0] as [number, number], [0, 1] as [number, number], ...attachments],
    exits: [0, ...exits],
  }));

/** Most of the packets are such as can be translated. */
export const natPacketPlan = fc.oneof(
  {
    weight: 4,
    arbitrary: packetPlan.map(
      (plan): PacketPlan => ({
        ...plan,
        kind: [0, 1, 4][plan.kind % 3],
        l2: plan.l2 % 3,
        ttl: 64,
        vlan: 0,
        fragment: 0,
      }),
    ),
  },
  { weight: 1, arbitrary: packetPlan },
);

const at = <T>(items: readonly T[], i: number): T => items[i % items.length];

/** Gives routers filters that translate; their own ones go. */
export function addTranslations(s: Scenario, plans: NatPlan): void {
  if (s.routers.length === 0) return;
  for (const [n, plan] of plans.entries()) {
    const router = at(s.routers, plan.router);
    const ports = s.routerPorts.filter((port) => port.router === router);
    if (ports.length < 2 || s.vms.length === 0) continue;
    const outside = at(ports, plan.outside).port;
    const onChange = plan.finish ? { onChange: 'finish' } : {};
    const inbound: Value[] = [{ type: 'continue', matchForwardFlow: true }];
    const outbound: Value[] = [];
    for (const v6 of [false, true]) {
      const shown = v6 ? `fd00:6::${n + 1}` : `10.6.0.${n + 1}`;
      const [vm, other] = [at(s.vms, plan.vm), at(s.vms, plan.vm + 1)].map((one) => (v6 ? one.ip6 : one.ip4));
      const whole = `${shown}/${v6 ? 128 : 32}`;
      const toOutside = { outPorts: [outside], matchForwardFlow: true, ...onChange };
      const dynamic = { addressFrom: v6 ? `fd00:7::${n + 1}` : `10.7.0.${n + 1}`, portFrom: 1024, portTo: 65_535 };
      const sources: readonly (Value[] | undefined)[] = [undefined, [dynamic], undefined, [{ addressFrom: shown }]];
      const natTargets = sources[plan.source];
      // One to one concerns every packet; what is chosen does so for a connection.
      const one = { outPorts: [outside], nwSrc: `${vm}/${v6 ? 128 : 32}` };
      if (natTargets !== undefined)
        outbound.push({ type: 'snat', natTargets, ...(plan.source === 3 ? one : toOutside) });
      const targets: readonly (Value[] | undefined)[] = [
        undefined,
        [{ addressFrom: vm, portFrom: 8080 }],
        [
          { addressFrom: vm, portFrom: 8080 },
          { addressFrom: other, portFrom: 9000, portTo: 9001 },
        ],
        [{ addressFrom: vm }],
      ];
      // An address that is shown one to one is so in both directions.
      const wanted = plan.source === 3 ? 3 : plan.destination === 3 ? 1 : plan.destination;
      const to = targets[wanted];
      if (to === undefined) continue;
      inbound.push({ type: 'dnat', inPorts: [outside], nwDst: whole, natTargets: to, ...onChange });
      // Who calls it by its own address would be answered by the other.
      if (plan.source === 3) inbound.push({ type: 'drop', inPorts: [outside], nwDst: one.nwSrc });
      s.services.push({ ip4: v6 ? '10.6.9.9' : shown, ip6: v6 ? shown : 'fd00:6:9::9' });
    }
    if (plan.source === 2)
      outbound.push({ type: 'masquerade', outPorts: [outside], matchForwardFlow: true, ...onChange });
    s.world.patch('Router', router, {
      inboundFilterId: s.world.chain([inbound[0], { type: 'rev_snat', inPorts: [outside] }, ...inbound.slice(1)]),
      outboundFilterId: s.world.chain([{ type: 'rev_dnat', outPorts: [outside] }, ...outbound]),
    });
  }
}
