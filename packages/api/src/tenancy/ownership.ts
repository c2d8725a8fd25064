/**
 * Whose is an object? Derived from the object model, so that a new type has an answer before it has a route:
 *
 * - a type with a `tenantId` belongs to the tenant named there; without one it is the operator's;
 * - any other type belongs to whom all that it cannot exist without (its references of kind `cascade`) belong to: a port to
 *   its bridge's tenant, a rule to its chain's;
 * - what hangs on nobody (hosts, tunnel zones, logging resources, and what hangs on them) is the operator's.
 */
import { OBJECT_TYPES, type ObjectValue, type Reference, type TypeName } from '@weft/topology';

export type Ownership =
  /** The tenant stands in the object. */
  | { readonly kind: 'field' }
  /** The tenant is that of all objects that these references name. */
  | { readonly kind: 'parents'; readonly parents: readonly Reference[] }
  /** No tenant ever owns one. */
  | { readonly kind: 'operator' };

const OPERATOR: Ownership = { kind: 'operator' };
const derived = new Map<string, Ownership>();

/** How objects of this type are owned; an unknown type is the operator's. */
export function ownershipOf(type: string): Ownership {
  let ownership = derived.get(type);
  if (ownership === undefined) derived.set(type, (ownership = derive(type, new Set())));
  return ownership;
}

function derive(type: string, path: ReadonlySet<string>): Ownership {
  const spec = Object.hasOwn(OBJECT_TYPES, type) ? OBJECT_TYPES[type as TypeName] : undefined;
  if (spec === undefined || spec.private || path.has(type)) return OPERATOR;
  if ('tenantId' in spec.schema.properties) return { kind: 'field' };
  const parents = spec.references.filter((reference) => reference.onTargetDelete === 'cascade');
  const below = new Set([...path, type]);
  if (parents.length === 0 || parents.some(({ target }) => derive(target, below).kind === 'operator')) return OPERATOR;
  return { kind: 'parents', parents };
}

/**
 * Fields that tell where in the operator's network an object sits, beside references to the operator's objects: tenants
 * neither see nor set them.
 */
export const OPERATOR_FIELDS: Partial<Record<string, readonly string[]>> = {
  Port: ['interfaceName', 'nextInterfaceName'],
};

/** State tables that tenants may read and seed, if they own the object that the table belongs to: kind → types. */
export const TENANT_TABLES: Readonly<Record<string, readonly TypeName[]>> = {
  mac: ['Bridge'],
  arp: ['Bridge', 'Router'],
  addresses: ['IpAddrGroup'],
};

/** A list of the object's own children (a chain's `ruleIds`): theirs is what the object is. */
export function namesOwnChildren(type: string, { target, many }: Reference): boolean {
  const ownership = ownershipOf(target);
  return many && ownership.kind === 'parents' && ownership.parents.every((parent) => parent.target === type);
}

/** Ids that a reference of this object names. */
export function idsIn(value: ObjectValue, { field }: Reference): string[] {
  const content = value[field];
  if (Array.isArray(content)) return content.filter((id) => typeof id === 'string');
  return typeof content === 'string' ? [content] : [];
}

/** References of a type; none for an unknown one. */
export function referencesOf(type: string): readonly Reference[] {
  return Object.hasOwn(OBJECT_TYPES, type) ? OBJECT_TYPES[type as TypeName].references : [];
}

/** Is the type for the API's own code only? */
export function isPrivate(type: string): boolean {
  return Object.hasOwn(OBJECT_TYPES, type) && OBJECT_TYPES[type as TypeName].private;
}
