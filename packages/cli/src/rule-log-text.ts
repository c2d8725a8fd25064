/** Lines of the rule log in words. */
import type { RuleDecision, RuleLogLine } from '@weft/agent';
import { ipProtocolName } from '@weft/packet';

/** A line as the host of that name logged it. `time`: ms since 1970. */
export type LoggedLine = RuleLogLine & { readonly time: number; readonly hostName: string };

const VERBS: Readonly<Record<string, string>> = {
  accept: 'accepts',
  return: 'returns',
  drop: 'drops',
  reject: 'rejects',
};

export function decisionText(line: LoggedLine): string {
  const start = `${new Date(line.time).toISOString()} ${line.hostName}`;
  if (line.event === 'rule.suppressed') return `${start} … and ${line.suppressed} more that were not logged`;
  const { chain, rule, verdict, port, tenant, flow } = line;
  const number = rule.position === 0 ? rule.id : rule.position;
  const parts = [
    `${start} rule ${number} of chain ${chain.name === '' ? chain.id : `"${chain.name}"`} ${VERBS[verdict] ?? verdict} ${packetText(line)}`,
    `from ${port.interface || port.id}`,
  ];
  if (tenant !== '') parts.push(`tenant ${tenant}`);
  if (flow === 'changed') parts.push('(a flow that was there before)');
  const notes = Object.entries({ ...chain.metadata, ...rule.metadata }).map(([key, value]) => `${key}=${value}`);
  return notes.length === 0 ? parts.join(', ') : `${parts.join(', ')} [${notes.join(' ')}]`;
}

function packetText(line: RuleDecision): string {
  const { src, dst, protocol, srcPort, dstPort, icmpType, icmpCode, ethertype, vlan } = line;
  const tag = vlan === undefined ? '' : `VLAN ${vlan} `;
  if (src === undefined || dst === undefined) {
    return `${tag}0x${ethertype.toString(16).padStart(4, '0')} ${line.srcMac} → ${line.dstMac}`;
  }
  if (protocol === undefined) return `${tag}ARP ${src} → ${dst}`;
  const icmp = icmpType === undefined ? '' : ` type ${icmpType} code ${icmpCode}`;
  return `${tag}${ipProtocolName(protocol)}${icmp} ${end(src, srcPort)} → ${end(dst, dstPort)}`;
}

function end(address: string, port: number | undefined): string {
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
