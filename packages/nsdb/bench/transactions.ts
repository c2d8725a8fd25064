/**
 * Transactions and reads per second, on the embedded store in-process and over its socket.
 *
 *     node packages/nsdb/bench/transactions.ts [--json]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connect, type Nsdb, openEmbedded, registerHost, serve } from '../src/index.ts';

const { values } = parseArgs({ options: { json: { type: 'boolean', default: false } } });
const CLIENTS = 50;
const SECONDS = 2;
const ROUNDS = 3;

interface Result {
  readonly id: string;
  readonly value: number;
  readonly unit: string;
  readonly runs: number[];
}

/** Calls `operation` from 50 clients at once, each waiting for its answer; the median of the rounds, per second. */
async function rate(id: string, operation: (client: number) => Promise<unknown>): Promise<Result> {
  const runs: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const start = performance.now();
    let done = 0;
    await Promise.all(
      Array.from({ length: CLIENTS }, async (_, client) => {
        while (performance.now() - start < SECONDS * 1_000) {
          await operation(client);
          done++;
        }
      }),
    );
    if (round > 0) runs.push(Math.round((done / (performance.now() - start)) * 1_000)); // the first warms up
  }
  return { id, value: [...runs].sort((a, b) => a - b)[runs.length >> 1], unit: '1/s', runs };
}

async function measure(prefix: string, nsdb: Nsdb): Promise<Result[]> {
  const { result: bridge } = await nsdb.transact((tx) => tx.create<{ id: string }>('Bridge', { name: 'bench' }));
  const host = crypto.randomUUID();
  await registerHost(nsdb, { id: host, name: `bench-${prefix}` });
  const session = await nsdb.openSession(host);
  let entry = 0;
  return [
    await rate(`${prefix}_create_bridge`, () => nsdb.transact((tx) => tx.create('Bridge', { name: 'b' }))),
    await rate(`${prefix}_create_port`, () => nsdb.transact((tx) => tx.create('Port', { bridgeId: bridge.id }))),
    await rate(`${prefix}_get`, () => nsdb.get('Bridge', bridge.id)),
    await rate(`${prefix}_put_entry`, () => session.put(`mac/${bridge.id}`, `key-${entry++ % 100_000}`, String(entry))),
  ];
}

const dir = mkdtempSync(join(tmpdir(), 'weft-bench-'));
const nsdb = await openEmbedded({ dir: join(dir, 'store') });
const server = await serve(nsdb, { socket: join(dir, 'socket') });
const client = await connect({ socket: join(dir, 'socket') });
try {
  const results = [...(await measure('embedded', nsdb)), ...(await measure('remote', client))];
  if (values.json) console.log(JSON.stringify({ results }));
  else for (const { id, value, runs } of results) console.log(`${id.padEnd(24)} ${value} /s   (${runs.join(', ')})`);
} finally {
  await client.close();
  await server.close();
  await nsdb.close();
  rmSync(dir, { recursive: true, force: true });
}
