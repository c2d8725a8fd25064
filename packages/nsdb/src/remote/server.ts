/** Serves a store on a Unix socket. */
import { createServer, type Server, type Socket } from 'node:net';
import { NsdbError } from '../errors.ts';
import type { StoreNsdb } from '../store-nsdb.ts';
import { Connection } from './connection.ts';
import { listenPrivately } from './unix-socket.ts';

export interface ServeOptions {
  /** Path of the socket; created with mode 0600. At most 107 bytes. */
  readonly socket: string;
  /** Decides by the peer's credentials (SO_PEERCRED of this descriptor) who may speak. Default: whoever can open the socket. */
  authorize?(socketFd: number): boolean;
  /** Milliseconds of silence after which a client counts as gone (clients ping every 5 s). Default 20,000. */
  readonly idleTimeout?: number;
  /** Told of clients that broke the protocol. */
  onProtocolError?(error: Error): void;
}

export interface StoreServer {
  /** Connected clients. */
  readonly clients: number;
  /** Closes the socket and all links; the store stays open, sessions live on for their grace time. */
  close(): Promise<void>;
}

export async function serve(nsdb: StoreNsdb, options: ServeOptions): Promise<StoreServer> {
  const connections = new Set<Connection>();
  const server: Server = createServer((socket) => {
    if (!admitted(socket, options)) {
      socket.destroy();
      return;
    }
    socket.setTimeout(options.idleTimeout ?? 20_000, () => socket.destroy());
    const connection = new Connection(nsdb, socket, (error) => {
      connections.delete(connection);
      if (error !== undefined) options.onProtocolError?.(error);
    });
    connections.add(connection);
  });
  await listenPrivately(server, options.socket);
  return {
    get clients() {
      return connections.size;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const connection of [...connections]) connection.close();
      }),
  };
}

function admitted(socket: Socket, { authorize }: ServeOptions): boolean {
  if (authorize === undefined) return true;
  const { fd } = (socket as unknown as { _handle?: { fd: number } })._handle ?? { fd: -1 };
  if (fd < 0) throw new NsdbError('WEFT_PROTOCOL', 'The socket has no descriptor');
  return authorize(fd);
}
