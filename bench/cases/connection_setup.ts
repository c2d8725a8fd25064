/**
 * How many new connections per second one packet worker sets up: UDP packets, each of a new 5-tuple, through a filter with memory
 * (`ct_setup`) and through a router that translates the source (`snat_setup`). A rate counts when in ten seconds every packet arrived
 * once, and every tuple took one upcall, one flow and one connection, and the other host was told of each. The figure is the highest such
 * rate that a search finds; the kernel's own router is searched in turns with it.
 */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { conntrackCount, conntrackFlush, raiseConntrackSizes } from '../harness/conntrack.ts';
import { require } from '../harness/errors.ts';
import { sleep, waitUntil } from '../harness/exec.ts';
import { createKernelRouter, type KernelRouter, type Ruleset } from '../harness/kernel-router.ts';
import { type AgentStatus, type BenchLab, lossPlaces } from '../harness/labs.ts';
import { sendPaced } from '../harness/paced-tuples.ts';
import type { NetworkPath } from '../harness/paths.ts';
import { proveOnWire, proveTranslated } from '../harness/proof.ts';
import { type Attempt, RATE_STEPS, searchInTurns } from '../harness/rate-search.ts';
import { type BenchResult, judge, type Target } from '../harness/result.ts';
import { round } from '../harness/statistics.ts';
import type { Received, Sent } from '../harness/udp-flows.ts';

interface Row {
  readonly id: string;
  readonly rules: Ruleset;
  /** Of the lab: on hosts h1 and h2. */
  readonly vms: readonly [string, string];
  /** What translated sources look like, for tcpdump: Weft's and the peer's. */
  readonly sources?: readonly [string, string];
}

const ROWS: readonly Row[] = [
  { id: 'ct_setup', rules: 'stateful', vms: ['vm-a', 'vm-b'] },
  { id: 'snat_setup', rules: 'snat', vms: ['vm-c', 'vm-d'], sources: ['net 203.0.113.0/28', 'host 10.2.0.254'] },
];
const TARGET: Target = { atLeast: 15_000 };

/** As in the scenario. */
const VM_MTU = 1450;
const UDP_TIMEOUT_S = 15;
/** Packets that are not ours: neighbour discovery of the VMs, and pings that prove the path. */
const STRAY = 8;
/** The kernel's limit is the sender's. Its table is made large enough for the last step. */
const PEER_STEPS = [...RATE_STEPS.slice(2), 130_000, 160_000, 200_000];
const PEER_CONNECTIONS = 1 << 22;

interface ConnectionAttempt extends Attempt {
  readonly sent: Sent;
  readonly received: Received;
  /** Connections that were made. */
  readonly created: number;
  readonly also: Readonly<Record<string, number>>;
}

async function run(context: BenchContext): Promise<BenchResult[]> {
  const lab = await context.labs.get('conn-setup', 'vxlan');
  const router = await createKernelRouter(VM_MTU, UDP_TIMEOUT_S);
  raiseConntrackSizes(PEER_CONNECTIONS);
  try {
    const results: BenchResult[] = [];
    for (const row of ROWS) results.push(await measure(context, lab, router, row));
    return results;
  } finally {
    await lab.down();
    await router.down();
  }
}

async function measure(context: BenchContext, lab: BenchLab, router: KernelRouter, row: Row): Promise<BenchResult> {
  const seconds = context.quick ? 2 : 10;
  const path = lab.path(...row.vms);
  await router.use(row.rules);
  for (const [i, each] of [path, router.path].entries()) {
    await proveOnWire(each);
    if (row.sources !== undefined) await proveTranslated(each, row.sources[i]);
  }
  const told = (name: string, attempt: (rate: number) => Promise<ConnectionAttempt>) => async (rate: number) => {
    const result = await attempt(rate);
    const { sent, received, created, faults } = result;
    context.note(
      `${row.id}, ${name}, ${rate}/s: ${received.unique} of ${sent.sent} arrived, ${created} connections${faults.length > 0 ? `: ${faults.join('; ')}` : ''}`,
    );
    return result;
  };
  const weft = { name: 'weft', attempt: told('weft', (rate) => tryWeft(lab, path, rate, seconds)) };
  const peer = {
    name: 'kernel',
    steps: PEER_STEPS,
    attempt: told('kernel', (rate) => tryKernel(router, rate, seconds)),
  };
  await weft.attempt(1_000); // Compiled code and caches.
  const [own, other] = await searchInTurns(
    context.quick ? [weft, peer].map((one) => ({ ...one, steps: [2_000] })) : [weft, peer],
  );
  for (const { faults } of [own, other]) {
    require(faults.length === 0, () => `not even the lowest rate passed: ${faults.join('; ')}`);
  }
  const [rate, peerRate] = [own, other].map(({ sent }) => round(sent.sent / sent.seconds));
  return {
    id: row.id,
    value: rate,
    unit: '1/s',
    peer: router.path.name,
    peer_value: peerRate,
    ratio: round(rate / peerRate),
    runs: 1,
    samples: { weft: [rate], [router.path.name]: [peerRate] },
    conditions: {
      encap: 'vxlan',
      seconds,
      workers: 1,
      udp_timeout_s: UDP_TIMEOUT_S,
      peer_conntrack_max: PEER_CONNECTIONS,
      statistic: 'highest rate without loss; one upcall, flow and connection per tuple, each told to the other host',
    },
    also: {
      connections: own.created,
      peer_connections: other.created,
      ...own.also,
      sender_late_ms: round(own.sent.late_ns / 1e6),
      peer_sender_late_ms: round(other.sent.late_ns / 1e6),
    },
    target: judge(TARGET, '1/s', rate, null),
  };
}

async function tryWeft(lab: BenchLab, path: NetworkPath, rate: number, seconds: number): Promise<ConnectionAttempt> {
  await drained(lab, path);
  const look = async () => [await lab.settled('h1'), await lab.settled('h2')] as const;
  const before = await look();
  let after = before;
  const { sent, received, faults } = await sendPaced(path, rate, seconds, async () => {
    after = await look();
    return lossPlaces(before[0], after[0]);
  });
  const count = (what: string, n: number) => {
    if (n < sent.sent || n > sent.sent + STRAY) faults.push(`${n} ${what} for ${sent.sent} tuples`);
    return n;
  };
  const moved = (host: 0 | 1, pick: (status: AgentStatus) => number) => pick(after[host]) - pick(before[host]);
  count(
    'upcalls',
    moved(0, (status) => status.upcalls),
  );
  count(
    'flows',
    moved(0, (status) => status.flowsInstalled),
  );
  const created = count(
    'connections',
    moved(0, (status) => status.connectionsCreated),
  );
  count(
    'records at the other host',
    moved(1, (status) => status.stateExchange.applied),
  );
  return {
    rate,
    sent,
    received,
    created,
    faults,
    also: {
      datagrams: moved(0, (status) => status.stateExchange.sentDatagrams),
      resends: moved(0, (status) => status.stateExchange.resends),
      nat_blocks: after[0].natBlocks,
    },
  };
}

/** Flows and connections of the attempt before have ended on both hosts, and the path is ready. */
async function drained(lab: BenchLab, path: NetworkPath): Promise<void> {
  const empty = await waitUntil(async () => {
    const hosts = [await lab.status('h1'), await lab.status('h2')];
    return hosts.every(({ flows, connections }) => flows < 100 && connections < 100);
  }, 180_000);
  require(empty, () => 'flows and connections of the attempt before do not expire');
  await proveOnWire(path);
}

async function tryKernel(router: KernelRouter, rate: number, seconds: number): Promise<ConnectionAttempt> {
  conntrackFlush(router.tracker);
  await proveOnWire(router.path);
  const before = conntrackCount(router.tracker);
  let created = 0;
  const { sent, received, faults } = await sendPaced(router.path, rate, seconds, async () => {
    await sleep(300);
    created = conntrackCount(router.tracker) - before;
    return 'by the kernel';
  });
  if (Math.abs(created - sent.sent) > STRAY) faults.push(`${created} connections for ${sent.sent} tuples`);
  conntrackFlush(router.tracker);
  return { rate, sent, received, created, faults, also: {} };
}

export default {
  id: 'connection_setup',
  rows: ROWS.map(({ id }) => id),
  what: 'new connections per second, stateful rules and source NAT, one worker, 10 s without loss',
  needsRoot: true,
  run,
} satisfies BenchCase;
