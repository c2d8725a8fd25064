/** Opens the archive of connections that the configuration names. */
import { readFileSync, statSync } from 'node:fs';
import { type FlowStateArchive, openCassandraArchive, openEmbeddedArchive } from '@weft/nsdb/archive';
import type { ArchiveConfig } from '../archive-config.ts';
import { AgentError } from '../errors.ts';

/**
 * Null: there is to be none. Does not wait for a server.
 * @throws AgentError WEFT_AGENT_CONFIG for a file that cannot be used; NsdbError WEFT_ARCHIVE_INSECURE, WEFT_INVALID, WEFT_STORE_LOCKED
 */
export async function openArchive(config: ArchiveConfig): Promise<FlowStateArchive | null> {
  if (config.kind === 'off') return null;
  if (config.kind === 'embedded') return openEmbeddedArchive({ dir: config.dir });
  const { contactPoints, localDataCenter, keyspace, replication, credentialsFile, tls } = config;
  return openCassandraArchive({
    contactPoints,
    localDataCenter,
    keyspace,
    ...(replication !== null && { replication }),
    ...(credentialsFile !== null && { credentials: readCredentials(credentialsFile) }),
    ...(tls !== null && {
      tls: {
        ...(tls.ca !== null && { ca: readText(tls.ca) }),
        ...(tls.serverName !== null && { serverName: tls.serverName }),
        ...(tls.cert !== null && { cert: readText(tls.cert) }),
        ...(tls.key !== null && { key: readSecret(tls.key) }),
      },
    }),
  });
}

function readCredentials(file: string): { username: string; password: string } {
  const text = readSecret(file);
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    // The parser quotes what it read.
    throw new AgentError('WEFT_AGENT_CONFIG', `${file}: is no JSON`, { cause });
  }
  const { username, password } = (raw ?? {}) as Record<string, unknown>;
  if (typeof username !== 'string' || typeof password !== 'string') {
    throw new AgentError('WEFT_AGENT_CONFIG', `${file}: must be {"username": "…", "password": "…"}`);
  }
  return { username, password };
}

/** A file that nobody else may read. */
function readSecret(file: string): string {
  const text = readText(file);
  if ((statSync(file).mode & 0o077) === 0) return text;
  throw new AgentError('WEFT_AGENT_CONFIG', `${file}: others can read it; make its mode 0600`);
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new AgentError('WEFT_AGENT_CONFIG', `${file}: ${(cause as Error).message}`, { cause });
  }
}
