/** What goes on while something is broken: a probe each millisecond, a long transfer over TCP, new connections all the time. */
import { resolve } from 'node:path';
import { LabError } from './errors.ts';
import { type Background, inNetns, runInBackground } from './exec.ts';
import type { Place, VmPlan } from './plan.ts';
import { type ProbeReport, startProbe } from './probe.ts';
import type { StreamReport } from './tools/tcp-connections.ts';

const TOOL = resolve(import.meta.dirname, 'tools/tcp-connections.ts');
const PROBE_MS = 1;
const CONNECT_MS = 50;
/** Far below what the machine can carry: it is to be steady, not to take the probe's place. */
const RATE = '20M';
const TRANSFER_PORT = 5301;
const CONNECT_PORT = 5302;

export interface TransferReport {
  readonly bytes: number;
  readonly retransmits: number;
  /** Tenths of a second in which nothing was sent. */
  readonly stalls: number;
  /** It broke off. */
  readonly broken: boolean;
}

export interface LoadReport {
  readonly probe: ProbeReport;
  readonly transfer: TransferReport;
  readonly connections: StreamReport;
}

export interface Load {
  /** Ends all of it, and tells what was lost. */
  stop(): Promise<LoadReport>;
}

/** Starts all three; resolves when each has got through once. */
export async function startLoad(from: VmPlan, to: Place, address: string): Promise<Load> {
  const started: { stop(): Promise<unknown> }[] = [];
  const begin = async (at: Place, argv: readonly (string | number)[], says: string): Promise<Background> => {
    const command = runInBackground(inNetns(at.namespace, argv.map(String)));
    started.push(command);
    await command.waitFor(says);
    return command;
  };
  try {
    const sink = await begin(to, ['iperf3', '-s', '-p', TRANSFER_PORT, '--forceflush'], 'Server listening');
    const server = await begin(to, [process.execPath, TOOL, 'serve', CONNECT_PORT], 'listening');
    const client = ['iperf3', '-c', address, '-p', TRANSFER_PORT, '-t', 3600, '-b', RATE, '-i', '0.1', '--forceflush'];
    const transfer = await begin(from, client, 'bits/sec');
    const stream = await begin(from, [process.execPath, TOOL, 'stream', address, CONNECT_PORT, CONNECT_MS], 'open');
    const probe = await startProbe(from, address, PROBE_MS);
    return {
      async stop() {
        const report = await probe.stop();
        stream.child.kill('SIGINT');
        await stream.ended();
        await transfer.stop();
        await Promise.all([sink.stop(), server.stop()]);
        return { probe: report, transfer: transferOf(transfer.output()), connections: connectionsOf(stream.output()) };
      },
    };
  } catch (error) {
    await Promise.all(started.map((one) => one.stop()));
    throw error;
  }
}

/** Nothing was lost that anybody sent: retransmits may come from the machine's own moments. */
export function describeLoad({ probe, transfer, connections }: LoadReport): string {
  return [
    `probe: ${probe.lost} of ${probe.sent} lost, at most ${probe.longestGap} in a row`,
    `transfer: ${Math.round(transfer.bytes / 2 ** 20)} MiB, ${transfer.retransmits} segments again, ${transfer.stalls} tenths of a second without${transfer.broken ? ', BROKEN' : ''}`,
    `connections: ${connections.failed} of ${connections.opened} failed, at most ${connections.slowestMs} ms`,
  ].join('; ');
}

const INTERVAL = /^\[ *\d+\] +[\d.]+-[\d.]+ +sec +([\d.]+) (|[KMG])Bytes +[\d.]+ .?bits\/sec +(\d+) /gm;
const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

function transferOf(output: string): TransferReport {
  // What follows the rule sums up.
  const [intervals, summary = ''] = output.split(/^- - - /m);
  const seen = [...intervals!.matchAll(INTERVAL)].map(([, amount, unit, again]) => ({
    bytes: Number(amount) * UNITS[unit!]!,
    again: Number(again),
  }));
  return {
    bytes: seen.reduce((sum, { bytes }) => sum + bytes, 0),
    retransmits: seen.reduce((sum, { again }) => sum + again, 0),
    stalls: seen.filter(({ bytes }) => bytes === 0).length,
    // Told to end, it sums up and says so; what ended by itself was broken.
    broken: !/interrupt/.test(summary) || /unable|refused|reset|timed out/i.test(output),
  };
}

function connectionsOf(output: string): StreamReport {
  const text = /^\{.*\}$/m.exec(output)?.[0];
  if (text === undefined)
    throw new LabError('WEFT_LAB_COMMAND', `the stream of connections failed: ${output.slice(-500)}`);
  return JSON.parse(text) as StreamReport;
}
