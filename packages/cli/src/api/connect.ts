/** From settings to a client that is logged in. */
import { existsSync, readFileSync } from 'node:fs';
import { CliError } from '../errors.ts';
import { ApiClient, type Door } from './client.ts';
import { loadSettings, type Settings } from './settings.ts';

const DEFAULT_SOCKET = '/run/weft/api.sock';

/** What commander makes of the options of `addApiOptions`. */
export interface ApiOptions {
  readonly apiSocket?: string;
  readonly apiUrl?: string;
  /** MidoNet's name for `apiUrl`. */
  readonly midonetUrl?: string;
  readonly tokenFile?: string;
  readonly user?: string;
  /** true: `-p` without a value, ask for it. */
  readonly password?: string | true;
  readonly project?: string;
  readonly tenant?: string;
  readonly caFile?: string;
  readonly insecure?: boolean;
  readonly auth?: boolean;
  readonly debug?: boolean;
}

export interface Connection {
  readonly api: ApiClient;
  /** What `sett` would have set. */
  readonly tenant: string | undefined;
}

/** Throws CliError WEFT_CLI_NO_API, WEFT_CLI_CONFIG, WEFT_CLI_INSECURE, or what the API says to the login. */
export async function connectApi(options: ApiOptions): Promise<Connection> {
  const { password, auth, debug, midonetUrl, ...others } = options;
  const rest = midonetUrl === undefined ? others : { apiUrl: midonetUrl, ...others };
  const asked = password === true ? await askPassword() : password;
  const settings = loadSettings({ ...pick(rest), ...(asked !== undefined && { password: asked }) });
  const door = await findDoor(settings);
  const anonymous = auth === false;
  const hasSecret = !anonymous && [settings.token, settings.tokenFile, settings.password].some((x) => x !== undefined);
  if (hasSecret) refuseOpenRoad(door);
  const token = anonymous || settings.user !== undefined ? undefined : tokenOf(settings);
  const api = new ApiClient(door, token);
  if (debug) {
    api.onRequest = (method, path, status) => process.stderr.write(`${method} ${path}: ${status}\n`);
  }
  if (!anonymous && settings.user !== undefined) {
    if (settings.password === undefined) {
      throw new CliError('WEFT_CLI_CONFIG', `user ${settings.user} has no password: give -p, or set WEFT_PASSWORD`);
    }
    await api.login(settings.user, settings.password, settings.project);
  }
  return { api, tenant: settings.tenant };
}

/** Commander's options have members of other commands beside these. */
function pick({ apiSocket, apiUrl, tokenFile, user, project, tenant, caFile, insecure }: ApiOptions): Settings {
  return { apiSocket, apiUrl, tokenFile, user, project, tenant, caFile, insecure };
}

function tokenOf({ token, tokenFile }: Settings): string | undefined {
  if (token !== undefined || tokenFile === undefined) return token;
  try {
    return readFileSync(tokenFile, 'utf8').trim();
  } catch (error) {
    throw new CliError('WEFT_CLI_CONFIG', `the token cannot be read: ${(error as Error).message}`);
  }
}

/** What the settings name; else the default socket; else the API of the only lab on this machine. */
async function findDoor(settings: Settings): Promise<Door> {
  if (settings.apiSocket !== undefined) return { socketPath: settings.apiSocket };
  if (settings.apiUrl !== undefined) return urlDoor(settings.apiUrl, settings);
  if (existsSync(DEFAULT_SOCKET)) return { socketPath: DEFAULT_SOCKET };
  const { labNames, labPaths } = await import('@weft/lab');
  const sockets = (await labNames()).map((name) => labPaths(name).apiSocket).filter((path) => existsSync(path));
  if (sockets.length === 1) return { socketPath: sockets[0]! };
  const why = sockets.length === 0 ? 'there is none' : `${sockets.length} labs are up`;
  throw new CliError('WEFT_CLI_NO_API', `which API? (${why}) Name one with --api-socket or --api-url`, 1);
}

function urlDoor(text: string, { caFile, insecure }: Settings): Door {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new CliError('WEFT_CLI_CONFIG', `"${text}" is no address of an API; write https://HOST:PORT`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new CliError('WEFT_CLI_CONFIG', `"${text}" is neither http: nor https:`);
  }
  const door = { url: url.origin, ...(insecure === true && { insecure }) };
  if (caFile === undefined) return door;
  try {
    return { ...door, ca: readFileSync(caFile, 'utf8') };
  } catch (error) {
    throw new CliError('WEFT_CLI_CONFIG', `the certificates cannot be read: ${(error as Error).message}`);
  }
}

/** Secrets go over TLS, or do not leave the machine. */
function refuseOpenRoad(door: Door): void {
  if (!('url' in door) || door.insecure === true) return;
  const { protocol, hostname } = new URL(door.url);
  if (protocol === 'https:' || /^(127\.[\d.]+|\[::1\]|localhost)$/.test(hostname)) return;
  throw new CliError('WEFT_CLI_INSECURE', `a password or token would go to ${door.url} in the clear; use https:`);
}

/** Asks at the terminal, without showing what is typed. */
export async function askPassword(prompt = 'Password: '): Promise<string> {
  if (!process.stdin.isTTY) throw new CliError('WEFT_CLI_CONFIG', 'a password is asked for at a terminal only');
  const [{ createInterface }, { Writable }] = await Promise.all([import('node:readline'), import('node:stream')]);
  process.stderr.write(prompt);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    return await new Promise<string>((resolve, reject) => {
      reader.once('line', resolve);
      reader.once('SIGINT', () => reject(new CliError('WEFT_CLI_USAGE', 'interrupted', 1)));
    });
  } finally {
    reader.close();
    process.stderr.write('\n');
  }
}
