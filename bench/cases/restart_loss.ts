/**
 * What agents' comings and goings cost established flows: both hosts' agents are killed and restarted, upgraded to a build with another layout of
 * flows and tables, and downgraded again, under echo requests every millisecond.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  awaitConvergence,
  type HostPlan,
  killAgent,
  makeOtherBuild,
  replaceAgent,
  requireHost,
  requireVm,
  restartAgent,
  startProbe,
} from '@weft/lab';
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { onCleanup } from '../harness/cleanup.ts';
import { require } from '../harness/errors.ts';
import { sleep } from '../harness/exec.ts';
import type { BenchLab } from '../harness/labs.ts';
import { proveOnWire } from '../harness/proof.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { sampleOf } from '../harness/statistics.ts';

const INTERVAL_MS = 1;
const HOSTS = ['h1', 'h2'];
/** Before and after what is done to the agents. */
const AROUND_MS = 500;

async function run(context: BenchContext): Promise<BenchResult[]> {
  const rounds = context.quick ? 1 : 5;
  const lab = await context.labs.get('first-packet', 'vxlan');
  const path = lab.path('vm-a', 'vm-b');
  await proveOnWire(path);
  const directory = await mkdtemp(join(tmpdir(), 'weft-bench-build-'));
  const forget = onCleanup(directory, () => rm(directory, { recursive: true, force: true }));
  try {
    const other = await makeOtherBuild(directory);
    const { plan } = lab.lab;
    const ways: Record<string, (host: HostPlan) => Promise<void>> = {
      restart: async (host) => {
        await killAgent(lab.lab, host);
        await restartAgent(lab.lab, host);
      },
      upgrade: (host) => replaceAgent(lab.lab, host, other),
      downgrade: (host) => replaceAgent(lab.lab, host),
    };
    const from = requireVm(lab.lab, 'vm-a');
    const first = await startProbe(from, path.server.address, INTERVAL_MS);
    await sleep(AROUND_MS);
    await first.stop();
    const lost: number[] = [];
    const also: Record<string, number> = {};
    let sent = 0;
    for (let round = 0; round < rounds; round++) {
      for (const [name, replace] of Object.entries(ways)) {
        const before = await layouts(lab);
        const probe = await startProbe(from, path.server.address, INTERVAL_MS);
        await sleep(AROUND_MS);
        for (const host of HOSTS) await replace(requireHost(plan, host));
        await awaitConvergence(lab.lab.api);
        await sleep(AROUND_MS);
        const report = await probe.stop();
        require(report.sent > (2 * AROUND_MS) / INTERVAL_MS / 2, () =>
          `${report.sent} probes are too few: nothing was seen`);
        const changed = (await layouts(lab)) !== before;
        require(changed === (name !== 'restart'), () =>
          `${name}: the tables' layout ${changed ? 'changed' : 'did not change'}`);
        lost.push(report.lost);
        also[`${name}_lost`] = (also[`${name}_lost`] ?? 0) + report.lost;
        sent += report.sent;
      }
      context.note(`round ${round + 1}: ${lost.slice(-Object.keys(ways).length).join(', ')} lost`);
    }
    const total = lost.reduce((sum, n) => sum + n, 0);
    return [
      figure(
        { id: 'restart_loss', unit: 'packets', target: { atMost: 0 } },
        { ...sampleOf(lost), median: total },
        {
          conditions: {
            encap: 'vxlan',
            interval_ms: INTERVAL_MS,
            rounds,
            statistic: 'packets lost in all, over restarts by kill -9, upgrades and downgrades of both hosts’ agents',
          },
          also: { ...also, sent },
        },
      ),
    ];
  } finally {
    await forget();
  }
}

/** Names of the layouts that the hosts' tables have, in words. */
async function layouts(lab: BenchLab): Promise<string> {
  return (await Promise.all(HOSTS.map((host) => lab.layout(host)))).join();
}

export default {
  id: 'restart_loss',
  what: 'packets of established flows lost while agents are restarted, upgraded and downgraded',
  needsRoot: true,
  run,
} satisfies BenchCase;
