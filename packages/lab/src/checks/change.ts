/** A change of the topology reaches traffic that is under way, and is undone as quickly. */
import { randomInt } from 'node:crypto';
import { awaitConvergence } from '../convergence.ts';
import { type FaultStep, nftFault, perform } from '../faults/fault.ts';
import { bridgeId, gatewayPortId, routerId } from '../ids.ts';
import { labUuid } from '../names.ts';
import { startProbe } from '../probe.ts';
import { killAgent, restartAgent } from '../restart.ts';
import { sleep, waitUntil } from '../wait.ts';
import { type CheckContext, defineKind } from './kind.ts';

const HOW = [
  'drop-rule',
  'port-down',
  'peer-down',
  'gateway-down',
  'bridge-down',
  'router-down',
  'port-deleted',
] as const;

/** ICMP identifiers of one check; a power of two. */
const ECHO_IDS = 256;

interface Fields {
  readonly from: string;
  readonly to: string;
  readonly family: 4 | 6;
  readonly how: (typeof HOW)[number];
  readonly whileDead: boolean;
}

export const change = defineKind({
  kind: 'change',
  needsApi: true,
  summary:
    'a change (`how`) stops a ping that is under way, its undoing lets it go on; `whileDead`: made while the agent was dead',
  fields: ['from', 'to', 'family', 'how', 'whileDead'],
  read: (fields): Fields => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    family: fields.family('family'),
    how: fields.oneOf('how', HOW),
    whileDead: fields.boolean('whileDead', false),
  }),

  async run(context, fields) {
    const { from, to, family, how, whileDead } = fields;
    const source = context.vm(from);
    const address = context.address(context.vm(to), family);
    const { apply, undo } = await prepare(context, fields);
    const probe = await startProbe(source, address, 20, echoIds(context) + randomInt(1, ECHO_IDS));
    try {
      const host = context.hostOf(source);
      if (whileDead) await killAgent(context.lab, host);
      for (const step of apply) await perform(context.lab, step);
      if (whileDead) await restartAgent(context.lab, host, 20_000, how === 'port-deleted' ? 1 : 0);
      await awaitConvergence(context.api);
      // What was answered before the change went live may still be on its way back.
      await sleep(100);
      const atChange = probe.answers();
      await sleep(400);
      const leaked = probe.answers() - atChange;
      for (const step of undo) await perform(context.lab, step);
      await awaitConvergence(context.api);
      const stopped = probe.answers();
      const resumed = await waitUntil(() => probe.answers() > stopped + 3, 5000);
      return {
        ok: leaked === 0 && resumed,
        expected: `no answer from ${address} after ${how}, answers again after its undoing`,
        seen: `${leaked} answers after the change, ${resumed ? 'answers' : 'no answers'} after its undoing`,
      };
    } finally {
      for (const step of undo) await perform(context.lab, step).catch(() => {});
      await awaitConvergence(context.api);
      await probe.stop();
    }
  },

  sabotage(context, { from, to, family }) {
    const source = context.vm(from);
    const address = context.address(context.vm(to), family);
    const [ip, icmp] = family === 4 ? ['ip', 'icmp'] : ['ip6', 'icmpv6'];
    const match = `${ip} daddr ${address} ${icmp} type echo-request ${icmp} id & ${0x10000 - ECHO_IDS} == ${echoIds(context)}`;
    return nftFault(
      `${from} answers the requests of ${context.checkName} itself: whatever is changed, there are answers`,
      source.namespace,
      `chain out { type nat hook output priority -100; ${match} dnat ${ip} to ${context.address(source, family)}; }`,
    );
  },
});

/**
 * First of the ICMP identifiers that tell the probe of this check from all others, so that its fault is no other's. Each run takes
 * another: connection tracking in the guest, which the fault switches on, remembers what became of the last.
 */
function echoIds(context: CheckContext): number {
  return Number.parseInt(labUuid('echo', context.checkName).slice(0, 4), 16) & (0x10000 - ECHO_IDS);
}

/** The steps of a change and of its undoing; both may be performed twice. */
async function prepare(
  context: CheckContext,
  { from, to, how }: Fields,
): Promise<{ apply: FaultStep[]; undo: FaultStep[] }> {
  const vm = context.vm(from);
  const portPath = `/ports/${vm.interfaces[0]!.portId}`;
  const port = await context.api.get<Record<string, unknown>>(portPath);
  const set = (path: string, fields: Record<string, unknown>): FaultStep => ({ do: 'patch', path, fields });
  const down = (path: string) => ({
    apply: [set(path, { adminStateUp: false })],
    undo: [set(path, { adminStateUp: true })],
  });
  switch (how) {
    case 'port-down':
      return down(portPath);
    case 'peer-down':
      return down(`/ports/${context.vm(to).interfaces[0]!.portId}`);
    case 'gateway-down':
      return down(`/ports/${gatewayPortId(vm.tenant, vm.interfaces[0]!.network)}`);
    case 'bridge-down':
      return down(`/bridges/${bridgeId(vm.tenant, vm.interfaces[0]!.network)}`);
    case 'router-down': {
      const tenant = context.plan.scenario.tenants.find((candidate) => candidate.name === vm.tenant)!;
      const network = tenant.networks.find((candidate) => candidate.name === vm.interfaces[0]!.network)!;
      return down(`/routers/${routerId(tenant.name, network.router!)}`);
    }
    case 'drop-rule': {
      const chainId = labUuid('check', context.checkName);
      return {
        apply: [
          { do: 'post', path: '/chains', body: { id: chainId, name: context.checkName } },
          { do: 'post', path: `/chains/${chainId}/rules`, body: { type: 'drop' } },
          set(portPath, { inboundFilterId: chainId }),
        ],
        undo: [
          set(portPath, { inboundFilterId: port.inboundFilterId ?? null }),
          { do: 'delete', path: `/chains/${chainId}` },
        ],
      };
    }
    case 'port-deleted': {
      const { id, bridgeId, hostId, interfaceName, vifId } = port as Record<string, string>;
      return {
        apply: [{ do: 'delete', path: portPath }],
        undo: [
          { do: 'post', path: `/bridges/${bridgeId}/ports`, body: { id, vifId }, orExists: portPath },
          {
            do: 'post',
            path: `/hosts/${hostId}/ports`,
            body: { portId: id, interfaceName },
            orExists: `/hosts/${hostId}/ports/${id}`,
          },
        ],
      };
    }
  }
}
