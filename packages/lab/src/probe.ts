/** A stream of echo requests at a steady pace, to see what a disturbance costs. */
import { inNetns, runInBackground } from './exec.ts';
import type { VmPlan } from './plan.ts';
import { waitUntil } from './wait.ts';

export interface ProbeReport {
  /** Requests that are judged: up to the last answer, or all if none came any more. */
  readonly sent: number;
  /** All requests, also those whose answers were still on their way. */
  readonly transmitted: number;
  readonly lost: number;
  /** Most requests in a row without an answer. */
  readonly longestGap: number;
  /** Answers came to the end. */
  readonly alive: boolean;
}

/** Bytes of ping's output in which the last answers are. */
const TAIL = 4_096;
/** Without an answer for this long nothing comes any more. */
const LAST_ANSWER_MS = 1_000;

/** Intervals below this need root: they run at a real-time priority. */
const FAST_MS = 2;

export interface Probe {
  /** Answers so far. */
  answers(): number;
  /** Sequence number of the last answer, 0 before the first. */
  lastAnswer(): number;
  stop(): Promise<ProbeReport>;
}

/**
 * Pings from a VM every `intervalMs` until stopped. Resolves with the first answer.
 * @param echoId ICMP identifier, 1–65,535, where the probe has to be told from others; default: any
 */
export async function startProbe(vm: VmPlan, address: string, intervalMs = 10, echoId?: number): Promise<Probe> {
  const id = echoId === undefined ? [] : ['-e', String(echoId)];
  const argv = ['ping', '-n', '-W', '1', '-i', String(intervalMs / 1000), ...id, address];
  // A fast one would lose answers by itself on a busy machine: its socket overflows while it waits for a CPU.
  const ahead = intervalMs < FAST_MS ? ['chrt', '--fifo', '10'] : [];
  const ping = runInBackground(inNetns(vm.namespace, [...ahead, 'stdbuf', '-oL', ...argv]));
  await ping.waitFor('icmp_seq=');
  const numbersIn = (text: string) => [...text.matchAll(/icmp_seq=(\d+) .*ttl=/g)].map((match) => Number(match[1]));
  const sequences = () => unwrapped(numbersIn(ping.output()));
  const newest = () => numbersIn(ping.output().slice(-TAIL)).at(-1);
  return {
    answers: () => sequences().length,
    lastAnswer: () => Math.max(0, ...sequences().slice(-50)),
    async stop() {
      // On a busy machine ping may be long in reading what has come.
      const last = newest();
      const alive = await waitUntil(() => newest() !== last, LAST_ANSWER_MS);
      await ping.stop();
      const answered = new Set(sequences());
      const transmitted = Number(/(\d+) packets transmitted/.exec(ping.output())?.[1] ?? 0);
      let judged = transmitted;
      while (alive && !answered.has(judged)) judged--;
      let lost = 0;
      let gap = 0;
      let longestGap = 0;
      for (let sequence = 1; sequence <= judged; sequence++) {
        gap = answered.has(sequence) ? 0 : gap + 1;
        if (gap > 0) lost++;
        longestGap = Math.max(longestGap, gap);
      }
      return { sent: judged, transmitted, lost, longestGap, alive };
    },
  };
}

const WRAP = 0x10000;

/** Sequence numbers have 16 bits: those behind the last one begin anew. Answers come in order but for a few. */
function unwrapped(sequences: readonly number[]): number[] {
  let base = 0;
  let last = 0;
  return sequences.map((sequence) => {
    if (base + sequence < last - WRAP / 2) base += WRAP;
    const full = base + sequence > last + WRAP / 2 ? base + sequence - WRAP : base + sequence;
    last = Math.max(last, full);
    return full;
  });
}
