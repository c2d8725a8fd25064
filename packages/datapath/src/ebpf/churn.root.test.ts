/**
 * Recycled hash elements: while flows of two tenants are inserted and deleted as fast as can be, no frame may be executed with the
 * other tenant's action. With the owner check compiled out the same test must catch one: else it proves nothing.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  ACTION_SIZE,
  compileAction,
  extractKey,
  FLOW_FIRST_KEY,
  FLOW_VALUE_SIZE,
  KEY_SIZE,
  maskKey,
  newFrameLayout,
  OUT_DROP,
} from '@weft/flow';
import { openCurrentNetns } from '@weft/sys';
import { udp } from '../compliance/frames.ts';
import { Testbed } from '../compliance/testbed.ts';
import type { EbpfDatapath } from './index.ts';
import { createEbpf, needsEbpf } from './testing.ts';

const EXACT = 7;
const OWN_REASON = 18; // outer_unknown_peer: any reasons that nothing else counts here
const OTHER_REASON = 19;

/** Keys and values of flows of a port; each drops under its tenant's reason. */
function flows(port: number, count: number, reason: number) {
  const keys = new Uint8Array(count * KEY_SIZE);
  const values = new Uint8Array(count * FLOW_VALUE_SIZE);
  const key = new Uint8Array(KEY_SIZE);
  for (let i = 0; i < count; i++) {
    const frame = udp({ srcPort: i + 1 });
    extractKey(frame, frame.length, port, 0, key, 0, newFrameLayout());
    maskKey(key, 0, EXACT, keys, i * KEY_SIZE);
    const at = i * FLOW_VALUE_SIZE;
    const options = { output: OUT_DROP, reason, flowId: port * 1000 + i + 1, ownerPort: port, ownerClass: EXACT };
    compileAction(key, key, values, options, at);
    values.set(key, at + FLOW_FIRST_KEY);
  }
  return { keys, values, count };
}

/** @returns packets of tenant 1 that were executed with tenant 2's action, and with their own. */
async function churn(objectName: string, ms: number): Promise<{ foreign: number; own: number }> {
  let driver!: EbpfDatapath;
  const testbed = new Testbed(
    { kind: 'ebpf', skip: needsEbpf, adopts: true, create: (o) => (driver = createEbpf(o, { objectName })) },
    { encap: 'vxlan', maxFlows: 64 },
  );
  const shared = new Int32Array(new SharedArrayBuffer(4));
  try {
    testbed.attachAll();
    const [p1, p2] = testbed.ports.map((p) => p.ifindex);
    const mine = flows(p1, 1, OWN_REASON);
    const theirs = flows(p2, 1, OTHER_REASON);
    testbed.driver.attachPort({ ...testbed.ports[0], upcallRate: 1, upcallBurst: 1 });
    driver.putFlows(mine);
    const netns = testbed.inHost(openCurrentNetns);
    const worker = new Worker(new URL('./churn-worker.ts', import.meta.url), {
      workerData: { shared, program: driver.object.program.weft_port, ifindex: p1, frame: udp({ srcPort: 1 }), netns },
    });
    const done = once(worker, 'exit');
    const until = performance.now() + ms;
    // The map's own calls: the driver would keep class bits right in between, which is not what is tested.
    const map = driver.object.map.weft_flows;
    const [myAction, theirAction] = [mine, theirs].map(({ values }) => values.subarray(0, ACTION_SIZE));
    while (performance.now() < until) {
      for (let i = 0; i < 200; i++) {
        map.delete(mine.keys);
        map.update(theirs.keys, theirAction);
        map.delete(theirs.keys);
        map.update(mine.keys, myAction);
      }
    }
    Atomics.store(shared, 0, 1);
    await done;
    closeSync(netns);
    const { drops } = driver.stats();
    return { foreign: drops[OTHER_REASON], own: drops[OWN_REASON] };
  } finally {
    Atomics.store(shared, 0, 1);
    testbed.close();
  }
}

const skip = needsEbpf();
const seconds = Number(process.env.WEFT_CHURN_SECONDS ?? 10);
/** Of each attempt to catch the program without the check. */
const SABOTAGE_MS = 2_000;

test('under churn no frame meets another flow’s action', { skip }, async () => {
  const { foreign, own } = await churn('weft.bpf.o', seconds * 1000);
  assert.ok(own > 10_000, `only ${own} hits`);
  assert.equal(foreign, 0, `${foreign} of ${own} frames were executed with the other tenant's action`);
});

test('without the owner check the same churn lets frames through to the other tenant', { skip }, async () => {
  let foreign = 0;
  // A race: several attempts, each of which alone mostly suffices.
  for (let i = 0; i < 15 && foreign === 0; i++) foreign += (await churn('weft-sabotage.bpf.o', SABOTAGE_MS)).foreign;
  assert.ok(foreign > 0, 'the sabotaged program was not caught: the churn test is blind');
});
