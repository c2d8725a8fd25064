/** Which API a command talks to. */
import { existsSync, readFileSync } from 'node:fs';
import { labNames, labPaths, RestClient } from '@weft/lab';
import { CliError } from './errors.ts';

export interface ApiOptions {
  readonly apiSocket?: string | undefined;
  readonly apiUrl?: string | undefined;
  readonly tokenFile?: string | undefined;
}

const DEFAULT_SOCKET = '/run/weft/api.sock';

/** In this order: options, environment, the default socket, the API of the only lab on this machine. */
export async function findApi(options: ApiOptions): Promise<RestClient> {
  const socket = options.apiSocket ?? (options.apiUrl === undefined ? process.env.WEFT_API_SOCKET : undefined);
  if (socket !== undefined) return new RestClient({ socketPath: socket });
  const url = options.apiUrl ?? process.env.WEFT_API_URL;
  if (url !== undefined) return new RestClient({ url, ...token(options.tokenFile ?? process.env.WEFT_TOKEN_FILE) });
  if (existsSync(DEFAULT_SOCKET)) return new RestClient({ socketPath: DEFAULT_SOCKET });
  const sockets = (await labNames()).map((name) => labPaths(name).apiSocket).filter((path) => existsSync(path));
  if (sockets.length === 1) return new RestClient({ socketPath: sockets[0]! });
  const why = sockets.length === 0 ? 'there is none' : `${sockets.length} labs are up`;
  throw new CliError('WEFT_CLI_NO_API', `which API? (${why}) Name one with --api-socket or --api-url`, 1);
}

function token(file: string | undefined): { token?: string } {
  return file === undefined ? {} : { token: readFileSync(file, 'utf8').trim() };
}
