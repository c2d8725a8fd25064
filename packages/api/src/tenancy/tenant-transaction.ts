/**
 * A transaction of a tenant: what is not the tenant's is not there; what the operator set in the tenant's objects stays. The
 * ownership of what was written is looked at when the transaction ends, within it, so order does not matter and a change of
 * owner meanwhile is a conflict.
 */
import { NsdbError, type StoredObject, type Transaction } from '@weft/nsdb';
import type { ObjectValue } from '@weft/topology';
import { ApiError } from '../errors.ts';
import { idsIn, OPERATOR_FIELDS, ownershipOf, referencesOf } from './ownership.ts';
import { TenantView, without } from './view.ts';

export class TenantTransaction implements Transaction {
  readonly #tx: Transaction;
  readonly #tenantId: string;
  /** What was written, and how it was before: undefined when it was created. */
  readonly #written = new Map<string, { type: string; id: string; before: ObjectValue | undefined }>();
  readonly #tables = new Set<string>();

  constructor(tx: Transaction, tenantId: string) {
    this.#tx = tx;
    this.#tenantId = tenantId;
  }

  /** For what derives from the tenant's objects, which is the system's: not bounded by what the tenant sees. */
  get whole(): Transaction {
    return this.#tx;
  }

  get<T = ObjectValue>(type: string, id: string): Promise<StoredObject<T> | undefined> {
    return this.#tx.get(type, id).then((stored) => this.#view().show<T>(stored));
  }

  async referrers(type: string, field: string, id: string): Promise<string[]> {
    const view = this.#view();
    const own: string[] = [];
    for (const referrer of await this.#tx.referrers(type, field, id)) {
      if (await view.ownsId(type, referrer)) own.push(referrer);
    }
    return own;
  }

  async create<T = ObjectValue>(type: string, input: ObjectValue): Promise<T> {
    const ownership = ownershipOf(type);
    if (ownership.kind === 'operator') {
      throw new ApiError(403, 'WEFT_API_FORBIDDEN', `A ${type} is made by administrators only.`);
    }
    const value = ownership.kind === 'field' ? this.#withTenant(type, input) : { ...input };
    for (const field of OPERATOR_FIELDS[type] ?? []) {
      if (value[field] !== undefined && value[field] !== null) throw operatorField(type, field);
    }
    const created = await this.#tx.create<T & ObjectValue>(type, value);
    this.#note(type, String(created.id), undefined);
    return created;
  }

  async update<T = ObjectValue>(type: string, id: string, input: ObjectValue, ifVersion?: number): Promise<T> {
    const stored = await this.#own(type, id);
    const hidden = await this.#view().hidden(type, stored.value);
    const value = ownershipOf(type).kind === 'field' ? this.#withTenant(type, input) : { ...input };
    for (const field of OPERATOR_FIELDS[type] ?? []) {
      if (isSet(value[field]) && value[field] !== hidden[field]) throw operatorField(type, field);
    }
    for (const [field, content] of Object.entries(hidden)) {
      if (Array.isArray(content)) {
        const given = (value[field] ?? []) as unknown[];
        value[field] = [...given.filter((one) => !content.includes(one)), ...content];
      } else if (!isSet(value[field])) value[field] = content;
      else if (value[field] !== content) {
        const message = `${field} of ${type} ${id} was set by an administrator, who alone can change it.`;
        throw new ApiError(403, 'WEFT_API_FORBIDDEN', message, [
          { property: field, message: 'set by an administrator' },
        ]);
      }
    }
    this.#note(type, id, stored.value);
    const updated = await this.#tx.update<T & ObjectValue>(type, id, value, ifVersion);
    return without(updated, hidden) as T;
  }

  async delete(type: string, id: string, ifVersion?: number): Promise<void> {
    await this.#own(type, id);
    await this.#tx.delete(type, id, ifVersion);
  }

  putEntry(table: string, key: string, value: string): void {
    this.#tables.add(table);
    this.#tx.putEntry(table, key, value);
  }

  deleteEntry(table: string, key: string): void {
    this.#tables.add(table);
    this.#tx.deleteEntry(table, key);
  }

  /** Refuses what reaches beyond the tenant; to be called when everything is written, before the commit. */
  async settle(): Promise<void> {
    const view = this.#view();
    for (const { type, id, before } of this.#written.values()) {
      const stored = await this.#tx.get(type, id);
      if (stored === undefined) continue;
      for (const reference of referencesOf(type)) {
        const known = new Set(before === undefined ? [] : idsIn(before, reference));
        for (const target of idsIn(stored.value, reference)) {
          if (known.has(target) || (await view.ownsId(reference.target, target))) continue;
          // Word for word what the store says of a target that does not exist.
          throw new NsdbError(
            'WEFT_REFERENCE',
            `${type} ${id}: ${reference.field} names ${reference.target} ${target}`,
            [{ property: reference.field, message: `there is no ${reference.target} ${target}` }],
          );
        }
      }
      if (!(await view.owns(type, stored.value))) {
        throw new ApiError(403, 'WEFT_API_FORBIDDEN', `${type} ${id} would belong to somebody else.`);
      }
    }
    for (const table of this.#tables) {
      if (await view.ownsTable(table)) continue;
      throw new NsdbError('WEFT_NOT_FOUND', `State table ${table} has no owner`);
    }
  }

  /** Reads as the transaction stands now; nothing is remembered across its writes. */
  #view(): TenantView {
    return new TenantView(this.#tx, this.#tenantId);
  }

  async #own(type: string, id: string): Promise<StoredObject> {
    const stored = await this.#tx.get(type, id);
    if (stored !== undefined && (await this.#view().owns(type, stored.value))) return stored;
    throw new NsdbError('WEFT_NOT_FOUND', `There is no ${type} ${id}`);
  }

  #withTenant(type: string, input: ObjectValue): ObjectValue {
    const { tenantId } = input;
    if (isSet(tenantId) && tenantId !== this.#tenantId) {
      const message = `A ${type} of tenant ${String(tenantId).slice(0, 100)} is not yours to make or give; yours is ${this.#tenantId}.`;
      throw new ApiError(403, 'WEFT_API_FORBIDDEN', message, [{ property: 'tenantId', message: 'is another tenant' }]);
    }
    return { ...input, tenantId: this.#tenantId };
  }

  #note(type: string, id: string, before: ObjectValue | undefined): void {
    const key = `${type}/${id}`;
    if (!this.#written.has(key)) this.#written.set(key, { type, id, before });
  }
}

function isSet(content: unknown): boolean {
  return content !== undefined && content !== null;
}

function operatorField(type: string, field: string): ApiError {
  return new ApiError(403, 'WEFT_API_FORBIDDEN', `${field} of a ${type} is set by administrators only.`, [
    { property: field, message: 'set by administrators only' },
  ]);
}
