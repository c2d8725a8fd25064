/** Rules of security groups and allowed address pairs, as words of a command and as JSON of the API. */
import { CliError } from '../errors.ts';
import type { ValueType } from './types.ts';
import { isUuid, protocol, quoteWord } from './values.ts';

const RULES =
  'rules, comma separated: "ingress tcp 80-443 from 10.0.0.0/8, egress ipv6, ingress icmp"; from and to take a prefix or the id of a group';

interface SecurityRule {
  readonly direction: string;
  readonly etherType?: string;
  readonly protocol?: number | string;
  readonly portMin?: number;
  readonly portMax?: number;
  readonly remotePrefix?: string;
  readonly remoteGroupId?: string;
}

/**
 * `ingress|egress [ipv4|ipv6] [protocol [ports]] [from|to prefix|group]`, several comma separated. Of ICMP the ports are the
 * type, or type-code.
 */
export const securityRules: ValueType = {
  takes: RULES,
  parse: (given, field, names) => {
    const refuse = (why: string): never => {
      throw new CliError('WEFT_CLI_SYNTAX', `Syntax error at: ${given} (${field}: ${why}; it takes ${RULES})`);
    };
    return given
      .split(',')
      .map((part) => part.trim().split(/\s+/))
      .filter((words) => words[0] !== '')
      .map((words) => {
        const direction = words[0]!;
        let rest = words.slice(1);
        if (direction !== 'ingress' && direction !== 'egress') refuse(`${direction} is neither ingress nor egress`);
        const rule: Record<string, unknown> = { direction };
        const [preposition, end] = rest.slice(-2);
        if (rest.length >= 2 && (preposition === 'from' || preposition === 'to')) {
          rest = rest.slice(0, -2);
          const group = isUuid(end!) ? end!.toLowerCase() : names?.idOf(end!);
          if (group !== undefined) rule.remoteGroupId = group;
          else {
            rule.remotePrefix = end;
            if (end!.includes(':')) rule.etherType = 'ipv6';
          }
        }
        if (rest[0] === 'ipv4' || rest[0] === 'ipv6') rule.etherType = rest.shift();
        const [name, ports, ...more] = rest;
        if (more.length > 0) refuse(`${more.join(' ')} is not understood`);
        if (name !== undefined) rule.protocol = protocol.parse(name, field);
        if (ports !== undefined) {
          const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(ports) ?? refuse(`${ports} is no port and no range`);
          rule.portMin = Number(match[1]);
          if (match[2] !== undefined) rule.portMax = Number(match[2]);
        }
        return rule;
      });
  },
  print: (value, names) => {
    if (!Array.isArray(value) || value.length === 0) return undefined;
    const rules = (value as SecurityRule[]).map((rule) => {
      const { direction, etherType, portMin, portMax, remotePrefix, remoteGroupId } = rule;
      const words = [direction];
      if (etherType === 'ipv6' && !remotePrefix?.includes(':')) words.push(etherType);
      if (rule.protocol !== undefined) words.push(protocol.print(rule.protocol)!);
      if (portMin !== undefined) {
        words.push(
          portMax === undefined || (portMax === portMin && !isIcmp(rule)) ? `${portMin}` : `${portMin}-${portMax}`,
        );
      }
      const end = remotePrefix ?? (remoteGroupId && (names?.aliasOf(remoteGroupId) ?? remoteGroupId));
      if (end !== undefined) words.push(direction === 'ingress' ? 'from' : 'to', end);
      return words.join(' ');
    });
    return quoteWord(rules.join(', '));
  },
};

/** Of ICMP, `8-0` is type and code; of ports `80-80` is one port. */
function isIcmp(rule: SecurityRule): boolean {
  return rule.protocol === 1 || rule.protocol === 58;
}

const PAIRS = 'addresses or prefixes, with @MAC where it is another: 10.0.0.9,10.0.0.10@00:00:5e:00:01:07';

/** `10.0.0.9,10.0.0.10@00:00:5e:00:01:07` ↔ [{ipAddress, macAddress?}]. */
export const addressPairs: ValueType = {
  takes: PAIRS,
  parse: (given) =>
    given
      .split(',')
      .filter((part) => part !== '')
      .map((part) => {
        const at = part.indexOf('@');
        return at < 0 ? { ipAddress: part } : { ipAddress: part.slice(0, at), macAddress: part.slice(at + 1) };
      }),
  print: (value) => {
    if (!Array.isArray(value) || value.length === 0) return undefined;
    return (value as { ipAddress: string; macAddress?: string }[])
      .map(({ ipAddress, macAddress }) => (macAddress === undefined ? ipAddress : `${ipAddress}@${macAddress}`))
      .join(',');
  },
};
