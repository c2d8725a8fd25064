/** What others do must cost a subscriber nothing. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { newBridge, newPort } from '../compliance/harness.ts';
import { openEmbedded } from '../embedded/index.ts';
import { serve } from '../remote/server.ts';

const root = mkdtempSync(join(tmpdir(), 'weft-nsdb-'));
after(() => rmSync(root, { recursive: true, force: true }));

/** A subscriber in a heap of its own: answers each message with bytes received and heap used after collection. */
const SUBSCRIBER = `
  import { parentPort, workerData } from 'node:worker_threads';
  const { connect } = await import(workerData.module);
  const nsdb = await connect({ socket: workerData.socket });
  let revision = -1;
  const subscription = nsdb.subscribe({ onBatch: (batch) => { revision = batch.revision; } });
  subscription.add(workerData.interests);
  parentPort.on('message', async (target) => {
    if (target === 'close') { await nsdb.close(); parentPort.close(); return; }
    while (revision < target) await new Promise((resolve) => setTimeout(resolve, 5));
    gc(); gc();
    parentPort.postMessage({ bytes: subscription.bytesReceived, heap: process.memoryUsage().heapUsed });
  });
`;

describe('dispatch', () => {
  it('1,000 unrelated bridges leave the bytes and the heap of a subscriber unchanged', async () => {
    setFlagsFromString('--expose-gc');
    runInNewContext('gc');
    const nsdb = await openEmbedded({ dir: join(root, 'store') });
    const socket = join(root, 'socket');
    const server = await serve(nsdb, { socket });
    const bridge = await newBridge(nsdb);
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(SUBSCRIBER)}`), {
      workerData: {
        module: new URL('../index.ts', import.meta.url).href,
        socket,
        interests: [`o/Bridge/${bridge}`, `i/Port.bridgeId/${bridge}`, `t/mac/${bridge}`],
      },
    });
    const measure = async () => {
      const answer = new Promise<{ bytes: number; heap: number }>((resolve) => worker.once('message', resolve));
      worker.postMessage(await nsdb.revision());
      return answer;
    };
    const grow = async (bridges: number) => {
      for (let at = 0; at < bridges; at += 50)
        await Promise.all(Array.from({ length: 50 }, async () => newPort(nsdb, await newBridge(nsdb))));
    };
    await grow(200); // warms up the code that marks run through
    await measure();
    await sleep(50);
    const before = await measure();
    await grow(1_000);
    const afterwards = await measure();
    assert.equal(afterwards.bytes, before.bytes);
    // 1,000 bridges with ports are far above 1 MB; what is allowed is the noise of the engine itself.
    assert.ok(afterwards.heap - before.heap < 200_000, `the heap grew by ${afterwards.heap - before.heap} bytes`);
    await newPort(nsdb, bridge);
    assert.ok((await measure()).bytes > before.bytes, 'its own bridge does count');
    worker.postMessage('close');
    await new Promise((resolve) => worker.once('exit', resolve));
    await server.close();
    await nsdb.close();
  });
});
