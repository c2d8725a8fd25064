/** First packets of flows: the echo and the prober of `bench/tools/first_packet.c`. */
import { require } from './errors.ts';
import { type Background, background, inNamespace, runJson } from './exec.ts';
import type { End, NetworkPath } from './paths.ts';
import { tool } from './tools.ts';

const PORT = 9000;
export const PAUSE_US = 5_000;

export interface Probes {
  readonly lost: number;
  /** Round trips of the first and of the second packet of each flow that was answered. */
  readonly first_ns: readonly number[];
  readonly second_ns: readonly number[];
}

/** Answers until it is stopped. @param scheduling put before the command */
export async function startEcho(at: End, scheduling: readonly string[] = []): Promise<Background> {
  const argv = [...scheduling, await tool('first_packet'), 'echo', '--address', at.address, '--port', `${PORT}`];
  const echo = background(inNamespace(at.namespace, argv));
  await echo.waitFor('listening');
  return echo;
}

/** Two round trips from each of `flows` source ports. Both are asked of machines that have gone idle for `PAUSE_US`. */
export async function probe({ client, server }: NetworkPath, sourcePort: number, flows: number): Promise<Probes> {
  const options = { address: server.address, port: PORT, 'source-port': sourcePort, flows, 'pause-us': PAUSE_US };
  const argv = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const probes = await runJson<Probes>(inNamespace(client.namespace, [await tool('first_packet'), 'probe', ...argv]));
  require(probes.lost === 0, () => `${probes.lost} of ${flows} flows had no answer`);
  return probes;
}

/** What each first packet waited longer than the second one, µs. */
export function addedOf({ first_ns, second_ns }: Probes): number[] {
  return first_ns.map((ns, i) => (ns - second_ns[i]) / 1000);
}
