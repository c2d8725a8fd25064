/** What one tenant sees of the objects: its own, without what tells of others or of the operator's machines. */
import type { Nsdb, StoredObject } from '@weft/nsdb';
import type { ObjectValue } from '@weft/topology';
import { idsIn, namesOwnChildren, OPERATOR_FIELDS, ownershipOf, referencesOf, TENANT_TABLES } from './ownership.ts';

type Source = Pick<Nsdb, 'get'>;

/** Reads through one source, a transaction or the database, and remembers whose things are: make one per request or step. */
export class TenantView {
  readonly tenantId: string;
  readonly #source: Source;
  readonly #owned = new Map<string, Promise<boolean>>();

  constructor(source: Source, tenantId: string) {
    this.#source = source;
    this.tenantId = tenantId;
  }

  /** Does the value belong to the tenant? */
  async owns(type: string, value: ObjectValue): Promise<boolean> {
    const ownership = ownershipOf(type);
    if (ownership.kind === 'operator') return false;
    if (ownership.kind === 'field') return value.tenantId === this.tenantId;
    let parents = 0;
    for (const reference of ownership.parents) {
      for (const id of idsIn(value, reference)) {
        parents++;
        if (!(await this.ownsId(reference.target, id))) return false;
      }
    }
    return parents > 0;
  }

  /** Is there such an object, and does it belong to the tenant? */
  ownsId(type: string, id: string): Promise<boolean> {
    if (ownershipOf(type).kind === 'operator') return Promise.resolve(false);
    const key = `${type}/${id}`;
    let owned = this.#owned.get(key);
    if (owned === undefined) {
      owned = this.#source.get(type, id).then((stored) => stored !== undefined && this.owns(type, stored.value));
      this.#owned.set(key, owned);
    }
    return owned;
  }

  /** Is it a table of one of the tenant's objects? */
  async ownsTable(table: string): Promise<boolean> {
    const [kind = '', id = '', ...rest] = table.split('/');
    const types = Object.hasOwn(TENANT_TABLES, kind) ? TENANT_TABLES[kind]! : [];
    for (const type of types) if (rest.length === 0 && (await this.ownsId(type, id))) return true;
    return false;
  }

  /** The object as the tenant sees it; undefined: not at all. */
  async show<T = ObjectValue>(stored: StoredObject | undefined): Promise<StoredObject<T> | undefined> {
    if (stored === undefined || !(await this.owns(stored.type, stored.value))) return undefined;
    const hidden = await this.hidden(stored.type, stored.value);
    return { ...stored, value: without(stored.value, hidden) as T };
  }

  /** What of an own object the tenant does not see: fields, and members of lists. */
  async hidden(type: string, value: ObjectValue): Promise<ObjectValue> {
    const hidden: ObjectValue = {};
    for (const field of OPERATOR_FIELDS[type] ?? []) if (value[field] !== undefined) hidden[field] = value[field];
    for (const reference of referencesOf(type)) {
      if (value[reference.field] === undefined || namesOwnChildren(type, reference)) continue;
      const foreign: string[] = [];
      for (const id of idsIn(value, reference)) if (!(await this.ownsId(reference.target, id))) foreign.push(id);
      if (foreign.length > 0) hidden[reference.field] = reference.many ? foreign : foreign[0];
    }
    return hidden;
  }
}

/** The value without what is hidden; lists keep their other members. */
export function without(value: ObjectValue, hidden: ObjectValue): ObjectValue {
  const shown = { ...value };
  for (const [field, content] of Object.entries(hidden)) {
    if (Array.isArray(content)) shown[field] = (value[field] as unknown[]).filter((id) => !content.includes(id));
    else delete shown[field];
  }
  return shown;
}
