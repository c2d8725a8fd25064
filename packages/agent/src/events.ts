/**
 * Every event that the agent logs. A log line is a JSON object with `event`, the fields named here, and what pino adds (level,
 * time, host). docs/EVENTS.md is generated from this table.
 */

export type Level = 'debug' | 'info' | 'warn' | 'error';

export interface EventRow {
  readonly level: Level;
  readonly fields: readonly string[];
  /** What it means and, where something is wrong, what to do. */
  readonly text: string;
  /** Packets can cause it: at most so many lines a minute, the next one says how many were `suppressed`. */
  readonly perMinute?: number;
}

export const EVENTS = {
  'agent.start': {
    level: 'info',
    fields: ['name', 'encap', 'datapath'],
    text: 'The agent has its state directory and its identity and begins to start.',
  },
  'agent.ready': { level: 'info', fields: [], text: 'The packet worker takes turns and the control socket answers.' },
  'agent.stop': {
    level: 'info',
    fields: ['leave'],
    text: 'The agent stops in order; known flows go on. `leave`: what this host has learned is withdrawn at once.',
  },
  'agent.failed': {
    level: 'error',
    fields: ['error', 'stack'],
    text: 'The agent gives up. Known flows go on; its supervisor has to start it anew. Report it with the stack.',
  },
  'store.up': { level: 'info', fields: [], text: 'The state database answers: changes arrive again.' },
  'store.away': {
    level: 'warn',
    fields: [],
    text: 'The state database does not answer. Packets go on by what the agent knows; no change arrives until `store.up`.',
  },
  'session.open': {
    level: 'info',
    fields: ['incarnation'],
    text: 'The host holds its session: what it learns is published, it counts as active.',
  },
  'session.waiting': {
    level: 'warn',
    fields: ['error'],
    text: 'The session cannot be opened yet; it is tried again twice a second, told once per reason.',
  },
  'entry.refused': {
    level: 'debug',
    fields: ['table', 'key', 'error'],
    text: 'The store refused a learned entry, most often because its bridge or router has just been deleted.',
    perMinute: 600,
  },
  'archive.read': {
    level: 'info',
    fields: ['port', 'records'],
    text: 'The archive had connections of a port of which this host knew nothing.',
  },
  'archive.failed': {
    level: 'warn',
    fields: ['port', 'records', 'error'],
    text: 'The archive could not be read to its end. Connections go on by what other hosts tell; see that it runs and can be reached.',
    perMinute: 60,
  },
  'move.ready': {
    level: 'info',
    fields: ['port', 'connections'],
    text: 'A port can be switched to this host: its interface is attached, its connections are known here.',
  },
  'metrics.listening': {
    level: 'info',
    fields: ['address'],
    text: 'Metrics are also served on this loopback address, to those with the token.',
  },
  'datapath.upgraded': {
    level: 'info',
    fields: ['from', 'flows', 'left'],
    text: 'Tables of a build with another layout (`from`) were in the kernel: their flows go on under this one. `left` could not be taken over, their next packets come up.',
  },
  'flows.adopted': {
    level: 'info',
    fields: ['flows', 'orphans'],
    text: 'Flows of an earlier start were found in the kernel; each is simulated again. `orphans` had no room and are deleted.',
  },
  'flows.abandoned': {
    level: 'warn',
    fields: ['flows'],
    text: 'The topology of adopted flows did not come in time: they are removed, their next packets come up.',
  },
  'flow.revalidation_failed': {
    level: 'error',
    fields: ['error'],
    text: 'Simulating an installed flow again failed; the flow is removed. A fault of the program: report it with the stack.',
    perMinute: 10,
  },
  'packet.failed': {
    level: 'error',
    fields: ['error'],
    text: 'Handling a packet failed; it is lost, others go on. A fault of the program: report it with the stack.',
    perMinute: 10,
  },
  'rule.decided': {
    level: 'info',
    fields: [
      'chain',
      'rule',
      'tenant',
      'verdict',
      'port',
      'flow',
      'srcMac',
      'dstMac',
      'ethertype',
      'vlan',
      'src',
      'dst',
      'protocol',
      'srcPort',
      'dstPort',
      'icmpType',
      'icmpCode',
    ],
    text: 'In the rule log: a rule of a chain with a logger decided about a flow, whose first packet this is (AGENT.md, “Rule log”).',
  },
  'rule.suppressed': {
    level: 'info',
    fields: ['suppressed'],
    text: 'In the rule log: so many decisions were not written in the last second, because ports cause no more lines than the limits allow.',
  },
  'rules.log_failed': {
    level: 'error',
    fields: ['error'],
    text: 'Lines of the rule log could not be written; they are lost. The disk may be full.',
    perMinute: 1,
  },
  'rules.forgotten': {
    level: 'warn',
    fields: ['error'],
    text: 'What rules had matched before this start could not be read; they are counted from 0.',
  },
  'rules.not_kept': {
    level: 'warn',
    fields: ['error'],
    text: 'What rules have matched could not be written to the run directory: it may be full. Counting goes on; a restart would forget it.',
    perMinute: 1,
  },
  'port.bound': {
    level: 'info',
    fields: ['port', 'interface', 'ifindex'],
    text: 'An interface of this host serves a virtual port from now on.',
  },
  'port.unbound': {
    level: 'info',
    fields: ['port', 'ifindex'],
    text: 'A virtual port is not served here any more: it was unbound, or its interface has gone.',
  },
  'port.no_carrier': {
    level: 'warn',
    fields: ['port', 'interface'],
    text: 'The wire behind a router port of this host is dead: routes by that port are not taken until it is back.',
    perMinute: 60,
  },
  'port.attach_failed': {
    level: 'error',
    fields: ['port', 'interface', 'ifindex', 'error'],
    text: 'The datapath refused an interface. It is tried again each second, told once per reason; other ports go on.',
  },
  'tunnel.up': {
    level: 'info',
    fields: ['host', 'remote', 'interfaces', 'mtu'],
    text: 'There is a tunnel to that host, or it takes another way or has another MTU than before.',
  },
  'tunnel.down': {
    level: 'warn',
    fields: ['host'],
    text: 'The tunnel to that host is gone: it left the tunnel zone, or there is no route to it any more.',
  },
  'connections.adopted': {
    level: 'info',
    fields: ['adopted', 'expired', 'damaged'],
    text: 'Connections that an earlier start left were taken over. `expired` had ended meanwhile; `damaged` ones were not whole and are forgotten.',
  },
  'peer.state': {
    level: 'info',
    fields: ['host', 'event'],
    text: 'Another host was heard for the first time (`met`), began a new life (`restarted`), is heard again after a silence (`back`), or has sent all connections that this host should know (`synchronised`).',
    perMinute: 600,
  },
  'peer.refused': {
    level: 'error',
    fields: ['host', 'error'],
    text: 'What another host has published as its key is none: no connections are exchanged with it. Restart its agent; remove its `flow-state-key` if that does not help.',
  },
  'peer.lost': {
    level: 'warn',
    fields: ['host'],
    text: 'Neither the agent nor the kernel of another host has been heard for 0.7 s. Routes that lead out by its ports give way to others; where there are none they go on being used.',
    perMinute: 600,
  },
  'peer.found': {
    level: 'info',
    fields: ['host'],
    text: 'The host is heard again.',
    perMinute: 600,
  },
  'nat.low': {
    level: 'warn',
    fields: ['device', 'addresses', 'idlePorts'],
    text: 'No more blocks of ports are to be had for a source NAT range, and few ports are idle: new connections will soon be dropped as `nat_exhausted`. Give the rule more addresses.',
    perMinute: 60,
  },
  'nat.kept': {
    level: 'info',
    fields: ['blocks'],
    text: 'Blocks of ports for source NAT were taken over from hosts that are gone: connections stand on them whose ports have moved here. No new port is chosen from them.',
    perMinute: 60,
  },
  'nat.refused': {
    level: 'warn',
    fields: ['pool', 'error'],
    text: 'The state database did not give ports for source NAT. It is asked again; connections go on by the ports that are held.',
    perMinute: 60,
  },
  'tunnel.path_mtu': {
    level: 'info',
    fields: ['host', 'mtu'],
    text: 'A router of the underlay said that packets to that host must be smaller; believed for ten minutes.',
    perMinute: 60,
  },
  'tunnel.refused': {
    level: 'error',
    fields: ['refused', 'example', 'error'],
    text: 'The datapath refused tunnels to `refused` hosts (`example` is one): its table is full. Packets to them are dropped as `peer_unreachable`. Split the tunnel zone.',
  },
  'tunnel_key.refused': {
    level: 'error',
    fields: ['refused', 'example', 'error'],
    text: 'The datapath refused tunnel keys of ports or bridges of this host: a table is full. They get nothing from other hosts. Bind fewer ports here.',
  },
  'underlay.refused': {
    level: 'error',
    fields: ['refused', 'example', 'error'],
    text: 'The datapath refused an underlay interface, or this host’s tunnel addresses. Tunnel packets that arrive there are not taken. It is tried again each second.',
  },
} as const satisfies Readonly<Record<string, EventRow>>;

export type AgentEvent = keyof typeof EVENTS;

/** Writes an event at its level. */
export type Log = (event: AgentEvent, fields?: Readonly<Record<string, unknown>>) => void;

/** The row of an event. */
export function eventRow(event: AgentEvent): EventRow {
  return EVENTS[event];
}
