/** A real Cassandra for tests, as `scripts/cassandra.sh` runs it. What a machine lacks for it, `scripts/deps.sh` installs. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const SCRIPT = resolve(import.meta.dirname, '../../../../scripts/cassandra.sh');
const OPENSSL: string = 'openssl';
const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
const STARTED = 'Starting listening for CQL clients';
/** Only ends a test that has failed already. */
const START_MS = 120_000;

/** Why no Cassandra can run here, or false: what `skip` of a test wants. */
export function cassandraMissing(): string | false {
  if (spawnSync(SCRIPT, ['check']).status !== 0) return 'Cassandra is not installed: scripts/deps.sh';
  return spawnSync(OPENSSL, ['version']).status === 0 ? false : 'openssl is not installed';
}

async function listens(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

/** A free port whose successor is free too. */
async function freePorts(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if ((await listens(port)) && (await listens(port + 1))) return port;
  }
}

export class TestCassandra {
  static readonly credentials = { username: 'cassandra', password: 'cassandra' };
  readonly dir = mkdtempSync(join(tmpdir(), 'weft-cassandra-'));
  readonly #pem = join(this.dir, 'server.pem');
  port = 0;
  #process: ChildProcess | undefined;
  readonly #onExit = (): void => {
    this.#process?.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  };
  readonly #onSignal = (): void => process.exit(1);

  static async start(): Promise<TestCassandra> {
    const cassandra = new TestCassandra();
    cassandra.port = await freePorts();
    cassandra.#makeCertificate();
    process.once('exit', cassandra.#onExit);
    for (const signal of SIGNALS) process.once(signal, cassandra.#onSignal);
    await cassandra.launch();
    return cassandra;
  }

  #makeCertificate(): void {
    const ca = join(this.dir, 'ca.pem');
    const subject = ['-subj', '/CN=weft-cassandra', '-addext', 'subjectAltName=DNS:cassandra.test,IP:127.0.0.1'];
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    const made = spawnSync(OPENSSL, ['req', '-x509', ...key, ...subject, '-keyout', this.#pem, '-out', ca]);
    if (made.status !== 0) throw new Error(String(made.stderr));
    appendFileSync(this.#pem, readFileSync(ca));
  }

  /** The certificate that its own derives from. */
  get ca(): string {
    return readFileSync(join(this.dir, 'ca.pem'), 'utf8');
  }

  /** Starts the process, also after `kill`, on the same data, and waits until it takes requests. */
  async launch(): Promise<void> {
    const path = join(this.dir, 'log');
    const log = openSync(path, 'w');
    const child = spawn(SCRIPT, ['run', this.dir, String(this.port), this.#pem], { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#process = child;
    const deadline = Date.now() + START_MS;
    while (!readFileSync(path, 'utf8').includes(STARTED)) {
      if (child.exitCode !== null || Date.now() > deadline)
        throw new Error(`Cassandra did not start:\n${readFileSync(path, 'utf8').slice(-4000)}`);
      await sleep(50);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  async close(): Promise<void> {
    await this.kill();
    process.off('exit', this.#onExit);
    for (const signal of SIGNALS) process.off(signal, this.#onSignal);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
