/** Conversations between two places of the lab, by `tools/talk.ts`: each side is told how it looks from the other. */
import { resolve } from 'node:path';
import { LabError } from './errors.ts';
import { type Background, inNetns, runInBackground } from './exec.ts';
import type { Place } from './plan.ts';
import type { TalkOptions, TalkReport } from './tools/talk.ts';
import { awaitValue } from './wait.ts';

export type { TalkReport } from './tools/talk.ts';

const TOOL = resolve(import.meta.dirname, 'tools/talk.ts');

export interface Server {
  /** TCP peers so far, `address port`, in the order in which they came. */
  peers(): string[];
  stop(): Promise<void>;
}

/** Answers on TCP and UDP `port` of an address of `at`. */
export async function startServer(at: Place, address: string, port: number): Promise<Server> {
  const server = start(at, 'serve', address, port);
  await server.waitFor('listening');
  return {
    peers: () => [...server.output().matchAll(/^peer (.*)$/gm)].map((match) => match[1]!),
    stop: () => server.stop(),
  };
}

export interface Talk {
  /** Answers so far, all but the last 19. */
  answers(): number;
  /** Ends it and tells how it went. */
  stop(): Promise<TalkReport>;
}

export interface Conversation {
  readonly from: Place;
  readonly address: string;
  readonly port: number;
  readonly protocol?: 'tcp' | 'udp';
  readonly options?: Partial<TalkOptions>;
}

const DEFAULTS: TalkOptions = { intervalMs: 10, patienceMs: 3000 };

/** Starts to talk to a server. Resolves when the connection is there, or is given up (then `stop` tells why). */
export async function startTalk({ from, address, port, protocol = 'tcp', options = {} }: Conversation): Promise<Talk> {
  const talk = start(from, protocol, address, port, JSON.stringify({ ...DEFAULTS, ...options }));
  await Promise.race([talk.waitFor('talking').catch(() => {}), talk.ended()]);
  return {
    answers: () => Number([...talk.output().matchAll(/^at (\d+)$/gm)].at(-1)?.[1] ?? 0),
    async stop() {
      await talk.stop();
      return reportOf(talk);
    },
  };
}

/** A whole conversation of `count` messages (default 1). */
export async function converse(conversation: Conversation): Promise<TalkReport> {
  const { from, address, port, protocol = 'tcp', options } = conversation;
  const talk = start(from, protocol, address, port, JSON.stringify({ ...DEFAULTS, count: 1, ...options }));
  await talk.ended();
  return reportOf(talk);
}

/** Connections that are open. */
export interface Held {
  readonly open: number;
  /** Says something else over each, and resolves with how many heard it again. */
  ask(): Promise<number>;
  stop(): Promise<void>;
}

/** Opens many connections and holds them; with `untilRefused` as many as there can be. */
export async function holdConnections(
  from: Place,
  address: string,
  port: number,
  count: number,
  untilRefused = false,
): Promise<Held> {
  const LANES = 64;
  const hold = start(from, untilRefused ? 'fill' : 'hold', address, port, count, LANES);
  await hold.waitFor('open ', 120_000);
  const answers = () => [...hold.output().matchAll(/^answered (\d+)$/gm)].map((match) => Number(match[1]));
  return {
    open: Number(/open (\d+)/.exec(hold.output())![1]),
    async ask() {
      const before = answers().length;
      hold.child.kill('SIGUSR2');
      return awaitValue('answers over connections that are open', 30_000, async () => answers()[before]);
    },
    stop: () => hold.stop(),
  };
}

/** The address of `address port`. */
export function addressOf(end: string): string {
  return end.split(' ')[0]!;
}

function start(at: Place, ...argv: (string | number)[]): Background {
  return runInBackground(inNetns(at.namespace, [process.execPath, TOOL, ...argv.map(String)]));
}

function reportOf(talk: Background): TalkReport {
  const text = /^\{.*\}$/m.exec(talk.output())?.[0];
  if (text === undefined)
    throw new LabError('WEFT_LAB_COMMAND', `a conversation failed: ${talk.output().slice(-1000)}`);
  return JSON.parse(text) as TalkReport;
}
