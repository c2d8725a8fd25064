/** The agent's configuration: one JSON file, every field checked, unknown fields refused. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { DEFAULT_TIMEOUTS, type Timeouts } from '@weft/flowstate';
import { type ArchiveConfig, readArchiveConfig } from './archive-config.ts';
import { AgentError } from './errors.ts';
import { FieldReader } from './field-reader.ts';

export interface AgentConfig {
  /** Host id (UUID). Absent: taken from `<stateDir>/host-id`, made there at the first start. */
  readonly hostId: string | null;
  /** Name shown for this host. */
  readonly name: string;
  /** Survives restarts: host id, topology snapshot. Mode 0700. */
  readonly stateDir: string;
  /** Sockets and locks. Mode 0700. */
  readonly runDir: string;
  /** Unix socket of the store, or `zookeeper://host1:port1,host2:port2/root`. */
  readonly store: string;
  /** Credentials, TLS and limits for ZooKeeper (mode 0600). */
  readonly storeConfig: string | null;
  readonly encap: 'gre' | 'vxlan';
  readonly vxlanPort: number;
  readonly datapath: 'ebpf' | 'userspace';
  /** Names kernel objects; at most 8 characters [a-z0-9]. */
  readonly instance: string;
  /** Directory on a bpffs for pins. */
  readonly bpffs: string;
  /** Unix socket on which the agent answers. */
  readonly controlSocket: string;
  readonly log: { readonly level: string; readonly file: string | null };
  /** Where decisions of rules with loggers are written; a file has at most `maxBytes`, there are `files` of them. */
  readonly ruleLog: { readonly file: string; readonly maxBytes: number; readonly files: number };
  /** Metrics over TCP on a loopback address; null: on the control socket only. */
  readonly metrics: { readonly host: string; readonly port: number; readonly tokenFile: string } | null;
  /** Where connections are kept for a host that knows nothing. */
  readonly archive: ArchiveConfig;
  readonly limits: AgentLimits;
  /** Idle times of connections in ms; absent ones have their default (`DEFAULT_TIMEOUTS` of @weft/flowstate). */
  readonly connectionTimeouts: Partial<Timeouts>;
}

/** Caps and times. Counts are per host unless said otherwise. */
export interface AgentLimits {
  readonly maxFlows: number;
  readonly maxFlowsPerPort: number;
  readonly maxMacsPerPort: number;
  readonly maxNeighboursPerPort: number;
  /** Connections that rules asked to remember, those of other hosts included; and how many a port can cause. */
  readonly maxConnections: number;
  readonly maxConnectionsPerPort: number;
  /** Packets that wait for data, in all and per port. */
  readonly maxWaiting: number;
  readonly maxWaitingPerPort: number;
  readonly waitingMs: number;
  /** Misses per second and burst that a port may send to user space. */
  readonly upcallRate: number;
  readonly upcallBurst: number;
  readonly flowIdleMs: number;
  /** A learned MAC goes this long after the last flow that used it. */
  readonly macIdleMs: number;
  readonly neighbourStaleMs: number;
  readonly neighbourExpireMs: number;
  /** Flows simulated anew per worker turn after a change. */
  readonly revalidateBatch: number;
  /** ICMP errors per second that the virtual routers answer a port with. */
  readonly icmpRate: number;
  /** Lines per second of the rule log, in all and per port. */
  readonly ruleLogRate: number;
  readonly ruleLogRatePerPort: number;
}

const LIMITS: AgentLimits = {
  maxFlows: 262_144,
  maxFlowsPerPort: 131_072,
  maxMacsPerPort: 256,
  maxNeighboursPerPort: 1024,
  maxConnections: 262_144,
  maxConnectionsPerPort: 65_536,
  maxWaiting: 1024,
  maxWaitingPerPort: 64,
  waitingMs: 5_000,
  upcallRate: 20_000,
  upcallBurst: 2_000,
  flowIdleMs: 60_000,
  macIdleMs: 15_000,
  neighbourStaleMs: 60_000,
  neighbourExpireMs: 90_000,
  revalidateBatch: 512,
  icmpRate: 100,
  ruleLogRate: 1_000,
  ruleLogRatePerPort: 100,
};

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Reads and checks the file. @throws AgentError WEFT_AGENT_CONFIG naming file and field. */
export function loadConfig(file: string): AgentConfig {
  let raw: unknown;
  try {
    raw = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new AgentError('WEFT_AGENT_CONFIG', `${file}: ${(cause as Error).message}`, { cause });
  }
  return parseConfig(raw, file);
}

/** Checks a parsed configuration and fills in the defaults. */
export function parseConfig(raw: unknown, where = 'configuration'): AgentConfig {
  const read = new FieldReader(raw, where);
  const instance = read.string('instance', 'weft', /^[a-z0-9]{1,8}$/, '1 to 8 characters of a-z and 0-9');
  const runDir = read.path('runDir', '/run/weft');
  const stateDir = read.path('stateDir', '/var/lib/weft');
  const ruleLog = new FieldReader(read.object('ruleLog'), `${where}: ruleLog`);
  const log = new FieldReader(read.object('log'), `${where}: log`);
  const limitsReader = new FieldReader(read.object('limits'), `${where}: limits`);
  const limits: Record<string, number> = {};
  for (const [name, fallback] of Object.entries(LIMITS))
    limits[name] = limitsReader.integer(name, fallback, 1, 4_194_304);
  const hostId = read.string('hostId', '', new RegExp(`^$|${UUID.source}`), 'a lower-case UUID');
  const config: AgentConfig = {
    hostId: hostId === '' ? null : hostId,
    name: read.string('name', hostname(), /^.{1,255}$/, '1 to 255 characters'),
    stateDir,
    runDir,
    store: read.string('store', '/run/weft/store.sock', /^(\/|zookeeper:\/\/.)/, 'an absolute path, or zookeeper://…'),
    storeConfig: read.string('storeConfig', '', /^$|^\//, 'an absolute path') || null,
    encap: read.choice('encap', 'vxlan', ['gre', 'vxlan']),
    vxlanPort: read.integer('vxlanPort', 4789, 1, 65535),
    datapath: read.choice('datapath', 'ebpf', ['ebpf', 'userspace']),
    instance,
    bpffs: read.path('bpffs', '/sys/fs/bpf'),
    controlSocket: read.path('controlSocket', `${runDir}/agent.sock`),
    log: {
      level: log.choice('level', 'info', ['trace', 'debug', 'info', 'warn', 'error']),
      file: log.string('file', '', /^.*$/, 'a path') || null,
    },
    ruleLog: {
      file: ruleLog.path('file', `${stateDir}/rule.log`),
      maxBytes: ruleLog.integer('maxBytes', 10 << 20, 4_096, 1 << 30),
      files: ruleLog.integer('files', 5, 1, 100),
    },
    metrics: readMetrics(read.object('metrics'), `${where}: metrics`),
    archive: readArchiveConfig(read.nested('archive'), stateDir),
    limits: limits as unknown as AgentLimits,
    connectionTimeouts: readTimeouts(read.object('connectionTimeouts'), `${where}: connectionTimeouts`),
  };
  log.done();
  ruleLog.done();
  limitsReader.done();
  read.done();
  return config;
}

function readTimeouts(raw: unknown, where: string): Partial<Timeouts> {
  const read = new FieldReader(raw, where);
  const timeouts = Object.entries(DEFAULT_TIMEOUTS).map(([name, ms]) => [
    name,
    read.integer(name, ms, 1_000, 2 ** 31 - 1),
  ]);
  read.done();
  return Object.fromEntries(timeouts) as Partial<Timeouts>;
}

/** An address with a port: `127.0.0.1:9464`, `[::1]:9464`. Others would need TLS. */
const LOOPBACK = /^(?:(127(?:\.\d{1,3}){3})|\[(::1)\]):(\d{1,5})$/;

function readMetrics(raw: unknown, where: string): AgentConfig['metrics'] {
  const read = new FieldReader(raw, where);
  const what = 'a loopback address with a port, like 127.0.0.1:9464 or [::1]:9464';
  const listen = read.string('listen', '', new RegExp(`^$|${LOOPBACK.source}`), what);
  const tokenFile = listen === '' ? '' : read.path('tokenFile', '');
  read.done();
  if (listen === '') return null;
  const [, v4, v6, port] = LOOPBACK.exec(listen)!;
  if (Number(port) > 65_535) throw new AgentError('WEFT_AGENT_CONFIG', `${where}: listen must be ${what}`);
  return { host: v4 ?? v6!, port: Number(port), tokenFile };
}
