/**
 * What checks of the firewall share: chains, groups and loggers of their own, made through the API and removed whatever
 * happens, and probes that are nobody else's.
 */
import { awaitConvergence } from '../convergence.ts';
import { inNetns, tryRun } from '../exec.ts';
import type { Fault } from '../faults/fault.ts';
import { type FaultStep, nftFault, perform } from '../faults/fault.ts';
import { labUuid } from '../names.ts';
import type { Place, VmPlan } from '../plan.ts';
import type { CheckContext } from './kind.ts';

/** How long an answer that is due may take, and how long one that must not come is waited for; s. */
const ANSWER_S = 2;
const SILENCE_S = 0.3;

export class Firewall {
  private readonly context: CheckContext;
  /** Steps that undo what was done, the last first. */
  private readonly undo: FaultStep[] = [];

  constructor(context: CheckContext) {
    this.context = context;
  }

  /** Id of an object of this check. */
  id(name: string): string {
    return labUuid('check', this.context.checkName, name);
  }

  /** Creates an object below `collection`; it is removed in the end. */
  async make(collection: string, name: string, body: object): Promise<string> {
    const id = this.id(name);
    const path = `/${collection}/${id}`;
    this.undo.unshift({ do: 'delete', path });
    await this.step({ do: 'post', path: `/${collection}`, body: { id, ...body }, orExists: path });
    return id;
  }

  /** A chain of these rules, in order. */
  async chain(name: string, rules: readonly object[], fields: object = {}): Promise<string> {
    // What a run that was cut off has left must not stay in front of these.
    await this.step({ do: 'delete', path: `/chains/${this.id(name)}` }).catch(() => {});
    const id = await this.make('chains', name, { name: `${this.context.checkName}-${name}`, ...fields });
    for (const [i, rule] of rules.entries()) await this.rule(id, { ...rule, position: i + 1 });
    return id;
  }

  async rule(chain: string, rule: object): Promise<void> {
    await this.step({ do: 'post', path: `/chains/${chain}/rules`, body: rule });
  }

  /** Puts a rule before those of a chain that is not the check's own; it is removed in the end. */
  async insert(chain: string, name: string, rule: object): Promise<void> {
    const id = this.id(name);
    const remove: FaultStep = { do: 'delete', path: `/rules/${id}` };
    this.undo.unshift(remove);
    // What a run that was cut off has left is not what is meant now.
    await this.step(remove);
    await this.rule(chain, { id, ...rule, position: 1 });
  }

  /** Makes a chain a filter of a port or device until the end. */
  async attach(path: string, field: 'inboundFilterId' | 'outboundFilterId', chain: string): Promise<void> {
    const before = (await this.context.api.get<Record<string, unknown>>(path))[field] ?? null;
    this.undo.unshift({ do: 'patch', path, fields: { [field]: before === chain ? null : before } });
    await this.step({ do: 'patch', path, fields: { [field]: chain } });
  }

  /** Gives an object these fields until the end. */
  async change(path: string, fields: Readonly<Record<string, unknown>>): Promise<void> {
    const object = await this.context.api.get<Record<string, unknown>>(path);
    const before = Object.fromEntries(Object.keys(fields).map((field) => [field, object[field] ?? null]));
    this.undo.unshift({ do: 'patch', path, fields: before });
    await this.step({ do: 'patch', path, fields });
  }

  async step(step: FaultStep): Promise<void> {
    await perform(this.context.lab, step);
  }

  /** What was done is live on all hosts. */
  async live(): Promise<void> {
    await awaitConvergence(this.context.api);
  }

  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const step of this.undo) await this.step(step).catch((error) => failures.push(error));
    await this.live();
    if (failures.length > 0) throw failures[0];
  }
}

/** Runs `body` with a firewall and takes away what it made. */
export async function withFirewall<T>(context: CheckContext, body: (firewall: Firewall) => Promise<T>): Promise<T> {
  const firewall = new Firewall(context);
  try {
    return await body(firewall);
  } finally {
    await firewall.close();
  }
}

export function portPath(vm: VmPlan): string {
  return `/ports/${vm.interfaces[0]!.portId}`;
}

/** A number that follows from the check's name: 1 to 0x7fff. It and the next one are identifiers of its echo requests. */
export function ownNumber({ checkName }: CheckContext): number {
  return (Number.parseInt(labUuid('number', checkName).slice(0, 4), 16) & 0x7fff) | 1;
}

/** First of 16 transport ports that are this check's own. */
export function ownPort(context: CheckContext): number {
  return 20_000 + (ownNumber(context) % 1_000) * 16;
}

/**
 * Whether an echo request of this check is answered. `open`: whether it should be; says how long to wait. `which`: 0 or 1, tells
 * requests apart that one VM sends at the same time (their answers reach whoever has the identifier).
 */
export async function answers(
  context: CheckContext,
  source: VmPlan,
  address: string,
  open: boolean,
  which: 0 | 1 = 0,
): Promise<boolean> {
  const family = address.includes(':') ? '-6' : '-4';
  const wait = String(open ? ANSWER_S : SILENCE_S);
  const argv = ['ping', family, '-n', '-q', '-c', '1', '-W', wait, '-e', String(ownNumber(context) + which), address];
  return (await tryRun(inNetns(source.namespace, argv))).code === 0;
}

/** `from` loses the echo requests of this check. */
export function loseEchoes(context: CheckContext, from: string): Fault {
  const id = ownNumber(context);
  const of = (type: string) => `${type} type echo-request ${type} id ${id}-${id + 1} drop;`;
  return nftFault(
    `${from} loses its echo requests with identifiers ${id} and ${id + 1}`,
    context.vm(from).namespace,
    `chain out { type filter hook output priority 0; ${of('icmp')} ${of('icmpv6')} }`,
  );
}

/** `from` loses what it sends and this (an expression of nft) matches: choose it so that it is this check's alone. */
export function loseTraffic({ checkName }: CheckContext, from: Place, match: string): Fault {
  return nftFault(
    `${from.name} loses what ${checkName} sends there (${match})`,
    from.namespace,
    `chain out { type filter hook output priority 0; ${match} drop; }`,
  );
}
