/** However many connections: one upcall each way, at the ingress hosts alone. */
import { resolve } from 'node:path';
import { agentCounters } from '../agent-control.ts';
import { inNetns, run, runInBackground, tryRun } from '../exec.ts';
import { chainFault } from '../faults/chain.ts';
import { labUuid } from '../names.ts';
import { forgetFlows } from '../ports.ts';
import { type CheckContext, defineKind, type Outcome } from './kind.ts';

const PORT = 5205;
const TOOL = resolve(import.meta.dirname, '../tools/tcp-connections.ts');
/** A guest's own neighbour probe may fall into the window. */
const ATTEMPTS = 2;

interface Fields {
  readonly from: string;
  readonly to: string;
  readonly family: 4 | 6;
  readonly connections: number;
}

export const upcalls = defineKind({
  kind: 'upcalls',
  needsApi: true,
  summary: '`connections` TCP connections between two VMs cost exactly one upcall each way, none at other hosts',
  fields: ['from', 'to', 'family', 'connections'],
  read: (fields): Fields => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    family: fields.family('family'),
    connections: fields.integer('connections', 1, 25_000, 10_000),
  }),

  async run(context, fields) {
    let outcome: Outcome | undefined;
    for (let attempt = 0; attempt < ATTEMPTS && !outcome?.ok; attempt++) outcome = await measure(context, fields);
    return outcome!;
  },

  sabotage(context, { from }) {
    const vm = context.vm(from);
    const chainId = labUuid('fault', context.checkName);
    // A rule that looks at ports makes every flow one of its own.
    const rules = [{ type: 'accept', nwProto: 6, tpSrc: { start: 1, end: 60_000 } }];
    return chainFault(`a rule on ${from}'s port looks at TCP ports`, chainId, vm.interfaces[0]!.portId, rules);
  },
});

async function measure(context: CheckContext, { from, to, family, connections }: Fields): Promise<Outcome> {
  const source = context.vm(from);
  const target = context.vm(to);
  const address = context.address(target, family);
  const node = process.execPath;
  const server = runInBackground(inNetns(target.namespace, [node, TOOL, 'serve', String(PORT)]));
  const connect = async (count: number, lanes: number) =>
    Number(await run(inNetns(source.namespace, [node, TOOL, 'connect', address, PORT, count, lanes].map(String))));
  try {
    await server.waitFor('listening');
    // Neighbours known, flows not: what comes up from now on is the connections' doing. Nor may a guest want to know whether a
    // neighbour of earlier checks is still there.
    await Promise.all(
      context.plan.vms.map((vm) => tryRun(inNetns(vm.namespace, ['ip', 'neigh', 'flush', 'all', 'nud', 'all']))),
    );
    await tryRun(inNetns(source.namespace, ['ping', '-n', '-c', '2', '-i', '0.1', '-W', '2', address]));
    await forgetFlows(context.lab, source);
    await forgetFlows(context.lab, target);
    const before = await readUpcalls(context);
    // The first one alone: packets that arrive before the flow is installed come up too.
    let opened = await connect(1, 1);
    opened += await connect(connections - 1, 32);
    const after = await readUpcalls(context);

    const hosts = context.plan.hosts.map((host) => host.name);
    const expectation = new Map(hosts.map((host) => [host, 0]));
    for (const host of [source.host, target.host]) expectation.set(host, expectation.get(host)! + 1);
    const delta = hosts.map((host) => after.get(host)! - before.get(host)!);
    const list = (numbers: number[]) => hosts.map((host, i) => `${host} ${numbers[i]}`).join(', ');
    return {
      ok: opened === connections && hosts.every((host, i) => delta[i] === expectation.get(host)),
      expected: `${connections} connections, upcalls: ${list([...expectation.values()])}`,
      seen: `${opened} connections, upcalls: ${list(delta)}`,
    };
  } finally {
    await server.stop();
  }
}

async function readUpcalls(context: CheckContext): Promise<Map<string, number>> {
  const read = async (host: (typeof context.plan.hosts)[number]) =>
    [host.name, (await agentCounters(context.plan, host)).get('upcalls')!] as const;
  return new Map(await Promise.all(context.plan.hosts.map(read)));
}
