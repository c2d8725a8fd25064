/**
 * `weft trace` tells the truth: what it says of echo requests to a reachable VM, to nobody, to nowhere, to another tenant's VM, and
 * past a rule that drops them, is what happens to them.
 */
import { setTimeout } from 'node:timers/promises';
import { awaitConvergence } from '../convergence.ts';
import { LabError } from '../errors.ts';
import { inNetns, tryRun } from '../exec.ts';
import { chainFault } from '../faults/chain.ts';
import { nftFault, perform } from '../faults/fault.ts';
import { labUuid } from '../names.ts';
import type { VmPlan } from '../plan.ts';
import { exchange } from '../rest.ts';
import { type CheckContext, defineKind } from './kind.ts';
import { readPing } from './ping.ts';

/** Tells these echo requests from those of other checks: a fault of this kind is no other's. */
const ECHO_ID = 0x5772;
/** TEST-NET-2 (RFC 5737): no network of a scenario. */
const NOWHERE = '198.51.100.77';

/** By then the agent watches. */
const WATCH_MS = 300;

/** The members of a trace that are read. */
interface Trace {
  readonly verdict: string;
  readonly reason: string;
  readonly destinations: readonly { readonly port: { readonly id: string } | null }[];
  readonly installed: { readonly agrees: boolean } | null;
  readonly explanation: {
    readonly decidedBy: { readonly action: string; readonly number: number } | null;
    readonly summary: readonly string[];
  };
}

interface Case {
  readonly what: string;
  readonly address: string;
  /** What is wrong with the trace, given whether the ping was answered; '' if nothing is. */
  readonly judge: (trace: Trace, answered: boolean) => string;
}

export const explain = defineKind({
  kind: 'explain',
  needsApi: true,
  summary:
    'what a trace says of packets to `to`, to nobody, to nowhere, to `stranger` of another tenant, and past a rule, is what happens',
  fields: ['from', 'to', 'stranger', 'nobody'],
  read: (fields) => ({
    from: fields.vm('from'),
    to: fields.vm('to'),
    /** VM of another tenant whose address no VM of `from`'s tenant has. */
    stranger: fields.vm('stranger'),
    /** Address in a network of `from`'s tenant that no VM has. */
    nobody: fields.ips('nobody'),
  }),

  async run(context, { from, to, stranger, nobody }) {
    const source = context.vm(from);
    const target = context.vm(to);
    const other = context.vm(stranger);
    const address = context.address(target, 4);
    const reached: Case = {
      what: to,
      address,
      judge: (trace, answered) =>
        answered && goesTo(trace, target) ? '' : `${answered ? '' : 'no '}answer; it goes to ${destinations(trace)}`,
    };
    const nowhere: Case = {
      what: 'nowhere',
      address: NOWHERE,
      judge: (trace, answered) => (!answered && trace.reason === 'no_route' ? '' : `${answered ? 'an' : 'no'} answer`),
    };
    const unanswered = (what: string, ip: string, avoid?: VmPlan): Case => ({
      what,
      address: ip,
      judge: (trace, answered) => {
        // On its own network a frame for nobody is flooded, if there is anybody; elsewhere the router asks in vain.
        const waits = trace.verdict !== 'drop' || ['no_neighbour', 'no_egress_port'].includes(trace.reason);
        const strays = avoid !== undefined && goesTo(trace, avoid);
        return !answered && waits && !strays
          ? ''
          : `${answered ? 'an' : 'no'} answer; it goes to ${destinations(trace)}`;
      },
    });
    const wrong: string[] = [];
    const cases = [
      reached,
      nowhere,
      ...nobody.map((ip) => unanswered('nobody', ip)),
      unanswered(stranger, context.address(other, 4), other),
    ];
    for (const one of cases) wrong.push(...(await compare(context, source, one)));
    wrong.push(...(await pastRule(context, source, to, address)));
    return {
      ok: wrong.length === 0,
      expected: `${cases.length + 2} traces from ${from} say what happens`,
      seen: wrong.length === 0 ? 'they do' : wrong.join('; '),
    };
  },

  sabotage(context, { from, to }) {
    const address = context.address(context.vm(to), 4);
    return nftFault(
      `${from} loses the echo requests that were traced`,
      context.vm(from).namespace,
      `chain out { type filter hook output priority 0; ip daddr ${address} icmp type echo-request icmp id ${ECHO_ID} drop; }`,
    );
  },
});

/** A rule that drops them comes, and is named; it goes, and they pass again. */
async function pastRule(context: CheckContext, source: VmPlan, to: string, address: string): Promise<string[]> {
  const { portId } = source.interfaces[0]!;
  const chainId = labUuid('check', context.checkName);
  const rules = [
    { type: 'accept', nwProto: 17, nwDst: address },
    { type: 'drop', nwProto: 1, nwDst: address },
  ];
  const { plant, remove } = chainFault('', chainId, portId, rules);
  const blocked: Case = {
    what: `${to} past a rule`,
    address,
    judge: (trace, answered) => {
      const named = trace.reason === 'filtered' && trace.explanation.decidedBy?.number === 2;
      const near = trace.explanation.summary.some((line) => line.includes('it wants protocol udp'));
      return !answered && named && near ? '' : `${answered ? 'an' : 'no'} answer`;
    },
  };
  const open: Case = {
    what: `${to} without the rule`,
    address,
    judge: (trace, answered) => (answered && trace.verdict === 'forward' ? '' : `${answered ? 'an' : 'no'} answer`),
  };
  const wrong: string[] = [];
  try {
    for (const step of plant) await perform(context.lab, step);
    await awaitConvergence(context.api);
    // The ping's second packet meets the installed flow: it has to be explained like the first.
    const live = watch(context, source, address, 2);
    await setTimeout(WATCH_MS);
    wrong.push(...(await compare(context, source, blocked)));
    const seen = await live;
    for (const trace of seen)
      if (blocked.judge(trace, false) !== '') wrong.push(`live: ${trace.verdict} ${trace.reason}`);
    if (seen.length !== 2) wrong.push(`live: ${seen.length} of 2 packets were explained`);
  } finally {
    for (const step of remove) await perform(context.lab, step);
    await awaitConvergence(context.api);
  }
  return [...wrong, ...(await compare(context, source, open))];
}

/** Traces before and after what really happens; an installed flow must agree. */
async function compare(context: CheckContext, source: VmPlan, { what, address, judge }: Case): Promise<string[]> {
  const before = await traceOf(context, source, address);
  const argv = ['ping', '-4', '-n', '-e', ECHO_ID, '-c', '2', '-i', '0.1', '-W', '1', address];
  const { stdout } = await tryRun(inNetns(source.namespace, argv.map(String)));
  const answered = readPing(stdout).received > 0;
  const after = await traceOf(context, source, address);
  const wrong: string[] = [];
  for (const [when, trace] of [
    ['before', before],
    ['after', after],
  ] as const) {
    const why = judge(trace, answered);
    if (why !== '') wrong.push(`${what} (${address}), traced ${when}: ${trace.verdict} ${trace.reason}, but ${why}`);
    if (trace.installed?.agrees === false) wrong.push(`${what}: the installed flow does not do what the trace says`);
  }
  return wrong;
}

async function traceOf(context: CheckContext, source: VmPlan, address: string): Promise<Trace> {
  const { controlSocket } = context.plan.paths.host(source.host);
  const packet = `icmp,ip_dst=${address},icmp_id=${ECHO_ID},len=98`;
  const port = source.interfaces[0]!.portId;
  const answer = await exchange({ socketPath: controlSocket }, 'POST', '/trace', { port, packet });
  if (answer.status !== 200) throw new LabError('WEFT_LAB_API', `trace ${packet}: ${JSON.stringify(answer.body)}`);
  return answer.body as Trace;
}

/** The traces of the next real packets to `address`. */
async function watch(context: CheckContext, source: VmPlan, address: string, count: number): Promise<Trace[]> {
  const { controlSocket } = context.plan.paths.host(source.host);
  const packet = `icmp,ip_dst=${address},icmp_id=${ECHO_ID}`;
  const port = source.interfaces[0]!.portId;
  const request = { port, packet, count, seconds: 10, arrivals: false };
  const answer = await exchange({ socketPath: controlSocket }, 'POST', '/trace/live', request);
  return answer.text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { event: string; trace?: Trace })
    .flatMap(({ trace }) => trace ?? []);
}

function goesTo({ destinations: list }: Trace, vm: VmPlan): boolean {
  return list.some(({ port }) => vm.interfaces.some(({ portId }) => portId === port?.id));
}

function destinations({ destinations: list }: Trace): string {
  return list.map(({ port }) => port?.id ?? 'a flood').join(', ') || 'nobody';
}
