/**
 * Takes connections at a loopback address and carries them over a Unix socket, which namespaces share, or the other way round:
 * `relay.child.ts PORT SOCKET` in the namespace that is to reach something; says "listening".
 */
import { connect, createServer } from 'node:net';

const [port = '', socket = ''] = process.argv.slice(2);
const server = createServer((near) => {
  const far = connect(socket);
  near.pipe(far).pipe(near);
  for (const [one, other] of [
    [near, far],
    [far, near],
  ] as const) {
    one.on('error', () => other.destroy());
    one.on('close', () => other.destroy());
  }
});
server.listen({ host: '127.0.0.1', port: Number(port) }, () => console.log('listening'));
