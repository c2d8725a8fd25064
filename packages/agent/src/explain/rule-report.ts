/** Rules of the chains that this host knows, in words, with what they have matched here. */
import { conditionWords, Names, type VirtualTopology } from '@weft/simulator';
import { AgentError } from '../errors.ts';
import type { RuleCounts } from '../flows/rule-counts.ts';

/** A rule and what it has matched on this host since it was last cleared. */
export interface RuleReport {
  readonly id: string;
  /** Number in its chain, from 1. */
  readonly position: number;
  /** accept, drop, reject, return, jump or continue. */
  readonly type: string;
  /** Where a jump leads, in words; '' otherwise. */
  readonly target: string;
  /** What it matches, in words. */
  readonly condition: string;
  readonly packets: number;
  readonly bytes: number;
  /** When it last matched, ms since 1970, to a second; null: not yet. */
  readonly lastHit: number | null;
}

export interface ChainReport {
  readonly id: string;
  readonly name: string;
  readonly tenantId: string;
  readonly rules: readonly RuleReport[];
}

export interface RuleList {
  readonly chains: readonly ChainReport[];
}

type Value = Record<string, unknown>;

/** @param toWall converts ms of the agent's clock to ms since 1970 */
export function reportRules(
  view: VirtualTopology,
  counts: RuleCounts,
  chain: string | undefined,
  toWall: (steady: number) => number,
): RuleList {
  counts.sets.foldAll();
  const names = new Names(view, () => '');
  const chains = chainsOf(view, chain).map(({ id, value }) => {
    const rules: RuleReport[] = [];
    for (const [i, ruleId] of ((value.ruleIds as string[] | undefined) ?? []).entries()) {
      const rule = view.raw.objects.get(`o/Rule/${ruleId}`);
      if (rule == null) continue;
      const total = counts.totals.get(view.handle(ruleId));
      rules.push({
        id: ruleId,
        position: i + 1,
        type: String(rule.type),
        target: typeof rule.jumpChainId === 'string' ? names.of(rule.jumpChainId).name : '',
        condition: conditionWords(rule, names),
        packets: total?.packets ?? 0,
        bytes: total?.bytes ?? 0,
        lastHit: total === undefined ? null : Math.round(toWall(total.lastAt)),
      });
    }
    return { id, name: text(value.name), tenantId: text(value.tenantId), rules };
  });
  return { chains: chains.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1)) };
}

/** Starts the rules of a chain, or all rules, again at 0. @throws AgentError WEFT_AGENT_CONTROL if there is no such chain here */
export function clearRules(view: VirtualTopology, counts: RuleCounts, chain: string | undefined): void {
  // What the lists have gathered is of before.
  counts.sets.foldAll();
  counts.changed = true;
  if (chain === undefined) {
    counts.totals.clearAll();
    return;
  }
  const chains = chainsOf(view, chain);
  if (chains.length === 0) throw new AgentError('WEFT_AGENT_CONTROL', `this host knows no chain "${chain}"`);
  for (const { value } of chains) {
    for (const ruleId of (value.ruleIds as string[] | undefined) ?? []) counts.totals.clear(view.handle(ruleId));
  }
}

/** Chains that are cached; `wanted`: an id, the beginning of one, or a name. */
function chainsOf(view: VirtualTopology, wanted: string | undefined): { id: string; value: Value }[] {
  const out: { id: string; value: Value }[] = [];
  for (const [interest, value] of view.raw.objects) {
    if (!interest.startsWith('o/Chain/') || value === null) continue;
    const id = interest.slice('o/Chain/'.length);
    if (wanted === undefined || value.name === wanted || (wanted.length >= 4 && id.startsWith(wanted))) {
      out.push({ id, value });
    }
  }
  return out;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
