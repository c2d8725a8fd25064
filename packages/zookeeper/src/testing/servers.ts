/**
 * Real ZooKeeper servers for tests: alone or as an ensemble, on free ports of 127.0.0.1, in directories of their own. They are ended by
 * their process ids, also when the test is interrupted; if this process is killed, the kernel kills them (PR_SET_PDEATHSIG), and the
 * next test removes their files.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ZooKeeperError } from '../errors.ts';
import { freePorts, killAtExit, makeDirectory, removeDirectory } from './cleanup.ts';
import { fourLetterWord, type ServerSettings, serverCommand, writeServerFiles } from './server-files.ts';

const SETPRIV = '/usr/bin/setpriv';
const START_TIMEOUT = 30_000;

export interface ServerOptions extends ServerSettings {
  /** 1 (default) stands alone; 3 or more are an ensemble. */
  readonly count?: number;
}

export type ServerMode = 'standalone' | 'leader' | 'follower';

/** One server. What it wrote stays when it is stopped or killed, and is there when it starts again. */
export class TestServer {
  readonly port: number;
  readonly securePort: number | undefined;
  readonly #dir: string;
  readonly #command: readonly string[];
  #child: ChildProcess | undefined;
  #output = '';
  #ended: Promise<void> = Promise.resolve();

  constructor(dir: string, port: number, securePort: number | undefined, command: readonly string[]) {
    this.#dir = dir;
    this.port = port;
    this.securePort = securePort;
    this.#command = command;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Of the server, while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** Starts the process; it may not answer yet. */
  launch(): void {
    if (this.#child !== undefined) return;
    const [command, ...args] = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', ...this.#command] : this.#command;
    this.#output = '';
    const child = spawn(command, args, { cwd: this.#dir, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    killAtExit(child);
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-4_000);
      });
    child.on('error', (error) => {
      this.#output += error.message;
    });
    this.#ended = new Promise((resolve) => {
      child.once('close', () => {
        if (this.#child === child) this.#child = undefined;
        resolve();
      });
    });
  }

  /** Waits until it serves clients. Throws WEFT_ZK_TESTING with its output. */
  async ready(): Promise<ServerMode> {
    const limit = performance.now() + START_TIMEOUT;
    while (this.#child !== undefined && performance.now() < limit) {
      const mode = await this.mode();
      if (mode !== undefined) return mode;
      await sleep(50);
    }
    throw new ZooKeeperError(
      'WEFT_ZK_TESTING',
      `Server ${this.address} does not serve: ${this.#output.trim() || 'no output'}`,
    );
  }

  async start(): Promise<ServerMode> {
    this.launch();
    return this.ready();
  }

  /** What it takes itself for, or undefined while it does not serve. */
  async mode(): Promise<ServerMode | undefined> {
    const answer = await fourLetterWord(this.port, 'srvr').catch(() => '');
    return /^Mode: (standalone|leader|follower)$/m.exec(answer)?.[1] as ServerMode | undefined;
  }

  /** Ends it in order. */
  stop(): Promise<void> {
    return this.#end('SIGTERM');
  }

  /** Ends it as a crash would. */
  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  /** It stands still: connections stay open, and nothing is answered. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.kill(signal);
    if (signal === 'SIGTERM') child.kill('SIGCONT');
    await this.#ended;
  }
}

/** The servers of one ensemble. */
export class TestEnsemble implements AsyncDisposable {
  readonly servers: readonly TestServer[];
  readonly #dir: string;

  constructor(dir: string, servers: readonly TestServer[]) {
    this.#dir = dir;
    this.servers = servers;
  }

  get connectString(): string {
    return this.servers.map(({ address }) => address).join(',');
  }

  /** Of the ports with TLS. */
  get secureConnectString(): string {
    return this.servers.map(({ securePort }) => `127.0.0.1:${securePort}`).join(',');
  }

  /** Starts those that do not run and waits until all serve. */
  async start(): Promise<void> {
    for (const server of this.servers) server.launch();
    await Promise.all(this.servers.map((server) => server.ready()));
  }

  /** The server that leads, once there is one; WEFT_ZK_TESTING if there is none in time. */
  async leader(): Promise<TestServer> {
    return this.#find((mode) => mode === 'leader' || mode === 'standalone');
  }

  /** A server that follows. */
  async follower(): Promise<TestServer> {
    return this.#find((mode) => mode === 'follower');
  }

  /** Kills what runs and removes all files. */
  async close(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.kill()));
    removeDirectory(this.#dir);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #find(wanted: (mode: ServerMode | undefined) => boolean): Promise<TestServer> {
    const limit = performance.now() + START_TIMEOUT;
    while (performance.now() < limit) {
      for (const server of this.servers) if (server.running && wanted(await server.mode())) return server;
      await sleep(50);
    }
    throw new ZooKeeperError('WEFT_ZK_TESTING', 'No server took the role that was waited for');
  }
}

/** Starts servers and waits until they serve. Close them with `close()`; whatever happens, they do not outlive this process. */
export async function startServers(options: ServerOptions = {}): Promise<TestEnsemble> {
  const { count = 1 } = options;
  // Somebody may take a port between our looking and the server's binding it.
  for (let attempt = 1; ; attempt++) {
    const dir = makeDirectory();
    const ports = await freePorts(count * 4);
    const quorum = Array.from(
      { length: count },
      (_, i) => `server.${i + 1}=127.0.0.1:${ports[4 * i]}:${ports[4 * i + 1]}`,
    );
    const servers = quorum.map((_, i) => {
      const [port, securePort] = [ports[4 * i + 2], ports[4 * i + 3]];
      const place = { id: i + 1, dir: join(dir, String(i + 1)), port, securePort, quorum: count > 1 ? quorum : [] };
      writeServerFiles(place, options);
      const secure = options.tls === undefined ? undefined : securePort;
      return new TestServer(place.dir, port, secure, serverCommand(place.dir, options));
    });
    const ensemble = new TestEnsemble(dir, servers);
    try {
      await ensemble.start();
      return ensemble;
    } catch (error) {
      await ensemble.close();
      if (attempt === 3) throw error;
    }
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
