/**
 * A topology in memory, for tests: objects and tables as the state database would hold them, delivered by interest. Everything
 * is validated by the object model, derived objects included; entries that are there because of objects come and go with them.
 */
import { applyDefaults, OBJECT_TYPES, type TypeName, validateObject } from '@weft/topology';
import type { Change, StoredObject } from '../contract.ts';

type Value = Record<string, unknown>;

/** Fields whose referrers the simulator asks for. */
const INDEXED: readonly [type: string, field: string][] = [
  ['Port', 'bridgeId'],
  ['Port', 'routerId'],
  ['Port', 'portGroupIds'],
  ['Port', 'hostId'],
  ['Port', 'nextHostId'],
  ['Port', 'previousHostId'],
  ['Route', 'routerId'],
  ['RuleLogger', 'chainId'],
];

/** What a reference or a list of references names. */
function namesOf(field: unknown): readonly string[] {
  return typeof field === 'string' ? [field] : Array.isArray(field) ? (field as string[]) : [];
}

/** The n-th UUID of a test. */
export function uuid(n: number): string {
  return `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;
}

export class World {
  readonly objects = new Map<string, Value>();
  readonly tables = new Map<string, Map<string, string>>();
  private readonly dirty = new Set<string>();
  /** Objects because of which an entry is there. */
  private readonly owners = new Map<string, Set<string>>();
  private nextId = 1;
  private nextKey = 1;

  /** Creates or replaces an object; returns its id. @throws when the object model refuses it */
  put(type: TypeName, value: Value): string {
    const given = { id: uuid(this.nextId++), ...value };
    if (type === 'Bridge' || type === 'Port') (given as Value).tunnelKey ??= this.nextKey++;
    const random = { uuid: () => uuid(this.nextId++), bytes: (n: number) => new Uint8Array(n).fill(this.nextId++) };
    const result = validateObject(type, applyDefaults(type, given, random), { random });
    if (!result.ok) throw new Error(`${type} ${JSON.stringify(given)}: ${JSON.stringify(result.violations)}`);
    const object = result.value as Value;
    const id = object.id as string;
    this.removeDerived(type, id);
    this.ownEntries(type, this.get(type, id), object);
    this.store(type, id, object);
    for (const derived of OBJECT_TYPES[type].derive?.(object) ?? []) {
      this.store(derived.type, derived.value.id as string, derived.value);
    }
    return id;
  }

  /** Changes some fields; undefined removes one. */
  patch(type: TypeName, id: string, fields: Value): void {
    const value = { ...this.objects.get(`${type}/${id}`), ...fields };
    for (const [name, field] of Object.entries(value)) if (field === undefined) delete value[name];
    this.put(type, value);
  }

  get(type: string, id: string): Value | undefined {
    return this.objects.get(`${type}/${id}`);
  }

  remove(type: TypeName, id: string): void {
    this.removeDerived(type, id);
    this.ownEntries(type, this.get(type, id), undefined);
    this.erase(type, id);
  }

  /** Links two ports. */
  link(a: string, b: string): void {
    this.patch('Port', a, { peerId: b });
    this.patch('Port', b, { peerId: a });
  }

  /** A chain of rules, in order. */
  chain(rules: readonly Value[]): string {
    const chainId = this.put('Chain', {});
    const ruleIds = rules.map((rule) => this.put('Rule', { chainId, ...rule }));
    this.patch('Chain', chainId, { ruleIds });
    return chainId;
  }

  /** Sets an entry of a table (`mac/<bridge>` …); null removes it. */
  entry(table: string, key: string, value: string | null): void {
    const entries = this.tables.get(table) ?? new Map<string, string>();
    this.tables.set(table, entries);
    if (value === null) entries.delete(key);
    else entries.set(key, value);
    this.dirty.add(`t/${table}`);
  }

  /** The whole content of an interest. */
  content(interest: string): Change {
    const [kind, name, id] = interest.split('/');
    if (kind === 'o') {
      const value = this.objects.get(`${name}/${id}`);
      const object: StoredObject | null = value ? { type: name, id, version: 1, value } : null;
      return { interest, kind: 'object', object };
    }
    if (kind === 'i') {
      const [type, field] = name.split('.');
      const added = [...this.objects]
        .filter(([key, value]) => key.startsWith(`${type}/`) && namesOf(value[field]).includes(id))
        .map(([, value]) => value.id as string);
      return { interest, kind: 'index', reset: true, added, removed: [] };
    }
    const upserts = [...(this.tables.get(`${name}/${id}`) ?? [])].map(([key, value]) => ({
      key,
      value,
      owner: null,
      version: 1,
    }));
    return { interest, kind: 'table', reset: true, upserts, removed: [] };
  }

  /** What changed since the last call, of these interests. */
  changes(subscribed: ReadonlySet<string>): Change[] {
    const out = [...this.dirty]
      .filter((interest) => subscribed.has(interest))
      .map((interest) => this.content(interest));
    this.dirty.clear();
    return out;
  }

  /** Every interest with content. */
  everything(): string[] {
    const out = new Set<string>();
    for (const [key, value] of this.objects) {
      out.add(`o/${key}`);
      const id = value.id as string;
      if (key.startsWith('Bridge/'))
        for (const i of [`i/Port.bridgeId/${id}`, `t/mac/${id}`, `t/arp/${id}`]) out.add(i);
      if (key.startsWith('Router/')) for (const i of [`i/Route.routerId/${id}`, `t/arp/${id}`]) out.add(i);
      if (key.startsWith('Port/')) out.add(`t/active/${id}`);
      if (key.startsWith('Chain/')) out.add(`i/RuleLogger.chainId/${id}`);
      if (key.startsWith('IpAddrGroup/')) out.add(`t/addresses/${id}`);
      if (key.startsWith('PortGroup/')) out.add(`i/Port.portGroupIds/${id}`);
    }
    return [...out];
  }

  private store(type: string, id: string, value: Value): void {
    const before = this.objects.get(`${type}/${id}`);
    this.objects.set(`${type}/${id}`, value);
    this.touch(type, id, before);
    this.touch(type, id, value);
  }

  private erase(type: string, id: string): void {
    const before = this.objects.get(`${type}/${id}`);
    this.objects.delete(`${type}/${id}`);
    this.touch(type, id, before);
  }

  private removeDerived(type: TypeName, id: string): void {
    const before = this.objects.get(`${type}/${id}`);
    if (before === undefined) return;
    for (const derived of OBJECT_TYPES[type].derive?.(before) ?? [])
      this.erase(derived.type, derived.value.id as string);
  }

  private ownEntries(type: TypeName, before: Value | undefined, after: Value | undefined): void {
    const { entries } = OBJECT_TYPES[type];
    if (entries === undefined) return;
    for (const value of [before, after]) {
      if (value === undefined) continue;
      for (const { table, key } of entries(value)) {
        const owners = this.owners.get(`${table} ${key}`) ?? new Set();
        this.owners.set(`${table} ${key}`, owners);
        if (value === after) owners.add(String(value.id));
        else owners.delete(String(value.id));
        this.entry(table, key, owners.size > 0 ? '' : null);
      }
    }
  }

  private touch(type: string, id: string, value: Value | undefined): void {
    this.dirty.add(`o/${type}/${id}`);
    for (const [indexed, field] of INDEXED) {
      if (type === indexed) for (const id of namesOf(value?.[field])) this.dirty.add(`i/${type}.${field}/${id}`);
    }
  }
}
