/** `tcp_*`: one TCP stream between two VMs on two hosts; Weft, the kernel's overlay and the bare underlay in turns. */
import type { BenchCase, BenchContext } from './case.ts';
import { require } from './errors.ts';
import { samplesOf, takeTurns } from './interleave.ts';
import { type Throughput, tcpThroughput } from './iperf.ts';
import type { BenchLab, Encapsulation } from './labs.ts';
import {
  CONGESTION_CONTROL,
  mtuOf,
  type NetworkPath,
  offloadsOf,
  setReceiveMerging,
  setSuperPackets,
  useCubic,
} from './paths.ts';
import { proveCrossing, proveOnWire } from './proof.ts';
import { type BenchResult, judge, type Sample } from './result.ts';
import { pairedRatio, round } from './statistics.ts';

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

interface Series {
  readonly taken: ReadonlyMap<string, readonly Throughput[]>;
  readonly own: Sample;
  readonly peer: Sample;
  readonly bare: Sample;
}

/** Upcalls that a long transfer may cause at either host: its first packets and the VMs' neighbour discovery. */
const MOST_UPCALLS = 100;

async function measure(figure: ThroughputFigure, context: BenchContext): Promise<BenchResult[]> {
  const { superPackets, encap } = figure;
  const rounds = context.quick ? 1 : 7;
  const seconds = context.quick ? 1 : 2;
  const kernel = await context.kernelOverlay();
  const lab = await context.labs.get('throughput', encap);
  const weft = lab.path('vm-a', 'vm-b');
  const paths = [weft, kernel.overlay, kernel.bare];
  const series = async (): Promise<Series> => {
    const contestants = paths.map((path) => ({
      name: path.name,
      async measure() {
        const result = await tcpThroughput(path, { seconds, alone: true });
        proveCrossing(path, result, superPackets);
        context.note(`${path.name}: ${result.gbps.toFixed(2)} Gbit/s`);
        return result;
      },
    }));
    const before = await upcalls(lab);
    const taken = await takeTurns(contestants, rounds);
    const caused = (await upcalls(lab)) - before;
    require(caused <= MOST_UPCALLS * rounds, () =>
      `${caused} packets went through user space: not the kernel's path was measured`);
    const samples = samplesOf(taken, ({ gbps }) => gbps);
    const of = (path: NetworkPath) => samples.get(path.name)!;
    return { taken, own: of(weft), peer: of(kernel.overlay), bare: of(kernel.bare) };
  };
  try {
    for (const path of paths) {
      setSuperPackets(path, superPackets);
      // As network cards receive, and as the agent sets a veth that is its underlay.
      setReceiveMerging(path, true);
      await useCubic(path);
      await proveOnWire(path);
    }
    const conditions = {
      vm_mtu: await mtuOf(weft.client),
      peer_vm_mtu: await mtuOf(kernel.overlay.client),
      underlay_mtu: 1500,
      seconds,
      cpus: 'client 0, server 1, both SCHED_FIFO',
      congestion_control: CONGESTION_CONTROL,
      offloads: Object.fromEntries(paths.map((path) => [path.name, offloadsOf(path)])),
    };
    const main = await series();
    const ratio = main.own.median / main.peer.median;
    const also: Record<string, number> = {
      ratio_paired: round(pairedRatio(main.own.values, main.peer.values)),
      underlay: round(main.bare.median),
      ratio_to_underlay: round(main.own.median / main.bare.median),
      peer_ratio_to_underlay: round(main.peer.median / main.bare.median),
      mean_frame: meanFrame(main.taken.get(weft.name)!),
      peer_mean_frame: meanFrame(main.taken.get(kernel.overlay.name)!),
      retransmits: retransmits(main.taken.get(weft.name)!),
      peer_retransmits: retransmits(main.taken.get(kernel.overlay.name)!),
    };
    if (!superPackets) {
      for (const path of paths) setReceiveMerging(path, false);
      const unmerged = await series();
      also.without_gro = round(unmerged.own.median);
      also.peer_without_gro = round(unmerged.peer.median);
      also.ratio_without_gro = round(unmerged.own.median / unmerged.peer.median);
      also.ratio_to_underlay_without_gro = round(unmerged.own.median / unmerged.bare.median);
    }
    const samples = { [weft.name]: main.own, [kernel.overlay.name]: main.peer, [kernel.bare.name]: main.bare };
    return [
      {
        id: figure.id,
        value: round(main.own.median),
        unit: 'Gbit/s',
        peer: kernel.overlay.name,
        peer_value: round(main.peer.median),
        ratio: round(ratio),
        runs: rounds,
        samples: Object.fromEntries(Object.entries(samples).map(([name, { values }]) => [name, values.map(round)])),
        conditions,
        also,
        target: judge({ ratio: figure.leastRatio }, 'Gbit/s', main.own.median, ratio),
      },
    ];
  } finally {
    for (const path of paths) {
      setSuperPackets(path, true);
      setReceiveMerging(path, true);
    }
  }
}

async function upcalls(lab: BenchLab): Promise<number> {
  const [from, to] = [await lab.status('h1'), await lab.status('h2')];
  return from.upcalls + to.upcalls;
}

/** Mean size of what left the client's host, bytes. */
function meanFrame(results: readonly Throughput[]): number {
  const sum = (pick: (wire: Throughput['wire']) => number) =>
    results.reduce((total, { wire }) => total + pick(wire), 0);
  return Math.round(sum(({ bytes }) => bytes) / sum(({ packets }) => packets));
}

function retransmits(results: readonly Throughput[]): number {
  return results.reduce((sum, result) => sum + result.retransmits, 0);
}
