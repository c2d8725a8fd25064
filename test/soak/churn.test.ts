/**
 * Insertions and deletions of two tenants' flows, all the time and under traffic: every packet arrives, once, and never at
 * the other tenant, although both use the same addresses, MACs and ports.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { exchange, type Lab, labDown, labPaths, labUp, requireVm } from '@weft/lab';
import { run } from '../../bench/harness/exec.ts';
import type { End } from '../../bench/harness/paths.ts';
import { openSink, sendFlows } from '../../bench/harness/udp-flows.ts';
import { SOAK_SECONDS, skip } from './soak.ts';

const NAME = 'soak-churn';
const PORT = 9000;
/** New flows per second and tenant. */
const RATE = 2_000;
/** They come round again after 25 s, when the flows of the first time are long gone. */
const TUPLES = 50_000;
const TENANTS = ['blue', 'red'] as const;

let lab: Lab;
let directory: string;

before(async () => {
  if (skip) return;
  directory = await mkdtemp(join(tmpdir(), 'weft-soak-'));
  await labDown(NAME);
  ({ lab } = await labUp(resolve(import.meta.dirname, 'churn.yaml'), { name: NAME }));
});

after(async () => {
  if (skip) return;
  await labDown(NAME);
  await rm(directory, { recursive: true, force: true });
});

function end(vm: string): End {
  const { namespace, interfaces } = requireVm(lab, vm);
  const [{ device, mac, addresses }] = interfaces;
  return { namespace, device, mac, address: addresses[0] };
}

interface Status {
  readonly flows: number;
  readonly flowsInstalled: number;
  readonly flowsDeleted: number;
}

async function status(host: string): Promise<Status> {
  const answer = await exchange({ socketPath: labPaths(NAME).host(host).controlSocket }, 'GET', '/status');
  assert.equal(answer.status, 200);
  return answer.body as Status;
}

/** How many packets of each stream a sink has seen. */
async function streams(record: string): Promise<Map<bigint, number>> {
  const bytes = await readFile(record);
  const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 3);
  const seen = new Map<bigint, number>();
  for (let i = 1; i < words.length; i += 4) seen.set(words[i], (seen.get(words[i]) ?? 0) + 1);
  return seen;
}

test(`${SOAK_SECONDS} s of churn: not one packet at the wrong tenant, none lost, none twice`, { skip }, async () => {
  for (const tenant of TENANTS) {
    await run([
      'nsenter',
      `--net=/run/netns/${end(`${tenant}1`).namespace}`,
      '--',
      'ping',
      '-c',
      '2',
      '-W',
      '2',
      end(`${tenant}2`).address,
    ]);
  }
  const count = RATE * SOAK_SECONDS;
  const before = await status('h1');
  const seen = await Promise.all(
    TENANTS.map(async (tenant, i) => {
      const [from, to] = [end(`${tenant}1`), end(`${tenant}2`)];
      const record = join(directory, tenant);
      const sink = await openSink(to, PORT, TUPLES, count, record);
      await sendFlows({ from, to, targetMac: to.mac, port: PORT, tuples: TUPLES, count, rate: RATE, stream: i + 1 });
      await new Promise((done) => setTimeout(done, 1000));
      return { ...(await sink.stop()), streams: await streams(record) };
    }),
  );
  const after = await status('h1');
  TENANTS.forEach((tenant, i) => {
    const { received, unique, duplicates, foreign, streams } = seen[i];
    assert.deepEqual(
      { received, unique, duplicates, foreign },
      { received: count, unique: count, duplicates: 0, foreign: 0 },
      tenant,
    );
    assert.deepEqual([...streams], [[BigInt(i + 1), count]], `${tenant} has seen only its own packets`);
  });
  // Or nothing was put to the test.
  const installed = after.flowsInstalled - before.flowsInstalled;
  const deleted = after.flowsDeleted - before.flowsDeleted;
  assert.ok(installed >= 2 * Math.min(count, TUPLES), `only ${installed} flows were installed`);
  assert.ok(deleted > installed / 2, `only ${deleted} of ${installed} flows were deleted`);
  assert.ok(after.flows < 12 * RATE, `${after.flows} flows have gathered`);
});
