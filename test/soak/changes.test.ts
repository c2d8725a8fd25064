/**
 * The invariant that everything else serves: after any sequence of changes, races and restarts, every installed flow equals a
 * fresh simulation. Random changes under traffic, agents and store killed among them; then each agent is restarted, which makes it
 * simulate every flow again from its first packet: nothing may differ from what was installed before.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import {
  agentRequest,
  awaitConvergence,
  BurstSender,
  DEFAULT_SCENARIO,
  ethernetFrame,
  type HostPlan,
  inNetns,
  ipPacket,
  killAgent,
  type Lab,
  labDown,
  labUp,
  runChecks,
  selectChecks,
  udpDatagram,
  type VmPlan,
} from '@weft/lab';
import { RandomChanges, revive } from './random-changes.ts';
import { randomFrom, SOAK_SECONDS, SOAK_SEED, skip } from './soak.ts';

const NAME = 'soak-changes';
/** Flows that end by the clock: they may do so between two looks. */
const SHORT_LIVED = /drop\((no_neighbour|peer_unreachable)\)/;
/** Idle flows go after a minute. */
const NEARLY_EXPIRED_MS = 45_000;
const BASIC = new Set(['ping', 'trace', 'tcp', 'isolation', 'exactly-once', 'flood']);

let lab: Lab;
const processes: ChildProcess[] = [];

before(async () => {
  if (skip) return;
  await labDown(NAME);
  ({ lab } = await labUp(DEFAULT_SCENARIO, { name: NAME }));
});

after(async () => {
  for (const child of processes) child.kill('SIGKILL');
  if (!skip) await labDown(NAME);
});

interface Flow {
  readonly match: string;
  readonly action: string;
  readonly idleMs: number;
}

async function flowsOf(host: HostPlan): Promise<Map<string, Flow>> {
  const { flows } = await agentRequest<{ flows: Flow[] }>(lab.plan, host, 'GET', '/flows?limit=100000');
  return new Map(flows.map((flow) => [flow.match, flow]));
}

/** Pings between pairs of VMs, and UDP between others with ever new ports. */
class Traffic {
  readonly #random: () => number;
  readonly #senders = new Map<VmPlan, BurstSender>();
  readonly #gatewayMacs = new Map<VmPlan, string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(random: () => number) {
    this.#random = random;
  }

  async start(): Promise<void> {
    for (const vm of lab.plan.vms) {
      const [iface] = vm.interfaces;
      this.#senders.set(vm, new BurstSender(vm.namespace, 'eth0'));
      const { bridgeId } = await lab.api.get<{ bridgeId: string }>(`/ports/${iface!.portId}`);
      const peers = await lab.api.get<{ portMac?: string }[]>(`/bridges/${bridgeId}/peer_ports`);
      const mac = peers.find((peer) => peer.portMac)?.portMac;
      if (mac) this.#gatewayMacs.set(vm, mac);
    }
    for (let i = 0; i < 6; i++) this.#ping();
    this.#timer = setInterval(() => this.#udp(), 20);
  }

  #pair(): [VmPlan, VmPlan] {
    const { vms } = lab.plan;
    const from = vms[Math.floor(this.#random() * vms.length)]!;
    const others = vms.filter((vm) => vm.tenant === from.tenant && vm !== from);
    return [from, others[Math.floor(this.#random() * others.length)]!];
  }

  #ping(): void {
    const [from, to] = this.#pair();
    const addresses = to.interfaces[0]!.addresses;
    const address = addresses[Math.floor(this.#random() * addresses.length)]!;
    const [program, ...args] = inNetns(from.namespace, ['ping', '-q', '-n', '-i', '0.05', address]);
    processes.push(spawn(program!, args, { stdio: 'ignore' }));
  }

  #udp(): void {
    const [from, to] = this.#pair();
    const [near, far] = [from.interfaces[0]!, to.interfaces[0]!];
    const mac = near.network === far.network ? far.mac : this.#gatewayMacs.get(from);
    const ipv4 = (addresses: readonly string[]) => addresses.find((address) => !address.includes(':'))!;
    if (mac === undefined) return;
    const sender = this.#senders.get(from)!;
    const port = () => 1 + Math.floor(this.#random() * 65_535);
    const frames = Array.from({ length: 4 }, () => {
      const payload = udpDatagram(port(), port(), new Uint8Array(18));
      const packet = ipPacket({ source: ipv4(near.addresses), target: ipv4(far.addresses), protocol: 17, payload });
      return ethernetFrame(mac, near.mac, undefined, 0x0800, packet);
    });
    sender.load(frames);
    sender.send();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    for (const child of processes.splice(0)) child.kill('SIGINT');
    for (const sender of this.#senders.values()) sender.close();
    // Answers, neighbour probes and flows that were made to end soon.
    await setTimeout(2000);
  }
}

/** Restarts every agent and compares what it had installed with what it finds right. @returns how many flows were compared */
async function restartAndCompare(history: readonly string[]): Promise<number> {
  let compared = 0;
  for (const host of lab.plan.hosts) {
    await awaitConvergence(lab.api);
    const first = await flowsOf(host);
    await killAgent(lab, host);
    await revive(lab, host);
    await verified(host);
    const second = await flowsOf(host);
    const wrong: string[] = [];
    for (const [match, { action, idleMs }] of first) {
      const now = second.get(match)?.action;
      if (now === action) compared++;
      else if (now !== undefined || !(SHORT_LIVED.test(action) || idleMs > NEARLY_EXPIRED_MS)) {
        wrong.push(`${match}: ${action}, simulated again: ${now ?? 'none'}`);
      }
    }
    assert.deepEqual(
      wrong,
      [],
      `${host.name} (SOAK_SEED=${SOAK_SEED}); last changes: ${history.slice(-12).join('; ')}`,
    );
  }
  return compared;
}

/** Waits until a new agent has judged all that it has adopted. */
async function verified(host: HostPlan): Promise<void> {
  interface Status {
    readonly ready: boolean;
    readonly storeUp: boolean;
    readonly unverified: number;
    readonly revalidationPending: number;
    readonly applied: number;
  }
  for (let i = 0; i < 200; i++) {
    const status = await agentRequest<Status>(lab.plan, host, 'GET', '/status');
    const done = status.ready && status.storeUp && status.applied > 0;
    if (done && status.unverified === 0 && status.revalidationPending === 0) return;
    await setTimeout(50);
  }
  assert.fail(`${host.name} does not come to an end with its adopted flows`);
}

test(`every flow equals a fresh simulation after ${SOAK_SECONDS} s of random changes`, { skip }, async (t) => {
  t.diagnostic(`SOAK_SEED=${SOAK_SEED}`);
  const random = randomFrom(SOAK_SEED);
  const changes = new RandomChanges(lab, random);
  await changes.open();
  const history: string[] = [];
  const deadline = performance.now() + SOAK_SECONDS * 1000;
  let compared = 0;
  // Several phases: what traffic has installed under some changes is judged before they are gone.
  do {
    const traffic = new Traffic(random);
    await traffic.start();
    const end = Math.min(deadline, performance.now() + 12_000);
    while (performance.now() < end) {
      history.push(await changes.step());
      await setTimeout(random() * 300);
    }
    await changes.revive();
    await awaitConvergence(lab.api);
    await traffic.stop();
    compared += await restartAndCompare(history);
  } while (performance.now() < deadline);
  await changes.undoAll();
  await awaitConvergence(lab.api);
  compared += await restartAndCompare(history);
  t.diagnostic(`${history.length} changes, ${compared} flows compared`);
  assert.ok(compared > 0, 'no flow was compared');

  const names = selectChecks(lab, [])
    .filter(({ kind }) => BASIC.has(kind))
    .map(({ name }) => name);
  const { checks } = await runChecks(lab, names);
  const failed = checks.filter(({ ok, skipped }) => !ok && skipped === undefined);
  assert.deepEqual(
    failed.map(({ name, seen }) => `${name}: ${seen}`),
    [],
    `SOAK_SEED=${SOAK_SEED}; last changes: ${history.slice(-12).join('; ')}`,
  );
});
