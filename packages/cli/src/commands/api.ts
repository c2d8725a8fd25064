/** `weft api`: the state database and the REST API over it, in one process. */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { Command } from 'commander';
import { CliError } from '../errors.ts';
import { untilTerminated } from '../signals.ts';

interface Options {
  readonly store: string;
  readonly socket: string;
  readonly apiSocket: string;
  readonly port?: string;
  readonly tokenFile?: string;
}

export function apiCommand(): Command {
  return new Command('api')
    .description('run the state database and the REST API over it')
    .requiredOption('--store <directory>', 'directory of the embedded store (made with mode 0700)')
    .option('--socket <path>', 'Unix socket on which agents reach the store', '/run/weft/store.sock')
    .option('--api-socket <path>', 'Unix socket of the REST API', '/run/weft/api.sock')
    .option('--port <port>', 'serve the REST API on 127.0.0.1 too; clients need the token')
    .option('--token-file <path>', 'file of that token, made at the first start')
    .addHelpText(
      'after',
      `
Examples:
  weft api --store /var/lib/weft/store
  weft api --store /var/lib/weft/store --port 8181 --token-file /var/lib/weft/token`,
    )
    .action(runApi);
}

async function runApi(options: Options): Promise<void> {
  const port = options.port === undefined ? undefined : Number(options.port);
  if (port !== undefined && !(Number.isInteger(port) && port >= 0 && port <= 65_535)) {
    throw new CliError('WEFT_CLI_USAGE', `--port takes a number from 0 to 65535, not "${options.port}"`);
  }
  const [{ openEmbedded, serve }, { createApi }, { peerCredentials }] = await Promise.all([
    import('@weft/nsdb'),
    import('@weft/api'),
    import('@weft/sys'),
  ]);
  process.umask(0o077);
  for (const socket of [options.socket, options.apiSocket])
    mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
  const closers: (() => Promise<void>)[] = [];
  try {
    const nsdb = await openEmbedded({ dir: options.store });
    closers.unshift(() => nsdb.close());
    const own = process.getuid!();
    const server = await serve(nsdb, { socket: options.socket, authorize: (fd) => peerCredentials(fd).uid === own });
    closers.unshift(() => server.close());
    const api = await createApi({ nsdb, ...(options.tokenFile !== undefined && { tokenFile: options.tokenFile }) });
    closers.unshift(() => api.close());
    const addresses = [await api.listen({ unixSocket: options.apiSocket })];
    if (port !== undefined) addresses.push(await api.listen({ port }));
    process.stderr.write(`weft api: store on ${options.socket}, REST API on ${addresses.join(' and ')}\n`);
    await untilTerminated();
  } finally {
    for (const close of closers) await close();
  }
}
