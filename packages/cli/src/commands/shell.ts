/** `weft shell`: the topology language at a prompt, or from a file. */
import { Command } from 'commander';
import type { ApiOptions } from '../api/connect.ts';
import { addApiOptions } from '../api/options.ts';

export function shellCommand(): Command {
  const command = new Command('shell')
    .description('the topology language at a prompt, or line by line from standard input')
    .option('--json', 'print objects as the API sends them')
    .option('--keep-going', 'from standard input: go on behind a line that fails');
  return addApiOptions(command)
    .addHelpText(
      'after',
      `
At a terminal it completes with TAB and gives objects short names: bridge0, bridge0:port0. From a file or a pipe it
prints ids, passes over empty lines and those that begin with #, and stops at the first line that fails.

Examples:
  weft shell
  weft shell --tenant blue
  weft shell < changes.txt
  echo 'list bridge' | weft shell --api-url https://api.example:8443 -u admin`,
    )
    .action(async (_options: unknown, self: Command) => {
      const { runShell } = await import('../shell/shell.ts');
      await runShell(self.optsWithGlobals<ApiOptions & { keepGoing?: boolean }>());
    });
}
