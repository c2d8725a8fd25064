/**
 * Tells the main thread of decisions that rule loggers want to know. One line per decision about a flow, at the packet that
 * makes it; so many a second and no more, per port and in all, since whoever sends packets causes them.
 */
import {
  K_ETH_DST,
  K_ETH_SRC,
  K_ETHER_TYPE,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_TP_DST,
  K_TP_SRC,
  K_VLAN,
  readU16,
} from '@weft/flow';
import { FRAGMENT_LATER, ipFormat, macFormat } from '@weft/packet';
import {
  ACTION_ACCEPT,
  ACTION_DROP,
  ACTION_REJECT,
  ACTION_RETURN,
  Names,
  RULE_LOG_WORDS,
  type Simulation,
  type VirtualTopology,
} from '@weft/simulator';
import type { RuleDecision, RuleLogLine } from '../rule-log.ts';
import { RateLimit } from './rate-limit.ts';

const VERDICTS: Readonly<Record<number, string>> = {
  [ACTION_ACCEPT]: 'accept',
  [ACTION_RETURN]: 'return',
  [ACTION_DROP]: 'drop',
  [ACTION_REJECT]: 'reject',
};
const ARP = 0x0806;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const ICMP = 1;
const ICMPV6 = 58;
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 132, 136]);
/** The bucket of all ports together. */
const ALL = 0;

export interface RuleLogLimits {
  /** Lines a second, per port and in all. */
  readonly ruleLogRatePerPort: number;
  readonly ruleLogRate: number;
}

export class RuleLogger {
  /** Lines told, and decisions over the limits. */
  lines = 0;
  suppressed = 0;
  private told = 0;
  private readonly view: VirtualTopology;
  private readonly names: Names;
  private readonly write: (line: RuleLogLine) => void;
  private readonly interfaceOf: (ifindex: number) => string;
  private readonly perPort: RateLimit;
  private readonly all: RateLimit;

  /** @param interfaceOf name of a local interface */
  constructor(
    view: VirtualTopology,
    limits: RuleLogLimits,
    interfaceOf: (ifindex: number) => string,
    write: (line: RuleLogLine) => void,
  ) {
    this.view = view;
    this.names = new Names(view, () => '');
    this.write = write;
    this.interfaceOf = interfaceOf;
    this.perPort = new RateLimit(limits.ruleLogRatePerPort);
    this.all = new RateLimit(limits.ruleLogRate);
  }

  /** A simulation decided about a packet with this key that came by a port (its handle) of this host. */
  decided(
    sim: Simulation,
    key: Uint8Array,
    inPort: number,
    port: number,
    flow: 'first' | 'changed',
    now: number,
  ): void {
    for (let i = 0; i < sim.ruleLogCount; i++) {
      if (!this.perPort.take(inPort, now) || !this.all.take(ALL, now)) {
        this.suppressed++;
        continue;
      }
      this.lines++;
      const at = i * RULE_LOG_WORDS;
      const [chain, rule, action] = sim.ruleLogs.subarray(at, at + RULE_LOG_WORDS);
      this.write(this.line(chain, rule, action, key, inPort, port, flow));
    }
  }

  /** Says how many lines were left out since this was last said. About once a second. */
  tick(now: number): void {
    this.perPort.collect(now);
    this.all.collect(now);
    if (this.suppressed === this.told) return;
    this.write({ event: 'rule.suppressed', suppressed: this.suppressed - this.told });
    this.told = this.suppressed;
  }

  private line(
    chain: number,
    rule: number,
    action: number,
    key: Uint8Array,
    inPort: number,
    port: number,
    flow: 'first' | 'changed',
  ): RuleDecision {
    const { view, names } = this;
    const chainId = view.id(chain);
    const ruleId = view.id(rule);
    const chainValue = names.object('Chain', chainId);
    const tci = readU16(key, K_VLAN);
    return {
      event: 'rule.decided',
      chain: { id: chainId, name: text(chainValue?.name), ...metadataOf(chainValue) },
      rule: { id: ruleId, position: names.ruleNumber(ruleId), ...metadataOf(names.object('Rule', ruleId)) },
      tenant: text(chainValue?.tenantId),
      verdict: VERDICTS[action] ?? String(action),
      port: { id: view.id(port), interface: this.interfaceOf(inPort) },
      flow,
      srcMac: macFormat(key, K_ETH_SRC),
      dstMac: macFormat(key, K_ETH_DST),
      ethertype: readU16(key, K_ETHER_TYPE),
      ...(tci === 0 ? {} : { vlan: tci & 0xfff }),
      ...network(key),
    };
  }
}

function network(key: Uint8Array): Partial<RuleDecision> {
  const ethertype = readU16(key, K_ETHER_TYPE);
  if (ethertype !== IPV4 && ethertype !== IPV6 && ethertype !== ARP) return {};
  const addresses = { src: ipFormat(key, K_IP_SRC), dst: ipFormat(key, K_IP_DST) };
  if (ethertype === ARP) return addresses;
  const protocol = key[K_IP_PROTO];
  const whole = { ...addresses, protocol };
  if (key[K_IP_FRAG] === FRAGMENT_LATER) return whole;
  if (WITH_PORTS.has(protocol)) return { ...whole, srcPort: readU16(key, K_TP_SRC), dstPort: readU16(key, K_TP_DST) };
  if (protocol !== ICMP && protocol !== ICMPV6) return whole;
  return { ...whole, icmpType: readU16(key, K_TP_SRC), icmpCode: readU16(key, K_TP_DST) };
}

function metadataOf(value: Record<string, unknown> | undefined): { metadata?: Record<string, string> } {
  const metadata = value?.metadata as Record<string, string> | undefined;
  return metadata === undefined || Object.keys(metadata).length === 0 ? {} : { metadata };
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
