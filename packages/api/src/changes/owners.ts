/** Just enough of every object to say whose it is and where its URI is, also when it has just been deleted. */
import type { Revision, StoredObject } from '@weft/nsdb';
import type { TypeName } from '@weft/topology';
import { resourceOf } from '../resources.ts';
import { ownershipOf } from '../tenancy/ownership.ts';

interface Entry {
  readonly version: Revision;
  readonly tenantId: string | null;
  /** Reference field → id, of those that ownership or URI depends on. */
  readonly parents: Readonly<Record<string, string>>;
}

const NONE: Readonly<Record<string, string>> = {};

export class Owners {
  readonly #types = new Map<string, Map<string, Entry>>();

  put({ type, id, version, value }: StoredObject): void {
    let entries = this.#types.get(type);
    if (!entries) this.#types.set(type, (entries = new Map()));
    const parents: Record<string, string> = {};
    for (const field of fieldsOf(type)) if (typeof value[field] === 'string') parents[field] = value[field];
    const tenantId = typeof value.tenantId === 'string' ? value.tenantId : null;
    entries.set(id, { version, tenantId, parents });
  }

  delete(type: string, id: string): void {
    this.#types.get(type)?.delete(id);
  }

  version(type: string, id: string): Revision | undefined {
    return this.#types.get(type)?.get(id)?.version;
  }

  idsOf(type: string): Iterable<string> {
    return this.#types.get(type)?.keys() ?? [];
  }

  parentsOf(type: string, id: string): Readonly<Record<string, string>> {
    return this.#types.get(type)?.get(id)?.parents ?? NONE;
  }

  /** The tenant that all parents belong to; null where they differ, are unknown or are the operator's. */
  tenantOf(type: string, id: string, depth = 0): string | null {
    const entry = this.#types.get(type)?.get(id);
    const ownership = ownershipOf(type);
    if (entry === undefined || depth > 8) return null;
    if (ownership.kind !== 'parents') return ownership.kind === 'field' ? entry.tenantId : null;
    let tenantId: string | null | undefined;
    for (const { field, target } of ownership.parents) {
      const parent = entry.parents[field];
      if (parent === undefined) continue;
      const owner = this.tenantOf(target, parent, depth + 1);
      if (tenantId !== undefined && tenantId !== owner) return null;
      tenantId = owner;
    }
    return tenantId ?? null;
  }
}

const fields = new Map<string, readonly string[]>();

function fieldsOf(type: string): readonly string[] {
  let known = fields.get(type);
  if (!known) {
    const ownership = ownershipOf(type);
    const owning = ownership.kind === 'parents' ? ownership.parents.map(({ field }) => field) : [];
    const resource = resourceOf(type as TypeName);
    const placed = resource.path ? [] : [...resource.places.map(({ field }) => field), 'hostId'];
    fields.set(type, (known = [...new Set([...owning, ...placed])]));
  }
  return known;
}
