/** Exposition of the worker's numbers in Prometheus' text format. Counting happens in typed arrays; this only renders. */
import { Counter, Gauge, Registry } from 'prom-client';

/** Every metric of the agent: name, kind, help. `docs/METRICS.md` lists the same. */
export const METRICS = [
  ['weft_revision', 'gauge', 'Revision of the state database that the agent has taken in'],
  ['weft_applied_revision', 'gauge', 'Revision that no packet of this host precedes any more'],
  ['weft_flows', 'gauge', 'Flows installed'],
  ['weft_flows_max', 'gauge', 'Capacity of the flow table'],
  ['weft_flows_installed_total', 'counter', 'Flows written to the datapath'],
  ['weft_flows_deleted_total', 'counter', 'Flows deleted'],
  ['weft_flows_refused_total', 'counter', 'Flows that the datapath had no room for'],
  ['weft_flows_evicted_total', 'counter', 'Flows evicted because the table was nearly full'],
  ['weft_flows_expired_total', 'counter', 'Flows removed because they were idle or overdue'],
  ['weft_flows_revalidated_total', 'counter', 'Flows simulated anew after a change'],
  ['weft_revalidation_pending', 'gauge', 'Flows that wait to be simulated anew'],
  ['weft_upcalls_total', 'counter', 'Packets that came up from the datapath'],
  ['weft_late_hits_total', 'counter', 'Packets that came up although their flow was on its way'],
  ['weft_simulations_total', 'counter', 'Packets simulated'],
  ['weft_postponed_total', 'counter', 'Simulations that lacked data'],
  ['weft_waiting_packets', 'gauge', 'Packets in the waiting room'],
  ['weft_generated_total', 'counter', 'Frames sent by virtual devices'],
  ['weft_icmp_suppressed_total', 'counter', 'ICMP errors not sent because of the rate limit'],
  ['weft_executed_total', 'counter', 'Frames sent by the agent'],
  ['weft_learned_macs', 'gauge', 'MAC addresses learned by this host'],
  ['weft_neighbours_pending', 'gauge', 'ARP and ND resolutions under way'],
  ['weft_interests', 'gauge', 'Subscriptions to the state database'],
  ['weft_errors_total', 'counter', 'Packets or flows on which the agent failed'],
  ['weft_drops_total', 'counter', 'Packets dropped, by reason'],
] as const;

const FIELDS: Record<string, string> = {
  weft_revision: 'revision',
  weft_applied_revision: 'applied',
  weft_flows: 'flows',
  weft_flows_max: 'flowsMax',
  weft_flows_installed_total: 'flowsInstalled',
  weft_flows_deleted_total: 'flowsDeleted',
  weft_flows_refused_total: 'flowsRefused',
  weft_flows_evicted_total: 'evicted',
  weft_flows_expired_total: 'expired',
  weft_flows_revalidated_total: 'revalidated',
  weft_revalidation_pending: 'revalidationPending',
  weft_upcalls_total: 'upcalls',
  weft_late_hits_total: 'lateHits',
  weft_simulations_total: 'simulations',
  weft_postponed_total: 'postponed',
  weft_waiting_packets: 'waiting',
  weft_generated_total: 'generated',
  weft_icmp_suppressed_total: 'icmpSuppressed',
  weft_executed_total: 'executed',
  weft_learned_macs: 'learnedMacs',
  weft_neighbours_pending: 'neighboursPending',
  weft_interests: 'interests',
  weft_errors_total: 'errors',
};

/** Renders a worker status (see `Engine.status`) as text. */
export async function renderMetrics(status: Record<string, unknown>): Promise<string> {
  const registry = new Registry();
  for (const [name, kind, help] of METRICS) {
    const options = { name, help, registers: [registry] };
    if (name === 'weft_drops_total') {
      const drops = new Counter({ ...options, labelNames: ['reason'] });
      for (const [reason, n] of Object.entries(status.drops as Record<string, number>)) drops.inc({ reason }, n);
    } else if (kind === 'counter') new Counter(options).inc(Number(status[FIELDS[name]]));
    else new Gauge(options).set(Number(status[FIELDS[name]]));
  }
  return registry.metrics();
}
