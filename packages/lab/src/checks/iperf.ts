/** Runs iperf3 between two places. */

import { LabError } from '../errors.ts';
import { inNetns, runInBackground, tryRun } from '../exec.ts';
import type { Place } from '../plan.ts';

/** The few members of iperf3's JSON that are read. */
export interface IperfReport {
  readonly error?: string;
  readonly end?: {
    readonly sum_sent?: { readonly bytes: number; readonly bits_per_second: number; readonly retransmits?: number };
    readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number };
    readonly sum?: { readonly packets: number; readonly lost_packets: number; readonly bits_per_second: number };
  };
}

export interface IperfOptions {
  readonly from: Place;
  readonly to: Place;
  readonly address: string;
  readonly port: number;
  /** Further arguments of the client. */
  readonly client: readonly (string | number)[];
  readonly timeoutMs?: number;
}

/** Starts a one-shot server in `to`, runs the client in `from` and returns the client's report. */
export async function iperf(options: IperfOptions): Promise<IperfReport> {
  const { from, to, address, port } = options;
  const server = runInBackground(inNetns(to.namespace, ['iperf3', '-s', '-1', '-p', String(port), '--forceflush']));
  try {
    await server.waitFor('Server listening');
    const argv = ['iperf3', '-c', address, '-p', port, '--connect-timeout', 3000, '--json', ...options.client].map(
      String,
    );
    const { stdout, stderr, code } = await tryRun(inNetns(from.namespace, argv), {
      timeoutMs: options.timeoutMs ?? 20_000,
    });
    if (code === 124) return { error: 'no end in sight: the transfer hangs' };
    try {
      return JSON.parse(stdout) as IperfReport;
    } catch {
      throw new LabError('WEFT_LAB_COMMAND', `iperf3 in ${from.name} printed no JSON: ${stderr || stdout}`);
    }
  } finally {
    await server.stop();
  }
}

export function megabits(bitsPerSecond: number): string {
  return `${Math.round(bitsPerSecond / 1e6)} Mbit/s`;
}
