/**
 * How long a change takes to be in force on 100 hosts over one ZooKeeper server: agents with their own sessions, subscriptions and engines in
 * one process, in a cloud of 10,000 ports. A rule comes and goes in a chain that ports of every host pass. Beside it, in turns: 100 bare
 * sessions with one watch each hear of a znode and read it.
 */
import { resolve } from 'node:path';
import { connect } from '@weft/nsdb';
import { ZooKeeper } from '@weft/zookeeper';
import type { AgentsStarted, AllApplied } from '../../packages/agent/bench/simulated-agents.ts';
import { monotonicMs } from '../../packages/agent/src/testing/simulated-agent.ts';
import { createCloud, PORTS } from '../../packages/agent/src/testing/tenants.ts';
import { askedProcess } from '../harness/asked-process.ts';
import type { BenchCase, BenchContext } from '../harness/case.ts';
import { require } from '../harness/errors.ts';
import { sleep } from '../harness/exec.ts';
import { type BenchResult, judge } from '../harness/result.ts';
import { median, percentile, round } from '../harness/statistics.ts';
import { storeOnZookeeper } from '../harness/zookeeper.ts';

const ID = 'zk_change_100';
const MOST = 3;
const PACKAGES = resolve(import.meta.dirname, '../../packages');
const AGENTS = `${PACKAGES}/agent/bench/simulated-agents.ts`;
const SESSIONS = `${PACKAGES}/zookeeper/bench/bare-sessions.ts`;
const PATH = '/bare';

async function run(context: BenchContext): Promise<BenchResult[]> {
  const tenants = context.quick ? 25 : 250;
  const rounds = context.quick ? 10 : 60;
  const store = await storeOnZookeeper(1);
  const agents = askedProcess(AGENTS, ['--expose-gc']);
  const sessions = askedProcess(SESSIONS);
  const zk = await ZooKeeper.connect({ servers: store.servers, sessionTimeout: 10_000 });
  try {
    const nsdb = await connect({ zookeeper: { servers: store.servers } });
    const cloud = await createCloud(nsdb, tenants);
    await nsdb.close();
    context.note(`${tenants * PORTS} ports; ${cloud.hosts.length} agents boot`);
    const zookeeper = { servers: store.servers };
    const started = await agents.ask<AgentsStarted>(
      {
        kind: 'start',
        agents: cloud.hosts.map(({ id, ports }, i) => ({
          hostId: id,
          name: `h${i}`,
          interfaces: ports,
          store: { zookeeper },
        })),
        atATime: 1,
        revision: cloud.revision,
      },
      600_000,
    );
    await zk.create(PATH, '0');
    const start = { kind: 'start', servers: store.servers, path: PATH, count: cloud.hosts.length };
    await sessions.ask(start, 60_000);
    await sleep(5_000); // what agents write when they start has gone round
    const { weft, answers, bare } = { weft: [] as number[], answers: [] as number[], bare: [] as number[] };
    let rule = '';
    for (let i = 0; i < rounds; i++) {
      const asked = monotonicMs();
      if (rule === '') {
        const fields = { type: 'drop', nwProto: 6, position: 1 };
        const { location } = await store.api.post(`/chains/${cloud.shared}/rules`, fields);
        rule = location!.slice(location!.lastIndexOf('/') + 1);
      } else {
        await store.api.delete(`/rules/${rule}`);
        rule = '';
      }
      const answered = monotonicMs();
      const { at, complaints } = await agents.ask<AllApplied>({ kind: 'applied', revision: store.api.revision });
      require(complaints.length === 0, () => `agents complain: ${complaints.join('; ')}`);
      weft.push(Math.max(0, at - answered));
      answers.push(answered - asked);
      await sleep(50 + Math.random() * 50); // no rhythm with whatever is periodic
      const { version } = await zk.setData(PATH, String(i));
      const set = monotonicMs();
      const last = await sessions.ask<{ at: number }>({ kind: 'version', version });
      bare.push(Math.max(0, last.at - set));
      await sleep(50 + Math.random() * 50);
    }
    const ratio = round(median(weft) / median(bare));
    const boot = [...started.bootMs];
    return [
      {
        id: ID,
        value: round(median(weft)),
        unit: 'ms',
        peer: 'bare ZooKeeper sessions',
        peer_value: round(median(bare)),
        ratio,
        runs: weft.length,
        samples: { weft: weft.map(round), 'bare ZooKeeper sessions': bare.map(round) },
        conditions: {
          servers: 1,
          agents: cloud.hosts.length,
          ports: tenants * PORTS,
          bridges: tenants * 4,
          routers: tenants,
          statistic:
            'from the answer of the API until the last of all agents has applied it; peer: from the answer to a setData until the last of as many sessions with a watch has read it',
          datapath: 'tables in memory; all agents in one process, so are all sessions',
        },
        also: {
          p99: round(percentile(weft, 0.99)),
          peer_p99: round(percentile(bare, 0.99)),
          ratio_p99: round(percentile(weft, 0.99) / percentile(bare, 0.99)),
          api_answer_p50: round(median(answers)),
          boot_p50_ms: round(median(boot)),
          boot_p99_ms: round(percentile(boot, 0.99)),
          agent_mib: round((started.rssMib.after - started.rssMib.before) / cloud.hosts.length),
          interests_p50: median(started.interests),
          bytes_at_boot_p50: median(started.bytes),
        },
        target: { ...judge({ atMost: MOST }, '× of the peer', ratio, null)! },
      },
    ];
  } finally {
    await zk.close();
    await agents.close();
    await sessions.close();
    await store.close();
  }
}

export default {
  id: ID,
  what: 'from the answer of the API until 100 agents have applied a change, beside 100 bare ZooKeeper sessions',
  needsRoot: false,
  run,
} satisfies BenchCase;
