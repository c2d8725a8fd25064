/** `tcp_*`: one TCP stream between two VMs on two hosts; Weft, the kernel's overlay and the bare underlay in turns. */
import { cpus } from 'node:os';
import type { BenchCase, BenchContext } from './case.ts';
import { samplesOf, takeTurns } from './interleave.ts';
import { tcpThroughput } from './iperf.ts';
import type { Encapsulation } from './labs.ts';
import { mtuOf, offloadsOf, setSuperPackets } from './paths.ts';
import { proveCrossing, proveOnWire } from './proof.ts';
import { type BenchResult, judge } from './result.ts';
import { round } from './statistics.ts';

export interface ThroughputFigure {
  readonly id: string;
  readonly encap: Encapsulation;
  /** Super-packets end to end, or segments of wire size on the underlay. */
  readonly superPackets: boolean;
  readonly leastRatio: number;
}

export function throughputCase(figure: ThroughputFigure): BenchCase {
  const frames = figure.superPackets ? 'super-packets end to end' : 'segments of wire size';
  return {
    id: figure.id,
    what: `TCP throughput between two VMs across hosts over ${figure.encap}, ${frames}`,
    needsRoot: true,
    run: (context) => measure(figure, context),
  };
}

async function measure(figure: ThroughputFigure, context: BenchContext): Promise<BenchResult[]> {
  const { superPackets, encap } = figure;
  const rounds = context.quick ? 1 : 7;
  const seconds = context.quick ? 1 : 3;
  const peer = await context.kernelOverlay();
  const weft = (await context.labs.get('throughput', encap)).path('vm-a', 'vm-b');
  const paths = [weft, peer.overlay, peer.bare];
  for (const path of paths) {
    setSuperPackets(path, superPackets);
    await proveOnWire(path);
  }
  const conditions = {
    vm_mtu: await mtuOf(weft.client),
    peer_vm_mtu: await mtuOf(peer.overlay.client),
    underlay_mtu: 1500,
    seconds,
    offloads: Object.fromEntries(paths.map((path) => [path.name, offloadsOf(path)])),
  };
  const taken = await takeTurns(
    paths.map((path) => ({
      name: path.name,
      async measure() {
        const result = await tcpThroughput(path, seconds, cpus().length);
        proveCrossing(path, result, superPackets);
        context.note(`${path.name}: ${result.gbps.toFixed(2)} Gbit/s`);
        return result;
      },
    })),
    rounds,
  );
  for (const path of paths) setSuperPackets(path, true);
  const samples = samplesOf(taken, ({ gbps }) => gbps);
  const own = samples.get(weft.name)!;
  const other = samples.get(peer.overlay.name)!;
  const bare = samples.get(peer.bare.name)!;
  const ratio = own.median / other.median;
  return [
    {
      id: figure.id,
      value: round(own.median),
      unit: 'Gbit/s',
      peer: peer.overlay.name,
      peer_value: round(other.median),
      ratio: round(ratio),
      runs: rounds,
      samples: Object.fromEntries([...samples].map(([name, { values }]) => [name, values])),
      conditions,
      also: {
        underlay: round(bare.median),
        ratio_to_underlay: round(own.median / bare.median),
        peer_ratio_to_underlay: round(other.median / bare.median),
        mean_frame_on_wire: Math.round(meanFrame(taken.get(weft.name)!)),
        peer_mean_frame_on_wire: Math.round(meanFrame(taken.get(peer.overlay.name)!)),
        retransmits: taken.get(weft.name)!.reduce((sum, { retransmits }) => sum + retransmits, 0),
        peer_retransmits: taken.get(peer.overlay.name)!.reduce((sum, { retransmits }) => sum + retransmits, 0),
      },
      target: judge({ ratio: figure.leastRatio }, 'Gbit/s', own.median, ratio),
    },
  ];
}

function meanFrame(
  results: readonly { readonly wire: { readonly bytes: number; readonly packets: number } }[],
): number {
  const sum = results.reduce(
    (total, { wire }) => ({ bytes: total.bytes + wire.bytes, packets: total.packets + wire.packets }),
    { bytes: 0, packets: 0 },
  );
  return sum.bytes / sum.packets;
}
