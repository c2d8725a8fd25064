/** `weft migrate`: moves ports from host to host, step by step, so that whoever moves the machine behind them can do so in between. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, Option } from 'commander';
import { type ApiOptions, connectApi } from '../api/connect.ts';
import { addApiOptions } from '../api/options.ts';
import { CliError } from '../errors.ts';
import { print, printJson } from '../output.ts';

interface Options extends ApiOptions {
  readonly wait?: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

interface Migration {
  readonly portId: string;
  readonly hostId: string;
  readonly interfaceName: string;
  readonly fromHostId: string;
  readonly stage: string;
  readonly awaits: readonly string[];
  readonly connections: number | null;
}

type Api = Awaited<ReturnType<typeof connectApi>>['api'];
type Task = (api: Api, options: Options, words: readonly string[]) => Promise<void>;

const POLL_MS = 50;

export function migrateCommand(): Command {
  const migrate = new Command('migrate').description('move ports from host to host, in steps');
  const add = (command: Command) => migrate.addCommand(addApiOptions(command));
  const json = () => new Option('--json', 'as JSON');
  const waiting = () =>
    new Option('--wait <seconds>', 'until it can be switched, so long at most; status 1 if it cannot');

  add(
    new Command('prepare')
      .description('have the next host of a port get ready; the port stays where it is')
      .argument('<port>', 'id of the port')
      .argument('<host>', 'host that it is to move to: its id or name')
      .argument('<interface>', 'its interface there')
      .addOption(waiting())
      .addOption(json())
      .addHelpText('after', '\nExample:\n  weft migrate prepare $port h2 tap0 --wait 10')
      .action(run(prepare)),
  );
  add(
    new Command('show')
      .description('how far a move is, and what it waits for')
      .argument('<port>', 'id of the port')
      .addOption(waiting())
      .addOption(json())
      .addHelpText('after', '\nExample:\n  weft migrate show $port')
      .action(run(show)),
  );
  add(
    new Command('switch')
      .description('move the port to where its move was prepared to')
      .argument('<port>', 'id of the port')
      .option('--force', 'also if the next host is not ready')
      .addOption(json())
      .addHelpText('after', '\nExample:\n  weft migrate switch $port')
      .action(run(turn)),
  );
  add(
    new Command('done')
      .description('end a move: nothing follows from the old host any more; what was not switched is given up')
      .argument('<port>', 'id of the port')
      .addHelpText('after', '\nExample:\n  weft migrate done $port')
      .action(run(done)),
  );
  return migrate;
}

/** Commander hands over the arguments, the options and the command itself. */
function run(task: Task) {
  return async (...given: unknown[]): Promise<void> => {
    const options = (given.at(-1) as Command).optsWithGlobals<Options>();
    const { api } = await connectApi(options);
    try {
      await task(
        api,
        options,
        given.filter((word) => typeof word === 'string'),
      );
    } finally {
      api.close();
    }
  };
}

const pathOf = (port: string) => `/ports/${encodeURIComponent(port)}/migration`;

async function prepare(api: Api, options: Options, [port = '', host = '', interfaceName = '']: readonly string[]) {
  const hosts = await api.list<{ readonly id: string; readonly name?: string }>('/hosts');
  const found = hosts.filter(({ id, name }) => id === host || name === host);
  if (found.length !== 1) {
    const many = found.length === 0 ? 'no host' : 'more than one host';
    throw new CliError('WEFT_CLI_NOT_FOUND', `${many} is called "${host}"`, 1);
  }
  await api.post(pathOf(port), { hostId: found[0]!.id, interfaceName });
  await show(api, options, [port]);
}

async function show(api: Api, options: Options, [port = '']: readonly string[]): Promise<void> {
  const seconds = Number(options.wait ?? '0');
  if (!(seconds >= 0)) throw new CliError('WEFT_CLI_USAGE', '--wait takes a number of seconds');
  const deadline = performance.now() + seconds * 1000;
  let migration = await api.get<Migration>(pathOf(port));
  while (migration.stage === 'preparing' && performance.now() < deadline) {
    await sleep(POLL_MS);
    migration = await api.get<Migration>(pathOf(port));
  }
  tell(migration, options);
  if (options.wait !== undefined && migration.stage === 'preparing') process.exitCode = 1;
}

async function turn(api: Api, options: Options, [port = '']: readonly string[]): Promise<void> {
  await api.put(`${pathOf(port)}/switch${options.force ? '?force=true' : ''}`, {});
  tell(await api.get<Migration>(pathOf(port)), options);
}

async function done(api: Api, _options: Options, [port = '']: readonly string[]): Promise<void> {
  await api.delete(pathOf(port));
}

function tell(migration: Migration, { json }: Options): void {
  if (json) {
    printJson(migration);
    return;
  }
  const { stage, awaits, hostId, interfaceName, fromHostId, connections } = migration;
  const known = connections === null ? '' : `, ${connections} connections known there`;
  const waits = awaits.length === 0 ? '' : `, waits for: ${awaits.join(', ')}`;
  print(`${stage}: from host ${fromHostId} to host ${hostId} interface ${interfaceName}${known}${waits}`);
}
