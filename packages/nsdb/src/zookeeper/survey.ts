/** Which servers of an ensemble answer, by themselves, whoever may have a session with them. */
import { fourLetterWord, parseConnectString, type ServerAddress } from '@weft/zookeeper';
import { checkServers, type ZookeeperStoreOptions } from './options.ts';

/** Milliseconds that a server may take. */
const TIMEOUT = 2_000;

/**
 * `serving`: it is part of a quorum. `waiting`: it runs, and finds none. `away`: nobody answers. `untrusted`: its certificate is not
 * signed by who is trusted, or for another name. `no-tls`, `tls`: it speaks without, or only with it. `foreign`: it is no ZooKeeper.
 */
export type ServerState = 'serving' | 'waiting' | 'away' | 'untrusted' | 'no-tls' | 'tls' | 'foreign';

export interface EnsembleServer {
  /** `host:port`. */
  readonly server: string;
  readonly state: ServerState;
  /** `leader`, `follower`, `observer`, `standalone`; '' if it does not say. */
  readonly role: string;
  /** Of connecting, the handshake, and one answer; null: there was none. */
  readonly latencyMs: number | null;
  /** Znodes of the ensemble, by this server's count; null: it did not say. */
  readonly znodes: number | null;
  /** What the connection met. */
  readonly error: string;
}

/** Asks all servers at once. WEFT_STORE_INSECURE as for a store. */
export async function surveyEnsemble(options: ZookeeperStoreOptions): Promise<EnsembleServer[]> {
  const { servers } = parseConnectString(checkServers(options));
  return Promise.all(servers.map((server) => ask(server, options.tls)));
}

async function ask(server: ServerAddress, tls: ZookeeperStoreOptions['tls']): Promise<EnsembleServer> {
  const { host, port } = server;
  const found = {
    server: `${host.includes(':') ? `[${host}]` : host}:${port}`,
    role: '',
    latencyMs: null,
    znodes: null,
    error: '',
  };
  const start = performance.now();
  try {
    const answer = await fourLetterWord(server, 'srvr', { tls, timeout: TIMEOUT });
    const latencyMs = performance.now() - start;
    const role = /^Mode: (\w+)$/m.exec(answer)?.[1] ?? '';
    const znodes = Number(/^Node count: (\d+)$/m.exec(answer)?.[1] ?? Number.NaN);
    // A server may have been told to answer no such commands: it runs, and that is all that it says.
    if (role !== '' || /not in the whitelist/.test(answer))
      return { ...found, state: 'serving', role, latencyMs, znodes: Number.isNaN(znodes) ? null : znodes };
    if (/not currently serving/.test(answer)) return { ...found, state: 'waiting', latencyMs };
    // It closes without a word, or with an alert of TLS (RFC 8446 §6).
    if (!tls && (answer === '' || answer.startsWith('\x15\x03'))) return { ...found, state: 'tls' };
    return { ...found, state: 'foreign', latencyMs, error: JSON.stringify(answer.slice(0, 40)) };
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    return { ...found, state: stateOf(code), error: message };
  }
}

function stateOf(code: string): ServerState {
  if (/CERT|SELF_SIGNED|UNABLE_TO|ALTNAME/.test(code)) return 'untrusted';
  // The other side does not take our greeting for one, or closes when it hears it.
  if (/^ERR_SSL|^EPROTO|^ECONNRESET/.test(code)) return 'no-tls';
  return 'away';
}
