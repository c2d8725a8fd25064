/**
 * Opens many TCP connections; run inside VMs.
 *
 *   tcp-connections.ts serve PORT             accepts, says "listening", closes what the peer closes
 *   tcp-connections.ts connect ADDRESS PORT COUNT CONCURRENCY
 *                                             opens COUNT connections one after the other in CONCURRENCY lanes, each of
 *                                             which exchanges one byte and is reset; prints how many succeeded
 *   tcp-connections.ts stream ADDRESS PORT INTERVAL_MS
 *                                             opens one after the other, each at its time, until told to end (SIGINT); says "open" with the
 *                                             first that was answered, and prints `StreamReport` in the end
 */
import { connect, createServer } from 'node:net';

export interface StreamReport {
  readonly opened: number;
  /** Not answered for 5 s, refused, or broken. */
  readonly failed: number;
  readonly slowestMs: number;
}

const TIMEOUT_MS = 5_000;

/** Opens a connection and exchanges a byte. @returns ms that it took; undefined: it failed */
function exchangeByte(address: string, port: number): Promise<number | undefined> {
  const start = performance.now();
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, noDelay: true });
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
    socket.on('connect', () => socket.write('x'));
    socket.on('data', () => {
      resolve(performance.now() - start);
      // A reset leaves no TIME_WAIT behind: the check may be repeated at once.
      socket.resetAndDestroy();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(undefined));
  });
}

async function stream(address: string, port: number, intervalMs: number): Promise<void> {
  const pending = new Set<Promise<void>>();
  let [opened, failed, slowest] = [0, 0, 0];
  const timer = setInterval(() => {
    opened++;
    const one = exchangeByte(address, port).then((ms) => {
      if (ms === undefined) failed++;
      else if (slowest === 0) console.log('open');
      slowest = Math.max(slowest, ms ?? TIMEOUT_MS);
      pending.delete(one);
    });
    pending.add(one);
  }, intervalMs);
  process.once('SIGINT', async () => {
    clearInterval(timer);
    await Promise.all(pending);
    const report: StreamReport = { opened, failed, slowestMs: Math.round(slowest) };
    console.log(JSON.stringify(report));
    process.exit(0);
  });
}

const [mode, ...args] = process.argv.slice(2);

if (mode === 'serve') {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => socket.write(data));
  });
  server.listen({ port: Number(args[0]), host: '::', backlog: 4096 }, () => console.log('listening'));
} else if (mode === 'stream') {
  const [address, port, intervalMs] = args;
  await stream(address!, Number(port), Number(intervalMs));
} else {
  const [address, port, count, concurrency] = args;
  let left = Number(count);
  let done = 0;
  const lane = async () => {
    while (left-- > 0) if ((await exchangeByte(address!, Number(port))) !== undefined) done++;
  };
  await Promise.all(Array.from({ length: Number(concurrency) }, lane));
  console.log(done);
}
