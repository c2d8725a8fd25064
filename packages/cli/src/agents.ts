/** Agents that a command may ask: one by its control socket, those of a lab, or that of this machine. */
import { existsSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { Option } from 'commander';
import { CliError } from './errors.ts';
import { asOwnRoot } from './own-root.ts';

const OWN_SOCKET = '/run/weft/agent.sock';

export interface AgentOptions {
  readonly control?: string;
  readonly lab: string;
  readonly host?: string;
}

/** An agent: its socket, and what its status says of it. */
export interface AgentDoor {
  readonly name: string;
  readonly socketPath: string;
  readonly hostId: string;
  readonly ports: readonly { readonly portId: string; readonly interfaceName: string; readonly live: boolean }[];
}

export const AGENT_OPTIONS = (): Option[] => [
  new Option('--control <path>', "an agent's control socket (default: $WEFT_CONTROL_SOCKET)").default(
    process.env.WEFT_CONTROL_SOCKET,
  ),
  new Option('--lab <name>', 'lab whose hosts are meant').default('default'),
  new Option('--host <name>', 'a host of the lab'),
];

/** One answer of an agent; a refusal becomes a CliError with the agent's own words. */
export async function askAgent<T>(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
  timeoutMs = 30_000,
): Promise<T> {
  const { exchange } = await import('@weft/lab');
  const answer = await exchange({ socketPath }, method, path, body, timeoutMs).catch((error: Error) => {
    throw new CliError('WEFT_CLI_NO_AGENT', `no agent answers at ${socketPath} (${error.message})`, 1);
  });
  if (answer.status === 200) return answer.body as T;
  throw refusal(socketPath, answer.status, answer.body);
}

function refusal(socketPath: string, status: number, body: unknown): Error {
  const { code, message } = (body ?? {}) as { code?: string; message?: string };
  if (code === undefined) return new CliError('WEFT_CLI_NO_AGENT', `${socketPath} answers ${status}`, 1);
  return Object.assign(new Error(message ?? ''), { code });
}

/** Lines of JSON as an agent sends them, until it ends or `signal` does. Without a body it is a GET. */
export async function streamAgent(
  socketPath: string,
  path: string,
  body: unknown,
  take: (line: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
  const method = body === undefined ? 'GET' : 'POST';
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = request({ socketPath, path, method, headers, host: 'localhost', signal }, resolve);
    outgoing.on('error', (error) =>
      reject(new CliError('WEFT_CLI_NO_AGENT', `no agent answers at ${socketPath} (${error.message})`, 1)),
    );
    outgoing.end(text);
  });
  let rest = '';
  try {
    for await (const chunk of response.setEncoding('utf8')) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      if (response.statusCode !== 200) rest = lines.join('\n') + rest;
      else for (const line of lines) if (line !== '') take(JSON.parse(line));
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  if (response.statusCode !== 200) throw refusal(socketPath, response.statusCode ?? 0, JSON.parse(rest || '{}'));
}

/** The agents that are meant. Without a word: this machine's own, else those of the lab. */
export async function findAgents({ control, lab, host }: AgentOptions): Promise<AgentDoor[]> {
  const { openLab } = await import('@weft/lab');
  const paths: string[] = [];
  if (control !== undefined) paths.push(control);
  else if (host === undefined && lab === 'default' && existsSync(OWN_SOCKET)) paths.push(OWN_SOCKET);
  else {
    await asOwnRoot(false);
    const { plan } = await openLab(lab);
    const hosts = plan.hosts.filter(({ name }) => host === undefined || name === host);
    if (hosts.length === 0) throw new CliError('WEFT_CLI_USAGE', `lab "${lab}" has no host "${host}"`);
    for (const { name } of hosts) paths.push(plan.paths.host(name).controlSocket);
  }
  const doors = await Promise.all(paths.map((path) => openDoor(path).catch((error: Error) => error)));
  const open = doors.filter((door): door is AgentDoor => !(door instanceof Error));
  if (open.length === 0) throw doors[0];
  return open;
}

async function openDoor(socketPath: string): Promise<AgentDoor> {
  const status = await askAgent<Omit<AgentDoor, 'socketPath'>>(socketPath, 'GET', '/status', undefined, 10_000);
  return { socketPath, name: status.name, hostId: status.hostId, ports: status.ports };
}

/** A host and what people call it. */
export interface KnownHost {
  readonly hostId: string;
  readonly name: string;
}

/** The hosts whose names are known: those of the lab that is meant, else those that answered. */
export async function knownHosts(
  { control, lab }: AgentOptions,
  agents: readonly AgentDoor[],
): Promise<readonly KnownHost[]> {
  if (control !== undefined) return agents;
  const { openLab } = await import('@weft/lab');
  const opened = await openLab(lab).catch(() => undefined);
  return opened?.plan.hosts.map(({ id, name }) => ({ hostId: id, name })) ?? agents;
}

/** What agents call hosts by id, with the names that are known. */
export function nameHosts(text: string, agents: readonly KnownHost[]): string {
  return text.replace(/\bhost ([0-9a-f]{8})\b( \([^)]*\)| at \S+,)?/g, (whole, id: string, rest = '') => {
    const agent = agents.find(({ hostId }) => hostId.startsWith(id));
    return agent === undefined ? whole : `host ${agent.name}${rest.startsWith(' at') ? rest : ''}`;
  });
}

/** The agent that has a port, and what it calls it: an id, the beginning of one, an interface, or a VM of the lab (`vm:eth0`). */
export async function findPort(
  port: string,
  options: AgentOptions,
  agents: readonly AgentDoor[],
): Promise<{ agent: AgentDoor; port: string }> {
  const wanted = (await vmPort(port, options)) ?? { port };
  const found = agents
    .filter(({ name }) => wanted.host === undefined || wanted.host === name)
    .filter(({ ports }) =>
      ports.some(
        ({ portId, interfaceName }) =>
          interfaceName === wanted.port || (wanted.port.length >= 4 && portId.startsWith(wanted.port)),
      ),
    );
  if (found.length === 1) return { agent: found[0]!, port: wanted.port };
  const hosts = (found.length === 0 ? agents : found).map(({ name }) => name).join(', ');
  const problem = found.length === 0 ? `no port "${port}" on ${hosts}` : `"${port}" is on several hosts (${hosts})`;
  throw new CliError('WEFT_CLI_NOT_FOUND', `${problem}; weft trace without arguments lists the ports`, 1);
}

/** `vm` or `vm:interface` of the lab → host and interface there. */
async function vmPort(
  name: string,
  { lab, control }: AgentOptions,
): Promise<{ host?: string; port: string } | undefined> {
  if (control !== undefined) return undefined;
  const { labPort, openLab } = await import('@weft/lab');
  const opened = await openLab(lab).catch(() => undefined);
  return opened === undefined ? undefined : labPort(opened.plan, name);
}
