/** `weft flows`: what an agent has installed. */
import { Command } from 'commander';
import { CliError } from '../errors.ts';
import { print, printJson } from '../output.ts';

interface Options {
  readonly control?: string;
  readonly lab: string;
  readonly host?: string;
  readonly json?: boolean;
}

export function flowsCommand(): Command {
  return new Command('flows')
    .description('list the flows that an agent has installed')
    .option('--control <path>', "the agent's control socket", process.env.WEFT_CONTROL_SOCKET)
    .option('--lab <name>', 'lab that --host belongs to', 'default')
    .option('--host <name>', 'a host of the lab')
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExamples:\n  weft flows --host h1\n  weft flows --control /run/weft/agent.sock --json')
    .action(listFlows);
}

async function listFlows(options: Options): Promise<void> {
  const { exchange, labPaths } = await import('@weft/lab');
  const socketPath =
    options.control ??
    (options.host === undefined ? '/run/weft/agent.sock' : labPaths(options.lab).host(options.host).controlSocket);
  const answer = await exchange({ socketPath }, 'GET', '/flows').catch((error: Error) => {
    throw new CliError('WEFT_CLI_NO_AGENT', `no agent answers at ${socketPath} (${error.message})`, 1);
  });
  if (answer.status !== 200) throw new CliError('WEFT_CLI_NO_AGENT', `${socketPath} answers ${answer.status}`, 1);
  if (options.json) printJson(answer.body);
  else for (const flow of (answer.body as { flows: FlowLine[] }).flows) print(describe(flow));
}

/** The members of an agent's answer that are shown. */
interface FlowLine {
  readonly match: string;
  readonly action: string;
  readonly packets: number;
  readonly bytes: number;
  readonly ageMs: number;
}

function describe(flow: FlowLine): string {
  return `${flow.match}, packets:${flow.packets}, bytes:${flow.bytes}, age:${(flow.ageMs / 1000).toFixed(1)}s, actions:${flow.action}`;
}
