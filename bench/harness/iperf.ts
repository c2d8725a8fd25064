/** TCP throughput by iperf3. */
import { cpus } from 'node:os';
import { BenchError } from './errors.ts';
import { background, inNamespace, run, UNDISTURBED } from './exec.ts';
import { type LinkCounters, type NetworkPath, uplinkCounters } from './paths.ts';

const PORT = 5201;

export interface Throughput {
  /** Received by the server. */
  readonly gbps: number;
  readonly bytes: number;
  readonly retransmits: number;
  /** What went out of the client's host while it ran. */
  readonly wire: { readonly bytes: number; readonly packets: number };
}

interface IperfJson {
  readonly error?: string;
  readonly end?: {
    readonly sum_sent: { readonly retransmits?: number };
    readonly sum_received: { readonly bytes: number; readonly bits_per_second: number };
  };
}

export interface StreamOptions {
  readonly seconds: number;
  /**
   * Client on CPU 0, server on CPU 1, and both before whatever else the machine has to do: most of a path in the kernel runs in their
   * time. Not where processes forward, which need time of their own.
   */
  readonly alone: boolean;
}

/** One TCP stream. */
export async function tcpThroughput(path: NetworkPath, { seconds, alone }: StreamOptions): Promise<Throughput> {
  const { client, server } = path;
  const scheduling = alone ? UNDISTURBED : [];
  const listener = background(
    inNamespace(server.namespace, [
      ...scheduling,
      'iperf3',
      '-s',
      '-1',
      '-B',
      server.address,
      '-p',
      `${PORT}`,
      '--forceflush',
    ]),
  );
  try {
    await listener.waitFor('Server listening');
    const before = await uplinkCounters(path.clientHost);
    const argv = [
      ...scheduling,
      'iperf3',
      '-c',
      server.address,
      '-p',
      `${PORT}`,
      '-t',
      `${seconds}`,
      '--json',
      '--connect-timeout',
      '5000',
    ];
    if (alone && cpus().length > 1) argv.push('-A', '0,1');
    const report = JSON.parse(await run(inNamespace(client.namespace, argv), '', (seconds + 30) * 1000)) as IperfJson;
    const after = await uplinkCounters(path.clientHost);
    if (report.end === undefined)
      throw new BenchError('WEFT_BENCH_COMMAND', `iperf3 on ${path.name}: ${report.error ?? 'no result'}`);
    return {
      gbps: report.end.sum_received.bits_per_second / 1e9,
      bytes: report.end.sum_received.bytes,
      retransmits: report.end.sum_sent.retransmits ?? 0,
      wire: sent(before, after),
    };
  } finally {
    await listener.stop();
  }
}

function sent(before: LinkCounters, after: LinkCounters): { bytes: number; packets: number } {
  return { bytes: after.txBytes - before.txBytes, packets: after.txPackets - before.txPackets };
}
