/** `userspace_tcp`: one TCP stream between two VMs on two hosts by the `userspace` driver; Open vSwitch's in turns with it. */
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { samplesOf, takeTurns } from '../harness/interleave.ts';
import { type Throughput, tcpThroughput } from '../harness/iperf.ts';
import type { BenchLab } from '../harness/labs.ts';
import { createOpenvSwitch, type OpenvSwitch, openvSwitchVersion } from '../harness/openvswitch.ts';
import {
  CONGESTION_CONTROL,
  mtuOf,
  type NetworkPath,
  offloadsOf,
  setSuperPackets,
  useCubic,
} from '../harness/paths.ts';
import { proveCrossing, proveOnWire } from '../harness/proof.ts';
import { type BenchResult, judge } from '../harness/result.ts';
import { round } from '../harness/statistics.ts';

/** Upcalls that a long transfer may cause at either host: its first packets and the VMs' neighbour discovery. */
const MOST_UPCALLS = 100;

async function run(context: BenchContext): Promise<BenchResult[]> {
  const rounds = context.quick ? 1 : 7;
  const seconds = context.quick ? 1 : 3;
  const lab = await context.labs.get('throughput', 'vxlan', 'userspace');
  const weft: NetworkPath = { ...lab.path('vm-a', 'vm-b'), name: 'weft, userspace driver' };
  const version = await openvSwitchVersion();
  const peers: OpenvSwitch[] = [];
  if (version === undefined)
    context.note('without a peer: Open vSwitch is not installed (Debian: apt-get install openvswitch-switch)');
  else {
    const vmMtu = await mtuOf(weft.client);
    for (const kind of ['af_packet', 'af_xdp'] as const) peers.push(await createOpenvSwitch(vmMtu, kind));
  }
  const paths = [weft, ...peers.map(({ path }) => path)];
  for (const path of paths) {
    // Neither of them hands super-packets to an underlay: both send what goes over the wire.
    setSuperPackets(path, false);
    await useCubic(path);
    await proveOnWire(path);
  }
  const upcallsBefore = await upcalls(lab);
  const taken = await takeTurns(
    paths.map((path) => ({
      name: path.name,
      async measure() {
        const result = await tcpThroughput(path, { seconds, alone: false });
        proveCrossing(path, result, false);
        context.note(`${path.name}: ${result.gbps.toFixed(2)} Gbit/s`);
        return result;
      },
    })),
    rounds,
  );
  const caused = (await upcalls(lab)) - upcallsBefore;
  require(caused <= MOST_UPCALLS * rounds, () =>
    `${caused} packets went up to the simulator: not the flow table's path`);
  for (const peer of peers)
    require((await peer.tunnelFlows()) > 0, () => `"${peer.path.name}" has no flow into its tunnel`);
  return [await row(taken, weft, peers, { seconds, rounds, version })];
}

async function row(
  taken: ReadonlyMap<string, readonly Throughput[]>,
  weft: NetworkPath,
  peers: readonly OpenvSwitch[],
  { seconds, rounds, version }: { seconds: number; rounds: number; version: string | undefined },
): Promise<BenchResult> {
  const samples = samplesOf(taken, ({ gbps }) => gbps);
  const own = samples.get(weft.name)!;
  const others = peers.map(({ path }) => ({ name: path.name, ...samples.get(path.name)! }));
  // The peer is what OVN sets up (ports of type system: AF_PACKET). AF_XDP is there for who asks for it port by port.
  const [peer, xdp] = others;
  const ratio = peer === undefined ? null : own.median / peer.median;
  const paths = [weft, ...peers.map(({ path }) => path)];
  return {
    id: 'userspace_tcp',
    value: round(own.median),
    unit: 'Gbit/s',
    peer: peer?.name ?? null,
    peer_value: peer === undefined ? null : round(peer.median),
    ratio: ratio === null ? null : round(ratio),
    runs: rounds,
    samples: Object.fromEntries([...samples].map(([name, { values }]) => [name, values.map(round)])),
    conditions: {
      encap: 'vxlan',
      vm_mtu: await mtuOf(weft.client),
      underlay_mtu: 1500,
      seconds,
      cpus: 'where the scheduler puts them',
      congestion_control: CONGESTION_CONTROL,
      offloads: Object.fromEntries(paths.map((path) => [path.name, offloadsOf(path)])),
      peer:
        version === undefined
          ? 'Open vSwitch is not installed'
          : `Open vSwitch ${version}, datapath_type=netdev, tunnel address on a bridge that holds its one underlay link; VMs without ` +
            'tx and tso: it completes no checksums of what goes into a tunnel; AF_XDP in generic mode (afxdp-nonpmd)',
    },
    also: Object.fromEntries([
      ['mean_frame', meanFrame(taken.get(weft.name)!)],
      ['retransmits', retransmits(taken.get(weft.name)!)],
      ...(xdp === undefined
        ? []
        : [
            [xdp.name, round(xdp.median)],
            ['ratio_to_af_xdp', round(own.median / xdp.median)],
          ]),
    ]),
    target: ratio === null ? null : judge({ ratio: 1 }, 'Gbit/s', own.median, ratio),
  };
}

async function upcalls(lab: BenchLab): Promise<number> {
  const [from, to] = [await lab.status('h1'), await lab.status('h2')];
  return from.upcalls + to.upcalls;
}

/** Mean size of what left the client's host, bytes. */
function meanFrame(results: readonly Throughput[]): number {
  const bytes = results.reduce((sum, { wire }) => sum + wire.bytes, 0);
  return Math.round(bytes / results.reduce((sum, { wire }) => sum + wire.packets, 0));
}

function retransmits(results: readonly Throughput[]): number {
  return results.reduce((sum, result) => sum + result.retransmits, 0);
}

export default {
  id: 'userspace_tcp',
  what: "TCP throughput between two VMs across hosts on the userspace driver, against Open vSwitch's datapath in user space",
  needsRoot: true,
  run,
} satisfies BenchCase;
