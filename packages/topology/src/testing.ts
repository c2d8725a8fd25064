/** Test helper: a transaction over a plain map, with validation and cross-object constraints but without references. */
import { checkObject } from './check.ts';
import { TopologyError, type TopologyErrorCode } from './errors.ts';
import type { TypeName } from './objects/index.ts';
import type { TopologyTransaction } from './operations.ts';
import type { Lookup, ObjectValue } from './spec.ts';
import { validateObject } from './validate.ts';

/** A recognisable UUID. */
export const uuidOf = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;

export class MemoryTransaction implements TopologyTransaction, Lookup {
  readonly #objects = new Map<string, ObjectValue>();

  // Serves both contracts: a stored object here is its value with itself as `value`.
  async get(type: string, id: string): Promise<never> {
    const value = this.#objects.get(`${type}/${id}`);
    return (value && { ...value, value }) as never;
  }

  async referrers(type: string, field: string, id: string): Promise<string[]> {
    const ids: string[] = [];
    for (const [key, value] of this.#objects) {
      const content = value[field];
      if (key.startsWith(`${type}/`) && (Array.isArray(content) ? content.includes(id) : content === id)) {
        ids.push(value.id as string);
      }
    }
    return ids;
  }

  async create<T>(type: string, value: ObjectValue): Promise<T> {
    return this.#write(type, value, undefined);
  }

  async update<T>(type: string, id: string, value: ObjectValue): Promise<T> {
    return this.#write(type, value, this.#objects.get(`${type}/${id}`));
  }

  async delete(type: string, id: string): Promise<void> {
    this.#objects.delete(`${type}/${id}`);
  }

  list(type: string): ObjectValue[] {
    return [...this.#objects].filter(([key]) => key.startsWith(`${type}/`)).map(([, value]) => value);
  }

  async #write<T>(type: string, value: ObjectValue, previous: ObjectValue | undefined): Promise<T> {
    const validated = validateObject(type, value);
    if (!validated.ok) throw new Error(JSON.stringify(validated.violations));
    const lookup: Lookup = {
      get: async (t, id) => this.#objects.get(`${t}/${id}`),
      referrers: this.referrers.bind(this),
    };
    const checked = await checkObject(type as TypeName, validated.value, lookup, previous);
    if (!checked.ok) throw new TopologyError(checked.code as TopologyErrorCode, checked.message, checked.violations);
    this.#objects.set(`${type}/${validated.value.id}`, validated.value);
    return validated.value as T;
  }
}

/** The smallest valid input of each type. */
export const MINIMAL: Readonly<Record<TypeName, ObjectValue>> = {
  Host: {},
  TunnelZone: { name: 'tz' },
  TunnelZoneHost: { tunnelZoneId: uuidOf(1), hostId: uuidOf(2), ipAddress: '192.0.2.1' },
  Bridge: {},
  Router: {},
  Port: { bridgeId: uuidOf(3) },
  Route: { routerId: uuidOf(4), dstSubnet: '10.0.0.0/24', nextHopPort: uuidOf(5) },
  Chain: {},
  Rule: { chainId: uuidOf(6), type: 'accept' },
  PortGroup: {},
  IpAddrGroup: { name: 'web' },
  SecurityGroup: {},
  RuleLogger: { chainId: uuidOf(6), event: 'all', loggingResourceId: uuidOf(7) },
  LoggingResource: {},
  Account: { name: 'ann', passwordHash: 'x', role: 'admin' },
  AuthToken: { accountId: uuidOf(8), tokenHash: '0'.repeat(64), expires: 1 },
};
