/** Listening on a Unix socket that only its owner can reach, and that a dead server's leftover does not block. */
import { lstatSync, unlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { NsdbError } from '../errors.ts';

/** Whether somebody answers on the socket. */
function isLive(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else if (error.code === 'EAGAIN')
        resolve(true); // alive, its queue is full
      else reject(error);
    });
  });
}

/** Binds `server` to `path` with mode 0600. A live server there: WEFT_SOCKET_IN_USE. */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  const leftover = lstatSync(path, { throwIfNoEntry: false });
  if (leftover !== undefined) {
    if (!leftover.isSocket()) throw new NsdbError('WEFT_SOCKET_IN_USE', `${path} exists and is no socket`);
    if (await isLive(path)) throw new NsdbError('WEFT_SOCKET_IN_USE', path);
    unlinkSync(path);
  }
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new NsdbError('WEFT_SOCKET_IN_USE', path) : error),
    );
    // bind(2) happens within the call: the mode is right from the first moment on.
    const mask = process.umask(0o177);
    try {
      server.listen(path, resolve);
    } finally {
      process.umask(mask);
    }
  });
}
