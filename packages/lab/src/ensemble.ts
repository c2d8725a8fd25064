/**
 * The state database on three real ZooKeeper servers, as it is run in earnest: TLS everywhere, SASL for the API (`admin`) and
 * for each host by itself, access control lists on every znode.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { isAlive, type ProcessIdentity } from '@weft/sys';
import { digestId } from '@weft/zookeeper';
import { needsServer, serverCommand, writeServerFiles } from '@weft/zookeeper/testing';
import { certificateFiles } from './certificates.ts';
import { LabError } from './errors.ts';
import { inNetns, tryRun } from './exec.ts';
import type { LabPlan } from './plan.ts';
import { OWN_PORT, QUORUM_PORTS, SECURE_PORT, type ServerPlan } from './plan-management.ts';
import { failedProcess, startDetached } from './process.ts';
import { waitUntil } from './wait.ts';

/** ms; sessions last 2 to 20 of them. */
const TICK_MS = 500;
/** Until the servers take a silent process for gone: shorter than usual, so that faults need not be waited for long. */
const SESSION_MS = 5_000;
const START_TIMEOUT_MS = 60_000;
const JVM_FLAGS = ['-Xms32m', '-Xmx192m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto', '-Xss512k'];
const ADMIN = 'admin';
const HOSTS = 'hosts';

const secret = () => randomBytes(24).toString('hex');
/** A host's own user, as the store expects it of hosts by SASL. */
const userOf = (hostId: string) => `host-${hostId}`;

/** Makes users and settings, once; whoever is to have a file of them is in `paths`. */
export async function prepareEnsemble(plan: LabPlan): Promise<void> {
  const { management, paths, hosts } = plan;
  if (management === undefined || plan.store !== 'zookeeper') return;
  const missing = needsServer();
  if (missing !== false) throw new LabError('WEFT_LAB_TOOL_MISSING', `--store zookeeper ${missing}; run \`make deps\``);
  const { server: keyStore, ca: trustStore } = certificateFiles(paths);

  const users = Object.fromEntries([ADMIN, ...hosts.map(({ id }) => userOf(id))].map((user) => [user, secret()]));
  const common = secret();
  const settings = (role: 'admin' | 'host', user: string) => ({
    auth: [
      { scheme: 'sasl', user, password: users[user] },
      ...(role === 'host' ? [{ scheme: 'digest', user: HOSTS, password: common }] : []),
    ],
    tls: { ca: trustStore },
    access: {
      role,
      admin: { scheme: 'sasl', id: ADMIN },
      hosts: { scheme: 'digest', id: digestId(HOSTS, common) },
    },
    sessionTimeout: SESSION_MS,
  });
  const write = (file: string, content: object) =>
    writeFile(file, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
  await write(paths.storeConfig, settings('admin', ADMIN));
  for (const { name, id } of hosts) await write(paths.host(name).storeConfig, settings('host', userOf(id)));

  const quorum = management.servers.map(({ id, address }) => `server.${id}=${address}:${QUORUM_PORTS}`);
  for (const { id, directory, address } of management.servers) {
    writeServerFiles(
      { id, dir: directory, port: OWN_PORT, secureAddress: address, securePort: SECURE_PORT, quorum },
      {
        tickTime: TICK_MS,
        tls: { keyStore, trustStore },
        users,
        config: [
          'sslQuorum=true',
          `ssl.quorum.keyStore.location=${keyStore}`,
          `ssl.quorum.trustStore.location=${trustStore}`,
        ],
      },
    );
  }
}

export type ServerRole = 'leader' | 'follower';

/** What a server takes itself for; undefined while it does not serve. */
export async function serverRole(server: ServerPlan): Promise<ServerRole | undefined> {
  return /^Mode: (leader|follower)$/m.exec(await askServer(server, 'srvr'))?.[1] as ServerRole | undefined;
}

/** The answer to one of the commands of four letters; '' if the server does not run. */
export async function askServer({ namespace }: ServerPlan, word: string): Promise<string> {
  const ask = ['ncat', '-w', '2', '127.0.0.1', String(OWN_PORT)];
  return (await tryRun(inNetns(namespace, ask), { input: word, timeoutMs: 5_000 })).stdout;
}

/** Starts servers and waits until they serve; what each has written before is there. */
export async function startServers(servers: readonly ServerPlan[]): Promise<Record<string, ProcessIdentity>> {
  const started = await Promise.all(
    servers.map(async (server) => {
      const argv = inNetns(server.namespace, serverCommand(server.directory, { jvmFlags: JVM_FLAGS }));
      return { server, argv, identity: await startDetached(argv, server.log) };
    }),
  );
  await Promise.all(
    started.map(async ({ server, argv, identity }) => {
      let alive = true;
      const serves = await waitUntil(async () => {
        alive = isAlive(identity);
        return !alive || (await serverRole(server)) !== undefined;
      }, START_TIMEOUT_MS);
      if (!alive || !serves) throw await failedProcess(argv, server.log, 'does not serve');
    }),
  );
  return Object.fromEntries(started.map(({ server, identity }) => [server.name, identity]));
}
