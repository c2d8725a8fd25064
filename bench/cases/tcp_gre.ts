import { throughputCase } from '../harness/throughput.ts';

export default throughputCase({ id: 'tcp_gre', encap: 'gre', superPackets: true, leastRatio: 1.15 });
