/** The agent: host identity, state database, packet worker, control socket, and their orderly start and end. */
import { mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { FlowStateArchive } from '@weft/nsdb/archive';
import { type Batch, connect, type Nsdb, type Subscription, storeAddress } from '@weft/nsdb/client';
import { tryLock } from '@weft/sys';
import { destination, pino } from 'pino';
import type { AgentConfig } from './config.ts';
import { diagnose } from './doctor/doctor.ts';
import type { AgentStatus } from './doctor/surroundings.ts';
import { AgentError } from './errors.ts';
import { eventRow, type Log } from './events.ts';
import { ConnectionArchive, NO_ARCHIVE } from './host/connection-archive.ts';
import { openControl } from './host/control.ts';
import { hostIdentity, privateDirectory } from './host/host-id.ts';
import { receivedPerInterface } from './host/interface-counters.ts';
import { renderMetrics } from './host/metrics.ts';
import { openMetricsDoor } from './host/metrics-door.ts';
import { NatBlocks } from './host/nat-blocks.ts';
import { openArchive } from './host/open-archive.ts';
import { PacketWorker } from './host/packet-worker.ts';
import { PublishedState } from './host/published-state.ts';
import { RuleLogFile } from './host/rule-log-file.ts';
import { stateIdentity } from './host/state-identity.ts';
import { AGENT_VERSION } from './version.ts';
import type { FromWorker, InterfaceReport } from './worker/protocol.ts';

/** A running agent. */
export interface Agent {
  readonly hostId: string;
  /** Resolves after an orderly stop; rejects with the cause if the agent had to give up. */
  readonly ended: Promise<void>;
  /** Stops in order; known flows go on in the kernel. `leave`: the host's learned state is withdrawn at once. */
  stop(leave?: boolean): void;
}

/**
 * Starts the agent. @throws AgentError WEFT_AGENT_NEEDS_ROOT, WEFT_AGENT_RUNNING, WEFT_AGENT_CONFIG; errors of the datapath
 * and the control socket.
 */
export async function startAgent(config: AgentConfig): Promise<Agent> {
  if (process.getuid?.() !== 0) throw new AgentError('WEFT_AGENT_NEEDS_ROOT', 'the agent must run as root');
  privateDirectory(config.stateDir);
  privateDirectory(config.runDir);
  mkdirSync(dirname(config.controlSocket), { recursive: true, mode: 0o700 });
  // Held for the life of the process; the kernel gives it back however the process ends.
  if (!tryLock(openSync(join(config.stateDir, 'lock'), 'a', 0o600))) {
    throw new AgentError('WEFT_AGENT_RUNNING', `${config.stateDir} is in use by another agent`);
  }
  const hostId = hostIdentity(config.stateDir, config.hostId);
  const identity = stateIdentity(config.stateDir);
  const log = openLog(config, hostId);
  log('agent.start', { name: config.name, encap: config.encap, datapath: config.datapath });
  // Its programs are verified while the store is looked for.
  const worker = new PacketWorker(config, hostId, identity);
  try {
    const archive = await openArchive(config.archive);
    const nsdb = await connect({
      ...storeAddress(config.store, config.storeConfig),
      snapshotDir: join(config.stateDir, 'topology'),
    });
    return await new RunningAgent(config, hostId, worker, log, nsdb, archive).start();
  } catch (error) {
    // What made the start fail is to be told, whatever state that has left the worker in.
    await worker.stop().catch(() => {});
    throw error;
  }
}

function openLog(config: AgentConfig, hostId: string): Log {
  const sink =
    config.log.file === null
      ? destination({ fd: 2, sync: true })
      : destination({ dest: config.log.file, sync: true, mode: 0o600 });
  const logger = pino({ level: config.log.level, base: { host: hostId } }, sink);
  return (event, fields) => logger[eventRow(event).level]({ event, ...fields });
}

class RunningAgent implements Agent {
  readonly hostId: string;
  readonly ended: Promise<void>;
  private readonly config: AgentConfig;
  private readonly log: Log;
  private readonly nsdb: Nsdb;
  private readonly worker: PacketWorker;
  private readonly published: PublishedState;
  private readonly ruleLog: RuleLogFile;
  private readonly natBlocks: NatBlocks;
  private readonly archive: ConnectionArchive | null;
  private readonly interfaces = new Map<string, string>();
  private subscription!: Subscription;
  private storeUp = false;
  private live = false;
  private finish: (error?: Error) => void = () => {};
  private stopping = false;

  constructor(
    config: AgentConfig,
    hostId: string,
    worker: PacketWorker,
    log: Log,
    nsdb: Nsdb,
    archive: FlowStateArchive | null,
  ) {
    this.config = config;
    this.hostId = hostId;
    this.log = log;
    this.nsdb = nsdb;
    this.ended = new Promise((resolve, reject) => {
      this.finish = (error) => (error ? reject(error) : resolve());
    });
    this.ended.catch(() => {});
    this.published = new PublishedState(nsdb, { id: hostId, name: config.name }, log, () =>
      this.fail(new AgentError('WEFT_AGENT_RUNNING', 'a newer agent of this host has taken over')),
    );
    this.ruleLog = new RuleLogFile(config.ruleLog, hostId, log);
    this.worker = worker;
    this.archive = archive === null ? null : new ConnectionArchive(archive, this.worker, log);
    this.natBlocks = new NatBlocks(nsdb, () => this.published.hostSession, this.worker, config.connectionTimeouts, log);
  }

  async start(): Promise<Agent> {
    this.subscription = this.nsdb.subscribe({
      snapshot: 'agent',
      onBatch: (batch) => this.onBatch(batch),
      onLink: (up) => {
        this.storeUp = up;
        this.log(up ? 'store.up' : 'store.away');
      },
    });
    this.worker.listen((message) => this.fromWorker(message));
    await this.worker.started;
    this.natBlocks.start();
    this.worker.ended.catch((error) => this.fail(error));
    const control = await openControl({
      socket: this.config.controlSocket,
      hostId: this.hostId,
      vxlanPort: this.config.vxlanPort,
      worker: this.worker,
      ruleLog: this.ruleLog,
      daemonStatus: () => this.status(),
      doctor: (status) => diagnose(this.config, { askAgent: async () => (await status()) as unknown as AgentStatus }),
      stop: (leave) => this.stop(leave),
    });
    await this.openMetrics();
    this.published.put('versions/agents', this.hostId, AGENT_VERSION);
    void this.ended.catch(() => {}).then(() => control.close());
    this.log('agent.ready');
    return this;
  }

  /** What `/status` shows beside the worker's numbers. */
  private status(): Record<string, unknown> {
    return {
      hostId: this.hostId,
      name: this.config.name,
      pid: process.pid,
      version: AGENT_VERSION,
      uptimeMs: performance.now(),
      // What the wall clock has gained on the steady one since the process began.
      clockStepMs: Date.now() - (performance.timeOrigin + performance.now()),
      encap: this.config.encap,
      datapath: this.config.datapath,
      storeUp: this.storeUp,
      session: this.published.isOpen,
      bytesReceived: this.subscription.bytesReceived,
      archive: { kind: this.config.archive.kind, ...(this.archive?.stats() ?? NO_ARCHIVE) },
      rssBytes: process.memoryUsage().rss,
    };
  }

  /** The door for collectors, if one is configured. */
  private async openMetrics(): Promise<void> {
    const { metrics } = this.config;
    if (metrics === null) return;
    const render = async () =>
      renderMetrics({ ...this.status(), ...(await this.worker.status()) }, receivedPerInterface());
    const door = await openMetricsDoor({ ...metrics, render });
    void this.ended.catch(() => {}).then(() => door.close());
    this.log('metrics.listening', { address: door.address });
  }

  private onBatch(batch: Batch): Promise<void> {
    // What comes from the disk is no revision that this host may claim to have applied.
    this.live = batch.fromSnapshot !== true;
    return this.worker.batch(batch);
  }

  private fromWorker(message: FromWorker): void {
    switch (message.type) {
      case 'interests':
        if (message.add.length > 0) this.subscription.add(message.add);
        if (message.remove.length > 0) this.subscription.remove(message.remove);
        break;
      case 'entry':
        if (message.value === null) this.published.remove(message.table, message.key);
        else this.published.put(message.table, message.key, message.value);
        break;
      case 'applied':
        if (this.live) this.published.reportApplied(message.revision);
        break;
      case 'interfaces':
        this.publishInterfaces(message.interfaces);
        break;
      case 'ruleLog':
        this.ruleLog.write(message.line);
        break;
      case 'allocate':
        void this.natBlocks.allocate(message.pool, message.first, message.last, message.count);
        break;
      case 'release':
        void this.natBlocks.release(message.blocks);
        break;
      case 'keep':
        void this.natBlocks.keep(message.blocks);
        break;
      case 'archive':
        this.archive?.put(message.entries);
        this.worker.archiveWasTaken();
        break;
      case 'readArchive':
        void this.archive?.read(message.port);
        break;
      case 'vouch':
        for (const hostId of message.hostIds) this.published.hostSession?.vouch(hostId);
        break;
      case 'log':
        this.log(message.event, message.fields);
        break;
      default:
        break;
    }
  }

  private publishInterfaces(interfaces: readonly InterfaceReport[]): void {
    const table = `interfaces/${this.hostId}`;
    const now = new Map(
      interfaces.map((i) => [i.name, JSON.stringify({ ...i, hostId: this.hostId, status: i.up ? 3 : 0 })]),
    );
    for (const name of this.interfaces.keys()) {
      if (now.has(name)) continue;
      this.published.remove(table, name);
      this.interfaces.delete(name);
    }
    for (const [name, value] of now) {
      if (this.interfaces.get(name) === value) continue;
      this.published.put(table, name, value);
      this.interfaces.set(name, value);
    }
  }

  stop(leave = false): void {
    void this.end(leave);
  }

  private fail(error: Error): void {
    this.log('agent.failed', { error: error.message, stack: (error.cause as Error | undefined)?.stack });
    void this.end(false, error);
  }

  private async end(leave: boolean, error?: Error): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    this.log('agent.stop', { leave });
    this.subscription.close();
    this.natBlocks.close();
    await this.worker.stop();
    await this.archive?.close().catch(() => {});
    this.ruleLog.close();
    await this.published.close(leave).catch(() => {});
    await this.nsdb.close().catch(() => {});
    this.finish(error);
  }
}
