/**
 * How many new flows per second one packet worker sets up: UDP packets, each of a new 5-tuple, through a router and a chain
 * of 20 rules that look at ports. A rate counts when in ten seconds every packet arrived once, and every tuple took exactly
 * one upcall and one flow. The figure is the highest such rate that a search finds.
 */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { waitUntil } from '../harness/exec.ts';
import { type BenchLab, lossPlaces } from '../harness/labs.ts';
import { sendPaced } from '../harness/paced-tuples.ts';
import { proveOnWire } from '../harness/proof.ts';
import { type Attempt, RATE_STEPS, searchInTurns } from '../harness/rate-search.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { round, sampleOf } from '../harness/statistics.ts';
import type { Received, Sent } from '../harness/udp-flows.ts';

/** Upcalls that are not ours: the VMs' neighbour discovery. */
const STRAY = 4;

interface FlowAttempt extends Attempt {
  readonly sent: Sent;
  readonly received: Received;
  readonly upcalls: number;
  readonly installed: number;
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
    const steps = context.quick ? [2_000] : RATE_STEPS;
    const [best] = await searchInTurns([{ name: 'weft', steps, attempt }]);
    require(best.faults.length === 0, () => `not even the lowest rate passed: ${best.faults.join('; ')}`);
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

async function tryRate(lab: BenchLab, rate: number, seconds: number): Promise<FlowAttempt> {
  await drained(lab);
  const before = await lab.settled('h1');
  let after = before;
  const { sent, received, faults } = await sendPaced(lab.path('vm-a', 'vm-b'), rate, seconds, async () => {
    after = await lab.settled('h1');
    return lossPlaces(before, after);
  });
  const upcalls = after.upcalls - before.upcalls;
  const installed = after.flowsInstalled - before.flowsInstalled;
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

export default {
  id: 'flow_setup',
  what: 'new 5-tuples per second through a router and a 20-rule L4 chain, one worker, 10 s without loss',
  needsRoot: true,
  run,
} satisfies BenchCase;
