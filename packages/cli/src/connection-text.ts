/** Connections as tables and lines for people, and those of several hosts as one list. */
import type { ConnectionDump, ConnectionKind, ConnectionList, HostRef } from '@weft/agent';
import type { KnownHost } from './agents.ts';
import { nameHosts } from './agents.ts';
import { formatTable } from './output.ts';

/** What an agent knows. */
export interface HostConnections {
  readonly host: KnownHost;
  readonly list: ConnectionList;
}

/** A connection, and which of the hosts asked know it. */
export interface SharedConnection extends ConnectionDump {
  readonly knownOn: readonly string[];
  /** Its owner, or hosts that are told of it, which were asked and do not know it: not yet, or not any more. */
  readonly missingOn: readonly string[];
}

const KINDS: Readonly<Record<ConnectionKind, string>> = {
  tracking: 'tracked',
  snat: 'source NAT',
  dnat: 'destination NAT',
  affinity: 'affinity',
};

/** Each connection once, as its owner tells it if that was asked. */
export function sharedConnections(answers: readonly HostConnections[]): SharedConnection[] {
  const byName = new Map<string, { told: ConnectionDump; by: KnownHost; knownOn: KnownHost[] }>();
  for (const { host, list } of answers) {
    for (const told of list.connections) {
      const name = `${told.device.id} ${told.kind} ${told.text}`;
      const known = byName.get(name);
      if (known === undefined) byName.set(name, { told, by: host, knownOn: [host] });
      else {
        known.knownOn.push(host);
        if (told.owner.id === host.hostId) Object.assign(known, { told, by: host });
      }
    }
  }
  // Of a host whose list was cut nothing can be said to be missing.
  const whole = answers.filter(({ list }) => list.complete && list.matching === list.connections.length);
  return [...byName.values()].map(({ told, knownOn }) => {
    const concerned = new Set([told.owner.id, ...told.told.map(({ id }) => id)]);
    const missing = whole.filter(({ host }) => concerned.has(host.hostId) && !knownOn.includes(host));
    return {
      ...told,
      knownOn: knownOn.map(({ name }) => name),
      missingOn: missing.map(({ host }) => host.name),
    };
  });
}

const HEAD = ['KIND', 'DEVICE', 'CONNECTION', 'STATE', 'BECOMES', 'IDLE', 'ENDS IN', 'FLOWS', 'OWNER', 'TOLD'];

/** @param hosts whose names are known */
export function connectionTable(
  connections: readonly (ConnectionDump | SharedConnection)[],
  hosts: readonly KnownHost[],
): string {
  const rows = connections.map((one) => [
    KINDS[one.kind],
    one.device.name,
    one.text,
    one.state,
    one.translation || '-',
    duration(one.idleMs),
    duration(one.endsInMs),
    String(one.flows),
    hostName(one.owner, hosts),
    `${hostNames(one.told, hosts) || '-'}${missingText(one)}`,
  ]);
  return formatTable([HEAD, ...rows]);
}

/** All that is known of one. */
export function connectionLines(one: ConnectionDump | SharedConnection, hosts: readonly KnownHost[]): string[] {
  const rule = one.rule === null ? '' : `, by ${one.rule.name}${one.keeps ? ', finishes although rules change' : ''}`;
  const lines = [
    `${one.text} (${KINDS[one.kind]} at ${one.device.name}): ${one.state}${rule}`,
    ...(one.translation === '' ? [] : [`  ${one.translation}`]),
    `  in by ${one.ingress?.name ?? 'no port'}, out by ${one.egress?.name ?? 'no single port'}`,
    `  age ${duration(one.ageMs)}, idle ${duration(one.idleMs)}, ends in ${duration(one.endsInMs)}, flows here: ${one.flows}`,
    `  owner ${hostName(one.owner, hosts)}, told ${hostNames(one.told, hosts) || 'nobody'}${missingText(one)}`,
  ];
  return lines.map((line) => nameHosts(line, hosts));
}

function missingText(one: ConnectionDump | SharedConnection): string {
  if (!('missingOn' in one) || one.missingOn.length === 0) return '';
  return `; NOT KNOWN on ${one.missingOn.join(', ')}`;
}

function hostName({ id, name }: HostRef, hosts: readonly KnownHost[]): string {
  return hosts.find(({ hostId }) => hostId === id)?.name ?? name;
}

function hostNames(refs: readonly HostRef[], hosts: readonly KnownHost[]): string {
  return refs
    .map((ref) => hostName(ref, hosts))
    .sort()
    .join(', ');
}

/** Two digits or so: exact where it is short. */
function duration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
