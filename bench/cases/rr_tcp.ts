/** Request and response over one TCP stream, one byte each way: what the path costs in time, not in bytes. */
import { cpus } from 'node:os';
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { background, inNamespace, runJson } from '../harness/exec.ts';
import { samplesOf, takeTurns } from '../harness/interleave.ts';
import { mtuOf, type NetworkPath, offloadsOf, uplinkCounters } from '../harness/paths.ts';
import { proveOnWire } from '../harness/proof.ts';
import { type BenchResult, judge } from '../harness/result.ts';
import { pairedRatio, round } from '../harness/statistics.ts';
import { tool } from '../harness/tools.ts';

interface RoundTrips {
  readonly transactions: number;
  readonly rate: number;
  readonly p50_ns: number;
  readonly p99_ns: number;
}

const PORT = 5202;

/** Both ends on one CPU: no wake-up of another CPU, whose cost dwarfs the path's and is the same for all. */
const CPU = cpus().length > 1 ? 1 : 0;

async function roundTrips(path: NetworkPath, ms: number): Promise<RoundTrips> {
  const rr = await tool('rr');
  const where = ['--address', path.server.address, '--port', `${PORT}`, '--cpu', `${CPU}`];
  const server = background(inNamespace(path.server.namespace, [rr, 'server', ...where]));
  try {
    await server.waitFor('listening');
    const before = await uplinkCounters(path.clientHost);
    const result = await runJson<RoundTrips>(
      inNamespace(path.client.namespace, [rr, 'client', ...where, '--ms', `${ms}`]),
      ms + 30_000,
    );
    const after = await uplinkCounters(path.clientHost);
    const [sent, received] = [after.txPackets - before.txPackets, after.rxPackets - before.rxPackets];
    require(sent >= result.transactions && received >= result.transactions, () =>
      `"${path.name}": ${result.transactions} transactions, but ${sent} packets left the host and ${received} came`);
    return result;
  } finally {
    await server.stop();
  }
}

async function run(context: BenchContext): Promise<BenchResult[]> {
  const rounds = context.quick ? 1 : 21;
  const ms = context.quick ? 1000 : 700;
  const peer = await context.kernelOverlay();
  const weft = (await context.labs.get('throughput', 'vxlan')).path('vm-a', 'vm-b');
  const paths = [weft, peer.overlay, peer.bare];
  for (const path of paths) await proveOnWire(path);
  const taken = await takeTurns(
    paths.map((path) => ({
      name: path.name,
      async measure() {
        const result = await roundTrips(path, ms);
        context.note(
          `${path.name}: ${Math.round(result.rate)}/s, p50 ${result.p50_ns / 1000} µs, p99 ${result.p99_ns / 1000} µs`,
        );
        return result;
      },
    })),
    rounds,
  );
  const conditions = {
    encap: 'vxlan',
    vm_mtu: await mtuOf(weft.client),
    peer_vm_mtu: await mtuOf(peer.overlay.client),
    bytes_each_way: 1,
    cpu: CPU,
    ms,
    offloads: Object.fromEntries(paths.map((path) => [path.name, offloadsOf(path)])),
  };
  const row = (id: string, unit: string, pick: (value: RoundTrips) => number, leastRatio?: number): BenchResult => {
    const samples = samplesOf(taken, pick);
    const [mine, theirs] = [samples.get(weft.name)!, samples.get(peer.overlay.name)!];
    const [own, other] = [mine.median, theirs.median];
    const bare = samples.get(peer.bare.name)!.median;
    return {
      id,
      value: round(own),
      unit,
      peer: peer.overlay.name,
      peer_value: round(other),
      ratio: round(own / other),
      runs: rounds,
      samples: Object.fromEntries([...samples].map(([name, { values }]) => [name, values])),
      conditions,
      also: {
        ratio_paired: round(pairedRatio(mine.values, theirs.values)),
        underlay: round(bare),
        ratio_to_underlay: round(own / bare),
        peer_ratio_to_underlay: round(other / bare),
      },
      target: judge(leastRatio === undefined ? undefined : { ratio: leastRatio }, unit, own, own / other),
    };
  };
  return [
    row('rr_tcp', '1/s', ({ rate }) => rate, 1.3),
    row('rr_tcp_p50', 'µs', ({ p50_ns }) => p50_ns / 1000),
    row('rr_tcp_p99', 'µs', ({ p99_ns }) => p99_ns / 1000),
  ];
}

export default {
  id: 'rr_tcp',
  rows: ['rr_tcp', 'rr_tcp_p50', 'rr_tcp_p99'],
  what: 'request/response rate of one TCP stream between two VMs across hosts (VXLAN)',
  needsRoot: true,
  run,
} satisfies BenchCase;
