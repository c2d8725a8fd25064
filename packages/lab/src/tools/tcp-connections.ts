/**
 * Opens many TCP connections; run inside VMs.
 *
 *   tcp-connections.ts serve PORT             accepts, says "listening", closes what the peer closes
 *   tcp-connections.ts connect ADDRESS PORT COUNT CONCURRENCY
 *                                             opens COUNT connections one after the other in CONCURRENCY lanes, each of
 *                                             which exchanges one byte and is reset; prints how many succeeded
 */
import { connect, createServer } from 'node:net';

const [mode, ...args] = process.argv.slice(2);

if (mode === 'serve') {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => socket.write(data));
  });
  server.listen({ port: Number(args[0]), host: '::', backlog: 4096 }, () => console.log('listening'));
} else {
  const [address, port, count, concurrency] = args;
  let left = Number(count);
  let done = 0;
  const one = () =>
    new Promise<void>((resolve) => {
      const socket = connect({ host: address!, port: Number(port), noDelay: true });
      socket.setTimeout(5000, () => socket.destroy());
      socket.on('connect', () => socket.write('x'));
      socket.on('data', () => {
        done++;
        // A reset leaves no TIME_WAIT behind: the check may be repeated at once.
        socket.resetAndDestroy();
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve());
    });
  const lane = async () => {
    while (left-- > 0) await one();
  };
  await Promise.all(Array.from({ length: Number(concurrency) }, lane));
  console.log(done);
}
