/**
 * How many new flows per second one packet worker sets up: UDP packets, each of a new 5-tuple, through a router and a chain
 * of 20 rules that look at ports. A rate counts when in ten seconds every packet arrived once, and every tuple took exactly
 * one upcall and one flow. The figure is the highest such rate that a search finds.
 */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { sleep, waitUntil } from '../harness/exec.ts';
import type { AgentStatus, BenchLab } from '../harness/labs.ts';
import { proveOnWire } from '../harness/proof.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { gatewayMac } from '../harness/router-mac.ts';
import { round, sampleOf } from '../harness/statistics.ts';
import { openSink, type Received, type Sent, sendFlows } from '../harness/udp-flows.ts';

const PORT = 9000;
/** Upcalls that are not ours: the VMs' neighbour discovery. */
const STRAY = 4;
/** A sender that takes longer than so many times its due has not kept the pace. Short delays only make its bursts longer. */
const SLOWEST_PACE = 1.01;
const STEPS = [5_000, 10_000, 20_000, 30_000, 40_000, 55_000, 70_000, 85_000, 100_000];

interface Attempt {
  readonly rate: number;
  readonly sent: Sent;
  readonly received: Received;
  readonly upcalls: number;
  readonly installed: number;
  /** What is wrong with it; empty when it counts. */
  readonly faults: readonly string[];
}

async function run(context: BenchContext): Promise<BenchResult[]> {
  const seconds = context.quick ? 2 : 10;
  const lab = await context.labs.get('flow-setup', 'vxlan');
  try {
    await proveOnWire(lab.path('vm-a', 'vm-b'));
    const attempt = async (rate: number) => {
      const result = await tryRate(lab, rate, seconds);
      const { sent, received, upcalls, installed, faults } = result;
      context.note(
        `${rate}/s: ${received.unique} of ${sent.sent} arrived, ${upcalls} upcalls, ${installed} flows${faults.length > 0 ? `: ${faults.join('; ')}` : ''}`,
      );
      return result;
    };
    await attempt(1_000); // Compiled code and caches.
    const best = context.quick ? await attempt(2_000) : await search(attempt);
    require(best !== undefined && best.faults.length === 0, () =>
      `not even the lowest rate passed: ${best?.faults.join('; ')}`);
    const achieved = best.sent.sent / best.sent.seconds;
    return [
      figure({ id: 'flow_setup', unit: '1/s', target: { atLeast: 20_000 } }, sampleOf([round(achieved)]), {
        conditions: {
          encap: 'vxlan',
          seconds,
          rules: 20,
          workers: 1,
          statistic: 'highest rate without loss, one upcall and one flow per tuple',
        },
        also: {
          tuples: best.sent.sent,
          arrived: best.received.unique,
          upcalls: best.upcalls,
          flows: best.installed,
          sender_late_ms: round(best.sent.late_ns / 1e6),
        },
      }),
    ];
  } finally {
    await lab.down();
  }
}

/** Upwards until a rate fails twice, then twice between the last good and the first bad one. */
async function search(attempt: (rate: number) => Promise<Attempt>): Promise<Attempt | undefined> {
  const twice = async (rate: number) => {
    const first = await attempt(rate);
    return first.faults.length === 0 ? first : attempt(rate);
  };
  let good: Attempt | undefined;
  let bad: Attempt | undefined;
  for (const rate of STEPS) {
    const result = await twice(rate);
    if (result.faults.length > 0) {
      bad = result;
      break;
    }
    good = result;
  }
  if (good === undefined) return bad;
  for (let i = 0; i < 2 && bad !== undefined; i++) {
    const result = await twice(Math.round((good.rate + bad.rate) / 2));
    if (result.faults.length > 0) bad = result;
    else good = result;
  }
  return good;
}

async function tryRate(lab: BenchLab, rate: number, seconds: number): Promise<Attempt> {
  const path = lab.path('vm-a', 'vm-b');
  const tuples = rate * seconds;
  await drained(lab);
  const targetMac = await gatewayMac(path.client);
  const sink = await openSink(path.server, PORT, tuples, tuples);
  const before = await lab.settled('h1');
  const sent = await sendFlows({
    from: path.client,
    to: path.server,
    targetMac,
    port: PORT,
    tuples,
    count: tuples,
    rate,
  });
  const after = await lab.settled('h1');
  await sleep(200);
  const received = await sink.stop();
  const upcalls = after.upcalls - before.upcalls;
  const installed = after.flowsInstalled - before.flowsInstalled;
  const faults: string[] = [];
  if (sent.seconds > seconds * SLOWEST_PACE) faults.push(`the sender took ${sent.seconds.toFixed(1)} s`);
  if (received.unique !== sent.sent)
    faults.push(
      `${sent.sent - received.unique} packets lost (${lossPlaces(before, after)}; ${received.overflow} at the sink)`,
    );
  if (received.duplicates > 0) faults.push(`${received.duplicates} packets arrived twice`);
  if (upcalls < sent.sent || upcalls > sent.sent + STRAY) faults.push(`${upcalls} upcalls for ${sent.sent} tuples`);
  if (installed < sent.sent || installed > sent.sent + STRAY) faults.push(`${installed} flows for ${sent.sent} tuples`);
  return { rate, sent, received, upcalls, installed, faults };
}

/** The flows of the attempt before have expired. */
async function drained(lab: BenchLab): Promise<void> {
  const empty = await waitUntil(async () => (await lab.status('h1')).flows < 100, 120_000);
  require(empty, () => 'the flows of the attempt before do not expire');
  await proveOnWire(lab.path('vm-a', 'vm-b'));
}

function lossPlaces(before: AgentStatus, after: AgentStatus): string {
  const places = Object.entries(after.drops).map(([reason, n]) => [reason, n - (before.drops[reason] ?? 0)] as const);
  return (
    places
      .filter(([, n]) => n > 0)
      .map(([reason, n]) => `${reason} ${n}`)
      .join(', ') || 'no drop counted'
  );
}

export default {
  id: 'flow_setup',
  what: 'new 5-tuples per second through a router and a 20-rule L4 chain, one worker, 10 s without loss',
  needsRoot: true,
  run,
} satisfies BenchCase;
