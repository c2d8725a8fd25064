/** A guest that sprays addresses or flows hits its own caps; its neighbour on the same host and bridge notices nothing. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { agentCounters, agentRequest } from '../agent-control.ts';
import { startCapture } from '../capture.ts';
import { awaitConvergence } from '../convergence.ts';
import { runInBackground } from '../exec.ts';
import { chainFault } from '../faults/chain.ts';
import { type FaultStep, nftFault, perform } from '../faults/fault.ts';
import { ethernetFrame, sendFrames } from '../frames.ts';
import { bridgeId, gatewayPortId, routerId } from '../ids.ts';
import { labUuid } from '../names.ts';
import { readCapture } from '../pcap.ts';
import type { VmPlan } from '../plan.ts';
import { forgetFlows } from '../ports.ts';
import { startProbe } from '../probe.ts';
import type { Spray } from '../tools/spray.ts';
import { sleep } from '../wait.ts';
import { type CheckContext, defineKind } from './kind.ts';

const TOOL = resolve(import.meta.dirname, '../tools/spray.ts');
const HOW = ['macs', 'neighbours', 'scan', 'flows'] as const;
/** The neighbour's new flows: one ethertype each, from here on. */
const FIRST_ETHERTYPE = 0x9100;
const NEW_FLOWS = 20;
const PROBE_MS = 5;

interface Fields {
  readonly from: string;
  readonly neighbour: string;
  readonly to: string;
  readonly behind: string;
  readonly how: (typeof HOW)[number];
  readonly seconds: number;
  readonly perSecond: number;
  readonly withinMs: number;
}

/** What must happen to the sprayer: counters that rise, and a number that stays within a cap. */
interface Bounds {
  readonly counters: readonly string[];
  readonly what: string;
  readonly cap: number;
  count(): Promise<number>;
}

export const spray = defineKind({
  kind: 'spray',
  needsApi: true,
  summary:
    '`from` sprays (`how`): its caps hold; a `neighbour` loses nothing of a ping to `to`, and new flows go within `withinMs`',
  fields: ['from', 'neighbour', 'to', 'behind', 'how', 'seconds', 'perSecond', 'withinMs'],
  read: (fields): Fields => ({
    from: fields.vm('from'),
    neighbour: fields.vm('neighbour'),
    /** VM of the same network on another host. */
    to: fields.vm('to'),
    /** VM in another network of the router. */
    behind: fields.vm('behind'),
    how: fields.oneOf('how', HOW),
    seconds: fields.integer('seconds', 1, 600, 2),
    perSecond: fields.integer('perSecond', 1, 1_000_000, 40_000),
    withinMs: fields.integer('withinMs', 1, 60_000, 1000),
  }),

  async run(context, fields) {
    const source = context.vm(fields.from);
    const host = context.hostOf(source);
    const { apply, undo } = portsMatter(context, fields);
    for (const step of [...undo, ...apply]) await perform(context.lab, step);
    await awaitConvergence(context.api);
    await forgetFlows(context.lab, context.vm(fields.neighbour));
    const bounds = await boundsOf(context, fields);
    const probe = await startProbe(context.vm(fields.neighbour), context.address(context.vm(fields.to), 4), PROBE_MS);
    const sprayer = runInBackground([process.execPath, TOOL, JSON.stringify(await sprayOf(context, fields))]);
    try {
      const before = await agentCounters(context.plan, host);
      await sprayer.waitFor('spraying');
      const delays = await newFlows(context, fields);
      await Promise.race([sprayer.ended(), sleep(fields.seconds * 1000 + 5000)]);
      const { sent = 0 } = JSON.parse(/\{.*\}/.exec(sprayer.output())?.[0] ?? '{}') as { sent?: number };
      const after = await agentCounters(context.plan, host);
      const kept = await bounds.count();
      const { lost, sent: probes } = await probe.stop();
      const drops = (counters: ReadonlyMap<string, number>, name: string) => counters.get(`drops.${name}`) ?? 0;
      const rise = bounds.counters.map((name) => drops(after, name) - drops(before, name));
      const slowest = Math.max(...delays);
      return {
        ok:
          rise.every((n) => n > 0) &&
          kept <= bounds.cap &&
          lost === 0 &&
          delays.length === NEW_FLOWS &&
          slowest <= fields.withinMs,
        expected: `${bounds.counters.join(' and ')} counted, at most ${bounds.cap} ${bounds.what}; ${fields.neighbour} loses nothing, ${NEW_FLOWS} new flows within ${fields.withinMs} ms`,
        seen: `${sent} frames, ${bounds.counters.map((name, i) => `${name} ${rise[i]}`).join(', ')}, ${kept} ${bounds.what}; ${lost} of ${probes} lost, ${delays.length} new flows, the slowest after ${slowest.toFixed(0)} ms`,
      };
    } finally {
      await sprayer.stop();
      await probe.stop();
      for (const step of undo) await perform(context.lab, step);
      await forgetFlows(context.lab, source);
    }
  },

  sabotage(context, { neighbour }) {
    const last = FIRST_ETHERTYPE + NEW_FLOWS - 1;
    return nftFault(
      `${neighbour} loses its last new flow (type 0x${last.toString(16)})`,
      context.vm(neighbour).namespace,
      `chain out { type filter hook egress device "eth0" priority 0; ether type 0x${last.toString(16)} drop; }`,
      'netdev',
    );
  },
});

/** A rule that looks at ports, so that every 5-tuple is a flow. */
function portsMatter(context: CheckContext, { from, how }: Fields): { apply: FaultStep[]; undo: FaultStep[] } {
  if (how !== 'flows') return { apply: [], undo: [] };
  const rules = [{ type: 'accept', nwProto: 17, tpSrc: { start: 1, end: 60_000 }, tpDst: { start: 1, end: 60_000 } }];
  const chainId = labUuid('check', context.checkName);
  const { plant, remove } = chainFault('', chainId, context.vm(from).interfaces[0]!.portId, rules);
  return { apply: [...plant], undo: [...remove] };
}

async function sprayOf(context: CheckContext, { from, to, behind, how, seconds, perSecond }: Fields): Promise<Spray> {
  const source = context.vm(from);
  const [iface] = source.interfaces;
  const gateway = await context.api.get<{ portMac: string }>(`/ports/${gatewayPortId(source.tenant, iface!.network)}`);
  const router6 = iface!.gateways.find((address) => address.includes(':'))!;
  const targets = {
    macs: context.address(context.vm(to), 4),
    neighbours: router6,
    scan: context.address(context.vm(behind), 6),
    flows: context.address(context.vm(behind), 4),
  };
  return {
    namespace: source.namespace,
    how,
    seconds,
    perSecond,
    mac: iface!.mac,
    address4: context.address(source, 4),
    address6: context.address(source, 6),
    targetMac: how === 'macs' ? context.vm(to).interfaces[0]!.mac : gateway.portMac,
    target: targets[how],
  };
}

async function boundsOf(context: CheckContext, { from, how }: Fields): Promise<Bounds> {
  const source = context.vm(from);
  const host = context.hostOf(source);
  const [iface] = source.interfaces;
  const tenant = context.plan.scenario.tenants.find((one) => one.name === source.tenant)!;
  const router = tenant.networks.find((one) => one.name === iface!.network)!.router!;
  const { limits = {} } = JSON.parse(await readFile(context.plan.paths.host(host.name).config, 'utf8')) as {
    limits?: Record<string, number>;
  };
  const learned = async (path: string) =>
    (await context.api.get<{ learned: boolean }[]>(path)).filter((one) => one.learned);
  switch (how) {
    case 'macs':
      return {
        counters: ['cap_macs'],
        what: 'MACs learned',
        cap: limits.maxMacsPerPort ?? 256,
        count: async () => {
          const entries = await learned(`/bridges/${bridgeId(source.tenant, iface!.network)}/mac_table`);
          return entries.filter((entry) => (entry as { portId?: string }).portId === iface!.portId).length;
        },
      };
    case 'neighbours': {
      const count = async () => (await learned(`/routers/${routerId(source.tenant, router)}/arp_table`)).length;
      return {
        counters: ['cap_neighbours'],
        what: 'neighbours learned',
        // Other VMs' stand in the same table before and come meanwhile; so do those of the agent's previous life.
        cap: (await count()) + (limits.maxNeighboursPerPort ?? 1024) + 4 * context.plan.vms.length,
        count,
      };
    }
    case 'scan':
      return {
        counters: ['waiting_room_full'],
        what: 'packets waiting',
        cap: limits.maxWaitingPerPort ?? 64,
        count: async () => (await agentCounters(context.plan, host)).get('waiting')!,
      };
    case 'flows':
      return {
        counters: ['upcall_budget', 'cap_flows'],
        what: 'flows',
        cap: limits.maxFlowsPerPort ?? 131_072,
        count: async () => {
          const { flows } = await agentRequest<{ flows: { port: string }[] }>(
            context.plan,
            host,
            'GET',
            '/flows?limit=100000',
          );
          return flows.filter(({ port }) => port === iface!.portId).length;
        },
      };
  }
}

/** Opens new flows of the neighbour while the other one sprays. @returns how long each frame was under way, ms */
async function newFlows(context: CheckContext, { neighbour, to, seconds }: Fields): Promise<number[]> {
  const source = context.vm(neighbour);
  const target = context.vm(to);
  const { mac } = source.interfaces[0]!;
  const last = FIRST_ETHERTYPE + NEW_FLOWS - 1;
  const filter = `ether src ${mac} and ether[12:2] >= ${FIRST_ETHERTYPE} and ether[12:2] <= ${last}`;
  const watch = (vm: VmPlan) => startCapture(context.plan.paths.captures, vm.namespace, 'eth0', filter);
  const captures = await Promise.all([watch(source), watch(target)]);
  try {
    for (let i = 0; i < NEW_FLOWS; i++) {
      const type = FIRST_ETHERTYPE + i;
      sendFrames(source.namespace, 'eth0', [
        ethernetFrame(target.interfaces[0]!.mac, mac, undefined, type, new Uint8Array(46)),
      ]);
      await sleep((seconds * 1000 * 0.7) / NEW_FLOWS);
    }
    await sleep(300);
    const [left, arrived] = await Promise.all(captures.map(async (capture) => readCapture(await capture.stop())));
    const typeOf = ({ bytes }: { bytes: Buffer }) => bytes.readUInt16BE(12);
    const departures = new Map(left!.map((frame) => [typeOf(frame), frame.time]));
    return arrived!.map((frame) => (frame.time - (departures.get(typeOf(frame)) ?? Number.NaN)) * 1000);
  } finally {
    for (const capture of captures) await capture.stop();
  }
}
