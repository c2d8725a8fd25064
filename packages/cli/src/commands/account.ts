/** `weft account`: who may log in to the REST API. Passwords are asked for or read from a file, never given as arguments. */
import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { type ApiOptions, askPassword, connectApi } from '../api/connect.ts';
import { addApiOptions } from '../api/options.ts';
import { CliError } from '../errors.ts';
import { formatTable, print, printJson } from '../output.ts';

interface Options extends ApiOptions {
  readonly role?: string;
  readonly ofTenant?: string;
  readonly passwordFile?: string;
  readonly json?: boolean;
}

interface Account {
  readonly name: string;
  readonly role: string;
  readonly tenantId?: string;
}

export function accountCommand(): Command {
  const account = new Command('account').description('manage who may log in to the REST API (as administrator)');
  const add = (command: Command) => account.addCommand(addApiOptions(command));
  const passwordFile = () => new Option('--password-file <path>', 'read the new password there; - for standard input');

  add(
    new Command('create')
      .description('create an account; its password is asked for')
      .argument('<name>', 'name to log in with')
      .addOption(
        new Option('--role <role>', 'what it may do').choices(['admin', 'tenant', 'viewer']).makeOptionMandatory(),
      )
      .option('--of-tenant <id>', 'tenant that it acts for, or (viewer) is limited to')
      .addOption(passwordFile())
      .addHelpText(
        'after',
        `
Roles: admin may do everything; tenant sees and changes what belongs to --of-tenant; viewer reads, everything or what
belongs to --of-tenant.

Examples:
  weft account create ann --role admin
  weft account create bob --role tenant --of-tenant blue
  weft account create eve --role viewer --of-tenant blue --password-file /run/secrets/eve`,
      )
      .action(run(create)),
  );
  add(
    new Command('list')
      .description('list the accounts')
      .option('--json', 'as JSON')
      .addHelpText('after', '\nExamples:\n  weft account list\n  weft account list --json')
      .action(run(list)),
  );
  add(
    new Command('passwd')
      .description('change a password; all tokens of the account become void')
      .argument('<name>', 'the account')
      .addOption(passwordFile())
      .addHelpText('after', '\nExamples:\n  weft account passwd bob\n  weft account passwd bob --password-file -')
      .action(run(passwd)),
  );
  add(
    new Command('delete')
      .description('delete an account and its tokens')
      .argument('<name>', 'the account')
      .addHelpText('after', '\nExample:\n  weft account delete bob')
      .action(run(remove)),
  );
  return account;
}

type Api = Awaited<ReturnType<typeof connectApi>>['api'];
type Task = (api: Api, options: Options, name: string) => Promise<void>;

/** Commander hands over the arguments, the options and the command itself. */
function run(task: Task) {
  return async (...given: unknown[]): Promise<void> => {
    const options = (given.at(-1) as Command).optsWithGlobals<Options>();
    const name = typeof given[0] === 'string' ? given[0] : '';
    const { api } = await connectApi(options);
    try {
      await task(api, options, name);
    } finally {
      api.close();
    }
  };
}

async function create(api: Api, options: Options, name: string): Promise<void> {
  const password = await newPassword(options);
  const tenant = options.ofTenant === undefined ? {} : { tenantId: options.ofTenant };
  await api.post('/accounts', { name, role: options.role, ...tenant, password });
}

async function list(api: Api, { json }: Options): Promise<void> {
  const accounts = await api.list<Account>('/accounts');
  if (json) return printJson(accounts.map(({ name, role, tenantId }) => ({ name, role, tenantId })));
  const rows = accounts.map(({ name, role, tenantId }) => [name, role, tenantId ?? '(all)']);
  print(formatTable([['NAME', 'ROLE', 'TENANT'], ...rows]));
}

async function passwd(api: Api, options: Options, name: string): Promise<void> {
  await api.put(`/accounts/${encodeURIComponent(name)}/password`, { password: await newPassword(options) });
}

async function remove(api: Api, _options: Options, name: string): Promise<void> {
  await api.delete(`/accounts/${encodeURIComponent(name)}`);
}

/** From the file, without the line end; else asked for twice. */
async function newPassword({ passwordFile }: Options): Promise<string> {
  if (passwordFile !== undefined) {
    try {
      return readFileSync(passwordFile === '-' ? 0 : passwordFile, 'utf8').replace(/\r?\n$/, '');
    } catch (error) {
      throw new CliError('WEFT_CLI_CONFIG', `the password cannot be read: ${(error as Error).message}`);
    }
  }
  const password = await askPassword('New password: ');
  if ((await askPassword('Once more: ')) !== password) {
    throw new CliError('WEFT_CLI_USAGE', 'the two passwords differ');
  }
  return password;
}
