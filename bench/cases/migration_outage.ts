/**
 * How long a VM hears and says nothing when it moves: another one sends to it each millisecond, and the longest time between two answers around
 * each move counts. Each move is prepared and switched; the guest turns to its other interface as soon as the API has answered.
 */
import { awaitConvergence, MovingVm, requireHost, requireVm, startServer, startTalk } from '@weft/lab';
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { sleep, waitUntil } from '../harness/exec.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { percentile, sampleOf } from '../harness/statistics.ts';

const PORT = 9_000;
const PROBE_MS = 1;
const LEAST_ANSWERS = 100;
const WARM_MS = 20_000;
/** Before and after a move: what goes on without one. */
const AROUND_MS = 300;

async function run(context: BenchContext): Promise<BenchResult[]> {
  const moves = context.quick ? 3 : 21;
  const { lab } = await context.labs.get('migration', 'vxlan');
  const [mover, peer] = ['mover', 'peer'].map((name) => requireVm(lab, name));
  const [address] = mover.addresses;
  const server = await startServer(mover, address, PORT);
  const moving = new MovingVm(lab, mover);
  const outages: number[] = [];
  const quiet: number[] = [];
  const listen = async (go: () => Promise<void>): Promise<number> => {
    const options = { intervalMs: PROBE_MS, patienceMs: 5_000 };
    const probes = await startTalk({ from: peer, address, port: PORT, protocol: 'udp', options });
    await sleep(AROUND_MS);
    await go();
    await sleep(AROUND_MS);
    const { answered, longestGapMs, wrong } = await probes.stop();
    // A busy machine sends fewer; what that does to the figure, the same without a move shows.
    require(answered >= LEAST_ANSWERS && wrong === 0, () => `${answered} probes answered, ${wrong} wrongly`);
    return longestGapMs;
  };
  try {
    // What both hosts fetch for their first packets.
    const first = await startTalk({ from: peer, address, port: PORT, protocol: 'udp', options: { intervalMs: 10 } });
    const answered = await waitUntil(async () => first.answers() >= LEAST_ANSWERS, WARM_MS);
    await first.stop();
    require(answered, () => `${mover.name} does not answer ${peer.name}`);
    for (let i = 0; i <= moves; i++) {
      quiet.push(await listen(() => Promise.resolve()));
      const host = requireHost(lab.plan, i % 2 === 0 ? 'h2' : 'h1');
      const outage = await listen(async () => {
        await moving.move(host);
        await awaitConvergence(lab.api);
      });
      await moving.done();
      await awaitConvergence(lab.api);
      // The first one compiles code and fetches topology that the next ones find.
      if (i > 0) outages.push(outage);
      context.note(`move ${i} to ${host.name}: ${outage} ms`);
    }
  } finally {
    await moving.goHome();
    await server.stop();
  }
  return [
    figure({ id: 'migration_outage', unit: 'ms', target: { atMost: 100 } }, sampleOf(outages), {
      conditions: {
        encap: 'vxlan',
        hosts: 3,
        probe_ms: PROBE_MS,
        moves,
        statistic: 'p50 of the longest time between two answers around a move',
      },
      also: {
        p90: percentile(outages, 0.9),
        most: Math.max(...outages),
        without_a_move_p50: percentile(quiet, 0.5),
        without_a_move_most: Math.max(...quiet),
      },
    }),
  ];
}

export default {
  id: 'migration_outage',
  what: 'longest time without answers of a VM that moves to another host, with a probe each millisecond',
  needsRoot: true,
  run,
} satisfies BenchCase;
