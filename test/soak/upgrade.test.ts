/**
 * Agents are upgraded to a build with another layout of flows and tables, and downgraded again, under traffic: flows keep their ids and
 * go on counting, no packet is lost. Then the same with agents that are killed at any moment of their start.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  agentRequest,
  awaitConvergence,
  DEFAULT_SCENARIO,
  type HostPlan,
  inNetns,
  ipBatch,
  killAgent,
  type Lab,
  labDown,
  labUp,
  makeOtherBuild,
  openLab,
  type Probe,
  replaceAgent,
  requireHost,
  requireVm,
  restartAgent,
  run,
  startProbe,
} from '@weft/lab';
import { randomFrom, redTwice, SOAK_SECONDS, SOAK_SEED, skip } from './soak.ts';

const NAME = 'soak-upgrade';
/** Echo requests of the probe; its flows are those of a ping that went before. */
const ECHO_ID = 4711;
/** New flows of all kinds: hits, floods, tunnels, both families. */
const CHECKS = [
  'ping-l2-local',
  'ping-l3-remote',
  'ping6-l3-remote',
  'ping-unknown',
  'ping-fragments',
  'tcp-l2-remote',
];
const THIS = [process.execPath, resolve(import.meta.dirname, '../../packages/cli/src/main.ts')];
/** Kills fall into this much of the time that a start takes: some come when the agent has begun to serve. */
const KILLED_WITHIN = 1.3;
/** Once another build's tables are replaced, programs are exchanged and what is left is cleared up within about this time. */
const EXCHANGE_MS = 300;

interface Flow {
  readonly id: number;
  readonly match: string;
  readonly packets: number;
  readonly bytes: number;
}

describe('another layout of flows and tables', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-other-build-'));
  let lab: Lab;
  let hosts: HostPlan[];
  let other: string[];

  before(async () => {
    await labDown(NAME);
    [other, { lab }] = await Promise.all([makeOtherBuild(directory), labUp(DEFAULT_SCENARIO, { name: NAME })]);
    hosts = ['h1', 'h3'].map((name) => requireHost(lab.plan, name));
  });

  after(async () => {
    await labDown(NAME);
    rmSync(directory, { recursive: true });
  });

  const probe = (): Promise<Probe> => startProbe(requireVm(lab, 'blue-a1'), '10.2.0.13', 1, ECHO_ID);

  /** Flows to the probe's ends, others' among them. */
  async function flows(): Promise<Flow[]> {
    const all = await Promise.all(
      hosts.map(async (host) => {
        const { flows } = await agentRequest<{ flows: Flow[] }>(lab.plan, host, 'GET', '/flows?limit=10000');
        return flows.filter(({ match }) => /nw_dst=10\.(1\.0\.11|2\.0\.13)\b/.test(match));
      }),
    );
    return all.flat();
  }

  /**
   * Has the probe's flows made: what their first packets wait for, or lose on a busy machine, is another matter.
   * @returns those that it has used, on the way there and back
   */
  async function establish(): Promise<Flow[]> {
    const before = await flows();
    const first = await probe();
    await sleep(200);
    await first.stop();
    for (const vm of ['blue-a1', 'blue-b3']) await keepNeighbours(requireVm(lab, vm).namespace);
    const used = (await flows()).filter(
      (flow) => flow.packets > (before.find((one) => isSame(one, flow))?.packets ?? 0),
    );
    assert.ok(used.length >= 2, 'a flow for each direction');
    return used;
  }

  /** What has become of flows. */
  async function again(known: readonly Flow[]): Promise<Flow[]> {
    return (await flows()).filter((flow) => known.some((one) => isSame(one, flow)));
  }

  /** Name of the layout that an agent's tables have. */
  function layout(host: HostPlan): string {
    const names = readdirSync(lab.plan.paths.host(host.name).bpffs);
    assert.equal(names.length, 1, `${host.name}: ${names}`);
    return names[0]!;
  }

  /** What the log of an agent says of its last change of layouts. */
  function upgrade(host: HostPlan): { from: string; flows: number; left: number } {
    const lines = readFileSync(lab.plan.paths.host(host.name).log, 'utf8').split('\n');
    const told = lines.filter((line) => line.includes('"datapath.upgraded"')).at(-1);
    assert.ok(told, `${host.name} does not say that it has taken over another layout`);
    return JSON.parse(told) as { from: string; flows: number; left: number };
  }

  test('upgraded and downgraded: no packet lost, and flows keep ids and counters', async (t) => {
    const known = await establish();
    let counted = known;
    const layouts = hosts.map(layout);
    for (const [what, build] of [
      ['upgraded', other],
      ['downgraded', undefined],
    ] as const) {
      const running = await probe();
      await sleep(200);
      for (const host of hosts) await replaceAgent(lab, host, build);
      await awaitConvergence(lab.api);
      await sleep(200);
      const report = await running.stop();
      t.diagnostic(`${what}: ${report.lost} of ${report.sent} packets lost, at most ${report.longestGap} in a row`);
      assert.deepEqual([report.lost, report.alive], [0, true], what);
      assert.ok(report.sent > 500);
      for (const host of hosts) assert.deepEqual(upgrade(host).left, 0, `${host.name} ${what}`);
      const now = await again(known);
      assert.deepEqual(
        now.map(({ id }) => id),
        known.map(({ id }) => id),
        `${what}: all are there`,
      );
      now.forEach((flow, i) => {
        assert.equal(flow.packets - counted[i]!.packets, report.transmitted, `${what}: ${flow.match}`);
      });
      counted = now;
      hosts.forEach((host, i) => {
        if (build) assert.notEqual(layout(host), layouts[i]);
        else assert.equal(layout(host), layouts[i]);
      });
    }
    assert.deepEqual(await redTwice(t, await openLab(NAME), CHECKS), []);
  });

  /**
   * Who is in the kernel's table of neighbours stays there. A guest asks for its gateway again every now and then, and gives it up when
   * for some seconds no agent answers: then nothing comes to the flows any more.
   */
  async function keepNeighbours(namespace: string): Promise<void> {
    const text = await run(['ip', '-n', namespace, '-j', 'neigh', 'show', 'dev', 'eth0']);
    const known = (JSON.parse(text) as { dst: string; lladdr?: string }[]).filter(({ lladdr }) => lladdr !== undefined);
    assert.ok(known.length > 0, 'the guest knows its gateway');
    await ipBatch(
      namespace,
      known.map(({ dst, lladdr }) => `neigh replace ${dst} lladdr ${lladdr} dev eth0 nud permanent`),
    );
  }

  test(`killed at any moment of their start, for ${SOAK_SECONDS} s`, { skip }, async (t) => {
    t.diagnostic(`SOAK_SEED=${SOAK_SEED}`);
    const random = randomFrom(SOAK_SEED);
    const [host] = hosts as [HostPlan];
    const { bpffs, config, log } = lab.plan.paths.host(host.name);
    const known = await establish();
    const running = await probe();
    await killAgent(lab, host);
    const began = performance.now();
    await restartAgent(lab, host);
    const startMs = performance.now() - began;
    await killAgent(lab, host);
    const own = layout(host);
    const told = openSync(log, 'a');
    const deadline = performance.now() + SOAK_SECONDS * 1000;
    let kills = 0;
    let exchanges = 0;
    // Whoever is killed and whoever comes next, of either build.
    for (; kills < 4 || performance.now() < deadline; kills++) {
      const found = tables(bpffs);
      const inExchange = random() < 0.7;
      const weft = (inExchange ? found.includes(own) : random() < 0.5) ? other : THIS;
      const argv = inNetns(host.namespace, [...weft, 'agent', '--config', config]);
      const agent = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', told, told] });
      const gone = once(agent, 'exit');
      if (inExchange) {
        const end = performance.now() + 2 * startMs;
        while (tables(bpffs).join() === found.join() && performance.now() < end) await sleep(2);
        await sleep(random() * EXCHANGE_MS);
      } else await sleep(random() * startMs * KILLED_WITHIN);
      agent.kill('SIGKILL');
      assert.deepEqual(await gone, [null, 'SIGKILL'], 'it did not end by itself');
      if (tables(bpffs).join() !== found.join()) exchanges++;
    }
    closeSync(told);
    await restartAgent(lab, host);
    await awaitConvergence(lab.api);
    await sleep(300);
    const report = await running.stop();
    t.diagnostic(
      `${kills} kills, ${exchanges} of them when tables had been replaced; a start takes ${Math.round(startMs)} ms; ` +
        `${report.lost} of ${report.sent} packets lost, at most ${report.longestGap} in a row`,
    );
    for (const one of hosts) {
      const { drops } = await agentRequest<{ drops: Record<string, number> }>(lab.plan, one, 'GET', '/status');
      t.diagnostic(
        `${one.name} has dropped ${JSON.stringify(Object.fromEntries(Object.entries(drops).filter(([, n]) => n > 0)))}`,
      );
    }
    assert.deepEqual([report.lost, report.alive], [0, true]);
    layout(host);
    const now = await again(known);
    assert.deepEqual(
      now.map(({ id }) => id),
      known.map(({ id }) => id),
    );
    now.forEach((flow, i) => {
      assert.equal(flow.packets - known[i]!.packets, report.transmitted, flow.match);
    });
    assert.deepEqual(await redTwice(t, await openLab(NAME), CHECKS), []);
  });
});

/** Ids are each host's own. */
function isSame(one: Flow, other: Flow): boolean {
  return one.id === other.id && one.match === other.match;
}

/** Names of the tables that count, and of those that they replace. */
function tables(bpffs: string): string[] {
  return readdirSync(bpffs).filter((name) => !name.endsWith('_new'));
}
