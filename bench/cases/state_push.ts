/**
 * What the first packet of a connection waits longer because another host is told of it before it leaves: first packets through a filter
 * with memory, and through one without, in turns. Both hosts are idle.
 */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { UNDISTURBED } from '../harness/exec.ts';
import { addedOf, probe, startEcho } from '../harness/first-packets.ts';
import { takeTurns } from '../harness/interleave.ts';
import type { AgentStatus, BenchLab } from '../harness/labs.ts';
import { proveOnWire } from '../harness/proof.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { median, percentile, round } from '../harness/statistics.ts';

/** Below the ports that the kernel gives out by itself. */
const SOURCE_PORT = 20_000;
const FLOWS = 50;
const WARM_UP = 1_000;
const STRAY = 4;

const VMS = [
  { name: 'tracked', vm: 'vm-a', perFlow: 1 },
  { name: 'plain', vm: 'vm-c', perFlow: 0 },
] as const;

async function run(context: BenchContext): Promise<BenchResult[]> {
  const rounds = context.quick ? 2 : 20;
  const warmUp = context.quick ? FLOWS : WARM_UP;
  const lab = await context.labs.get('state-push', 'vxlan');
  const { server } = lab.path('vm-a', 'vm-b');
  for (const { vm } of VMS) await proveOnWire(lab.path(vm, 'vm-b'));
  // As on machines of their own: the other host's agent, which takes in what it is told, keeps no CPU from this one's, nor from the echo.
  await lab.pinAgents(['h1', 'h2']);
  const echo = await startEcho(server, UNDISTURBED);
  try {
    // The way back, neighbours, the agents' own caches, and code that is compiled as that of an agent that has been at work.
    for (const { vm } of VMS) await probe(lab.path(vm, 'vm-b'), SOURCE_PORT, warmUp);
    let source = SOURCE_PORT + warmUp - FLOWS;
    const taken = await takeTurns(
      VMS.map(({ name, vm, perFlow }) => ({
        name,
        async measure() {
          const before = await look(lab);
          const added = addedOf(await probe(lab.path(vm, 'vm-b'), (source += FLOWS), FLOWS));
          prove(name, perFlow * FLOWS, before, await look(lab));
          return added;
        },
      })),
      rounds,
    );
    const [tracked, plain] = VMS.map(({ name }) => taken.get(name)!);
    const perRound = tracked.map((added, i) => round(median(added) - median(plain[i])));
    const [all, without] = [tracked.flat(), plain.flat()];
    return [
      figure(
        { id: 'state_push', unit: 'µs', target: { atMost: 150 } },
        { median: round(median(all) - median(without)), values: perRound },
        {
          conditions: {
            encap: 'vxlan',
            rounds,
            warm_up_flows: warmUp,
            cpus: 'one for each host, of which the echo comes first (SCHED_FIFO)',
            flows_per_round: FLOWS,
            statistic:
              'difference of the p50 of (first round trip − second round trip of the same flow) with and without a rule with memory',
          },
          also: {
            tracked_p50: round(median(all)),
            plain_p50: round(median(without)),
            tracked_p90: round(percentile(all, 0.9)),
            plain_p90: round(percentile(without, 0.9)),
          },
        },
      ),
    ];
  } finally {
    await echo.stop();
    await lab.down();
  }
}

async function look(lab: BenchLab): Promise<readonly AgentStatus[]> {
  return [await lab.settled('h1'), await lab.settled('h2')];
}

/** Each flow came up once where it began, and nowhere else; the other host was told of each connection, and of nothing else. */
function prove(name: string, connections: number, before: readonly AgentStatus[], after: readonly AgentStatus[]): void {
  const [here, there] = after.map((status, i) => status.upcalls - before[i].upcalls);
  require(here >= FLOWS && here <= FLOWS + STRAY, () => `${name}: ${FLOWS} new flows caused ${here} upcalls`);
  require(there <= STRAY, () => `${name}: the way back caused ${there} upcalls: two first packets were measured`);
  const created = after[0].connectionsCreated - before[0].connectionsCreated;
  const told = after[1].stateExchange.applied - before[1].stateExchange.applied;
  // Connections of earlier rounds may be told again, for what was seen of them, or near their end.
  require(created === connections && told >= connections, () =>
    `${name}: ${FLOWS} new flows made ${created} connections, of which the other host was told ${told}`);
}

export default {
  id: 'state_push',
  what: 'latency that telling another host of a connection adds to its first packet, idle hosts',
  needsRoot: true,
  run,
} satisfies BenchCase;
