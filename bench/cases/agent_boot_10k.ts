/**
 * What an agent's start costs in a large cloud: seconds until it has applied all that its 50 ports need, and resident memory then, with
 * 10,000 ports in the topology and, for comparison, with 1,000. Each start is the first: no snapshot, no pinned maps. One ZooKeeper server.
 */
import { connect } from '@weft/nsdb';
import { startServers } from '@weft/zookeeper/testing';
import { createCloud, hostsOf, PORTS } from '../../packages/agent/src/testing/tenants.ts';
import { createAgentHost } from '../harness/agent-host.ts';
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { onCleanup } from '../harness/cleanup.ts';
import { type BenchResult, figure } from '../harness/result.ts';
import { median, round, sampleOf } from '../harness/statistics.ts';
import { JVM_FLAGS } from '../harness/zookeeper.ts';

const LOCAL = 50;
const LARGE = 250;
const SMALL = 25;

async function run(context: BenchContext): Promise<BenchResult[]> {
  const rounds = context.quick ? 1 : 7;
  const ensemble = await startServers({ jvmFlags: JVM_FLAGS });
  const forget = onCleanup('ZooKeeper', () => ensemble.close());
  const host = await createAgentHost(LOCAL, ensemble.servers[0].port);
  try {
    const clouds = [];
    for (const tenants of [LARGE, SMALL]) {
      const servers = `${ensemble.connectString}/tenants-${tenants}`;
      const nsdb = await connect({ zookeeper: { servers } });
      const { hosts, revision } = await createCloud(nsdb, tenants);
      await nsdb.close();
      clouds.push({
        store: `zookeeper://${servers}`,
        hostId: hosts[0].id,
        revision,
        ms: [] as number[],
        cpu: [] as number[],
        mib: [] as number[],
      });
      context.note(`${tenants * PORTS} ports are there`);
    }
    for (let i = 0; i < rounds; i++) {
      for (const { store, hostId, revision, ms, cpu, mib } of i % 2 === 0 ? clouds : clouds.toReversed()) {
        const boot = await host.boot(store, hostId, revision, LOCAL);
        ms.push(boot.ms);
        cpu.push(boot.cpuMs);
        mib.push(boot.rssMib);
      }
    }
    const [large, small] = clouds;
    const conditions = {
      ports: LARGE * PORTS,
      local_ports: LOCAL,
      hosts: hostsOf(LARGE),
      datapath: 'ebpf',
      store: 'one ZooKeeper server',
      statistic:
        'from the start of the process until it has applied the last revision and all its ports are live; VmRSS 3 s later',
    };
    return [
      figure(
        { id: 'agent_boot_10k', unit: 's', target: { atMost: 2 } },
        sampleOf(large.ms.map((ms) => round(ms / 1_000))),
        {
          conditions,
          also: {
            with_1k_ports: round(median(small.ms) / 1_000),
            cpu: round(median(large.cpu) / 1_000),
            cpu_with_1k_ports: round(median(small.cpu) / 1_000),
          },
        },
      ),
      figure({ id: 'agent_rss_10k', unit: 'MiB' }, sampleOf(large.mib.map(round)), {
        conditions,
        also: { with_1k_ports: round(median(small.mib)) },
      }),
    ];
  } finally {
    await host.down();
    await forget();
  }
}

export default {
  id: 'agent_boot_10k',
  rows: ['agent_boot_10k', 'agent_rss_10k'],
  what: 'start of an agent with 50 of 10,000 ports: time until it has applied all, memory then',
  needsRoot: true,
  run,
} satisfies BenchCase;
