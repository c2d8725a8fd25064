/** `weft trace --live`: the next real packets, on every host that they cross. */
import type { LiveEvent } from '@weft/agent';
import { type AgentDoor, type AgentOptions, findPort, knownHosts, streamAgent } from './agents.ts';
import { CliError } from './errors.ts';
import { print } from './output.ts';
import { untilTerminated } from './signals.ts';
import { eventLines } from './trace-text.ts';

interface LiveOptions extends AgentOptions {
  readonly allHosts?: boolean;
  readonly count: string;
  readonly seconds: string;
  readonly payload?: boolean;
  readonly json?: boolean;
}

/** How long hosts go on watching for arrivals after the last packet was sent. */
const ARRIVAL_MS = 1_000;

/** `port` absent: all ports of the hosts meant. A port that reads like a packet (`udp`, `icmp,…`, `ip_dst=…`) is one. */
export async function traceLive(
  first: string | undefined,
  second: string | undefined,
  options: LiveOptions,
  agents: readonly AgentDoor[],
): Promise<void> {
  const filterOnly = first !== undefined && second === undefined && isPacket(first);
  const port = filterOnly ? undefined : first;
  const packet = (filterOnly ? first : second) ?? '';
  const found = port === undefined ? undefined : await findPort(port, options, agents);
  if (found === undefined && packet === '') {
    throw new CliError('WEFT_CLI_USAGE', 'name a port, a filter, or both: weft trace --live PORT [FILTER]');
  }
  const hosts = await knownHosts(options, agents);
  const stop = new AbortController();
  void untilTerminated().then(() => stop.abort());
  const common = {
    packet,
    count: whole(options.count, '-n'),
    seconds: whole(options.seconds, '--seconds'),
    payload: options.payload === true,
  };
  const show = (agent: AgentDoor, event: LiveEvent): void => {
    if (options.json) print(JSON.stringify({ host: agent.name, ...event }));
    else print(eventLines(agent.name, event, hosts).join('\n'));
  };
  const watch = (agent: AgentDoor, body: object, heed: (event: LiveEvent) => void = () => {}): Promise<void> =>
    streamAgent(
      agent.socketPath,
      '/trace/live',
      { ...common, ...body },
      (line) => {
        show(agent, line as LiveEvent);
        heed(line as LiveEvent);
      },
      stop.signal,
    );
  const others = found === undefined ? agents : agents.filter(({ hostId }) => hostId !== found.agent.hostId);
  const watches: Promise<void>[] = [];
  if (found !== undefined) {
    // Its own arrivals are those of other packets: only what enters by the port counts. Elsewhere it is known by its addresses.
    let known: (sources: readonly string[]) => void = () => {};
    const sources = new Promise<readonly string[]>((resolve) => {
      known = resolve;
    });
    const ended = watch(found.agent, { port: found.port, arrivals: false }, (event) => {
      if (event.event === 'watching') known(event.link?.stations.flatMap(({ ips }) => ips) ?? []);
    });
    watches.push(ended);
    if (options.allHosts === true) {
      const list = await Promise.race([sources, ended.then(() => [])]);
      for (const agent of others) watches.push(watch(agent, { ingress: false, arrivals: true, sources: list }));
    }
    // When the sender's part is over, what it sent has arrived or will not.
    void ended.finally(() => setTimeout(() => stop.abort(), ARRIVAL_MS)).catch(() => {});
  } else for (const agent of others) watches.push(watch(agent, {}));
  await Promise.all(watches);
  stop.abort();
}

function isPacket(text: string): boolean {
  return /[,=]/.test(text) || /^(ip|ip6|ipv6|icmp|icmp6|tcp|tcp6|udp|udp6|sctp|arp)$/.test(text);
}

function whole(text: string, option: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new CliError('WEFT_CLI_USAGE', `${option} takes a whole number from 1, not "${text}"`);
}
