/** The command tree. What a command needs is imported when it runs, so that `--help` is quick. */
import { Command, CommanderError } from 'commander';
import type { ApiOptions } from './api/connect.ts';
import { addApiOptions } from './api/options.ts';
import { accountCommand } from './commands/account.ts';
import { agentCommand } from './commands/agent.ts';
import { apiCommand } from './commands/api.ts';
import { completionCommand } from './commands/completion.ts';
import { connectionsCommand } from './commands/connections.ts';
import { doctorCommand } from './commands/doctor.ts';
import { flowsCommand } from './commands/flows.ts';
import { labCommand } from './commands/lab.ts';
import { migrateCommand } from './commands/migrate.ts';
import { rulesCommand } from './commands/rules.ts';
import { shellCommand } from './commands/shell.ts';
import { storeCommand } from './commands/store.ts';
import { traceCommand } from './commands/trace.ts';
import { waitCommand } from './commands/wait.ts';
import { CliError } from './errors.ts';

export function createProgram(): Command {
  const program = new Command('weft');
  program
    .description('Weft: tenant networks over any IP fabric')
    .version('0.1.0')
    .showHelpAfterError('(see --help)')
    .exitOverride()
    // An option after a command's name is that command's, even where the same exists here.
    .enablePositionalOptions()
    .option('-e, --eval <command>', 'run one command of the topology language and print its outcome')
    .option('--json', 'with -e: print objects as the API sends them');
  addApiOptions(program).addHelpText(
    'after',
    `
Examples:
  weft lab up                               bring up the default lab: three hosts, two tenants
  weft lab check                            verify it
  weft lab exec blue-a1 -- ping 10.2.0.13   run something in one of its VMs
  weft -e 'list bridge'                     talk to the REST API in the topology language
  weft -e 'chain list' --json`,
  );
  for (const command of [
    labCommand(),
    agentCommand(),
    apiCommand(),
    traceCommand(),
    flowsCommand(),
    connectionsCommand(),
    rulesCommand(),
    migrateCommand(),
    doctorCommand(),
    waitCommand(),
    storeCommand(),
    accountCommand(),
    shellCommand(),
    completionCommand(),
  ]) {
    program.addCommand(inherit(command));
  }
  program.action(async (options: ApiOptions & { eval?: string; json?: boolean }) => {
    if (options.eval === undefined) {
      const { runShell } = await import('./shell/shell.ts');
      return runShell(options);
    }
    const [{ execute }, { connectApi }, { splitWords }, { parseCommand }] = await Promise.all([
      import('./grammar/evaluate.ts'),
      import('./api/connect.ts'),
      import('./grammar/lexer.ts'),
      import('./grammar/parse.ts'),
    ]);
    // What is not of the language is said so, whether there is an API or not.
    const command = parseCommand(splitWords(options.eval));
    if (command.described !== undefined) {
      const { describeTypes } = await import('./grammar/describe.ts');
      process.stdout.write(`${describeTypes(command.described)}\n`);
      return;
    }
    const { api, tenant } = await connectApi(options);
    try {
      const text = await execute(command, { api, tenant, json: options.json === true });
      if (text !== '') process.stdout.write(`${text}\n`);
    } finally {
      api.close();
    }
  });
  return program;
}

/** Commander's settings are not inherited by commands that are made elsewhere. */
function inherit(command: Command): Command {
  command.exitOverride().enablePositionalOptions().showHelpAfterError('(see --help)');
  for (const child of command.commands) inherit(child);
  return command;
}

/** Runs a command line and returns its exit status: 0 done, 1 failed, 2 not understood. */
export async function run(argv: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync(argv, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    return report(error);
  }
}

function report(error: unknown): number {
  if (error instanceof CommanderError) {
    // Help and version that were asked for are no failure; commander has printed what there is to say.
    return error.exitCode === 0 ? 0 : 2;
  }
  if (error instanceof CliError) {
    process.stderr.write(`weft: ${error.code}: ${error.message}\n`);
    return error.exit;
  }
  const { code, message, stack, syscall } = error as Error & { code?: unknown; syscall?: unknown };
  // Nobody has to read our stack to learn that a directory is not theirs.
  if (typeof syscall === 'string') {
    return report(new CliError('WEFT_CLI_SYSTEM', message, 1));
  }
  const known = typeof code === 'string' && code.startsWith('WEFT_');
  process.stderr.write(known ? `weft: ${code}: ${message}\n` : `weft: ${stack ?? String(error)}\n`);
  return 1;
}
