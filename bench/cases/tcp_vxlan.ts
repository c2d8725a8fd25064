import { throughputCase } from '../harness/throughput.ts';

export default throughputCase({ id: 'tcp_vxlan', encap: 'vxlan', superPackets: true, leastRatio: 1.15 });
