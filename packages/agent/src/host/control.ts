/**
 * The agent's control socket: HTTP with JSON on a Unix socket of mode 0600, for this host's administrator only.
 *
 * | request | answer |
 * |---|---|
 * | GET /status | numbers of the worker and the daemon |
 * | GET /ports | bound ports |
 * | GET /flows?limit=N | installed flows in words |
 * | GET /counters | drops by reason, upcalls by reason |
 * | GET /metrics | Prometheus text |
 * | GET /doctor | what the doctor finds on this host; probes the tunnels' paths, so it takes seconds |
 * | POST /stop | stops the agent in order; flows stay. `{"leave":true}`: the host's learned state goes at once |
 */
import { chmodSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { AgentError } from '../errors.ts';
import { receivedPerInterface } from './interface-counters.ts';
import { renderMetrics } from './metrics.ts';
import type { PacketWorker } from './packet-worker.ts';

const MAX_BODY = 65_536;
const MAX_FLOWS = 100_000;

export interface ControlOptions {
  readonly socket: string;
  readonly worker: PacketWorker;
  /** Fields of the daemon that `/status` shows beside the worker's. */
  readonly daemonStatus: () => Record<string, unknown>;
  /** Looks at the host; `status` is what `/status` answers. */
  readonly doctor: (status: () => Promise<Record<string, unknown>>) => Promise<unknown>;
  readonly stop: (leave: boolean) => void;
}

/** Opens the socket. A dead one in its place is replaced; a live one means that another agent runs. */
export async function openControl(options: ControlOptions): Promise<Server> {
  await removeDeadSocket(options.socket);
  const server = createServer((request, response) => {
    handle(options, request, response).catch((error) =>
      send(response, 500, { code: 'WEFT_AGENT_CONTROL', message: (error as Error).message }),
    );
  });
  const mask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.socket, resolve);
    });
  } finally {
    process.umask(mask);
  }
  chmodSync(options.socket, 0o600);
  return server;
}

async function removeDeadSocket(path: string): Promise<void> {
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
  if (alive) throw new AgentError('WEFT_AGENT_RUNNING', `an agent answers on ${path}`);
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

async function handle(options: ControlOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://agent');
  const { worker } = options;
  if (request.method === 'GET') {
    const status = async () => ({ ...options.daemonStatus(), ...(await worker.status()) });
    if (url.pathname === '/status') return send(response, 200, await status());
    if (url.pathname === '/doctor') return send(response, 200, await options.doctor(status));
    if (url.pathname === '/ports') return send(response, 200, { ports: (await worker.status()).ports });
    if (url.pathname === '/counters') {
      const { drops, upcallsByReason, upcalls } = await worker.status();
      return send(response, 200, { drops, upcallsByReason, upcalls });
    }
    if (url.pathname === '/flows') {
      const limit = Number(url.searchParams.get('limit') ?? 1000);
      if (!Number.isInteger(limit) || limit < 1 || limit > MAX_FLOWS) {
        return send(response, 400, {
          code: 'WEFT_AGENT_CONTROL',
          message: `limit must be a whole number from 1 to ${MAX_FLOWS}`,
        });
      }
      return send(response, 200, { flows: await worker.flows(limit) });
    }
    if (url.pathname === '/metrics') {
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' });
      response.end(
        await renderMetrics({ ...options.daemonStatus(), ...(await worker.status()) }, receivedPerInterface()),
      );
      return;
    }
  }
  if (request.method === 'POST' && url.pathname === '/stop') {
    const body = await readBody(request);
    send(response, 202, {});
    options.stop(body.leave === true);
    return;
  }
  send(response, 404, {
    code: 'WEFT_AGENT_CONTROL',
    message: `no ${request.method} ${url.pathname}; see weft agent --help`,
  });
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > MAX_BODY) throw new AgentError('WEFT_AGENT_CONTROL', `a body has at most ${MAX_BODY} bytes`);
  }
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
