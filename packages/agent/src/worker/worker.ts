/** The packet worker's thread. While the kernel verifies the programs, what is to work with them is loaded. */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { openDatapath } from '@weft/datapath';
import type { WorkerData } from './protocol.ts';

const data = workerData as WorkerData;
const { config } = data;
const [datapath, { runPacketLoop }] = await Promise.all([
  openDatapath(config.datapath, {
    instance: config.instance,
    encap: config.encap,
    vxlanPort: config.vxlanPort,
    maxFlows: config.limits.maxFlows,
    stateDir: config.datapath === 'ebpf' ? config.bpffs : config.runDir,
  }),
  import('./packet-loop.ts'),
]);
runPacketLoop(data, parentPort as MessagePort, datapath);
