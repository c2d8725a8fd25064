/** `weft api`: the state database and the REST API over it, in one process. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Nsdb } from '@weft/nsdb';
import { Command } from 'commander';
import { CliError } from '../errors.ts';
import { untilTerminated } from '../signals.ts';

interface Options {
  readonly store?: string;
  readonly zookeeper?: string;
  readonly zookeeperConfig?: string;
  readonly socket: string;
  readonly apiSocket: string;
  readonly port?: string;
  readonly host: string;
  readonly tokenFile?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly authConfig?: string;
  readonly auditLog?: string;
  readonly hostGrace: string;
  readonly requestLog?: boolean;
}

/** Between looks for a store that is away. */
const STORE_RETRY_MS = 200;
/** Seconds; within what timers can wait. */
const MOST_HOST_GRACE = 1_000_000;

export function apiCommand(): Command {
  return new Command('api')
    .description('run the state database and the REST API over it')
    .option('--store <directory>', 'directory of the embedded store (made with mode 0700)')
    .option(
      '--zookeeper <servers>',
      'instead: host1:port1,host2:port2/root of an ensemble, which agents reach by themselves',
    )
    .option('--zookeeper-config <path>', 'credentials, TLS and limits for it (JSON, mode 0600; see docs/STORE.md)')
    .option('--socket <path>', 'Unix socket on which agents reach the store', '/run/weft/store.sock')
    .option('--api-socket <path>', 'Unix socket of the REST API', '/run/weft/api.sock')
    .option('--port <port>', 'serve the REST API by TCP too; clients need a token')
    .option('--host <address>', 'address of that port; beyond this machine with TLS only', '127.0.0.1')
    .option('--tls-cert <path>', 'certificate (PEM, with intermediates) for that port; read again on SIGHUP')
    .option('--tls-key <path>', 'its private key (PEM, mode 0600)')
    .option('--token-file <path>', "file of an administrator's token, made at the first start")
    .option('--auth-config <path>', 'identity providers, lifetime of tokens, CORS (JSON; see docs/API.md)')
    .option('--host-grace <seconds>', 'how long a host may be away until what it has learned goes', '30')
    .option('--audit-log <path>', 'add a line for each change and each refusal to this file (mode 0600)')
    .option('--request-log', 'log every request to standard output')
    .addHelpText(
      'after',
      `
Examples:
  weft api --store /var/lib/weft/store
  weft api --zookeeper zk1,zk2,zk3 --zookeeper-config /etc/weft/zookeeper.json
  weft api --store /var/lib/weft/store --port 8181 --token-file /var/lib/weft/token
  weft api --store /var/lib/weft/store --host 0.0.0.0 --port 8443 \\
           --tls-cert /etc/weft/api.pem --tls-key /etc/weft/api.key --audit-log /var/log/weft/audit.log
  weft account create ann --role admin      who may log in there`,
    )
    .action(runApi);
}

async function runApi(options: Options): Promise<void> {
  const port = options.port === undefined ? undefined : Number(options.port);
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65_535)) {
    throw new CliError('WEFT_CLI_USAGE', `--port takes a number from 0 to 65535, not "${options.port}"`);
  }
  const hostGrace = Number(options.hostGrace);
  if (!(hostGrace >= 1 && hostGrace <= MOST_HOST_GRACE)) {
    const range = `a number of seconds from 1 to ${MOST_HOST_GRACE}`;
    throw new CliError('WEFT_CLI_USAGE', `--host-grace takes ${range}, not "${options.hostGrace}"`);
  }
  if ((options.tlsCert === undefined) !== (options.tlsKey === undefined)) {
    throw new CliError('WEFT_CLI_USAGE', '--tls-cert and --tls-key belong together');
  }
  if ((options.store === undefined) === (options.zookeeper === undefined)) {
    throw new CliError('WEFT_CLI_USAGE', 'either --store or --zookeeper is needed');
  }
  const tls = options.tlsCert === undefined ? {} : { tls: { certFile: options.tlsCert, keyFile: options.tlsKey! } };
  const [nsdbPackage, { auditFile, authConfigFromFile, createApi, processLogger }, { peerCredentials }] =
    await Promise.all([import('@weft/nsdb'), import('@weft/api'), import('@weft/sys')]);
  process.umask(0o077);
  for (const socket of [options.socket, options.apiSocket])
    mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
  const closers: (() => Promise<void>)[] = [];
  try {
    const { nsdb, place } = await openStore(options, hostGrace * 1000, nsdbPackage, closers, (fd) => {
      return peerCredentials(fd).uid === process.getuid!();
    });
    const audit = options.auditLog === undefined ? undefined : auditFile(options.auditLog);
    if (audit) closers.unshift(async () => audit.close());
    const api = await createApi({
      nsdb,
      logger: processLogger(),
      ...(options.tokenFile !== undefined && { tokenFile: options.tokenFile }),
      ...(options.authConfig !== undefined && { auth: authConfigFromFile(options.authConfig) }),
      ...(audit && { auditLog: audit.logger }),
      requestLog: options.requestLog === true,
    });
    closers.unshift(() => api.close());
    const addresses = [await api.listen({ unixSocket: options.apiSocket })];
    if (port !== undefined) addresses.push(await api.listen({ host: options.host, port, ...tls }));
    process.on('SIGHUP', () => api.reloadTls());
    process.stderr.write(`weft api: store on ${place}, REST API on ${addresses.join(' and ')}\n`);
    await untilTerminated();
  } finally {
    for (const close of closers) await close();
  }
}

/** Opens the store, and serves it where no servers of its own do. What is to be closed goes before `closers`. */
async function openStore(
  options: Options,
  grace: number,
  { openEmbedded, openZookeeper, serve, storeAddress }: typeof import('@weft/nsdb'),
  closers: (() => Promise<void>)[],
  authorize: (socketFd: number) => boolean,
): Promise<{ nsdb: Nsdb; place: string }> {
  if (options.zookeeper !== undefined) {
    const place = `zookeeper://${options.zookeeper}`;
    const address = storeAddress(place, options.zookeeperConfig);
    if (!('zookeeper' in address)) throw new CliError('WEFT_CLI_USAGE', `${place} names no ensemble`);
    const nsdb = await openZookeeper({ ...address.zookeeper, grace });
    closers.unshift(() => nsdb.close());
    await untilAnswers(nsdb, place);
    return { nsdb, place };
  }
  const nsdb = await openEmbedded({ dir: options.store!, grace });
  closers.unshift(() => nsdb.close());
  const server = await serve(nsdb, { socket: options.socket, authorize });
  closers.unshift(() => server.close());
  return { nsdb, place: options.socket };
}

/** Servers that are started together with the API, or that have no majority yet, may take longer than it: it says so, and waits. */
async function untilAnswers(nsdb: Nsdb, place: string): Promise<void> {
  let said = '';
  for (;;) {
    try {
      await nsdb.revision();
      return;
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      if (code !== 'WEFT_STORE_AWAY') throw error;
      if (message !== said) process.stderr.write(`weft api: waiting for the store on ${place}: ${message}\n`);
      said = message;
      await new Promise((resolve) => setTimeout(resolve, STORE_RETRY_MS));
    }
  }
}
