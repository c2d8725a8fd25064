/** `weft store`: the state database as its clients see it. */
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import type { HostConvergence, Nsdb, StoreContent, StoreImage, StoreSize } from '@weft/nsdb';
import { Command } from 'commander';
import { CliError } from '../errors.ts';
import { formatTable, print, printJson } from '../output.ts';
import { spanText } from '../progress-text.ts';
import { recordsDone } from '../records-done.ts';

interface Options {
  readonly socket?: string;
  readonly lab: string;
  readonly zookeeper?: string;
  readonly zookeeperConfig?: string;
  readonly json?: boolean;
}

interface KeeperOptions {
  readonly zookeeperConfig?: string;
  readonly complete?: boolean;
  readonly json?: boolean;
}

/** Findings that are printed one by one. */
const MOST_SHOWN = 50;
const PLACE = 'a directory of an embedded store that nothing serves, or zookeeper://host1,host2/root';
const READ_PLACE = "an embedded store's directory, also while it is served, or zookeeper://host1,host2/root";

export function storeCommand(): Command {
  const store = new Command('store').description('look at the state database, back it up, move it');
  served(store.command('status'))
    .description('generation, revision, how much there is of what, and where the hosts stand')
    .addHelpText('after', '\nExamples:\n  weft store status\n  weft store status --socket /run/weft/store.sock --json')
    .action(showStatus);
  served(store.command('pool <pool>'))
    .description('who holds which numbers of a pool, and which cool')
    .addHelpText(
      'after',
      '\nExample:\n  weft store pool nat/ROUTER/198.51.100.1     # blocks of 64 ports for source NAT',
    )
    .action(showPool);
  served(store.command('add-host <hosts...>'))
    .description(
      'make hosts known, as ID=NAME, or NAME for a new id: on ZooKeeper an admin does so before their agents start',
    )
    .addHelpText(
      'after',
      '\nExample:\n  weft store add-host h1 --zookeeper zk1,zk2,zk3 --zookeeper-config /etc/weft/zookeeper.json',
    )
    .action(addHosts);
  store
    .command('verify <place>')
    .description(
      `look for dangling references, and indexes, names and keys that do not agree with the objects; <place>: ${READ_PLACE}`,
    )
    .option('--zookeeper-config <path>', 'credentials, TLS and limits (JSON, mode 0600)')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  weft store verify /var/lib/weft/store\n  weft store verify zookeeper://zk1,zk2,zk3/weft',
    )
    .action(verify);
  store
    .command('backup <place> <file>')
    .description(`write all of a store into a file, as of one revision, while it goes on; <place>: ${READ_PLACE}`)
    .option('--zookeeper-config <path>', 'credentials, TLS and limits (JSON, mode 0600)')
    .addHelpText(
      'after',
      '\nExamples:\n  weft store backup /var/lib/weft/store /var/backups/weft.jsonl\n  weft store backup zookeeper://zk1,zk2,zk3/weft /var/backups/weft.jsonl',
    )
    .action(backup);
  store
    .command('restore <file> <place>')
    .description(`make a store of a backup, where there is none; <place>: ${PLACE}`)
    .option('--zookeeper-config <path>', 'credentials, TLS and limits (JSON, mode 0600)')
    .option('--complete', 'nothing was written behind the backup: numbers of pools need not be held back')
    .addHelpText('after', '\nExample:\n  weft store restore /var/backups/weft.jsonl /var/lib/weft/store')
    .action(restore);
  store
    .command('migrate <from> <to>')
    .description(`load a store into an empty one of another kind; each is ${PLACE}`)
    .option('--zookeeper-config <path>', 'credentials, TLS and limits (JSON, mode 0600)')
    .option('--complete', 'nothing writes to the old ensemble any longer: numbers of pools need not be held back')
    .addHelpText('after', '\nExample:\n  weft store migrate /var/lib/weft/store zookeeper://zk1,zk2,zk3/weft')
    .action(migrate);
  return store;
}

/** Options of a command that speaks to a store as its clients do: to the process that serves it, or to an ensemble. */
function served(command: Command): Command {
  return command
    .option('--socket <path>', "the store's socket (default: the lab's)")
    .option('--zookeeper <servers>', 'instead: host1:port1,host2:port2/root of an ensemble')
    .option('--zookeeper-config <path>', 'credentials, TLS and limits for it (JSON, mode 0600)')
    .option('--lab <name>', 'lab whose store is meant', 'default')
    .option('--json', 'as JSON');
}

async function showStatus(options: Options): Promise<void> {
  const nsdb = await connectTo(options);
  try {
    const revision = await nsdb.revision();
    const hosts = await nsdb.convergence();
    const names = new Map((await nsdb.list<{ name?: string }>('Host')).map((host) => [host.id, host.value.name ?? '']));
    const lines = hosts.map((host) => ({ ...host, name: names.get(host.hostId) ?? '' }));
    const size = await sizeOf(nsdb, options);
    const place = options.zookeeper === undefined ? 'its socket' : `ZooKeeper at ${options.zookeeper}`;
    if (options.json) return printJson({ place, generation: nsdb.generation, revision, size, hosts: lines });
    print(`generation ${nsdb.generation}, revision ${revision}, by ${place}`);
    print(sizeText(size));
    const rows = lines.map((host) => [host.name, host.hostId, String(host.applied ?? '-'), linkText(host)]);
    print(formatTable([['HOST', 'ID', 'APPLIED', 'LINK'], ...rows]));
  } finally {
    await nsdb.close();
  }
}

interface Size extends StoreSize {
  /** Of the whole ensemble, by the servers' own count. */
  readonly znodes: number | null;
}

/** Null: the process that serves the store is of a version that does not tell. */
async function sizeOf(nsdb: Nsdb, { zookeeper, zookeeperConfig }: Options): Promise<Size | null> {
  const size = await nsdb.size().catch(() => null);
  if (size === null || zookeeper === undefined) return size && { ...size, znodes: null };
  const { storeAddress, surveyEnsemble } = await import('@weft/nsdb/client');
  const address = storeAddress(`zookeeper://${zookeeper}`, zookeeperConfig);
  const servers = 'zookeeper' in address ? await surveyEnsemble(address.zookeeper) : [];
  return { ...size, znodes: servers.find(({ znodes }) => znodes !== null)?.znodes ?? null };
}

function sizeText(size: Size | null): string {
  if (size === null) return 'how much there is of what is not told';
  const counted = (what: string, counts: Readonly<Record<string, number>>) => {
    const kinds = Object.entries(counts).sort(([one, a], [other, b]) => b - a || (one < other ? -1 : 1));
    const sum = kinds.reduce((total, [, count]) => total + count, 0);
    return `${sum} ${what}${kinds.length === 0 ? '' : ` (${kinds.map(([kind, count]) => `${kind} ${count}`).join(', ')})`}`;
  };
  const { objects, entries, bytes, znodes } = size;
  const parts = [counted('objects', objects)];
  if (entries !== null) parts.push(counted('entries of tables', entries));
  if (bytes !== null) parts.push(`${(bytes / 2 ** 20).toFixed(1)} MiB on disk`);
  if (znodes !== null) parts.push(`${znodes} znodes on the servers`);
  return parts.join(', ');
}

function linkText({ reachable, unknownFor }: HostConvergence): string {
  if (reachable) return 'reachable';
  return typeof unknownFor === 'number' ? `away for ${spanText(unknownFor)}` : 'away';
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

const HOST = /^(?:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})=)?([^=]{1,255})$/;

async function addHosts(hosts: string[], options: Options): Promise<void> {
  const wanted = hosts.map((text) => {
    const [, id = randomUUID(), name] = HOST.exec(text) ?? [];
    if (name === undefined) throw new CliError('WEFT_CLI_USAGE', `"${text}" is neither NAME nor ID=NAME (a UUID)`);
    return { id, name };
  });
  const [{ registerHost }, nsdb] = await Promise.all([import('@weft/nsdb'), connectTo(options)]);
  try {
    for (const host of wanted) await registerHost(nsdb, host);
  } finally {
    await nsdb.close();
  }
  if (options.json) return printJson(wanted);
  print(formatTable([['ID', 'NAME'], ...wanted.map(({ id, name }) => [id, name])]));
}

async function verify(place: string, options: KeeperOptions): Promise<void> {
  const { verifyStore } = await import('@weft/nsdb');
  await reading(place, options, (content) => {
    const records = [...content.records];
    const findings = verifyStore({ records });
    if (options.json) printJson({ records: records.length, garbage: content.garbage, findings });
    else {
      for (const { what, path, message } of findings.slice(0, MOST_SHOWN)) print(`${what}: ${path}: ${message}`);
      const garbage = content.garbage === 0 ? '' : `, ${content.garbage} left over from deletions`;
      print(`${records.length} records at revision ${content.revision}${garbage}; ${findings.length} findings`);
    }
    if (findings.length > 0) process.exitCode = 1;
  });
}

async function backup(place: string, file: string, options: KeeperOptions): Promise<void> {
  const { writeBackup } = await import('@weft/nsdb');
  await reading(place, options, (content) => {
    const written = recordsDone('records written');
    const count = writeBackup(file, content, written.tell);
    written.end();
    print(`${count} records at revision ${content.revision} in ${file}`);
  });
}

/** Calls `use` with what the place holds at one revision. */
async function reading(place: string, options: KeeperOptions, use: (content: StoreContent) => void): Promise<void> {
  const { readPlace } = await import('@weft/nsdb');
  const read = recordsDone('records read');
  const content = await readPlace(place, options.zookeeperConfig, read.tell);
  read.end();
  try {
    use(content);
  } finally {
    await content.close();
  }
}

async function restore(file: string, place: string, options: KeeperOptions): Promise<void> {
  const { readBackup } = await import('@weft/nsdb');
  await load(readBackup(file), place, options, options.complete === true);
}

async function migrate(from: string, to: string, options: KeeperOptions): Promise<void> {
  const { openPlace } = await import('@weft/nsdb');
  const { kind, store } = await openPlace(from, options.zookeeperConfig);
  try {
    const read = recordsDone('records read');
    // A directory is held until the end, so that nobody writes to it.
    const image = await store.image(read.tell);
    read.end();
    await load(image, to, options, kind === 'embedded' || options.complete === true);
  } finally {
    await store.close();
  }
}

async function load(image: StoreImage, place: string, options: KeeperOptions, complete: boolean): Promise<void> {
  const { loadStore, openPlace } = await import('@weft/nsdb');
  const { store } = await openPlace(place, options.zookeeperConfig);
  try {
    const { length } = image.records;
    const loaded = recordsDone(`of ${length} records loaded`);
    await loadStore(store, image, { complete, onProgress: loaded.tell });
    loaded.end();
    print(`${length} records of revision ${image.revision}, generation ${store.generation}`);
  } finally {
    await store.close();
  }
}

async function connectTo(options: Options): Promise<Nsdb> {
  const { connect, storeAddress } = await import('@weft/nsdb');
  if (options.zookeeper !== undefined)
    return connect(storeAddress(`zookeeper://${options.zookeeper}`, options.zookeeperConfig));
  return connect({ socket: options.socket ?? (await labSocket(options.lab)) });
}

/** The lab's socket. Where its store is an ensemble, this very command goes on within reach of that, and ends with its status. */
async function labSocket(name: string): Promise<string> {
  const { inNetns, labPaths, labStore } = await import('@weft/lab');
  const ensemble = await labStore(name);
  if (ensemble === undefined) return labPaths(name).storeSocket;
  const { namespace, connectString, storeConfig } = ensemble;
  const words = [...process.argv.slice(1), '--zookeeper', connectString, '--zookeeper-config', storeConfig];
  const [program, ...args] = inNetns(namespace, [process.execPath, ...words]);
  process.exit(spawnSync(program!, args, { stdio: 'inherit' }).status ?? 1);
}
