/**
 * The chains of port security, which follow from the port and are in no store. They come among what was delivered when something first
 * asks for one of them, not with the port: a host knows all ports of a bridge, and sends to few of them.
 */
import {
  hasPortSecurity,
  PORT_SECURITY_FIELDS,
  portSecurityChains,
  securityInChainId,
  securityOutChainId,
} from '@weft/topology';
import type { Change, SimPort } from '../contract.ts';

type Value = Record<string, unknown>;

interface Derived {
  /** What stands among what was delivered because of the port. */
  readonly interests: ReadonlySet<string>;
  /** UUIDs of its chains. */
  readonly chains: readonly string[];
}

/** What brings the derived content of a port in line with its value. */
export interface Following {
  /** To be taken in as if the store had delivered it. */
  readonly changes: readonly Change[];
  /** Content that is no more. */
  readonly gone: readonly string[];
}

export class SecurityChains {
  /** Chain by which a secured port is entered or left → the port. */
  private readonly ports = new Map<number, number>();
  private readonly derived = new Map<number, Derived>();
  private readonly interests = new Set<string>();

  /** Whether the content of this interest was derived here: no store delivers, changes or is asked for it. */
  holds(interest: string): boolean {
    return this.interests.has(interest);
  }

  /** A port is not what it was. */
  setPort(before: SimPort | undefined, after: SimPort | undefined): void {
    if (before !== undefined) for (const chain of [before.securityIn, before.securityOut]) this.ports.delete(chain);
    if (after === undefined || after.securityIn === 0) return;
    for (const chain of [after.securityIn, after.securityOut]) this.ports.set(chain, after.handle);
  }

  /** The port of which a chain that is asked for is still to be derived; 0: it is no such chain, or is there. */
  missing(chain: number): number {
    const port = this.ports.get(chain) ?? 0;
    return this.derived.has(port) ? 0 : port;
  }

  isDerived(port: number): boolean {
    return this.derived.has(port);
  }

  /** @param value the port while it is secured; undefined: nothing is to be derived from it any more */
  follow(port: number, value: Value | undefined): Following {
    const held = this.derived.get(port)?.interests ?? new Set<string>();
    const { changes, chains } = value === undefined ? { changes: [], chains: [] } : contentOf(value);
    const interests = new Set(changes.map(({ interest }) => interest));
    const gone = [...held].filter((interest) => !interests.has(interest));
    for (const interest of gone) this.interests.delete(interest);
    for (const interest of interests) this.interests.add(interest);
    if (value === undefined) this.derived.delete(port);
    else this.derived.set(port, { interests, chains });
    return { changes, gone };
  }

  /** Ports of which no derived chain is in use. */
  unused(inUse: (chain: string) => boolean): number[] {
    return [...this.derived].filter(([, { chains }]) => !chains.some(inUse)).map(([port]) => port);
  }
}

function contentOf(port: Value): { changes: Change[]; chains: string[] } {
  const changes: Change[] = [];
  const chains: string[] = [];
  const put = (id: string, chain: object | null) => {
    chains.push(id);
    // A logger names what is stored: these chains have none.
    changes.push(objectChange('Chain', id, chain));
    changes.push({ interest: `i/RuleLogger.chainId/${id}`, kind: 'index', reset: true, added: [], removed: [] });
  };
  try {
    for (const { chain, rules } of portSecurityChains(port)) {
      put(chain.id, chain);
      for (const rule of rules) changes.push(objectChange('Rule', rule.id, rule));
    }
  } catch {
    // The store validated it, so this is a newer version's port: a chain that is not there lets nothing through.
    for (const idOf of [securityInChainId, securityOutChainId]) put(idOf(port.id as string), null);
  }
  return { changes, chains };
}

function objectChange(type: string, id: string, value: object | null): Change {
  const object = value && { type, id, version: 0, value: value as Value };
  return { interest: `o/${type}/${id}`, kind: 'object', object };
}

/** Whether the same chains derive from both values of a port. */
export function sameSecurity(a: Value | null | undefined, b: Value | null | undefined): boolean {
  return basisOf(a) === basisOf(b);
}

function basisOf(port: Value | null | undefined): string {
  if (!port || !hasPortSecurity(port)) return '';
  return JSON.stringify(PORT_SECURITY_FIELDS.map((field) => port[field]));
}
