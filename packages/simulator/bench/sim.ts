/**
 * The simulator alone: ns per packet. `node packages/simulator/bench/sim.ts [--json]`.
 * sim_l2: one bridge, known MAC. sim_l3: bridge, router, bridge. sim_chain20: as sim_l3, with 20 L4 rules of which the last
 * matches; …_recorded: the same with a recorder. chain_1k: as sim_l3, with 1,000 rules of which the last matches; each looks at protocol, ports and one of ten address
 * groups with 10,000 addresses and 100 prefixes of 8 lengths, every fifth at a port group. sim_ct_hit: bridge, router that asks for the
 * direction of a known connection, out; sim_snat_hit: the same, of a known translation. Each iteration takes the next of 64 packets with other ports, so that nothing is the same twice in a row.
 */
import { tcpFrame } from '@weft/packet';
import { bench, run } from 'mitata';
import { VERDICT_FORWARD } from '../src/contract.ts';
import { StepRecorder } from '../src/explain/step-recorder.ts';
import { Edge } from '../src/testing/edge.ts';
import { LEFT_MAC, MAC_A, MAC_B, type RoutedNetwork, routed } from '../src/testing/networks.ts';
import { Workbench } from '../src/testing/workbench.ts';

const PACKETS = 64;

type Rules = Record<string, unknown>[] | ((net: RoutedNetwork) => Record<string, unknown>[]);

function prepare(ethDst: string, given: Rules, sameBridge: boolean, recorder?: StepRecorder): () => number {
  const net = routed();
  const rules = Array.isArray(given) ? given : given(net);
  if (rules.length > 0) net.world.patch('Router', net.router, { inboundFilterId: net.world.chain(rules) });
  if (sameBridge) {
    const port = net.world.put('Port', {
      bridgeId: net.leftBridge,
      hostId: net.world.get('Port', net.a)!.hostId,
      interfaceName: 'other',
    });
    net.world.entry(`mac/${net.leftBridge}`, MAC_B, port);
  }
  const workbench = new Workbench(net.world, recorder);
  const { simulator, out } = workbench;
  const inputs = Array.from({ length: PACKETS }, (_, i) =>
    workbench.input(
      tcpFrame({ ethSrc: MAC_A, ethDst, src: '10.0.1.10', dst: '10.0.2.10', srcPort: 10_000 + i * 7, dstPort: 443 }),
      net.a,
    ),
  );
  if (workbench.run(inputs[0]).verdict !== VERDICT_FORWARD || !out.cacheable) throw new Error(workbench.describe());
  let next = 0;
  return () => {
    recorder?.clear();
    simulator.simulate(inputs[next++ & (PACKETS - 1)], out);
    return out.outputCount;
  };
}

const rules = Array.from({ length: 20 }, (_, i) => ({
  type: i === 19 ? 'accept' : 'drop',
  nwProto: 6,
  tpDst: i === 19 ? { start: 443, end: 443 } : { start: 1000 + i, end: 1000 + i },
}));

/** Ten groups in which neither end of the connection is, but of whose prefix lengths all are tried. */
function largeGroups({ world }: RoutedNetwork): string[] {
  return Array.from({ length: 10 }, (_, g) => {
    const group = world.put('IpAddrGroup', { name: `g${g}` });
    for (let i = 0; i < 10_000; i++) world.entry(`addresses/${group}`, `10.${100 + g}.${i >> 8}.${i & 0xff}`, '');
    for (let i = 0; i < 100; i++) world.entry(`addresses/${group}`, `172.16.${i}.0/${24 + (i % 8)}`, '');
    return group;
  });
}

function thousandRules(net: RoutedNetwork): Record<string, unknown>[] {
  const groups = largeGroups(net);
  const portGroup = net.world.put('PortGroup', {});
  return Array.from({ length: 1000 }, (_, i) => {
    if (i === 999) return { type: 'accept', nwProto: 6, tpDst: { start: 443, end: 443 } };
    const field = i % 2 === 0 ? 'ipAddrGroupSrc' : 'ipAddrGroupDst';
    // Most rules of such a chain would let somebody in; inverted groups make every test of them hold but the last.
    const group =
      i % 3 === 0
        ? { [field]: groups[i % 10], [`inv${field[0].toUpperCase()}${field.slice(1)}`]: true }
        : { [field]: groups[i % 10] };
    const ports = i % 5 === 0 ? { inPortGroup: portGroup, invInPortGroup: true } : {};
    return { type: 'drop', nwProto: 6, tpDst: { start: 1000 + i, end: 1000 + i }, ...group, ...ports };
  });
}

/** Packets of known connections from A to the outside. */
function known(rules: (net: Edge) => Parameters<Edge['rules']>[0]): () => number {
  const net = new Edge();
  net.rules(rules(net));
  const { simulator, out } = net.bench;
  const inputs = Array.from({ length: PACKETS }, (_, i) => {
    const frame = tcpFrame({ ...net.fromA, dst: '198.51.100.7', srcPort: 10_000 + i * 7, dstPort: 443 });
    if (net.send(frame, net.a).records.length !== 1) throw new Error('it begins no connection');
    return net.bench.input(frame, net.a);
  });
  if (net.bench.run(inputs[0]).stateCount !== 1 || !out.cacheable) throw new Error(net.bench.describe());
  let next = 0;
  return () => {
    simulator.simulate(inputs[next++ & (PACKETS - 1)], out);
    return out.stateCount;
  };
}

bench('sim_l2', prepare(MAC_B, [], true));
bench('sim_l3', prepare(LEFT_MAC, [], false));
bench('sim_chain20', prepare(LEFT_MAC, rules, false));
bench('sim_chain20_recorded', prepare(LEFT_MAC, rules, false, new StepRecorder()));
bench('chain_1k', prepare(LEFT_MAC, thousandRules, false));
bench(
  'sim_ct_hit',
  known(() => ({
    in: [
      { type: 'accept', matchReturnFlow: true },
      { type: 'accept', matchForwardFlow: true },
    ],
  })),
);
bench(
  'sim_snat_hit',
  known((net) => ({
    out: [
      {
        type: 'snat',
        outPorts: [net.exit],
        natTargets: [{ addressFrom: '192.0.2.9', portFrom: 1024, portTo: 65_535 }],
      },
    ],
  })),
);

const json = process.argv.includes('--json');
const { benchmarks } = await run(json ? { format: 'quiet' } : {});
if (json) {
  const results = benchmarks.map((b) => ({ id: b.alias, value: Math.round(b.runs[0].stats!.avg), unit: 'ns' }));
  console.log(JSON.stringify({ results }));
}
