/**
 * The agent's control socket: HTTP with JSON on a Unix socket of mode 0600, for this host's administrator only.
 *
 * | request | answer |
 * |---|---|
 * | GET /status | numbers of the worker and the daemon |
 * | GET /ports | bound ports |
 * | GET /flows?limit=N | installed flows in words; `port`, `host`, `address` choose, `explain=1` says why |
 * | POST /flows/flush | removes them all; their next packets are decided anew, by the connections that are known |
 * | GET /connections?limit=N | connections in words; `port`, `host`, `address`, `protocol`, `state`, `device` choose |
 * | POST /connections/cut | ends those that are meant, on all hosts: fields as above |
 * | POST /trace | what would become of a packet: `{"port", "packet"}` or `{"port", "frame"}` |
 * | POST /trace/live | the same for the next real packets, a line of JSON each: `{"port", "packet", "count", "seconds"}` |
 * | GET /arrival?key=N | which ports a tunnel key leads to; `source`: from which address |
 * | GET /rules?chain=NAME | rules in words with what they matched on this host; without `chain` those of all chains known here |
 * | POST /rules/clear | starts them again at 0: `{"chain"}`, or all |
 * | GET /rules/log?lines=N&follow=1 | the last lines of the rule log, and with `follow` the next ones as they come; a line of JSON each |
 * | GET /counters | drops by reason, upcalls by reason |
 * | GET /metrics | Prometheus text |
 * | GET /doctor | what the doctor finds on this host; probes the tunnels' paths, so it takes seconds |
 * | POST /stop | stops the agent in order; flows stay. `{"leave":true}`: the host's learned state goes at once |
 */
import { chmodSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { AgentError } from '../errors.ts';
import type { FlowQuery } from '../explain/flow-dump.ts';
import { connectionQuery, cutRequest } from './connection-requests.ts';
import { receivedPerInterface } from './interface-counters.ts';
import { type LiveEvent, liveTrace } from './live-trace.ts';
import { renderMetrics } from './metrics.ts';
import type { PacketWorker } from './packet-worker.ts';
import type { RuleLogFile } from './rule-log-file.ts';
import { liveRequest, traceRequest } from './trace-requests.ts';

const MAX_BODY = 65_536;
const MAX_FLOWS = 100_000;
const MAX_LOG_LINES = 10_000;
/** Bytes on their way to someone who follows a log. */
const MAX_UNREAD = 4 << 20;

export interface ControlOptions {
  readonly socket: string;
  readonly hostId: string;
  readonly vxlanPort: number;
  readonly worker: PacketWorker;
  readonly ruleLog: RuleLogFile;
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
    handle(options, request, response).catch((error) => refuse(response, error as Error));
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

/** What was asked wrongly is told as such; a stream that has begun can only end. */
function refuse(response: ServerResponse, error: Error): void {
  const { code, message } =
    error instanceof AgentError ? error : { code: 'WEFT_AGENT_CONTROL', message: error.message };
  if (response.headersSent) response.end(`${JSON.stringify({ event: 'error', code, message })}\n`);
  else send(response, error instanceof AgentError ? (STATUS[code] ?? 400) : 500, { code, message });
}

const STATUS: Readonly<Record<string, number>> = { WEFT_AGENT_NO_PORT: 404, WEFT_AGENT_WORKER: 503 };

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
      return send(response, 200, await worker.flows(flowQuery(url.searchParams, limit)));
    }
    if (url.pathname === '/connections') {
      return send(response, 200, await worker.connections(connectionQuery(url.searchParams)));
    }
    if (url.pathname === '/rules') return send(response, 200, await worker.rules(url.searchParams.get('chain')));
    if (url.pathname === '/rules/log') return sendRuleLog(options.ruleLog, url.searchParams, response);
    if (url.pathname === '/arrival') {
      const key = Number(url.searchParams.get('key') ?? Number.NaN);
      if (!Number.isInteger(key) || key < 0 || key > 0xff_ffff) {
        throw new AgentError('WEFT_AGENT_CONTROL', 'key must be a tunnel key, a whole number from 0 to 16777215');
      }
      return send(response, 200, await worker.arrival({ key, source: url.searchParams.get('source') ?? '' }));
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
  if (request.method === 'POST' && url.pathname === '/flows/flush') {
    return send(response, 200, await worker.flushFlows());
  }
  if (request.method === 'POST' && url.pathname === '/connections/cut') {
    return send(response, 200, await worker.cutConnections(cutRequest(await readBody(request))));
  }
  if (request.method === 'POST' && url.pathname === '/rules/clear') {
    const { chain = null } = await readBody(request);
    if (chain !== null && typeof chain !== 'string') {
      throw new AgentError('WEFT_AGENT_CONTROL', 'field "chain" must be a string');
    }
    return send(response, 200, await worker.clearRules(chain));
  }
  if (request.method === 'POST' && url.pathname === '/trace') {
    return send(response, 200, await worker.trace(traceRequest(await readBody(request))));
  }
  if (request.method === 'POST' && url.pathname === '/trace/live') {
    return streamTrace(options, await readBody(request), response);
  }
  send(response, 404, {
    code: 'WEFT_AGENT_CONTROL',
    message: `no ${request.method} ${url.pathname}; see weft agent --help`,
  });
}

/** Explanations as they come, one line of JSON each, until the client goes or there have been enough. */
async function streamTrace(
  { worker, hostId, vxlanPort }: ControlOptions,
  body: Record<string, unknown>,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const tell = (event: LiveEvent): void => {
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.write(`${JSON.stringify(event)}\n`);
  };
  await liveTrace(worker, hostId, vxlanPort, liveRequest(body), tell, gone.signal);
  response.end();
}

/** The last lines of the rule log, then the next ones until the client goes. */
function sendRuleLog(ruleLog: RuleLogFile, params: URLSearchParams, response: ServerResponse): void {
  const lines = Number(params.get('lines') ?? 100);
  if (!Number.isInteger(lines) || lines < 0 || lines > MAX_LOG_LINES) {
    throw new AgentError('WEFT_AGENT_CONTROL', `lines must be a whole number from 0 to ${MAX_LOG_LINES}`);
  }
  const follow = params.get('follow') === '1';
  const last = ruleLog.tail(lines).map((line) => `${line}\n`);
  const stop = follow ? ruleLog.follow((line) => tell(line)) : () => {};
  if (stop === null) throw new AgentError('WEFT_AGENT_CONTROL', 'too many follow the rule log already');
  const tell = (line: string): void => {
    // Who does not read goes: nothing may pile up here.
    if (response.writableLength > MAX_UNREAD) response.destroy();
    else response.write(line);
  };
  response.on('close', stop);
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  response.flushHeaders();
  for (const line of last) response.write(line);
  if (!follow) response.end();
}

function flowQuery(params: URLSearchParams, limit: number): FlowQuery {
  const query: Record<string, unknown> = { limit };
  for (const name of ['port', 'host', 'address']) if (params.has(name)) query[name] = params.get(name);
  if (params.get('explain') === '1') query.explain = true;
  return query as unknown as FlowQuery;
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > MAX_BODY) throw new AgentError('WEFT_AGENT_CONTROL', `a body has at most ${MAX_BODY} bytes`);
  }
  if (text === '') return {};
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Record<string, unknown>;
  } catch {
    // Told below, with the other bodies that are no object.
  }
  throw new AgentError('WEFT_AGENT_CONTROL', 'the body is not a JSON object');
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
