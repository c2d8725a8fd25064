/** A real Cassandra for the hosts' archives: one node, by the script of the repository, with TLS and a login. */
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { isAlive, type ProcessIdentity } from '@weft/sys';
import { certificateFiles } from './certificates.ts';
import { LabError } from './errors.ts';
import { inNetns, tryRun } from './exec.ts';
import type { LabPlan } from './plan.ts';
import type { ArchivePlan } from './plan-management.ts';
import { failedProcess, startDetached } from './process.ts';
import { waitUntil } from './wait.ts';

const SCRIPT = resolve(import.meta.dirname, '../../../scripts/cassandra.sh');
const START_TIMEOUT_MS = 120_000;
/** Whom a new Cassandra knows. */
const LOGIN = { username: 'cassandra', password: 'cassandra' };

/** What the agents are told of it. */
export function archiveConfig({ paths }: LabPlan, { address, port }: ArchivePlan): object {
  return {
    kind: 'cassandra',
    contactPoints: [`${address}:${port}`],
    localDataCenter: 'datacenter1',
    replication: { class: 'SimpleStrategy', replication_factor: 1 },
    credentialsFile: paths.archiveCredentials,
    tls: { ca: certificateFiles(paths).ca },
  };
}

/** Starts it, on the data that it has, and waits until it takes requests. */
export async function startArchive({ paths }: LabPlan, archive: ArchivePlan): Promise<ProcessIdentity> {
  if ((await tryRun([SCRIPT, 'check'])).code !== 0) {
    throw new LabError('WEFT_LAB_TOOL_MISSING', '--archive cassandra needs a Cassandra; run `make deps`');
  }
  await writeFile(paths.archiveCredentials, JSON.stringify(LOGIN), { mode: 0o600 });
  const { namespace, directory, port, address, log } = archive;
  const argv = inNetns(namespace, [SCRIPT, 'run', directory, String(port), certificateFiles(paths).server, address]);
  const identity = await startDetached(argv, log);
  let alive = true;
  const serves = await waitUntil(async () => {
    alive = isAlive(identity);
    // Over TLS, which is all that it speaks.
    const knock = ['ncat', '--ssl', '-z', '-w', '2', address, String(port)];
    return !alive || (await tryRun(inNetns(namespace, knock), { timeoutMs: 5_000 })).code === 0;
  }, START_TIMEOUT_MS);
  if (!alive || !serves) throw await failedProcess(argv, log, 'takes no requests');
  return identity;
}
