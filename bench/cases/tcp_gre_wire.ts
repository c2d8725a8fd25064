import { throughputCase } from '../harness/throughput.ts';

export default throughputCase({ id: 'tcp_gre_wire', encap: 'gre', superPackets: false, leastRatio: 1 });
