/** A flow of a million packets is the kernel's business alone. */
import { readFile } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { agentCounters, agentRequest } from '../agent-control.ts';
import { BurstSender } from '../bursts.ts';
import { awaitFrame, startCapture } from '../capture.ts';
import { chainFault } from '../faults/chain.ts';
import { ethernetFrame, sendFrames } from '../frames.ts';
import { labUuid } from '../names.ts';
import { ipPacket, udpDatagram } from '../packets.ts';
import type { HostPlan, VmPlan } from '../plan.ts';
import { forgetFlows } from '../ports.ts';
import { type CheckContext, defineKind, type Outcome } from './kind.ts';

/** TEST-NET-1 (RFC 5737): no guest has it, so that none answers. */
const NOBODY = '192.0.2.77';
const PORT = 5212;
const BATCH = 256;
const TICK_MS = 10;
const DEADLINE_MS = 30_000;
/** A guest's own neighbour probe may fall into the window: the exact count must show in one of so many attempts. */
const ATTEMPTS = 3;

interface Fields {
  readonly from: string;
  readonly to: string;
  readonly packets: number;
}

export const idleUserspace = defineKind({
  kind: 'idle-userspace',
  needsApi: true,
  summary:
    '`packets` packets of one flow between two VMs of a network cause no upcall, and no frame that an agent sends',
  fields: ['from', 'to', 'packets'],
  read: (fields): Fields => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    packets: fields.integer('packets', 1, 100_000_000, 1_000_000),
  }),

  async run(context, fields) {
    if (context.plan.datapath === 'userspace') {
      const skipped = 'the userspace datapath carries every packet in user space';
      return { ok: false, expected: 'no upcall', seen: 'nothing', skipped };
    }
    let outcome: Outcome | undefined;
    for (let attempt = 0; attempt < ATTEMPTS && !outcome?.ok; attempt++) outcome = await measure(context, fields);
    return outcome!;
  },

  sabotage(context, { from }) {
    const chainId = labUuid('fault', context.checkName);
    // A rule that looks at ports makes each of the source ports a flow of its own.
    const rules = [{ type: 'accept', nwProto: 17, tpSrc: { start: 1, end: 60_000 } }];
    return chainFault(
      `a rule on ${from}'s port looks at UDP ports`,
      chainId,
      context.vm(from).interfaces[0]!.portId,
      rules,
    );
  },
});

async function measure(context: CheckContext, { from, to, packets }: Fields): Promise<Outcome> {
  const source = context.vm(from);
  const target = context.vm(to);
  const { hosts } = context.plan;
  const frames = makeFrames(source, target);
  // What an earlier attempt has installed would hide the same upcalls from this one.
  await forgetFlows(context.lab, source);
  const filter = `udp dst port ${PORT} and dst host ${NOBODY}`;
  const capture = await startCapture(context.plan.paths.captures, target.namespace, 'eth0', filter);
  try {
    sendFrames(source.namespace, 'eth0', frames.slice(0, 1));
    await awaitFrame(capture, filter).catch(() => {});
  } finally {
    await capture.stop();
  }
  const near = context.hostOf(source);
  const before = await readAll(context, hosts);
  const start = performance.now();
  const carried = await sendUntil(context, source, near, frames, packets);
  const ms = performance.now() - start;
  const after = await readAll(context, hosts);
  const delta = (name: 'upcalls' | 'executed' | 'cpuMs') => hosts.map((_, i) => after[i]![name] - before[i]![name]);
  const list = (numbers: readonly number[]) => hosts.map((host, i) => `${host.name} ${numbers[i]}`).join(', ');
  const idle = [...delta('upcalls'), ...delta('executed')].every((n) => n === 0);
  return {
    ok: carried >= packets && idle,
    expected: `${packets} packets, upcalls: ${list(hosts.map(() => 0))}; executions: ${list(hosts.map(() => 0))}`,
    seen: `${carried} packets in ${Math.round(ms)} ms, upcalls: ${list(delta('upcalls'))}; executions: ${list(delta('executed'))}; agents' CPU ms: ${list(delta('cpuMs'))}`,
  };
}

/** One flow to whoever looks at MACs and addresses, 256 to whoever looks at ports. */
function makeFrames(source: VmPlan, target: VmPlan): Uint8Array[] {
  const [{ mac: sourceMac } = { mac: '' }] = source.interfaces;
  const [{ mac: targetMac } = { mac: '' }] = target.interfaces;
  const address = source.interfaces[0]!.addresses.find((one) => !one.includes(':'))!;
  return Array.from({ length: BATCH }, (_, i) => {
    const payload = udpDatagram(20_000 + i, PORT, new Uint8Array(32));
    const packet = ipPacket({ source: address, target: NOBODY, protocol: 17, payload });
    return ethernetFrame(targetMac, sourceMac, undefined, 0x0800, packet);
  });
}

/** Sends until the flows that entered by the VM's port have carried so many more packets. @returns how many they have */
async function sendUntil(
  context: CheckContext,
  vm: VmPlan,
  host: HostPlan,
  frames: readonly Uint8Array[],
  packets: number,
): Promise<number> {
  const { portId } = vm.interfaces[0]!;
  const carried = async () => {
    const { flows } = await agentRequest<{ flows: { port: string; packets: number }[] }>(
      context.plan,
      host,
      'GET',
      '/flows?limit=10000',
    );
    return flows.filter((flow) => flow.port === portId).reduce((sum, flow) => sum + flow.packets, 0);
  };
  const before = await carried();
  const sender = new BurstSender(vm.namespace, 'eth0');
  const deadline = performance.now() + DEADLINE_MS;
  try {
    sender.load(frames);
    let sent = 0;
    for (let goal = packets; ; goal = sent + 20_000) {
      while (sent < goal && performance.now() < deadline) {
        sent += sender.send();
        await setImmediate();
      }
      // Some may have been lost between the guest and the program: only what the flow has counted counts.
      const done = (await carried()) - before;
      if (done >= packets || performance.now() >= deadline) return done;
    }
  } finally {
    sender.close();
  }
}

interface Reading {
  readonly upcalls: number;
  readonly executed: number;
  readonly cpuMs: number;
}

function readAll(context: CheckContext, hosts: readonly HostPlan[]): Promise<Reading[]> {
  return Promise.all(
    hosts.map(async (host) => {
      const counters = await agentCounters(context.plan, host);
      const { pid } = context.lab.state.processes.agents[host.name]!;
      return { upcalls: counters.get('upcalls')!, executed: counters.get('executed')!, cpuMs: await cpuMs(pid) };
    }),
  );
}

/** utime and stime of a process, proc_pid_stat(5). */
async function cpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
