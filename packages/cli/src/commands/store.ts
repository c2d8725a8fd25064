/** `weft store`: the state database as its clients see it. */
import type { Nsdb } from '@weft/nsdb';
import { Command } from 'commander';
import { formatTable, print, printJson } from '../output.ts';

interface Options {
  readonly socket?: string;
  readonly lab: string;
  readonly json?: boolean;
}

export function storeCommand(): Command {
  const store = new Command('store').description('look at the state database');
  store
    .command('status')
    .description('generation, revision, and where the hosts stand')
    .option('--socket <path>', "the store's socket (default: the lab's)")
    .option('--lab <name>', 'lab whose store is meant', 'default')
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExamples:\n  weft store status\n  weft store status --socket /run/weft/store.sock --json')
    .action(showStatus);
  store
    .command('pool <pool>')
    .description('who holds which numbers of a pool, and which cool')
    .option('--socket <path>', "the store's socket (default: the lab's)")
    .option('--lab <name>', 'lab whose store is meant', 'default')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nExample:\n  weft store pool nat/ROUTER/198.51.100.1     # blocks of 64 ports for source NAT',
    )
    .action(showPool);
  return store;
}

async function showStatus(options: Options): Promise<void> {
  const nsdb = await connectTo(options);
  try {
    const revision = await nsdb.revision();
    const hosts = await nsdb.convergence();
    const names = new Map((await nsdb.list<{ name?: string }>('Host')).map((host) => [host.id, host.value.name ?? '']));
    const lines = hosts.map((host) => ({ ...host, name: names.get(host.hostId) ?? '' }));
    if (options.json) return printJson({ generation: nsdb.generation, revision, hosts: lines });
    print(`generation ${nsdb.generation}, revision ${revision}`);
    const rows = lines.map((host) => [
      host.name,
      host.hostId,
      String(host.applied ?? '-'),
      host.reachable ? 'reachable' : 'away',
    ]);
    print(formatTable([['HOST', 'ID', 'APPLIED', 'LINK'], ...rows]));
  } finally {
    await nsdb.close();
  }
}

async function showPool(pool: string, options: Options): Promise<void> {
  const nsdb = await connectTo(options);
  try {
    const numbers = await nsdb.poolUsage(pool);
    if (options.json) return printJson(numbers);
    const names = new Map((await nsdb.list<{ name?: string }>('Host')).map((host) => [host.id, host.value.name ?? '']));
    const rows = numbers.map(({ index, token, hostId, coolsFor }) => [
      String(index),
      names.get(hostId) ?? '',
      hostId,
      String(token),
      coolsFor === null ? 'held' : `cools for ${Math.ceil(coolsFor / 1_000)} s`,
    ]);
    print(formatTable([['NUMBER', 'HOST', 'ID', 'TOKEN', 'STATE'], ...rows]));
  } finally {
    await nsdb.close();
  }
}

async function connectTo(options: Options): Promise<Nsdb> {
  const [{ connect }, { labPaths }] = await Promise.all([import('@weft/nsdb'), import('@weft/lab')]);
  return connect({ socket: options.socket ?? labPaths(options.lab).storeSocket });
}
