/** A stream of echo requests at a steady pace, to see what a disturbance costs. */
import { inNetns, runInBackground } from './exec.ts';
import type { VmPlan } from './plan.ts';

export interface ProbeReport {
  readonly sent: number;
  readonly lost: number;
  /** Most requests in a row without an answer. */
  readonly longestGap: number;
  /** The last request was answered. */
  readonly alive: boolean;
}

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
  const ping = runInBackground(inNetns(vm.namespace, ['stdbuf', '-oL', ...argv]));
  await ping.waitFor('icmp_seq=');
  const sequences = () =>
    unwrapped([...ping.output().matchAll(/icmp_seq=(\d+) .*ttl=/g)].map((match) => Number(match[1])));
  return {
    answers: () => sequences().length,
    lastAnswer: () => Math.max(0, ...sequences().slice(-50)),
    async stop() {
      await ping.stop();
      const answered = new Set(sequences());
      const sent = Number(/(\d+) packets transmitted/.exec(ping.output())?.[1] ?? 0);
      // The last request may still have been on its way.
      const judged = answered.has(sent) ? sent : sent - 1;
      let lost = 0;
      let gap = 0;
      let longestGap = 0;
      for (let sequence = 1; sequence <= judged; sequence++) {
        gap = answered.has(sequence) ? 0 : gap + 1;
        if (gap > 0) lost++;
        longestGap = Math.max(longestGap, gap);
      }
      return { sent: judged, lost, longestGap, alive: gap === 0 && answered.size > 0 };
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
