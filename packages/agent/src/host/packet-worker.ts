/** The main thread's handle on the packet worker: starts it, feeds it, asks it. */
import { writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { Batch } from '@weft/nsdb';
import type { AgentConfig } from '../config.ts';
import { AgentError, type AgentErrorCode } from '../errors.ts';
import type { ConnectionQuery } from '../explain/connection-filter.ts';
import type { ConnectionList, CutConnections } from '../explain/connection-list.ts';
import type { FlowList, FlowQuery } from '../explain/flow-dump.ts';
import type { RuleList } from '../explain/rule-report.ts';
import type { Arrival, ArrivalRequest, PortLink, Trace, TraceRequest } from '../explain/trace.ts';
import type { NatBlock } from '../worker/connections/nat-pools.ts';
import type { Restored } from '../worker/connections/restorer.ts';
import type { FromWorker, Question, StateIdentity, ToWorker, WorkerData } from '../worker/protocol.ts';

/** Three semi-spaces of 2 MiB. */
const YOUNG_MB = 6;

type Listener = (message: FromWorker) => void;

export class PacketWorker {
  private readonly worker: Worker;
  private readonly waiting = new Map<number, (value: unknown) => void>();
  private readonly wake = new Uint8Array(new BigUint64Array([1n]).buffer);
  private wakeFd = -1;
  private readonly unheard: FromWorker[] = [];
  private listener: Listener = (message) => this.unheard.push(message);
  private nextTicket = 1;
  private stopping = false;
  private readonly archiveTaken = new Int32Array(new SharedArrayBuffer(4));
  /** Resolves when the worker takes turns; rejects if it could not start. */
  readonly started: Promise<void>;
  /** Settles when the worker has ended; rejects if that was not asked for. */
  readonly ended: Promise<void>;

  constructor(config: AgentConfig, hostId: string, identity: StateIdentity) {
    const data: WorkerData = { config, hostId, identity, archiveTaken: this.archiveTaken };
    this.worker = new Worker(new URL('../worker/worker.ts', import.meta.url), {
      workerData: data,
      // The packet path makes few and short-lived objects: a small nursery costs nothing and keeps the process small.
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    let onStarted: () => void = () => {};
    let onFailed: (error: Error) => void = () => {};
    this.started = new Promise((resolve, reject) => {
      onStarted = resolve;
      onFailed = reject;
    });
    this.ended = new Promise((resolve, reject) => {
      this.worker.on('error', (cause) => {
        const error = new AgentError('WEFT_AGENT_WORKER', describe(cause), { cause });
        onFailed(error);
        reject(error);
      });
      this.worker.on('exit', () => {
        if (this.stopping) resolve();
        else reject(new AgentError('WEFT_AGENT_WORKER', 'the packet worker ended'));
      });
    });
    // Both are awaited by the daemon; whoever comes late must not see an unhandled rejection.
    this.started.catch(() => {});
    this.ended.catch(() => {});
    this.worker.on('message', (message: FromWorker) => {
      if (message.type === 'started') {
        this.wakeFd = message.wakeFd;
        onStarted();
      } else if (message.type === 'taken' || message.type === 'answer') {
        this.waiting.get(message.ticket)?.(message.type === 'answer' ? message.answer : undefined);
        this.waiting.delete(message.ticket);
      } else this.listener(message);
    });
  }

  /** Who is told what the worker says; what it has said already comes at once. */
  listen(listener: Listener): void {
    this.listener = listener;
    for (const message of this.unheard.splice(0)) listener(message);
  }

  /** Hands over a batch. Resolves when the worker has applied it to its view. */
  batch(batch: Batch): Promise<void> {
    return this.send((ticket) => ({ type: 'batch', batch, ticket })) as Promise<void>;
  }

  /** Answer to a request for blocks of NAT ports; null: the store is away. */
  granted(pool: string, blocks: readonly NatBlock[] | null): void {
    this.post({ type: 'granted', pool, blocks });
  }

  /** All blocks of NAT ports that are this host's. */
  blocks(blocks: readonly NatBlock[]): void {
    this.post({ type: 'blocks', blocks });
  }

  /** Answer to a request to keep blocks: those that this host holds now. */
  kept(blocks: readonly NatBlock[]): void {
    this.post({ type: 'kept', blocks });
  }

  /** A batch of entries for the archive has been taken: the worker may send another one. */
  archiveWasTaken(): void {
    Atomics.add(this.archiveTaken, 0, 1);
  }

  /** Records of the archive, asked for by `readArchive`. */
  restored(records: readonly Restored[]): void {
    this.post({ type: 'restored', records });
  }

  /** The archive has no more of a port. @param whole false: it could not be read to its end */
  restoreEnded(port: string, whole: boolean): void {
    this.post({ type: 'restoreEnded', port, whole });
  }

  status(): Promise<Record<string, unknown>> {
    return this.ask({ kind: 'status' }) as Promise<Record<string, unknown>>;
  }

  flows(query: FlowQuery): Promise<FlowList> {
    return this.ask({ kind: 'flows', query }) as Promise<FlowList>;
  }

  /** Removes all flows of this host: their next packets are decided anew. */
  flushFlows(): Promise<{ removed: number }> {
    return this.ask({ kind: 'flushFlows' }) as Promise<{ removed: number }>;
  }

  /** @throws AgentError WEFT_AGENT_CONTROL */
  connections(query: ConnectionQuery): Promise<ConnectionList> {
    return this.ask({ kind: 'connections', query }) as Promise<ConnectionList>;
  }

  /** @throws AgentError WEFT_AGENT_CONTROL */
  cutConnections(query: ConnectionQuery): Promise<CutConnections> {
    return this.ask({ kind: 'cutConnections', query }) as Promise<CutConnections>;
  }

  rules(chain: string | null): Promise<RuleList> {
    return this.ask({ kind: 'rules', ...(chain === null ? {} : { chain }) }) as Promise<RuleList>;
  }

  /** @throws AgentError WEFT_AGENT_CONTROL */
  clearRules(chain: string | null): Promise<RuleList> {
    return this.ask({ kind: 'clearRules', ...(chain === null ? {} : { chain }) }) as Promise<RuleList>;
  }

  /** @throws AgentError WEFT_AGENT_PACKET, WEFT_AGENT_NO_PORT */
  trace(request: TraceRequest): Promise<Trace> {
    return this.ask({ kind: 'trace', request }) as Promise<Trace>;
  }

  arrival(arrival: ArrivalRequest): Promise<Arrival> {
    return this.ask({ kind: 'arrival', arrival }) as Promise<Arrival>;
  }

  /** @throws AgentError WEFT_AGENT_NO_PORT */
  link(port: string): Promise<PortLink> {
    return this.ask({ kind: 'link', port }) as Promise<PortLink>;
  }

  private async ask(ask: Question): Promise<unknown> {
    const answer = await this.send((ticket) => ({ type: 'ask', ask, ticket }));
    const { refused } = answer as { refused?: { code: AgentErrorCode; message: string } };
    if (refused !== undefined) throw new AgentError(refused.code, refused.message);
    return answer;
  }

  private send(make: (ticket: number) => ToWorker): Promise<unknown> {
    const ticket = this.nextTicket++;
    const answer = new Promise((resolve) => this.waiting.set(ticket, resolve));
    this.post(make(ticket));
    return answer;
  }

  private post(message: ToWorker): void {
    this.worker.postMessage(message);
    // The worker sits in epoll_wait, not in an event loop: the eventfd gets it out.
    if (this.wakeFd >= 0) writeSync(this.wakeFd, this.wake);
  }

  /** Ends the worker in order; known flows stay in the kernel. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.post({ type: 'stop' });
    await this.ended.catch(() => {});
  }
}

/** An error of the worker's thread, with its code and where it arose: errors lose their class on the way over. */
function describe(cause: unknown): string {
  const { code, message, stack } = cause as { code?: string; message?: string; stack?: string };
  const where =
    stack
      ?.split('\n')
      .find((line) => line.trimStart().startsWith('at '))
      ?.trim() ?? '';
  return [code, message || String(cause), where].filter(Boolean).join(' ');
}
