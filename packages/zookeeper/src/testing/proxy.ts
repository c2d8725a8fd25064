/** A TCP proxy that does what bad networks do: holds bytes back, delays them, cuts connections, refuses new ones. */
import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * `pass`: as if it were not there. `stall`: connections stay open (new ones open, too), and no byte gets through. `refuse`: there
 * are no connections.
 */
export type ProxyMode = 'pass' | 'stall' | 'refuse';

interface Direction {
  /** Bytes on their way, when they are due, by the monotonic clock in ms. */
  readonly held: { readonly chunk: Buffer; readonly due: number }[];
  readonly to: Socket;
  ended: boolean;
}

export class TestProxy implements AsyncDisposable {
  /** Milliseconds that bytes are delayed, in each direction. */
  delay = 0;
  /** Called with what the client sends, before it is passed on. */
  onRequest: ((chunk: Buffer) => void) | undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #directions = new Set<Direction>();
  #mode: ProxyMode = 'pass';

  constructor(server: Server, target: { readonly host: string; readonly port: number }) {
    this.#server = server;
    server.on('connection', (client) => this.#accept(client, target));
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get mode(): ProxyMode {
    return this.#mode;
  }

  /** What was held back gets through when it is `pass` again. */
  set mode(mode: ProxyMode) {
    this.#mode = mode;
    if (mode === 'refuse') this.cut();
    if (mode === 'pass') for (const direction of this.#directions) this.#deliver(direction);
  }

  /** Connections through it now. */
  get connections(): number {
    return this.#sockets.size / 2;
  }

  /** Ends all connections; what is held is lost. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #accept(client: Socket, target: { readonly host: string; readonly port: number }): void {
    if (this.#mode === 'refuse') {
      client.destroy();
      return;
    }
    const server = connect(target);
    this.#carry(client, server, true);
    this.#carry(server, client, false);
  }

  #carry(from: Socket, to: Socket, isRequest: boolean): void {
    const direction: Direction = { held: [], to, ended: false };
    this.#sockets.add(from);
    this.#directions.add(direction);
    from.on('data', (chunk: Buffer) => {
      if (isRequest) this.onRequest?.(chunk);
      direction.held.push({ chunk, due: performance.now() + this.delay });
      if (this.delay > 0) setTimeout(() => this.#deliver(direction), this.delay);
      else this.#deliver(direction);
    });
    from.on('end', () => {
      direction.ended = true;
      this.#deliver(direction);
    });
    from.on('error', () => {});
    from.on('close', () => {
      this.#sockets.delete(from);
      this.#directions.delete(direction);
      if (this.#mode !== 'stall') to.destroy();
    });
  }

  #deliver({ held, to, ended }: Direction): void {
    if (this.#mode !== 'pass') return;
    const now = performance.now();
    while (held.length > 0 && held[0].due <= now) to.write(held.shift()!.chunk);
    if (held.length > 0) setTimeout(() => this.#deliver({ held, to, ended }), held[0].due - now);
    else if (ended) to.end();
  }
}

/** A proxy on a free port of 127.0.0.1. */
export async function startProxy(target: { readonly host?: string; readonly port: number }): Promise<TestProxy> {
  const server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return new TestProxy(server, { host: target.host ?? '127.0.0.1', port: target.port });
}
