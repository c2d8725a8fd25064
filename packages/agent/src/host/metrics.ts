/** Exposition of the agent's numbers in Prometheus' text format. Counting happens in typed arrays; this only renders. */
import { Counter, Gauge, type Metric, Registry } from 'prom-client';
import type { LatencyReport } from '../worker/latency.ts';
import type { InterfaceCounters } from './interface-counters.ts';

/** Every metric of the agent: name, kind, help. `docs/METRICS.md` lists the same. */
export const METRICS = [
  ['weft_revision', 'gauge', 'Revision of the state database that the agent has taken in'],
  ['weft_applied_revision', 'gauge', 'Revision that no packet of this host precedes any more'],
  ['weft_applied_behind_seconds', 'gauge', 'For how long the applied revision has been older than the one taken in'],
  ['weft_store_up', 'gauge', '1: the state database answers'],
  ['weft_session_open', 'gauge', '1: the host has its session, what it learns is published'],
  ['weft_store_received_bytes_total', 'counter', 'Bytes of changes received from the state database'],
  ['weft_interests', 'gauge', 'Subscriptions to the state database'],
  ['weft_flows', 'gauge', 'Flows installed'],
  ['weft_flows_max', 'gauge', 'Capacity of the flow table'],
  ['weft_flows_installed_total', 'counter', 'Flows written to the datapath'],
  ['weft_flows_deleted_total', 'counter', 'Flows deleted'],
  ['weft_flows_refused_total', 'counter', 'Flows that the datapath had no room for'],
  ['weft_flows_evicted_total', 'counter', 'Flows evicted because the table was nearly full'],
  ['weft_flows_expired_total', 'counter', 'Flows removed because they were idle or overdue'],
  ['weft_flows_revalidated_total', 'counter', 'Flows simulated anew after a change'],
  ['weft_revalidation_pending', 'gauge', 'Flows that wait to be simulated anew'],
  ['weft_flows_unverified', 'gauge', 'Flows of an earlier start that have not been simulated anew'],
  ['weft_upcalls_total', 'counter', 'Packets that came up from the datapath'],
  ['weft_upcalls_by_reason_total', 'counter', 'Packets that the datapath sent up, by reason'],
  [
    'weft_first_packet_seconds',
    'histogram',
    'From the arrival of a packet that misses until it is out and its flow installed',
  ],
  ['weft_late_hits_total', 'counter', 'Packets that came up although their flow was on its way'],
  ['weft_simulations_total', 'counter', 'Packets simulated'],
  ['weft_postponed_total', 'counter', 'Simulations that lacked data'],
  ['weft_waiting_packets', 'gauge', 'Packets in the waiting room'],
  ['weft_waiting_packets_max', 'gauge', 'Room in the waiting room'],
  ['weft_generated_total', 'counter', 'Frames sent by virtual devices'],
  ['weft_icmp_suppressed_total', 'counter', 'ICMP errors not sent because of the rate limit'],
  ['weft_executed_total', 'counter', 'Frames sent by the agent'],
  ['weft_learned_macs', 'gauge', 'MAC addresses learned by this host'],
  ['weft_learned_neighbours', 'gauge', 'ARP and ND entries learned by this host'],
  ['weft_neighbours_pending', 'gauge', 'ARP and ND resolutions under way'],
  ['weft_peers_up', 'gauge', 'Other hosts to which there is a tunnel'],
  ['weft_peers_down', 'gauge', 'Other hosts of the tunnel zones to which no route leads'],
  ['weft_peers_refused', 'gauge', 'Other hosts whose tunnel the datapath refused'],
  ['weft_peers_lost', 'gauge', 'Other hosts of which neither agent nor kernel is heard any more'],
  ['weft_tunnel_keys', 'gauge', 'Tunnel keys that end at this host'],
  ['weft_tunnel_keys_refused', 'gauge', 'Tunnel keys that the datapath refused'],
  [
    'weft_tunnel_keys_forwarded',
    'gauge',
    'Tunnel keys of ports that have moved, whose frames are sent on to their host',
  ],
  ['weft_ports', 'gauge', 'Virtual ports bound to this host'],
  ['weft_ports_live', 'gauge', 'Bound ports whose interface is there and attached'],
  ['weft_port_received_packets_total', 'counter', 'Packets that came from the interface of a port'],
  ['weft_port_received_bytes_total', 'counter', 'Bytes that came from the interface of a port'],
  ['weft_drops_total', 'counter', 'Packets dropped, by reason'],
  ['weft_connections', 'gauge', 'Connections that this host knows, those of other hosts included'],
  ['weft_connections_max', 'gauge', 'Room for connections'],
  ['weft_connections_created_total', 'counter', 'Connections that packets of this host have begun'],
  [
    'weft_connections_refused_total',
    'counter',
    'Packets whose connection could not begin: no room, or another one in its way',
  ],
  [
    'weft_connections_expired_total',
    'counter',
    'Connections that have been idle for too long, and removals that need not be remembered any more',
  ],
  ['weft_nat_blocks', 'gauge', 'Blocks of 64 ports for source NAT that this host holds'],
  ['weft_nat_idle_ports', 'gauge', 'Ports of these blocks that no connection uses'],
  ['weft_nat_ranges_low', 'gauge', 'Ranges of source NAT with few idle ports, for which no more blocks are to be had'],
  ['weft_nat_exhausted_total', 'counter', 'Packets for which no port of source NAT was left'],
  ['weft_state_datagrams_total', 'counter', 'Datagrams about connections, sent to and received from other hosts'],
  ['weft_state_bytes_total', 'counter', 'Bytes of these datagrams'],
  ['weft_state_records_total', 'counter', 'Connections in these datagrams'],
  ['weft_state_refused_total', 'counter', 'Datagrams that were not believed, by reason'],
  ['weft_state_records_refused_total', 'counter', 'Connections of other hosts that were not taken over, by reason'],
  ['weft_state_unsent_total', 'counter', 'Datagrams to hosts to which there is no tunnel'],
  [
    'weft_state_resends_total',
    'counter',
    'Requests to send again what was lost, sent to and received from other hosts',
  ],
  [
    'weft_state_syncs_total',
    'counter',
    'Synchronisations of all connections between two hosts, asked of others and given to them',
  ],
  ['weft_state_asks_total', 'counter', 'Questions to other hosts about connections that are not known here, by result'],
  ['weft_archive_up', 'gauge', '1 unless the last attempt to write to the archive, or to reach it, failed'],
  ['weft_archive_waiting', 'gauge', 'Connections that are to be handed to the archive, or wait there to be written'],
  ['weft_archive_records_total', 'counter', 'Connections given to the archive, by what became of them'],
  ['weft_archive_damaged_total', 'counter', 'Entries of the archive that were found damaged and passed over'],
  ['weft_archive_restored_total', 'counter', 'Connections that came from the archive'],
  [
    'weft_archive_reads_failed_total',
    'counter',
    'Readings of the archive that failed, or took longer than packets wait',
  ],
  ['weft_rule_matches_total', 'counter', 'Packets that matched a rule, by what the rule did'],
  ['weft_rule_lists', 'gauge', 'Different lists of rules that flows have passed'],
  ['weft_rule_flows_uncounted_total', 'counter', 'Flows whose rules are not counted for want of room'],
  ['weft_rule_log_lines_total', 'counter', 'Lines of the rule log'],
  ['weft_rule_log_suppressed_total', 'counter', 'Lines that the rule log would have had without limits'],
  ['weft_errors_total', 'counter', 'Packets or flows on which the agent failed'],
  ['weft_resident_bytes', 'gauge', 'Memory of the agent'],
] as const satisfies readonly (readonly [name: string, kind: 'gauge' | 'counter' | 'histogram', help: string])[];

type Name = (typeof METRICS)[number][0];

/** Names of upcall reasons (UPCALL_… of the flow contract), by number. */
const UPCALL_REASONS = ['none', 'miss', 'ttl', 'too_big', 'action', 'tcp_flags', 'path_mtu', 'flow_state'];

/** Metrics without labels: where their number stands in the status. */
const FIELDS: Partial<Record<Name, string>> = {
  weft_revision: 'revision',
  weft_applied_revision: 'applied',
  weft_applied_behind_seconds: 'behindSeconds',
  weft_store_up: 'storeUp',
  weft_session_open: 'session',
  weft_store_received_bytes_total: 'bytesReceived',
  weft_interests: 'interests',
  weft_flows: 'flows',
  weft_flows_max: 'flowsMax',
  weft_flows_installed_total: 'flowsInstalled',
  weft_flows_deleted_total: 'flowsDeleted',
  weft_flows_refused_total: 'flowsRefused',
  weft_flows_evicted_total: 'evicted',
  weft_flows_expired_total: 'expired',
  weft_flows_revalidated_total: 'revalidated',
  weft_revalidation_pending: 'revalidationPending',
  weft_flows_unverified: 'unverified',
  weft_upcalls_total: 'upcalls',
  weft_late_hits_total: 'lateHits',
  weft_simulations_total: 'simulations',
  weft_postponed_total: 'postponed',
  weft_waiting_packets: 'waiting',
  weft_waiting_packets_max: 'waitingMax',
  weft_generated_total: 'generated',
  weft_icmp_suppressed_total: 'icmpSuppressed',
  weft_executed_total: 'executed',
  weft_learned_macs: 'learnedMacs',
  weft_learned_neighbours: 'neighboursPublished',
  weft_neighbours_pending: 'neighboursPending',
  weft_peers_up: 'tunnelCounts.up',
  weft_peers_down: 'tunnelCounts.down',
  weft_peers_refused: 'tunnelCounts.refused',
  weft_peers_lost: 'peersLost',
  weft_tunnel_keys: 'tunnelKeys.installed',
  weft_tunnel_keys_refused: 'tunnelKeys.refused',
  weft_tunnel_keys_forwarded: 'tunnelKeys.forwarded',
  weft_connections: 'connections',
  weft_connections_max: 'connectionsMax',
  weft_connections_created_total: 'connectionsCreated',
  weft_connections_refused_total: 'connectionsRefused',
  weft_connections_expired_total: 'connectionsExpired',
  weft_nat_blocks: 'natBlocks',
  weft_nat_idle_ports: 'natIdlePorts',
  weft_nat_ranges_low: 'natRangesLow',
  weft_nat_exhausted_total: 'natExhausted',
  weft_state_unsent_total: 'stateExchange.unsentDatagrams',
  weft_archive_up: 'archive.up',
  weft_archive_damaged_total: 'archive.damaged',
  weft_archive_restored_total: 'archiveRestored',
  weft_archive_reads_failed_total: 'archiveReadsFailed',
  weft_rule_lists: 'ruleLists',
  weft_rule_flows_uncounted_total: 'ruleFlowsUncounted',
  weft_rule_log_lines_total: 'ruleLogLines',
  weft_rule_log_suppressed_total: 'ruleLogSuppressed',
  weft_errors_total: 'errors',
  weft_resident_bytes: 'rssBytes',
};

interface Labelled {
  readonly label: string;
  /** Value of the label → where its number stands in the status; or the place of an object whose members are the values. */
  readonly fields: Readonly<Record<string, string>> | string;
}

/** Metrics with one label. */
const LABELLED: Partial<Record<Name, Labelled>> = {
  weft_drops_total: { label: 'reason', fields: 'drops' },
  weft_rule_matches_total: { label: 'action', fields: 'ruleMatches' },
  weft_archive_waiting: {
    label: 'place',
    fields: { worker: 'archiveWaiting', queue: 'archive.queued', writing: 'archive.writing' },
  },
  weft_archive_records_total: {
    label: 'result',
    fields: {
      written: 'archive.written',
      superseded: 'archive.superseded',
      expired: 'archive.expired',
      dropped: 'archive.dropped',
      failed: 'archive.failed',
      invalid: 'archive.invalid',
      evicted: 'archive.evicted',
    },
  },
  weft_state_datagrams_total: bothWays('stateExchange.sentDatagrams', 'stateExchange.receivedDatagrams'),
  weft_state_bytes_total: bothWays('stateExchange.sentBytes', 'stateExchange.receivedBytes'),
  weft_state_records_total: bothWays('stateExchange.sentRecords', 'stateExchange.receivedRecords'),
  weft_state_refused_total: { label: 'reason', fields: 'stateExchange.refused' },
  weft_state_records_refused_total: { label: 'reason', fields: 'stateExchange.refusedRecords' },
  weft_state_resends_total: bothWays('stateExchange.resendsAsked', 'stateExchange.resends'),
  weft_state_syncs_total: {
    label: 'direction',
    fields: { asked: 'stateExchange.syncsAsked', given: 'stateExchange.syncsGiven' },
  },
  weft_state_asks_total: {
    label: 'result',
    fields: { begun: 'stateExchange.asks', found: 'stateExchange.asksFound', refused: 'stateExchange.asksRefused' },
  },
};

function bothWays(sent: string, received: string): Labelled {
  return { label: 'direction', fields: { sent, received } };
}

interface PortStatus {
  readonly portId: string;
  readonly interfaceName: string;
  readonly live: boolean;
}

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Renders a status (see `Engine.status` and the daemon's) and what the interfaces of this host received. */
export async function renderMetrics(
  status: Readonly<Record<string, unknown>>,
  received: ReadonlyMap<string, InterfaceCounters>,
): Promise<string> {
  const registry = new Registry();
  for (const [name, kind, help] of METRICS) {
    if (kind === 'histogram') {
      registry.registerMetric(histogram(name, help, status.firstPacket as LatencyReport));
      continue;
    }
    const field = FIELDS[name];
    const samples =
      field === undefined ? samplesOf(name, status, received) : [{ labels: {}, value: at(status, field) }];
    // A metric without a label would show a zero that nobody counted.
    const labelNames = samples.length === 0 ? ['none'] : Object.keys(samples[0]!.labels);
    const options = { name, help, labelNames, registers: [registry] };
    const metric = kind === 'counter' ? new Counter(options) : new Gauge(options);
    for (const { labels, value } of samples) metric.inc(labels, value);
  }
  return registry.metrics();
}

/** What stands at a path like `tunnels.up`. */
function lookUp(status: Readonly<Record<string, unknown>>, path: string): unknown {
  let value: unknown = status;
  for (const name of path.split('.')) value = (value as Record<string, unknown>)[name];
  return value;
}

function at(status: Readonly<Record<string, unknown>>, path: string): number {
  return Number(lookUp(status, path));
}

function labelled(status: Readonly<Record<string, unknown>>, { label, fields }: Labelled): Sample[] {
  const values =
    typeof fields === 'string'
      ? Object.entries(lookUp(status, fields) as Record<string, number>)
      : Object.entries(fields).map(([value, path]) => [value, at(status, path)] as const);
  return values.map(([name, value]) => ({ labels: { [label]: snakeCase(name) }, value }));
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function samplesOf(
  name: Name,
  status: Readonly<Record<string, unknown>>,
  received: ReadonlyMap<string, InterfaceCounters>,
): Sample[] {
  const ports = status.ports as readonly PortStatus[];
  const byLabel = LABELLED[name];
  if (byLabel !== undefined) return labelled(status, byLabel);
  switch (name) {
    case 'weft_upcalls_by_reason_total':
      return UPCALL_REASONS.map((reason, i) => ({
        labels: { reason },
        value: (status.upcallsByReason as readonly number[])[i] ?? 0,
      })).slice(1);
    case 'weft_ports':
      return [{ labels: {}, value: ports.length }];
    case 'weft_ports_live':
      return [{ labels: {}, value: ports.filter(({ live }) => live).length }];
    default: {
      const field = name === 'weft_port_received_packets_total' ? 'packets' : 'bytes';
      return ports
        .filter(({ live, interfaceName }) => live && received.has(interfaceName))
        .map(({ portId, interfaceName }) => ({
          labels: { port: portId, interface: interfaceName },
          value: received.get(interfaceName)![field],
        }));
    }
  }
}

/** A histogram whose buckets were counted elsewhere, which prom-client's own class cannot take. */
function histogram(name: string, help: string, { edges, counts, sum }: LatencyReport): Metric {
  let count = 0;
  const values = counts.map((n, i) => {
    count += n;
    return { labels: { le: edges[i] ?? '+Inf' }, value: count, metricName: `${name}_bucket` };
  });
  values.push({ labels: {} as never, value: sum, metricName: `${name}_sum` });
  values.push({ labels: {} as never, value: count, metricName: `${name}_count` });
  const get = async () => ({ name, help, type: 'histogram', values, aggregator: 'sum' });
  return { name, get } as unknown as Metric;
}
