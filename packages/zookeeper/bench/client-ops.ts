/**
 * Pipelined gets per second and the client's CPU time for each, beside npm's node-zookeeper-client, in turns, in one process against one
 * real server. The server is the same for both and often the bottleneck: the CPU time tells more of the client.
 *
 *     node packages/zookeeper/bench/client-ops.ts [--json] [--quick]
 */
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import peerModule from 'node-zookeeper-client';
import { ZooKeeper } from '../src/index.ts';
import { needsServer, startServers } from '../src/testing/index.ts';

const { values } = parseArgs({
  options: { json: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false } },
});
const IN_FLIGHT = 1_000;
const OPS = values.quick ? 10_000 : 60_000;
const ROUNDS = values.quick ? 1 : 7;
const BYTES = 100;
const PATH = '/bench';
/** The server is to be as quick as it can. */
const JVM_FLAGS = ['-Xms256m', '-Xmx512m', '-XX:+UseSerialGC'];

interface Contestant {
  readonly name: string;
  /** One get; `done` is called when the data is there. */
  get(done: (data: Buffer) => void): void;
}

interface Measured {
  readonly perSecond: number;
  readonly cpuUs: number;
}

/** `OPS` gets, `IN_FLIGHT` of them under way at any time. */
async function measure({ get }: Contestant): Promise<Measured> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await new Promise<void>((resolve, reject) => {
    let begun = 0;
    let ended = 0;
    const next = () => {
      begun++;
      get((data) => {
        if (data.length !== BYTES) return reject(new Error('wrong data'));
        if (++ended === OPS) resolve();
        else if (begun < OPS) next();
      });
    };
    while (begun < Math.min(IN_FLIGHT, OPS)) next();
  });
  const seconds = (performance.now() - start) / 1_000;
  const { user, system } = process.cpuUsage(cpu);
  return { perSecond: OPS / seconds, cpuUs: (user + system) / OPS };
}

const missing = needsServer();
if (missing) throw new Error(missing);
const ensemble = await startServers({ jvmFlags: JVM_FLAGS });
const zk = await ZooKeeper.connect({ servers: ensemble.connectString, sessionTimeout: 4_000 });
const peer = peerModule.createClient(ensemble.connectString, { sessionTimeout: 4_000 });
try {
  await zk.create(PATH, Buffer.alloc(BYTES, 1));
  const connected = once(peer, 'connected');
  peer.connect();
  await connected;
  const contestants: Contestant[] = [
    { name: 'weft', get: (done) => void zk.getData(PATH).then(({ data }) => done(data)) },
    {
      name: 'node-zookeeper-client',
      get: (done) =>
        peer.getData(PATH, (error: Error | undefined, data: Buffer) => {
          if (error) throw error;
          done(data);
        }),
    },
  ];
  for (const contestant of contestants) for (let i = 0; i < 2; i++) await measure(contestant); // compiles, at both ends
  const taken = contestants.map(({ name }) => ({ name, perSecond: [] as number[], cpuUs: [] as number[] }));
  for (let round = 0; round < ROUNDS; round++) {
    for (const i of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const { perSecond, cpuUs } = await measure(contestants[i]);
      taken[i].perSecond.push(Math.round(perSecond));
      taken[i].cpuUs.push(Number(cpuUs.toFixed(2)));
    }
  }
  if (values.json) console.log(JSON.stringify({ inFlight: IN_FLIGHT, bytes: BYTES, ops: OPS, contestants: taken }));
  else
    for (const { name, perSecond, cpuUs } of taken)
      console.log(
        `${name.padEnd(24)} ${middle(perSecond)} gets/s   ${middle(cpuUs)} µs CPU each   (${perSecond.join(', ')})`,
      );
} finally {
  peer.close();
  await zk.close();
  await ensemble.close();
}

function middle(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}
