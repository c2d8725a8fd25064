/** What to call the things of the virtual network: handles → names that a person knows. */
import type { VirtualTopology } from '../view/topology.ts';

export type RefKind = 'port' | 'bridge' | 'router' | 'chain' | 'rule' | 'route' | 'unknown';

/** A thing of the virtual network: `name` for people, `id` for programs. */
export interface Ref {
  readonly kind: RefKind;
  readonly id: string;
  readonly name: string;
}

type Value = Record<string, unknown>;

const TYPES: readonly [type: string, kind: RefKind][] = [
  ['Port', 'port'],
  ['Bridge', 'bridge'],
  ['Router', 'router'],
  ['Chain', 'chain'],
  ['Rule', 'rule'],
  ['Route', 'route'],
];

const NOTHING: Ref = { kind: 'unknown', id: '', name: 'nothing' };

export class Names {
  private readonly view: VirtualTopology;
  private readonly host: (id: string) => string;

  /** @param host what to call a host; '' for the one that asks */
  constructor(view: VirtualTopology, host: (id: string) => string) {
    this.view = view;
    this.host = host;
  }

  /** The object as stored, or undefined: not there, or not cached. */
  object(type: string, id: string): Value | undefined {
    return this.view.raw.objects.get(`o/${type}/${id}`) ?? undefined;
  }

  ref(handle: number): Ref {
    if (handle === 0) return NOTHING;
    return this.of(this.view.id(handle));
  }

  of(id: string): Ref {
    for (const [type, kind] of TYPES) {
      const value = this.object(type, id);
      if (value !== undefined) return { kind, id, name: this.nameOf(kind, id, value) };
    }
    return { kind: 'unknown', id, name: brief(id) };
  }

  /** Name of an object that has one, with its kind. */
  private nameOf(kind: RefKind, id: string, value: Value): string {
    switch (kind) {
      case 'port':
        return this.port(id, value);
      case 'rule':
        return this.rule(id, value);
      case 'route':
        return this.route(value);
      default:
        return typeof value.name === 'string' && value.name !== '' ? `${kind} "${value.name}"` : `${kind} ${brief(id)}`;
    }
  }

  private port(id: string, value: Value): string {
    const device = this.of(String(value.bridgeId ?? value.routerId ?? '')).name;
    if (typeof value.hostId === 'string' && typeof value.interfaceName === 'string') {
      const host = this.host(value.hostId);
      return `port ${value.interfaceName}${host === '' ? '' : ` on ${host}`} of ${device}`;
    }
    if (value.routerId !== undefined) {
      const subnets = (value.portSubnet as string[] | undefined) ?? [];
      return `port ${subnets[0] ?? brief(id)} of ${device}`;
    }
    const peer = typeof value.peerId === 'string' ? this.object('Port', value.peerId) : undefined;
    if (peer === undefined) return `port ${brief(id)} of ${device}`;
    const vlan = value.vlanId === undefined ? '' : `VLAN ${value.vlanId} `;
    return `${vlan}port of ${device} to ${this.of(String(peer.bridgeId ?? peer.routerId ?? '')).name}`;
  }

  /** Number of a rule in its chain, from 1; 0 if the chain does not have it. */
  ruleNumber(id: string): number {
    const chain = this.object('Chain', String(this.object('Rule', id)?.chainId ?? ''));
    return ((chain?.ruleIds as string[] | undefined)?.indexOf(id) ?? -1) + 1;
  }

  private rule(id: string, value: Value): string {
    const number = this.ruleNumber(id);
    return `rule ${number === 0 ? brief(id) : number} of ${this.of(String(value.chainId ?? '')).name}`;
  }

  private route(value: Value): string {
    const parts = [`route to ${value.dstSubnet}`];
    if (value.srcSubnet !== undefined && !/^(0\.0\.0\.0|::)\/0$/.test(String(value.srcSubnet)))
      parts.push(`from ${value.srcSubnet}`);
    if (value.type !== undefined && value.type !== 'normal') parts.push(`(${value.type})`);
    if (value.nextHopGateway !== undefined) parts.push(`via ${value.nextHopGateway}`);
    if (value.nextHopPort !== undefined) parts.push(`by ${this.of(String(value.nextHopPort)).name}`);
    if (value.learned === true) parts.push('(learned)');
    return parts.join(' ');
  }
}

/** First part of a UUID: enough to find it again, short enough to read. */
export function brief(id: string): string {
  return id.slice(0, 8);
}
