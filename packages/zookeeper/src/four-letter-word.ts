/** Commands of four letters, which a server answers also when it serves no sessions: `srvr`, `mntr`, `wchs`. */
import { connect as connectTcp, isIP } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import type { ServerAddress } from './connect-string.ts';

/** An answer is some kilobytes; what is longer is no answer of a ZooKeeper server. */
const MAX_ANSWER = 16 * 2 ** 20;

export interface FourLetterOptions {
  readonly tls?: boolean | ConnectionOptions | undefined;
  /** Milliseconds for all of it. Default 2,000. */
  readonly timeout?: number;
}

/** Asks one server; '' if it closes without a word. Rejects with the error of the connection (its `code` says which). */
export function fourLetterWord(server: ServerAddress, word: string, options: FourLetterOptions = {}): Promise<string> {
  const { tls, timeout = 2_000 } = options;
  const { host, port } = server;
  return new Promise((resolve, reject) => {
    const named = isIP(host) === 0 ? { servername: host } : {};
    const socket = tls
      ? connectTls({ ...named, ...(tls === true ? {} : tls), host, port })
      : connectTcp({ host, port });
    const timer = setTimeout(
      () => socket.destroy(Object.assign(new Error(`no answer within ${timeout} ms`), { code: 'ETIMEDOUT' })),
      timeout,
    );
    let answer = '';
    // With the end of line a server that expects TLS sees at once that this is none.
    socket.once(tls ? 'secureConnect' : 'connect', () => socket.write(`${word}\n`));
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString('latin1');
      if (answer.length > MAX_ANSWER) socket.destroy(new Error('the answer is too long'));
    });
    socket.on('error', reject);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(answer);
    });
  });
}
