/** `weft rules`: what the rules of chains have matched, and what rule loggers have written. */
import type { ChainReport, RuleList, RuleLogLine } from '@weft/agent';
import { Command } from 'commander';
import { AGENT_OPTIONS, type AgentDoor, type AgentOptions, askAgent, findAgents, streamAgent } from '../agents.ts';
import { CliError } from '../errors.ts';
import { formatTable, print, printJson } from '../output.ts';
import type { LoggedLine } from '../rule-log-text.ts';
import { untilTerminated } from '../signals.ts';

interface Options extends AgentOptions {
  readonly clear?: boolean;
  readonly log?: boolean;
  readonly follow?: boolean;
  readonly lines: string;
  readonly json?: boolean;
}

/** A rule with the sums of all hosts asked, and what each of them counted. */
interface SummedRule {
  readonly id: string;
  readonly position: number;
  readonly type: string;
  readonly target: string;
  readonly condition: string;
  packets: number;
  bytes: number;
  lastHit: number | null;
  readonly hosts: Record<string, { packets: number; bytes: number; lastHit: number | null }>;
}

interface SummedChain {
  readonly id: string;
  readonly name: string;
  readonly tenantId: string;
  readonly rules: SummedRule[];
}

export function rulesCommand(): Command {
  const command = new Command('rules')
    .description('what the rules of chains have matched, on all hosts together; what their loggers have written')
    .argument('[chain]', 'name or id of a chain; without it all chains that the hosts know');
  for (const option of AGENT_OPTIONS()) command.addOption(option);
  return command
    .option('--clear', 'start them again at 0')
    .option('--log', 'print the rule logs in words instead')
    .option('-f, --follow', 'with --log: go on with the next lines until Ctrl-C')
    .option('-n, --lines <number>', 'with --log: how many of the last lines, per host', '100')
    .option('--json', 'as JSON; with --log one object per line')
    .addHelpText('after', '\nExamples:\n  weft rules web\n  weft rules web --host h1 --clear\n  weft rules --log -f')
    .action(run);
}

async function run(chain: string | undefined, options: Options): Promise<void> {
  const agents = await findAgents(options);
  if (options.log) return showLogs(chain, options, agents);
  if (options.follow) throw new CliError('WEFT_CLI_USAGE', '-f follows a log: weft rules --log -f');
  const lists: { host: string; list: RuleList }[] = [];
  for (const { name, socketPath } of agents) {
    const list = await ask(socketPath, chain, options.clear === true);
    lists.push({ host: name, list });
  }
  const chains = sum(lists);
  if (chain !== undefined && chains.length === 0) {
    const hosts = agents.map(({ name }) => name).join(', ');
    throw new CliError('WEFT_CLI_NOT_FOUND', `no chain "${chain}" is in use on ${hosts}`, 1);
  }
  if (options.json) return printJson({ hosts: agents.map(({ name }) => name), chains });
  print(chains.length === 0 ? 'no chains are in use' : chains.map(chainText).join('\n\n'));
}

/** A host that does not know the chain has nothing to clear. */
async function ask(socketPath: string, chain: string | undefined, clear: boolean): Promise<RuleList> {
  const query = chain === undefined ? '' : `?${new URLSearchParams({ chain })}`;
  const list = await askAgent<RuleList>(socketPath, 'GET', `/rules${query}`);
  if (!clear || (chain !== undefined && list.chains.length === 0)) return list;
  return askAgent<RuleList>(socketPath, 'POST', '/rules/clear', chain === undefined ? {} : { chain });
}

/** Chains of all hosts, each once. A host that has not heard of the newest rule yet counts for those that it knows. */
function sum(lists: readonly { readonly host: string; readonly list: RuleList }[]): SummedChain[] {
  const chains = new Map<string, SummedChain>();
  for (const { host, list } of lists) {
    for (const { rules, ...chain } of list.chains) {
      const summed = chains.get(chain.id) ?? { ...chain, rules: [] };
      chains.set(chain.id, summed);
      addRules(summed, host, rules);
    }
  }
  for (const { rules } of chains.values()) rules.sort((a, b) => a.position - b.position);
  return [...chains.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

function addRules(chain: SummedChain, host: string, rules: ChainReport['rules']): void {
  for (const { packets, bytes, lastHit, ...rule } of rules) {
    let summed = chain.rules.find(({ id }) => id === rule.id);
    if (summed === undefined) chain.rules.push((summed = { ...rule, packets: 0, bytes: 0, lastHit: null, hosts: {} }));
    summed.packets += packets;
    summed.bytes += bytes;
    if (lastHit !== null) summed.lastHit = Math.max(summed.lastHit ?? 0, lastHit);
    summed.hosts[host] = { packets, bytes, lastHit };
  }
}

function chainText({ id, name, tenantId, rules }: SummedChain): string {
  const title = `chain ${name === '' ? id : `"${name}" (${id})`}${tenantId === '' ? '' : `, tenant ${tenantId}`}`;
  if (rules.length === 0) return `${title}: no rules, everything passes`;
  const now = Date.now();
  const rows = rules.map((rule) => [
    `  ${rule.position}`,
    String(rule.packets),
    String(rule.bytes),
    rule.lastHit === null ? 'never' : age(now - rule.lastHit),
    `${rule.type}${rule.target === '' ? '' : ` to ${rule.target}`}: ${rule.condition}`,
  ]);
  return [title, formatTable([['  rule', 'packets', 'bytes', 'last', 'what'], ...rows])].join('\n');
}

function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  return `${Math.floor(seconds / 3600)} h ago`;
}

async function showLogs(chain: string | undefined, options: Options, agents: readonly AgentDoor[]): Promise<void> {
  const { decisionText } = await import('../rule-log-text.ts');
  const stop = new AbortController();
  if (options.follow) void untilTerminated().then(() => stop.abort());
  const query = new URLSearchParams({ lines: options.lines, follow: options.follow ? '1' : '0' });
  const gathered: LoggedLine[] = [];
  const show = (line: LoggedLine): void => print(options.json ? JSON.stringify(line) : decisionText(line));
  const streams = agents.map(({ name, socketPath }) =>
    streamAgent(
      socketPath,
      `/rules/log?${query}`,
      undefined,
      (raw) => {
        const line = { ...(raw as RuleLogLine & { time: number }), hostName: name };
        if (!concerns(line, chain)) return;
        if (options.follow) show(line);
        else gathered.push(line);
      },
      stop.signal,
    ),
  );
  await Promise.all(streams);
  for (const line of gathered.sort((a, b) => a.time - b.time)) show(line);
}

function concerns(line: LoggedLine, chain: string | undefined): boolean {
  if (chain === undefined || line.event !== 'rule.decided') return true;
  return line.chain.name === chain || (chain.length >= 4 && line.chain.id.startsWith(chain));
}
