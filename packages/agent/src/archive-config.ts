/** The part of the agent's configuration that says where connections are kept for a host that knows nothing. */
import type { FieldReader } from './field-reader.ts';

export interface CassandraConfig {
  readonly kind: 'cassandra';
  /** `address`, `name`, `address:port`, `[address]:port`. */
  readonly contactPoints: readonly string[];
  readonly localDataCenter: string;
  readonly keyspace: string;
  /** How keyspace and table are made where they are not there; null: they must be there. */
  readonly replication: Readonly<Record<string, string | number>> | null;
  /** `{"username", "password"}`, mode 0600. */
  readonly credentialsFile: string | null;
  /** Files; null: no TLS. */
  readonly tls: {
    readonly ca: string | null;
    readonly serverName: string | null;
    readonly cert: string | null;
    readonly key: string | null;
  } | null;
}

export type ArchiveConfig =
  | { readonly kind: 'off' }
  | { readonly kind: 'embedded'; readonly dir: string }
  | CassandraConfig;

const KINDS = ['off', 'embedded', 'cassandra'] as const;

/** Reads the fields; those of another kind are refused. @throws AgentError WEFT_AGENT_CONFIG */
export function readArchiveConfig(read: FieldReader, stateDir: string): ArchiveConfig {
  const kind = read.choice('kind', 'embedded', KINDS);
  const config =
    kind === 'cassandra' ? readCassandra(read) : kind === 'off' ? { kind } : { kind, dir: `${stateDir}/archive` };
  read.done();
  return config;
}

function readCassandra(read: FieldReader): CassandraConfig {
  const contactPoints = read.strings('contactPoints');
  const config: CassandraConfig = {
    kind: 'cassandra',
    contactPoints,
    localDataCenter: read.string('localDataCenter', '', /^.{1,255}$/, 'the name of a data center'),
    keyspace: read.string('keyspace', 'weft', /^[a-z][a-z0-9_]{0,47}$/, 'lower case letters, digits and _, 48 at most'),
    replication: read.has('replication') ? read.scalars('replication') : null,
    credentialsFile: read.optionalPath('credentialsFile'),
    tls: null,
  };
  if (!read.has('tls')) return config;
  const tls = read.nested('tls');
  const files = {
    ca: tls.optionalPath('ca'),
    serverName: tls.string('serverName', '', /^.{0,255}$/, 'a name') || null,
    cert: tls.optionalPath('cert'),
    key: tls.optionalPath('key'),
  };
  tls.done();
  return { ...config, tls: files };
}
