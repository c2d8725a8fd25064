/**
 * A host whose agent stands still until the store gives it up, while its kernel goes on: what it sends still comes from its ports, so
 * nobody else may have them, however much others are in want of ports.
 */
import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { agentCounters } from '../agent-control.ts';
import { nftFault } from '../faults/fault.ts';
import { externalGroupId, routerId } from '../ids.ts';
import type { HostPlan } from '../plan.ts';
import { awaitSessions, freezeAgent, killApi, restartApi, thawAgent } from '../restart.ts';
import { takenNumbers } from '../services.ts';
import { addressOf, type Held, holdConnections, type Server, startServer, startTalk, type Talk } from '../talk.ts';
import { awaitValue, waitUntil } from '../wait.ts';
import { type Firewall, ownPort, withFirewall } from './firewall.ts';
import { type CheckContext, defineKind, type Outcome } from './kind.ts';

/** Ports that the check uses up, and those of a block: one host's at a time. */
const RANGE = 4096;
const BLOCK = 64;
/** Connections of each host at first, and of the frozen one when it is there again. */
const FIRST = 400;
const AFTERWARDS = 50;
/** Until the store gives up a host that nobody vouches for, s. Its peers do so for some seconds more. */
const GRACE_S = 3;
const PATIENCE_MS = 30_000;

interface Fields {
  readonly frozen: string;
  readonly other: string;
  readonly external: string;
  readonly as: string;
}

export const snatFrozen = defineKind({
  kind: 'snat-frozen',
  needsApi: true,
  summary:
    "while the agent of `frozen`'s host is frozen and given up by the store, `other` uses up what is left of the ports of `as`, and is warned of it: no port of the frozen host is ever seen from another one, and its conversations with `external` go on, then and afterwards",
  fields: ['frozen', 'other', 'external', 'as'],
  read: (fields): Fields => ({
    frozen: fields.vm('frozen'),
    other: fields.vm('other'),
    external: fields.external('external'),
    /** Translated to by no rule of the scenario. */
    as: fields.ip('as'),
  }),

  async run(context, fields) {
    const pool = `nat/${routerOf(context, fields)}/${fields.as}`;
    const from = await freshRange(context, pool);
    const expected = 'a host that is frozen, another one that drains ports';
    const skip = (skipped: string): Outcome => ({ ok: false, expected, seen: '', skipped });
    if (context.vm(fields.frozen).host === context.vm(fields.other).host) return skip('both VMs are on one host');
    if (context.plan.datapath === 'userspace') return skip('nothing is forwarded where the agent itself forwards');
    if (from === undefined) return skip(`earlier runs have used all ports of ${fields.as}`);
    const outside = context.external(fields.external);
    const address = context.address(outside, 4);
    return withFirewall(context, async (firewall) => {
      await translate(context, firewall, fields, from);
      const servers: Server[] = [];
      try {
        for (const more of [0, 1]) servers.push(await startServer(outside, address, ownPort(context) + more));
        return await drain(context, fields, address, pool, from, servers);
      } finally {
        for (const server of servers) await server.stop();
      }
    });
  },

  sabotage(context, { external, as }) {
    const port = ownPort(context) + 1;
    return nftFault(
      `before ${external} sees who calls port ${port}, they are translated again: to ports of ${as} that nobody has allocated`,
      context.external(external).namespace,
      `chain in { type nat hook input priority 100; tcp dport ${port} snat ip to ${as}:${RANGE}-65535 random; }`,
    );
  },
});

function routerOf(context: CheckContext, { external }: Fields): string {
  const [link] = context.external(external).links;
  return routerId(link!.tenant, link!.router);
}

/** First port of a range of which no block is taken, or cools: those of earlier runs do so for hours. */
async function freshRange({ plan }: CheckContext, pool: string): Promise<number | undefined> {
  const taken = new Set((await takenNumbers(plan, pool)).map(({ index }) => rangeOf(index)));
  const fresh: number[] = [];
  for (let range = 1; range < 65_536 / RANGE; range++) if (!taken.has(range)) fresh.push(range);
  return fresh.length === 0 ? undefined : fresh[randomInt(fresh.length)]! * RANGE;
}

/** Number of the range that a block is in. */
function rangeOf(index: number): number {
  return Math.floor((index * BLOCK) / RANGE);
}

/** Connections to the check's own ports leave in the name of `as`, by ports from `from` on. */
async function translate(context: CheckContext, firewall: Firewall, fields: Fields, from: number): Promise<void> {
  const router = await context.api.get<{ inboundFilterId: string; outboundFilterId: string }>(
    `/routers/${routerOf(context, fields)}`,
  );
  const port = ownPort(context);
  await firewall.insert(router.inboundFilterId, 'back', { type: 'rev_snat', nwDst: `${fields.as}/32` });
  await firewall.insert(router.outboundFilterId, 'out', {
    type: 'snat',
    nwProto: 6,
    tpDst: { start: port, end: port + 1 },
    outPortGroup: externalGroupId(fields.external),
    natTargets: [{ addressFrom: fields.as, portFrom: from, portTo: from + RANGE - 1 }],
  });
  await firewall.live();
}

/** The two VMs call a server each, so that a port that both of them use shows as such, and not as a connection that fails. */
async function drain(
  context: CheckContext,
  { frozen, other, as }: Fields,
  address: string,
  pool: string,
  from: number,
  servers: readonly Server[],
): Promise<Outcome> {
  const vms = [context.vm(frozen), context.vm(other)] as const;
  const [cold, warm] = [context.hostOf(vms[0]), context.hostOf(vms[1])];
  const port = ownPort(context);
  const holds: Held[] = [];
  const talks: Talk[] = [];
  const found: string[] = [];
  const must = (isSo: boolean, otherwise: string) => isSo || found.push(otherwise);
  const open = async (which: 0 | 1, count: number, untilRefused = false) => {
    const held = await holdConnections(vms[which], address, port + which, count, untilRefused);
    holds.push(held);
    return held.open;
  };
  try {
    const first = await Promise.all([open(0, FIRST), open(1, FIRST)]);
    must(
      first.every((count) => count === FIRST),
      `of ${FIRST} connections each only ${first.join(' and ')} came about`,
    );
    for (const [i, vm] of vms.entries()) talks.push(await startTalk({ from: vm, address, port: port + i }));
    const taken = await takenNumbers(context.plan, pool);
    const mine = taken.filter(({ index, hostId }) => hostId === cold.id && rangeOf(index) === from / RANGE);
    const blocks = new Set(mine.map(({ index }) => index));

    await freeze(context, cold);
    const said = talks[0]!.answers();
    const exhausted = await exhaustedAt(context, warm);
    const drained = await open(1, RANGE, true);
    must((await exhaustedAt(context, warm)) > exhausted, `${warm.name} has not counted that its ports ran out`);
    const idle = await warnedWith(context, warm, as, from);
    must(idle > 0, `${warm.name} was ${idle === 0 ? 'warned too late' : 'not warned'} that ports would run out`);
    const ends = await takenNumbers(context.plan, pool);
    const lost = [...blocks].filter((index) => !ends.some((one) => one.index === index && one.hostId === cold.id));
    must(lost.length === 0, `${lost.length} blocks of ${cold.name} were given away`);
    must(
      await waitUntil(() => talks[0]!.answers() > said, 5_000),
      `${frozen} was not answered while its agent was frozen`,
    );

    thawAgent(context.lab, cold);
    await awaitAlive(context, cold, true);
    const afterwards = await open(0, AFTERWARDS);
    must(
      afterwards === AFTERWARDS,
      `${cold.name} came back, and of ${AFTERWARDS} connections ${afterwards} came about`,
    );
    for (const held of holds) {
      const answered = await held.ask();
      must(answered === held.open, `of ${held.open} connections ${answered} were alive in the end`);
    }
    const reports = await Promise.all(talks.map((talk) => talk.stop()));
    for (const { error, sent, answered } of reports)
      must(error === '' && sent > 0 && answered === sent, `${answered} of ${sent} messages were answered ${error}`);

    const peers = servers.map((server) => server.peers());
    const strangers = peers.flat().filter((peer) => addressOf(peer) !== as).length;
    must(strangers === 0, `${strangers} connections came from other addresses than ${as}`);
    const ports = peers.map((list) => new Set(list.map((peer) => Number(peer.split(' ')[1]))));
    const twice = peers.flat().length - ports[0]!.size - ports[1]!.size;
    must(twice === 0, `${twice} ports were used twice`);
    const shared = [...ports[1]!].filter((one) => ports[0]!.has(one) || blocks.has(Math.floor(one / BLOCK))).length;
    must(shared === 0, `${shared} ports of ${cold.name} were seen from ${warm.name}`);
    return {
      ok: found.length === 0,
      expected: `${cold.name} keeps its ports and its conversations while it is frozen; ${warm.name} gets all others, and is warned`,
      seen:
        found.join('; ') ||
        `${ports[0]!.size} connections from ${blocks.size} blocks of ${cold.name}, never more than ${reports[0]!.longestGapMs} ms without an answer; ${FIRST + drained} from ${warm.name} by ports of its own, a warning when ${idle} were left`,
    };
  } finally {
    thawAgent(context.lab, cold);
    for (const talk of talks) await talk.stop().catch(() => {});
    await Promise.all(holds.map((held) => held.stop()));
    await killApi(context.lab);
    await restartApi(context.lab);
    await awaitSessions(context.lab, context.plan.hosts);
  }
}

/** Freezes an agent and waits until the store, which is restarted to be less patient, has given up its host. */
async function freeze(context: CheckContext, host: HostPlan): Promise<void> {
  freezeAgent(context.lab, host);
  await killApi(context.lab);
  await restartApi(context.lab, GRACE_S);
  await awaitSessions(
    context.lab,
    context.plan.hosts.filter((one) => one !== host),
  );
  await awaitAlive(context, host, false);
}

/** Waits until the store has given up a host, or has it again. */
async function awaitAlive({ api }: CheckContext, host: HostPlan, wanted: boolean): Promise<void> {
  await awaitValue(`${host.name} ${wanted ? 'back at' : 'given up by'} the store`, PATIENCE_MS, async () =>
    (await api.get<{ alive: boolean }>(`/hosts/${host.id}`)).alive === wanted ? true : undefined,
  );
}

async function exhaustedAt({ plan }: CheckContext, host: HostPlan): Promise<number> {
  return (await agentCounters(plan, host)).get('natExhausted')!;
}

/** Idle ports when a host was first warned that no more blocks are to be had of `as` from port `from` on; -1: it was not. */
async function warnedWith({ plan }: CheckContext, host: HostPlan, as: string, from: number): Promise<number> {
  const lines = (await readFile(plan.paths.host(host.name).log, 'utf8')).split('\n');
  const warning = lines.find(
    (line) => line.includes('"nat.low"') && line.includes(`"${as} ports ${from}-${from + RANGE - 1}"`),
  );
  return warning === undefined ? -1 : (JSON.parse(warning) as { idlePorts: number }).idlePorts;
}
