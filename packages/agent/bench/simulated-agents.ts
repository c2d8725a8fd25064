/**
 * Many agents in one process, for a benchmark that forks it. Messages in: `start` (once), then `applied` with a revision; each is answered
 * by one message out.
 */
import { monotonicMs, SimulatedAgent, type SimulatedAgentOptions } from '../src/testing/simulated-agent.ts';

export interface StartAgents {
  readonly kind: 'start';
  readonly agents: readonly SimulatedAgentOptions[];
  /** Agents that boot at a time. */
  readonly atATime: number;
  /** What each has applied before it counts as booted. */
  readonly revision: number;
}

/** Answer to `start`. */
export interface AgentsStarted {
  /** Of each agent: ms from its start until it has applied the revision. */
  readonly bootMs: readonly number[];
  readonly rssMib: { readonly before: number; readonly after: number };
  /** Of each agent: what it is subscribed to, and bytes it took. */
  readonly interests: readonly number[];
  readonly bytes: readonly number[];
}

export interface AwaitApplied {
  readonly kind: 'applied';
  readonly revision: number;
}

/** Answer to `applied`, when all have. */
export interface AllApplied {
  /** When the last one had, CLOCK_MONOTONIC, ms. */
  readonly at: number;
  readonly complaints: readonly string[];
}

const agents: SimulatedAgent[] = [];

/** Resolves with the time at which the agent had applied the revision. */
function applied(agent: SimulatedAgent, revision: number): Promise<number> {
  const known = agent.applied.find((one) => one.revision >= revision);
  if (known !== undefined) return Promise.resolve(known.at);
  return new Promise((resolve) => {
    agent.onApplied = (one) => {
      if (one.revision >= revision) resolve(one.at);
    };
  });
}

async function start({ agents: all, atATime, revision }: StartAgents): Promise<AgentsStarted> {
  const before = rss();
  const bootMs: number[] = [];
  const queue = [...all.entries()];
  const bootSome = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const begun = monotonicMs();
      const agent = await SimulatedAgent.start(next[1]);
      agents.push(agent);
      bootMs[next[0]] = (await applied(agent, revision)) - begun;
    }
  };
  await Promise.all(Array.from({ length: atATime }, bootSome));
  const interests = agents.map((agent) => agent.interests.size);
  const bytes = agents.map((agent) => agent.bytesReceived);
  return { bootMs, rssMib: { before, after: rss() }, interests, bytes };
}

async function allApplied({ revision }: AwaitApplied): Promise<AllApplied> {
  const times = await Promise.all(agents.map((agent) => applied(agent, revision)));
  // What has been measured is not needed any longer.
  for (const agent of agents) agent.applied.splice(0, agent.applied.length - 1);
  return { at: Math.max(...times), complaints: agents.flatMap(({ complaints }) => complaints).slice(0, 10) };
}

function rss(): number {
  globalThis.gc?.();
  return process.memoryUsage.rss() / 2 ** 20;
}

process.on('message', async (message: StartAgents | AwaitApplied) => {
  const answer = message.kind === 'start' ? await start(message) : await allApplied(message);
  process.send!(answer);
});
process.on('disconnect', () => process.exit(0));
