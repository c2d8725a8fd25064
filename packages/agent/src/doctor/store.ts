/** The state database: is it there, by which servers, and does it let us in? */
import type { EnsembleServer, ServerState } from '@weft/nsdb/client';
import { type Check, fail, ok, type Result, skip, warn } from './finding.ts';
import type { Surroundings } from './surroundings.ts';

/** A read of the store takes well below a millisecond over a Unix socket, some over a network. */
const SLOW_STORE_MS = 100;
/** Of a server's answer to a stranger, with the handshakes of TCP and TLS before it. */
const SLOW_SERVER_MS = 1_000;

/** What to do about a refusal, by its code. */
const REFUSALS: Readonly<Record<string, string>> = {
  WEFT_ZK_AUTH_FAILED:
    'the servers refuse user or password: compare "auth" in the file that "storeConfig" names with the users of the servers',
  WEFT_ZK_NO_AUTH:
    'the credentials are taken, but may not read: compare "auth" and "access" in the file that "storeConfig" names',
  WEFT_STORE_DENIED:
    'the credentials are taken, but may not read: compare "auth" and "access" in the file that "storeConfig" names',
  WEFT_STORE_INSECURE: 'give "auth" and "tls" in the file that "storeConfig" names',
  WEFT_STORE_CONFIG: 'correct the file that "storeConfig" names, as the message says',
};

export const storeAnswers: Check<Surroundings> = {
  id: 'store',
  asks: 'Does the store answer, and quickly?',
  why: 'Without the store no change reaches this host, and nothing it learns reaches the others.',
  run({ store, storeError, storeCodes, servers, config, agent }) {
    if (!store) {
      const refusal = storeCodes.map((code) => REFUSALS[code]).find((fix) => fix !== undefined);
      const start =
        servers === null ? 'start `weft api`, or correct' : 'look at its servers (store-servers), or correct';
      return [fail(config.store, storeError, refusal ?? `${start} "store" in the agent’s configuration`)];
    }
    if (agent && !agent.storeUp) {
      return [
        fail(config.store, 'answers us, but the agent has no link to it', 'the agent’s log says why (store.away)'),
      ];
    }
    if (agent && !agent.session) {
      const fix = servers
        ? 'the agent’s log says why (session.waiting); an admin makes hosts known: weft store add-host'
        : 'the agent’s log says why (session.waiting)';
      return [fail(config.store, 'the agent holds no session', fix)];
    }
    const seen = `${store.latencyMs.toFixed(1)} ms for a read, revision ${store.revision}`;
    return [
      store.latencyMs > SLOW_STORE_MS
        ? warn(config.store, seen, 'look at the load and the disk of the store')
        : ok(seen),
    ];
  },
};

const TROUBLE: Readonly<Record<Exclude<ServerState, 'serving'>, readonly [seen: string, fix: string]>> = {
  waiting: [
    'runs, but serves nobody: it finds no majority',
    'start the others; let them reach each other (ports of server.N)',
  ],
  away: ['does not answer', 'start it; let this host reach it (route, firewall); correct "store"'],
  untrusted: [
    'shows a certificate that is not trusted',
    'name the authority that signed it in "tls.ca"; it must be for the name in "store"',
  ],
  'no-tls': ['does not speak TLS at this port', 'name its secureClientPort in "store"'],
  tls: [
    'does not speak without TLS at this port',
    'give "tls" in the file that "storeConfig" names, or name its clientPort',
  ],
  foreign: ['is no ZooKeeper', 'correct "store"'],
};

export const storeServers: Check<Surroundings> = {
  id: 'store-servers',
  asks: 'Does each server of ZooKeeper answer, and does one lead?',
  why: 'A majority of the servers keeps the store going; each that is away brings the end of it nearer.',
  run({ servers }) {
    if (servers === null) return [skip('the store is not on ZooKeeper')];
    const serving = servers.filter(({ state }) => state === 'serving');
    const isEnough = serving.length > servers.length / 2;
    const results = servers.map((one) => resultOf(one, isEnough));
    // Roles are told only by servers that answer such questions.
    const known = serving.filter(({ role }) => role !== '');
    const leads = known.filter(({ role }) => role === 'leader' || role === 'standalone').length;
    if (isEnough && known.length === servers.length && leads !== 1) {
      results.push(fail('', `${leads} of ${servers.length} lead`, '"store" names servers of different ensembles'));
    }
    return results;
  },
};

function resultOf({ server, state, role, latencyMs, error }: EnsembleServer, isEnough: boolean): Result {
  if (state === 'serving') {
    const seen = `${role || 'runs'}, answers after ${latencyMs!.toFixed(1)} ms`;
    return latencyMs! > SLOW_SERVER_MS ? warn(server, seen, 'look at its load and the way to it') : ok(seen, server);
  }
  const [what, fix] = TROUBLE[state];
  return (isEnough ? warn : fail)(server, error === '' ? what : `${what}: ${error}`, fix);
}
