/** Many UDP flows at a steady pace: sender and sink of `bench/tools/udp_flows.c`. */
import { readFile } from 'node:fs/promises';
import { type Background, background, inNamespace, runJson } from './exec.ts';
import type { End } from './paths.ts';
import { tool } from './tools.ts';

/** 5-tuples that share a target port; the C source says the same. */
const TUPLES_PER_PORT = 50_000;
export const SOURCE_PORT = 10_000;

export interface FlowSpec {
  readonly from: End;
  readonly to: Pick<End, 'address'>;
  /** Of the VM itself in the same network, else of its router. */
  readonly targetMac: string;
  /** First target port. */
  readonly port: number;
  /** Number of different 5-tuples; the packets take them in turn. */
  readonly tuples: number;
  readonly count: number;
  /** Packets per second. */
  readonly rate: number;
  readonly stream?: number;
  /** The packets are answers to those of the same tuples: the ports change places. */
  readonly answers?: boolean;
}

export interface Sent {
  readonly sent: number;
  readonly seconds: number;
  /** Most that a packet was sent after its time: a sender that falls behind measures itself. */
  readonly late_ns: number;
}

export interface Received {
  readonly received: number;
  readonly unique: number;
  readonly duplicates: number;
  readonly foreign: number;
  /** Lost by the sink's own sockets. */
  readonly overflow: number;
}

async function senderArgv(spec: FlowSpec): Promise<string[]> {
  const { from, to } = spec;
  const options = {
    device: from.device,
    'source-mac': from.mac,
    'target-mac': spec.targetMac,
    source: from.address,
    target: to.address,
    'source-port': SOURCE_PORT,
    'target-port': spec.port,
    tuples: spec.tuples,
    count: spec.count,
    rate: spec.rate,
    stream: spec.stream ?? 0,
    answers: spec.answers === true ? 1 : 0,
  };
  return inNamespace(from.namespace, [
    await tool('udp_flows'),
    'send',
    ...Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]),
  ]);
}

/** Sends and waits until everything is sent. */
export async function sendFlows(spec: FlowSpec): Promise<Sent> {
  return runJson<Sent>(await senderArgv(spec), (spec.count / spec.rate) * 1000 + 60_000);
}

/** Sends until it is stopped or `count` packets are out. */
export async function startFlows(spec: FlowSpec): Promise<Background> {
  return background(await senderArgv(spec));
}

export interface Sink {
  /** Stops counting. */
  stop(): Promise<Received>;
}

/** Opens the sockets on which the tuples arrive. */
export async function openSink(
  at: End,
  port: number,
  tuples: number,
  capacity: number,
  record?: string,
): Promise<Sink> {
  const ports = Math.ceil(tuples / TUPLES_PER_PORT);
  const argv = [
    await tool('udp_flows'),
    'sink',
    '--address',
    at.address,
    '--port',
    `${port}`,
    '--ports',
    `${ports}`,
    '--capacity',
    `${capacity}`,
  ];
  if (record !== undefined) argv.push('--record', record);
  const sink = background(inNamespace(at.namespace, argv));
  await sink.waitFor('listening');
  return {
    async stop() {
      const text = await sink.stop();
      return JSON.parse(text.slice(text.indexOf('{'))) as Received;
    },
  };
}

/** Times in ms of CLOCK_MONOTONIC at which the packets that arrived had been sent, ascending. */
export async function readSentTimes(file: string): Promise<Float64Array> {
  const bytes = await readFile(file);
  const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 3);
  const times = new Float64Array(words.length >> 2);
  for (let i = 0; i < times.length; i++) times[i] = Number(words[4 * i + 2]) / 1e6;
  return times.sort();
}
