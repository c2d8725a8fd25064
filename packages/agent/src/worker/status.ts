/** The worker's numbers, for status and metrics. */
import { DROP_REASONS } from '@weft/flow';
import {
  ACTION_ACCEPT,
  ACTION_CONTINUE,
  ACTION_DNAT,
  ACTION_DROP,
  ACTION_JUMP,
  ACTION_MASQUERADE,
  ACTION_REJECT,
  ACTION_RETURN,
  ACTION_REV_DNAT,
  ACTION_REV_SNAT,
  ACTION_SNAT,
} from '@weft/simulator';
import type { Core } from './core.ts';

/** What rules do, by name. */
const RULE_ACTIONS = [
  ['accept', ACTION_ACCEPT],
  ['drop', ACTION_DROP],
  ['reject', ACTION_REJECT],
  ['return', ACTION_RETURN],
  ['jump', ACTION_JUMP],
  ['continue', ACTION_CONTINUE],
  ['snat', ACTION_SNAT],
  ['dnat', ACTION_DNAT],
  ['rev_snat', ACTION_REV_SNAT],
  ['rev_dnat', ACTION_REV_DNAT],
  ['masquerade', ACTION_MASQUERADE],
] as const;

/** Everything but what only the engine knows of its turns. */
export function coreStatus(core: Core): Record<string, unknown> {
  const stats = core.datapath.stats();
  core.rules.sets.foldAll();
  const { byAction } = core.rules.totals;
  const drops: Record<string, number> = {};
  DROP_REASONS.forEach((reason, i) => {
    const n = (stats.drops[i] ?? 0) + core.counters.drops[i];
    if (n > 0) drops[reason] = n;
  });
  return {
    flows: core.installer.table.size,
    flowsMax: core.installer.table.capacity,
    flowsInstalled: core.installer.installed,
    flowsDeleted: core.installer.deleted,
    flowsRefused: core.installer.refused,
    tags: core.installer.tags.tagCount,
    waiting: core.waiting.size,
    waitingMax: core.limits.maxWaiting,
    learnedMacs: core.macs.size,
    neighboursPending: core.neighbours.pendingCount,
    neighboursPublished: core.neighbours.publishedCount,
    interests: core.interests.size,
    executed: core.queue.executed + core.openings.executed,
    upcalls: core.counters.upcalls,
    lateHits: core.counters.lateHits,
    simulations: core.counters.simulations,
    postponed: core.counters.postponed,
    generated: core.counters.generated,
    icmpSuppressed: core.counters.icmpSuppressed,
    revalidated: core.counters.revalidated,
    evicted: core.counters.evicted,
    expired: core.counters.expired,
    errors: core.counters.errors,
    drops,
    ...connectionStatus(core),
    ruleMatches: Object.fromEntries(RULE_ACTIONS.map(([name, action]) => [name, byAction[action]])),
    ruleLists: core.rules.sets.size,
    ruleFlowsUncounted: core.rules.sets.refused,
    ruleLogLines: core.ruleLogger.lines,
    ruleLogSuppressed: core.ruleLogger.suppressed,
    tunnelCounts: core.tunnels.counts(),
    tunnelKeys: core.bindings.keyCounts(),
    upcallsByReason: [...stats.upcalls],
    ports: core.bindings.list(),
    tunnels: core.tunnels.list().map((t) => ({ ...t, local: [...t.local], remote: [...t.remote] })),
  };
}

/** Numbers of connections, of the exchange with other hosts, and of ports for source NAT. */
function connectionStatus({ connections }: Core): Record<string, unknown> {
  const { table, exchange, pools, counters } = connections;
  return {
    connections: table.size - table.tombstones,
    connectionsMax: table.capacity,
    connectionsCreated: counters.created,
    connectionsRefused: counters.refused,
    connectionsExpired: counters.expired,
    archiveWaiting: connections.archiver?.waiting ?? 0,
    archiveRestored: connections.restorer?.applied ?? 0,
    archiveReadsFailed: connections.restorer?.failed ?? 0,
    natBlocks: pools.blocks,
    natIdlePorts: pools.idlePorts(),
    natRangesLow: pools.low,
    natExhausted: pools.exhausted,
    stateExchange: { ...exchange.counters, asked: counters.asked },
  };
}
