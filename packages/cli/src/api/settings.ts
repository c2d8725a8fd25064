/**
 * How the API is reached, from three places. Each next one wins over those before it: the file `~/.weftrc`, the environment,
 * the options of the command. MidoNet's own variables are understood too, below Weft's.
 */
import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CliError } from '../errors.ts';

export interface Settings {
  readonly apiSocket?: string | undefined;
  readonly apiUrl?: string | undefined;
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** What `/login` is asked for: a tenant, or a project of the identity provider. */
  readonly project?: string | undefined;
  /** Lists show this tenant's objects only, and new ones are this tenant's. */
  readonly tenant?: string | undefined;
  /** File with the certificates (PEM) of the authorities that are believed. */
  readonly caFile?: string | undefined;
  /** Believe any certificate, and send secrets without TLS. */
  readonly insecure?: boolean | undefined;
}

interface SettingNames {
  /** In the file. */
  readonly file: string;
  /** In the environment, behind `WEFT_`. */
  readonly env: string;
  /** In the environment of MidoNet's command, behind `MIDO_`. */
  readonly mido?: string;
}

const NAMES: Readonly<Record<keyof Settings, SettingNames>> = {
  apiSocket: { file: 'api_socket', env: 'API_SOCKET' },
  apiUrl: { file: 'api_url', env: 'API_URL', mido: 'API_URL' },
  token: { file: 'token', env: 'TOKEN' },
  tokenFile: { file: 'token_file', env: 'TOKEN_FILE' },
  user: { file: 'username', env: 'USER', mido: 'USER' },
  password: { file: 'password', env: 'PASSWORD', mido: 'PASSWORD' },
  project: { file: 'project_id', env: 'PROJECT', mido: 'PROJECT_ID' },
  tenant: { file: 'tenant', env: 'TENANT', mido: 'TENANT' },
  caFile: { file: 'ca_file', env: 'CA_FILE' },
  insecure: {
    file: 'disable_ssl_certificate_validation',
    env: 'INSECURE',
    mido: 'DISABLE_SSL_CERTIFICATE_VALIDATION',
  },
};

/** Where a layer sets one of the first, what lower layers say of the second does not count: one door, one way to ask. */
const SUPERSEDED: readonly [by: readonly (keyof Settings)[], what: readonly (keyof Settings)[]][] = [
  [
    ['apiSocket', 'apiUrl'],
    ['apiSocket', 'apiUrl'],
  ],
  [
    ['token', 'tokenFile'],
    ['token', 'tokenFile', 'user', 'password'],
  ],
  [['user'], ['token', 'tokenFile']],
];

/** The settings in force. `$WEFT_CONFIG` names another file; an empty value: none. */
export function loadSettings(options: Settings, env: NodeJS.ProcessEnv = process.env): Settings {
  const named = env.WEFT_CONFIG;
  const fromFile = named === '' ? {} : readFile(named ?? join(homedir(), '.weftrc'), named !== undefined);
  const layers = [fromFile, readEnvironment(env, 'mido'), readEnvironment(env, 'env'), options];
  return layers.reduce(merge, {});
}

function merge(low: Settings, high: Settings): Settings {
  const result: Record<string, unknown> = { ...low };
  for (const [by, what] of SUPERSEDED) {
    if (by.some((name) => high[name] !== undefined)) for (const name of what) delete result[name];
  }
  for (const [name, value] of Object.entries(high)) if (value !== undefined) result[name] = value;
  return result as Settings;
}

function readEnvironment(env: NodeJS.ProcessEnv, of: 'env' | 'mido'): Settings {
  const found: Record<string, string | boolean> = {};
  for (const [setting, names] of Object.entries(NAMES)) {
    const variable = `${of === 'env' ? 'WEFT' : 'MIDO'}_${names[of]}`;
    const value = names[of] === undefined ? undefined : env[variable];
    if (value === undefined || value === '') continue;
    found[setting] = setting === 'insecure' ? flag(value, variable) : value;
  }
  return found;
}

/** An INI file with one section `[cli]`. */
function readFile(path: string, required: boolean): Settings {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !required) return {};
    throw new CliError('WEFT_CLI_CONFIG', `${path}: cannot be read (${(error as Error).message})`);
  }
  const settings = parseSettings(text, path);
  const secret = settings.password !== undefined || settings.token !== undefined;
  if (secret && (statSync(path).mode & 0o077) !== 0) {
    throw new CliError('WEFT_CLI_CONFIG', `${path} holds a secret that others may read: chmod 600 ${path}`);
  }
  return settings;
}

export function parseSettings(text: string, path: string): Settings {
  const found: Record<string, string | boolean> = {};
  let section = '';
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    const refuse = (why: string): never => {
      throw new CliError('WEFT_CLI_CONFIG', `${path}:${i + 1}: ${why}`);
    };
    if (line === '' || /^[#;]/.test(line)) continue;
    const [, name] = /^\[(.*)\]$/.exec(line) ?? [];
    if (name !== undefined) {
      section = name.trim();
      if (section !== 'cli') refuse(`there is no section [${section}], only [cli]`);
      continue;
    }
    if (section === '') refuse('the section [cli] must begin before this');
    const [, key = '', value = ''] = /^([\w-]+)\s*[=:]\s*(.*)$/.exec(line) ?? refuse('must be "name = value"');
    const setting = Object.entries(NAMES).find(([, { file }]) => file === key)?.[0];
    if (setting === undefined) {
      const known = Object.values(NAMES).map(({ file }) => file);
      return refuse(`there is no setting "${key}"; there are ${known.join(', ')}`);
    }
    found[setting] = setting === 'insecure' ? flag(value, `${path}:${i + 1}: ${key}`) : value;
  }
  return found;
}

function flag(text: string, where: string): boolean {
  if (/^(true|yes|on|1)$/i.test(text)) return true;
  if (/^(false|no|off|0)$/i.test(text)) return false;
  throw new CliError('WEFT_CLI_CONFIG', `${where}: must be true or false, not "${text}"`);
}
