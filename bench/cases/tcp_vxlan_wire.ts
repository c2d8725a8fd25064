import { throughputCase } from '../harness/throughput.ts';

export default throughputCase({ id: 'tcp_vxlan_wire', encap: 'vxlan', superPackets: false, leastRatio: 1 });
