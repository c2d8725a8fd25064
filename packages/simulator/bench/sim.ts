/**
 * The simulator alone: ns per packet. `node packages/simulator/bench/sim.ts [--json]`.
 * sim_l2: one bridge, known MAC. sim_l3: bridge, router, bridge. sim_chain20: as sim_l3, with 20 L4 rules of which the last
 * matches. Each iteration takes the next of 64 packets with other ports, so that nothing is the same twice in a row.
 */
import { tcpFrame } from '@weft/packet';
import { bench, run } from 'mitata';
import { VERDICT_FORWARD } from '../src/contract.ts';
import { LEFT_MAC, MAC_A, MAC_B, routed } from '../src/testing/networks.ts';
import { Workbench } from '../src/testing/workbench.ts';

const PACKETS = 64;

function prepare(ethDst: string, rules: Record<string, unknown>[], sameBridge: boolean): () => number {
  const net = routed();
  if (rules.length > 0) net.world.patch('Router', net.router, { inboundFilterId: net.world.chain(rules) });
  if (sameBridge) {
    const port = net.world.put('Port', {
      bridgeId: net.leftBridge,
      hostId: net.world.get('Port', net.a)!.hostId,
      interfaceName: 'other',
    });
    net.world.entry(`mac/${net.leftBridge}`, MAC_B, port);
  }
  const workbench = new Workbench(net.world);
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
    simulator.simulate(inputs[next++ & (PACKETS - 1)], out);
    return out.outputCount;
  };
}

const rules = Array.from({ length: 20 }, (_, i) => ({
  type: i === 19 ? 'accept' : 'drop',
  nwProto: 6,
  tpDst: i === 19 ? { start: 443, end: 443 } : { start: 1000 + i, end: 1000 + i },
}));

bench('sim_l2', prepare(MAC_B, [], true));
bench('sim_l3', prepare(LEFT_MAC, [], false));
bench('sim_chain20', prepare(LEFT_MAC, rules, false));

const json = process.argv.includes('--json');
const { benchmarks } = await run(json ? { format: 'quiet' } : {});
if (json) {
  const results = benchmarks.map((b) => ({ id: b.alias, value: Math.round(b.runs[0].stats!.avg), unit: 'ns' }));
  console.log(JSON.stringify({ results }));
}
