/** `weft flows`: what agents have installed, and why. */
import type { FlowDump, FlowList, FlowState } from '@weft/agent';
import { Command } from 'commander';
import {
  AGENT_OPTIONS,
  type AgentOptions,
  askAgent,
  findAgents,
  findPort,
  type KnownHost,
  knownHosts,
  nameHosts,
} from '../agents.ts';
import { print, printJson } from '../output.ts';
import { destinationsText } from '../trace-text.ts';

interface Options extends AgentOptions {
  readonly port?: string;
  readonly to?: string;
  readonly address?: string;
  readonly limit: string;
  readonly explain?: boolean;
  readonly json?: boolean;
}

export function flowsCommand(): Command {
  const command = new Command('flows').description('list installed flows in words, and say why they are');
  for (const option of AGENT_OPTIONS()) command.addOption(option);
  return command
    .option('--port <port>', 'only those that entered by it: a port id, an interface, or a VM of the lab')
    .option('--to <host>', 'only those that go through the tunnel to this host: its name, id or address')
    .option('--address <address>', 'only those whose first packet has this IP or MAC address')
    .option('--limit <number>', 'flows to list at most, per host', '1000')
    .option(
      '--explain',
      'say what each stands on and which decisions made it, by simulating its first packet again now',
    )
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  weft flows --host h1\n  weft flows --port blue-a1 --explain\n  weft flows --address 10.2.0.13 --json',
    )
    .action(listFlows);
}

async function listFlows(options: Options): Promise<void> {
  const agents = await findAgents(options);
  const at = options.port === undefined ? undefined : await findPort(options.port, options, agents);
  const hosts = await knownHosts(options, agents);
  const lists: (FlowList & { host: string })[] = [];
  for (const agent of at === undefined ? agents : [at.agent]) {
    const query = new URLSearchParams({ limit: options.limit });
    if (at !== undefined) query.set('port', at.port);
    if (options.to !== undefined)
      query.set('host', hosts.find(({ name }) => name === options.to)?.hostId ?? options.to);
    if (options.address !== undefined) query.set('address', options.address);
    if (options.explain) query.set('explain', '1');
    const list = await askAgent<FlowList>(agent.socketPath, 'GET', `/flows?${query}`, undefined, 60_000);
    lists.push({ host: agent.name, ...list });
  }
  if (options.json) return printJson(lists.length === 1 ? lists[0] : { hosts: lists });
  for (const list of lists) {
    if (lists.length > 1) print(`${list.host}:`);
    for (const flow of list.flows) print(describe(flow, hosts));
    print(footer(list));
  }
}

function describe(flow: FlowDump, hosts: readonly KnownHost[]): string {
  const age = `age:${seconds(flow.ageMs)}, idle:${seconds(flow.idleMs)}`;
  const lines = [
    `${flow.match}, packets:${flow.packets}, bytes:${flow.bytes}, ${age}, in:${flow.interface}, tags:${flow.tags}, actions:${flow.action}`,
  ];
  lines.push(...flow.states.map(stateText));
  if (flow.why !== undefined) {
    const { explanation, standsOn, destinations, agrees } = flow.why;
    lines.push(`  simulated again just now${agrees ? '' : '; THE OUTCOME DIFFERS, it waits to be replaced'}:`);
    lines.push(...explanation.steps.map(({ depth, text }) => `    ${'  '.repeat(depth)}${text}`));
    if (destinations.length > 0) lines.push(`  goes to ${destinationsText(destinations)}`);
    lines.push(...explanation.summary.map((text) => `  ${text}`), `  stands on: ${standsOn.join('; ')}`);
  }
  return lines.map((line) => nameHosts(line, hosts)).join('\n');
}

function stateText({ text, kind, device, state, direction, translation }: FlowState): string {
  const what = kind === 'tracking' ? 'connection' : kind;
  const of = direction === 'return' ? 'answers of ' : '';
  return `  ${of}${what} ${text} at ${device.name}: ${state}${translation === '' ? '' : `; ${translation}`}`;
}

function footer({ flows, matching, total, unexplained }: FlowList): string {
  const more = matching > flows.length ? `; ${matching - flows.length} more match, see --limit` : '';
  const rest = unexplained > 0 ? `; ${unexplained} of them not explained, list fewer` : '';
  return `${flows.length} of ${total} flows${more}${rest}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)}s`;
}
