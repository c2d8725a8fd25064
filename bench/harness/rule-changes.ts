/**
 * How long a change takes to bite. A drop rule is put in front of a chain that 1,000 of 10,000 flows pass, and taken out again, through
 * the API; on each of three hosts a stream of stamped packets shows from when on the verdict is the new one. The latency of
 * a change is that of the slowest host, counted from the API's answer.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchContext } from './case.ts';
import { onCleanup } from './cleanup.ts';
import { require } from './errors.ts';
import { sleep } from './exec.ts';
import type { BenchLab, LabStore } from './labs.ts';
import { proveOnWire } from './proof.ts';
import { openSink, readSentTimes, sendFlows, startFlows } from './udp-flows.ts';

const PORT = 9000;
const HOSTS = ['h1', 'h2', 'h3'] as const;
/** Of all three hosts together. */
const AFFECTED = 1_000;
const UNAFFECTED = 9_000;
/** Packets per second of each stream: the resolution is half a millisecond. */
const STREAM_RATE = 2_000;
/** A verdict counts as changed when it stays so for that long. */
const STABLE_MS = 5;

interface Change {
  readonly type: 'accept' | 'drop';
  /** ms of CLOCK_MONOTONIC: request sent, answered, and every host said that it is live. */
  readonly asked: number;
  readonly answered: number;
  readonly converged: number;
}

/** ms, a value for each change. */
export interface RuleChanges {
  /** From the answer of the API to the new verdict at the slowest host; 0 where it was there before the answer. */
  readonly verdict: readonly number[];
  /** From the answer of the API until it said that the change is live on all hosts. */
  readonly live: readonly number[];
  /** Changes whose verdict was there before the answer. */
  readonly beforeAnswer: number;
  readonly conditions: Readonly<Record<string, unknown>>;
}

/** Fails when the API reports a change live before it is. */
export async function measureRuleChanges(context: BenchContext, store: LabStore): Promise<RuleChanges> {
  const count = context.quick ? 20 : 500;
  const lab = await context.labs.get('change', 'vxlan', 'ebpf', store);
  const directory = await mkdtemp(join(tmpdir(), 'weft-bench-'));
  const forget = onCleanup(directory, () => rm(directory, { recursive: true, force: true }));
  try {
    const installed = await installFlows(lab);
    const packets = STREAM_RATE * (count * 0.5 + 60);
    const streams = await Promise.all(
      HOSTS.map(async (_, i) => {
        const { from, to } = ends(lab, 'guard', i);
        const record = join(directory, `stream-${i}`);
        const sink = await openSink(to, PORT, 1, packets, record);
        const spec = {
          from,
          to,
          targetMac: to.mac,
          port: PORT,
          tuples: 1,
          count: packets,
          rate: STREAM_RATE,
          stream: i,
        };
        return { sink, sender: await startFlows(spec), record };
      }),
    );
    await sleep(500);
    const changes = await makeChanges(lab, count, context.note);
    await sleep(100);
    const end = now();
    for (const { sender } of streams) await sender.stop();
    for (const { sink } of streams) await sink.stop();
    const arrivals = await Promise.all(streams.map(({ record }) => readSentTimes(record)));
    return report(changes, arrivals, end, installed);
  } finally {
    await forget();
    await lab.down();
  }
}

/** From a VM of host i to the one of its kind at the next host. */
function ends(lab: BenchLab, kind: 'guard' | 'other', i: number) {
  const path = lab.path(`${kind}${i + 1}`, `${kind}${((i + 1) % HOSTS.length) + 1}`);
  return { path, from: path.client, to: path.server };
}

async function installFlows(lab: BenchLab): Promise<{ affected: number; all: number }> {
  let [affected, all] = [0, 0];
  for (const [i, host] of HOSTS.entries()) {
    for (const [kind, total] of [
      ['guard', AFFECTED],
      ['other', UNAFFECTED],
    ] as const) {
      const { path, from, to } = ends(lab, kind, i);
      await proveOnWire(path);
      const tuples = Math.ceil(total / HOSTS.length);
      const sink = await openSink(to, PORT, tuples, tuples);
      const before = await lab.settled(host);
      await sendFlows({ from, to, targetMac: to.mac, port: PORT, tuples, count: tuples, rate: 1_500 });
      const after = await lab.settled(host);
      const { unique } = await sink.stop();
      const made = after.flows - before.flows;
      require(unique === tuples && made >= tuples, () =>
        `of ${tuples} flows of ${kind}${i + 1} ${made} were installed, and ${unique} packets arrived`);
      if (kind === 'guard') affected += tuples;
      all += tuples;
    }
  }
  return { affected, all };
}

async function makeChanges(lab: BenchLab, count: number, note: (text: string) => void): Promise<Change[]> {
  const { api } = lab.lab;
  const chains = await api.get<{ id: string; name: string }[]>('/chains');
  const guard = chains.find(({ name }) => name === 'guard')!;
  const rules = `/chains/${guard.id}/rules`;
  const ids = async () => (await api.get<{ id: string }[]>(rules)).map(({ id }) => id);
  const [accepting] = await ids();
  const changes: Change[] = [];
  for (let i = 0; i < count; i++) {
    const type = i % 2 === 0 ? 'drop' : 'accept';
    const dropping = (await ids()).find((id) => id !== accepting);
    const asked = now();
    if (type === 'drop') await api.post(rules, { type, dlType: 0x0800, nwProto: 17, position: 1 });
    else await api.delete(`/rules/${dropping}`);
    const answered = now();
    const answer = await api.get<{ converged: boolean }>(`/convergence/${api.revision}?wait=5000`);
    require(answer.converged, () => `change ${i} is not live after 5 s`);
    changes.push({ type, asked, answered, converged: now() });
    if (i % 100 === 99) note(`${i + 1} changes`);
    // No rhythm with whatever is periodic in agents and store.
    await sleep(4 * STABLE_MS + Math.random() * 40);
  }
  return changes;
}

function report(
  changes: readonly Change[],
  arrivals: readonly Float64Array[],
  end: number,
  installed: { affected: number; all: number },
): RuleChanges {
  const latencies: number[] = [];
  let [early, premature] = [0, 0];
  changes.forEach((change, i) => {
    const until = changes[i + 1]?.asked ?? end;
    const bitten = arrivals.map((sent, host) => {
      const at = change.type === 'drop' ? lastBefore(sent, until) + 1000 / STREAM_RATE : firstAfter(sent, change.asked);
      require(until - at >= STABLE_MS, () =>
        `change ${i} (${change.type}) is not seen at host ${host + 1} before the next one`);
      return at;
    });
    const slowest = Math.max(...bitten);
    if (slowest < change.answered) early++;
    // Sent after all hosts had said that nothing follows the old rule any more, and delivered by it.
    if (change.type === 'drop' && slowest - 1000 / STREAM_RATE > change.converged) premature++;
    latencies.push(Math.max(0, slowest - change.answered));
  });
  require(premature === 0, () => `${premature} changes were reported live before they were`);
  const conditions = {
    encap: 'vxlan',
    hosts: HOSTS.length,
    changes: changes.length,
    flows: installed.all,
    affected: installed.affected,
    stream_rate: STREAM_RATE,
  };
  const live = changes.map(({ answered, converged }) => converged - answered);
  return { verdict: latencies, live, beforeAnswer: early, conditions };
}

/** Time of the last packet that arrived and was sent before `time`. */
function lastBefore(sent: Float64Array, time: number): number {
  return sent[lowerBound(sent, time) - 1] ?? Number.NEGATIVE_INFINITY;
}

/** Time of the first packet that arrived and was sent at or after `time`. */
function firstAfter(sent: Float64Array, time: number): number {
  return sent[lowerBound(sent, time)] ?? Number.POSITIVE_INFINITY;
}

function lowerBound(sorted: Float64Array, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** CLOCK_MONOTONIC in ms, as the senders stamp their packets. */
function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
