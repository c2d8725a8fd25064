/** What a real ZooKeeper server is run with: its directory with settings and users, and the command that starts it. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fourLetterWord as ask } from '../four-letter-word.ts';

const JAR = '/usr/share/java/zookeeper.jar';
/** Beside what the jar's manifest names; TLS needs more of Netty than that. */
const CLASS_PATH = [
  JAR,
  ...['slf4j-nop', 'netty-codec', 'netty-resolver'].map((name) => `/usr/share/java/${name}.jar`),
];
const JAAS = 'jaas.conf';
/** Small and quick to start. */
const JVM_FLAGS = ['-Xms16m', '-Xmx96m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto', '-Xss512k'];

export interface ServerSettings {
  /** Milliseconds; sessions last 2 to 20 ticks. Default 200. */
  readonly tickTime?: number;
  /** Lines of zoo.cfg. */
  readonly config?: readonly string[];
  /** System properties (`-Dname=value`). */
  readonly properties?: Readonly<Record<string, string>>;
  /** TLS: PEM files, the key with its certificate in one. */
  readonly tls?: { readonly keyStore: string; readonly trustStore: string; readonly clientAuth?: 'none' | 'need' };
  /** SASL DIGEST-MD5 for these users. */
  readonly users?: Readonly<Record<string, string>>;
  /** Instead of the frugal ones. */
  readonly jvmFlags?: readonly string[];
}

/** Where one server is, and who its fellows are. */
export interface ServerPlace {
  /** From 1. */
  readonly id: number;
  readonly dir: string;
  /** Port without TLS, on 127.0.0.1; also of the four-letter commands. */
  readonly port: number;
  /** With TLS: address (default 127.0.0.1) and port. */
  readonly secureAddress?: string;
  readonly securePort: number;
  /** Lines `server.N=…` of all; empty: it stands alone. */
  readonly quorum: readonly string[];
}

/** Why no server can run here, or false: for `skip` of a test. */
export function needsServer(): string | false {
  if (!existsSync(JAR)) return `needs a ZooKeeper server: ${JAR} is missing (Debian: zookeeper)`;
  const hasJava = (process.env.PATH ?? '').split(delimiter).some((dir) => existsSync(join(dir, 'java')));
  return hasJava ? false : 'needs a ZooKeeper server: there is no java (Debian: default-jre-headless)';
}

/** Writes the server's files; its data stay as they are. */
export function writeServerFiles(place: ServerPlace, settings: ServerSettings): void {
  const { id, dir, port, secureAddress = '127.0.0.1', securePort, quorum } = place;
  const { tickTime = 200, tls, users, config = [] } = settings;
  mkdirSync(join(dir, 'data'), { recursive: true });
  writeFileSync(join(dir, 'data/myid'), `${id}\n`);
  const lines = [
    `tickTime=${tickTime}`,
    'initLimit=50',
    'syncLimit=10',
    `dataDir=${join(dir, 'data')}`,
    'clientPortAddress=127.0.0.1',
    `clientPort=${port}`,
    'maxClientCnxns=0',
    'admin.enableServer=false',
    '4lw.commands.whitelist=*',
    ...(tls === undefined
      ? []
      : [
          `secureClientPortAddress=${secureAddress}`,
          `secureClientPort=${securePort}`,
          'serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory',
          `ssl.keyStore.location=${tls.keyStore}`,
          `ssl.trustStore.location=${tls.trustStore}`,
          `ssl.clientAuth=${tls.clientAuth ?? 'none'}`,
          'ssl.quorum.hostnameVerification=false',
          'ssl.hostnameVerification=false',
        ]),
    ...(users === undefined ? [] : ['authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider']),
    ...quorum,
    ...config,
  ];
  writeFileSync(join(dir, 'zoo.cfg'), `${lines.join('\n')}\n`);
  if (users === undefined) return;
  const entries = Object.entries(users).map(([user, password]) => `user_${user}="${password}"`);
  const login = `Server { org.apache.zookeeper.server.auth.DigestLoginModule required ${entries.join(' ')}; };\n`;
  writeFileSync(join(dir, JAAS), login, { mode: 0o600 });
}

/** Starts the server whose files are in `dir`. */
export function serverCommand(dir: string, options: Pick<ServerSettings, 'properties' | 'jvmFlags'> = {}): string[] {
  const { properties, jvmFlags = JVM_FLAGS } = options;
  const jaas = join(dir, JAAS);
  const system = {
    'zookeeper.extendedTypesEnabled': 'true',
    ...(existsSync(jaas) && { 'java.security.auth.login.config': jaas }),
    ...properties,
  };
  return [
    'java',
    ...jvmFlags,
    ...Object.entries(system).map(([name, value]) => `-D${name}=${value}`),
    '-cp',
    CLASS_PATH.join(':'),
    'org.apache.zookeeper.server.quorum.QuorumPeerMain',
    join(dir, 'zoo.cfg'),
  ];
}

/** Sends one of the server's four-letter commands to a port of 127.0.0.1 and returns its answer. */
export function fourLetterWord(port: number, word: string): Promise<string> {
  return ask({ host: '127.0.0.1', port }, word);
}
