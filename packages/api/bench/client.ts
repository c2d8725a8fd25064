/**
 * A load generator that costs little: HTTP/1.1 over kept connections, each with one request on its way, written and read by
 * hand. Runs in a process of its own; prints one line of JSON.
 *
 *     node client.ts '{"port":8181,"token":"…","connections":32,"seconds":5,"method":"GET","paths":["/…"],"body":null}'
 */
import { connect, type Socket } from 'node:net';

export interface Load {
  readonly port: number;
  readonly token: string;
  readonly connections: number;
  readonly seconds: number;
  readonly method: 'GET' | 'POST';
  /** Each request takes the next one. */
  readonly paths: readonly string[];
  readonly body: string | null;
  /** The only answer that counts; any other ends the run with an error. */
  readonly status: number;
}

export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  /** Latencies in ms. */
  readonly p50: number;
  readonly p99: number;
  /** Part of a CPU that this process used: near 1 means that it, not the server, is what was measured. */
  readonly clientCpu: number;
}

const load = JSON.parse(process.argv[2] ?? '') as Load;
const requests = load.paths.map((path) => Buffer.from(request(path)));
const latencies: number[] = [];
let turn = 0;

function request(path: string): string {
  const head = `${load.method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Auth-Token: ${load.token}\r\n`;
  if (load.body === null) return `${head}\r\n`;
  return `${head}Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(load.body)}\r\n\r\n${load.body}`;
}

/** Length of the whole answer at the start of `text`, or 0 as long as there is less. Throws unless the status is right. */
function answerLength(text: string): number {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return 0;
  if (!text.startsWith(`HTTP/1.1 ${load.status} `)) throw new Error(`unexpected answer: ${text.slice(0, 500)}`);
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, end))?.[1];
  if (length === undefined) throw new Error(`answer without Content-Length: ${text.slice(0, end)}`);
  const whole = end + 4 + Number(length);
  return text.length >= whole ? whole : 0;
}

function drive(socket: Socket, until: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let sent = 0;
    let text = '';
    const next = () => {
      if (performance.now() >= until) return socket.end(() => resolve());
      sent = performance.now();
      socket.write(requests[turn++ % requests.length]!);
    };
    socket.setNoDelay(true).setEncoding('latin1');
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the server closed the connection')));
    socket.on('data', (chunk: string) => {
      text += chunk;
      try {
        if (answerLength(text) === 0) return;
      } catch (error) {
        return reject(error);
      }
      text = '';
      latencies.push(performance.now() - sent);
      next();
    });
    next();
  });
}

const sockets = await Promise.all(
  Array.from({ length: load.connections }, () => {
    const socket = connect(load.port, '127.0.0.1');
    return new Promise<Socket>((resolve, reject) => {
      socket.once('connect', () => resolve(socket)).once('error', reject);
    });
  }),
);
const cpu = process.cpuUsage();
const start = performance.now();
await Promise.all(sockets.map((socket) => drive(socket, start + load.seconds * 1_000)));
const seconds = (performance.now() - start) / 1_000;
const { user, system } = process.cpuUsage(cpu);
latencies.sort((a, b) => a - b);
const at = (part: number) => Math.round((latencies[Math.floor(latencies.length * part)] ?? 0) * 100) / 100;
const result: LoadResult = {
  requests: latencies.length,
  seconds,
  p50: at(0.5),
  p99: at(0.99),
  clientCpu: Math.round(((user + system) / 1e6 / seconds) * 100) / 100,
};
process.stdout.write(`${JSON.stringify(result)}\n`);
process.exit(0);
