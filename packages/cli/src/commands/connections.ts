/** `weft connections`: what hosts remember of connections, and what is translated. */
import type { ConnectionList, CutConnections } from '@weft/agent';
import { Command } from 'commander';
import {
  AGENT_OPTIONS,
  type AgentDoor,
  type AgentOptions,
  askAgent,
  findAgents,
  findPort,
  type KnownHost,
  knownHosts,
} from '../agents.ts';
import { connectionLines, connectionTable, type HostConnections, sharedConnections } from '../connection-text.ts';
import { CliError } from '../errors.ts';
import { print, printJson } from '../output.ts';

interface Options extends AgentOptions {
  readonly port?: string;
  readonly address?: string;
  readonly protocol?: string;
  readonly state?: string;
  readonly device?: string;
  readonly knownTo?: string;
  readonly limit: string;
  readonly allHosts?: boolean;
  readonly long?: boolean;
  readonly cut?: boolean;
  readonly json?: boolean;
}

export function connectionsCommand(): Command {
  const command = new Command('connections').description(
    'list connections that rules asked to remember, what is translated, and which hosts know them',
  );
  for (const option of AGENT_OPTIONS()) command.addOption(option);
  return command
    .option('--port <port>', 'only those that came in or went out by it: a port id, an interface, or a VM of the lab')
    .option(
      '--address <address>',
      'only those with this end, before or behind a translation: 10.0.0.1, 10.0.0.1:80, [fd00::1]:80',
    )
    .option('--protocol <protocol>', 'only those of this protocol: tcp, udp, icmp, icmp6, …, or its number')
    .option(
      '--state <state>',
      'only those in this state: syn, established, closing, closed, reset, unreplied, replied, icmp, other',
    )
    .option('--device <device>', 'only those on this router or bridge: its name or id')
    .option('--known-to <host>', 'only those that this host owns or is told of: its name, id or address')
    .option('--limit <number>', 'connections to list (or end) at most, per host', '1000')
    .option('--all-hosts', 'each connection once, with the hosts that should know it and do not')
    .option('--long', 'say also by which ports and by which rule')
    .option('--cut', 'end those that are meant, on all hosts that know them, instead of listing them')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  weft connections --port green-a1\n  weft connections --address 192.0.2.1:2073 --long\n  weft connections --protocol tcp --state established --all-hosts --json\n  weft connections --address 10.10.1.11 --cut',
    )
    .action(run);
}

async function run(options: Options): Promise<void> {
  if (options.cut && options.allHosts) {
    throw new CliError(
      'WEFT_CLI_USAGE',
      '--cut ends connections on all hosts that know them as it is; leave out --all-hosts',
    );
  }
  const agents = await findAgents(options);
  const hosts = await knownHosts(options, agents);
  const { asked, query } = await queryOf(options, agents, hosts);
  if (options.cut) return cut(query, options, asked);
  const answers: HostConnections[] = [];
  for (const { name, hostId, socketPath } of asked) {
    const list = await askAgent<ConnectionList>(socketPath, 'GET', `/connections?${new URLSearchParams(query)}`);
    answers.push({ host: { name, hostId }, list });
  }
  if (options.allHosts) return showShared(answers, options, hosts);
  if (options.json) {
    const lists = answers.map(({ host, list }) => ({ host: host.name, ...list }));
    return printJson(lists.length === 1 ? lists[0] : { hosts: lists });
  }
  for (const { host, list } of answers) {
    if (answers.length > 1) print(`${host.name}:`);
    show(list.connections, options, hosts);
    print(footer(list));
  }
}

/** Whom to ask, and what. A port is known by its interface on its own host only: all hosts are asked for its id. */
async function queryOf(
  options: Options,
  agents: readonly AgentDoor[],
  hosts: readonly KnownHost[],
): Promise<{ asked: readonly AgentDoor[]; query: Record<string, string> }> {
  const query: Record<string, string> = { limit: options.limit };
  for (const name of ['address', 'protocol', 'state', 'device'] as const) {
    const value = options[name];
    if (value !== undefined) query[name] = value;
  }
  const { knownTo } = options;
  if (knownTo !== undefined) query.host = hosts.find(({ name }) => name === knownTo)?.hostId ?? knownTo;
  if (options.port === undefined) return { asked: agents, query };
  const { agent, port } = await findPort(options.port, options, agents);
  const bound = agent.ports.find(({ interfaceName, portId }) => interfaceName === port || portId.startsWith(port));
  query.port = bound?.portId ?? port;
  return { asked: options.allHosts ? agents : [agent], query };
}

function show(connections: ConnectionList['connections'], { long }: Options, hosts: readonly KnownHost[]): void {
  if (connections.length === 0) return;
  if (long) print(connections.flatMap((one) => connectionLines(one, hosts)).join('\n'));
  else print(connectionTable(connections, hosts));
}

function showShared(answers: readonly HostConnections[], options: Options, hosts: readonly KnownHost[]): void {
  const connections = sharedConnections(answers);
  if (options.json) {
    printJson({ hosts: answers.map(({ host }) => host.name), connections });
    return;
  }
  show(connections, options, hosts);
  const missing = connections.filter(({ missingOn }) => missingOn.length > 0).length;
  const away = missing === 0 ? '' : `; ${missing} not known on every host that should know them`;
  print(`${connections.length} connections on ${answers.map(({ host }) => host.name).join(', ')}${away}`);
}

function footer({ connections, matching, total, complete }: ConnectionList): string {
  const more = matching > connections.length ? `; ${matching - connections.length} more match, see --limit` : '';
  const rest = complete ? '' : '; there was no time to look at all: ask for less';
  return `${connections.length} of ${total} connections${more}${rest}`;
}

async function cut(query: Record<string, string>, options: Options, agents: readonly AgentDoor[]): Promise<void> {
  const { limit, ...fields } = query;
  const body = { ...fields, limit: Number(limit) };
  const ended: { host: string; cut: number; matching: number }[] = [];
  for (const { name, socketPath } of agents) {
    const answer = await askAgent<CutConnections>(socketPath, 'POST', '/connections/cut', body);
    ended.push({ host: name, ...answer });
  }
  if (options.json) return printJson(ended);
  for (const { host, cut, matching } of ended) {
    print(`${host}: ended ${cut} of ${matching} connections${cut < matching ? ', see --limit' : ''}`);
  }
}
