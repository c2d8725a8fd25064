/** What the rest of Weft knows of an object type: all of it derives from one schema and a few declared rules. */
import type { TObject } from 'typebox';

/**
 * What happens to the referrer when the target of its reference is deleted: `cascade` deletes it too, `clear` removes the
 * reference, `refuse` refuses the deletion.
 */
export type OnTargetDelete = 'cascade' | 'clear' | 'refuse';

export interface Reference {
  readonly field: string;
  /** Name of the target's type. */
  readonly target: string;
  /** The field is an array of ids. */
  readonly many: boolean;
  readonly onTargetDelete: OnTargetDelete;
}

/** At most one object has these values in these fields; an object that lacks one of them is not counted. */
export interface Unique {
  readonly fields: readonly string[];
  /** Field whose value limits the comparison: unique within it. */
  readonly scope?: string;
  /** Code and message of the refusal, where `WEFT_DUPLICATE` would say too little. */
  readonly code?: string;
  readonly message?: string;
}

/** One thing wrong with one property; `property` is dotted (`tpSrc.start`, `portSubnet.0`), or empty for the whole. */
export interface Violation {
  readonly property: string;
  readonly message: string;
}

/** Value of an object as stored or about to be. */
export type ObjectValue = Record<string, unknown>;

/** What a cross-object constraint may look at: one consistent state, read by the transaction that writes the object. */
export interface Lookup {
  get(type: string, id: string): Promise<ObjectValue | undefined>;
  /** Ids of the objects of `type` whose reference `field` points to `id`. */
  referrers(type: string, field: string, id: string): Promise<readonly string[]>;
}

/** A constraint that does not hold: a code of this package's table, and what to do about it. */
export interface Problem {
  readonly code: string;
  readonly message: string;
  readonly property?: string;
}

/** Source of what is made up on creation; injected, so that a run can be repeated. */
export interface Random {
  uuid(): string;
  bytes(count: number): Uint8Array;
}

/** An object that exists because another one does. */
export interface DerivedObject {
  readonly type: string;
  readonly value: ObjectValue;
}

/** An entry of a state table. */
export interface TableKey {
  readonly table: string;
  readonly key: string;
}

export interface ObjectRules {
  readonly unique?: readonly Unique[];
  /** Fields that an update must not change. */
  readonly immutable?: readonly string[];
  /** Kept from everybody but the code that it is for: no resource of the API, no list, no event. */
  readonly private?: boolean;
  /** Fills in what depends on other fields or on chance; runs before validation, must be idempotent. */
  complete?(value: ObjectValue, random: Random): void;
  /** Constraints within the object; `value` has passed the schema. */
  check?(value: ObjectValue): Violation[];
  /** Constraints that involve other objects. References are known to resolve. `previous` is undefined on creation. */
  checkOthers?(value: ObjectValue, lookup: Lookup, previous: ObjectValue | undefined): Promise<Problem[]>;
  /** Objects that come, change and go with this one; a pure function of the value, with computed ids. */
  derive?(value: ObjectValue): DerivedObject[];
  /**
   * State-table entries that are there because of this object; a pure function of the value. The store keeps them in line
   * with every write, deletions by reference included; what two objects have in common stays while one of them has it.
   */
  entries?(value: ObjectValue): TableKey[];
}

export interface ObjectSpec<Schema extends TObject = TObject> extends ObjectRules {
  readonly name: string;
  readonly schema: Schema;
  readonly references: readonly Reference[];
  readonly unique: readonly Unique[];
  readonly immutable: readonly string[];
  readonly private: boolean;
  /** The store allocates the field `tunnelKey`. */
  readonly tunnelKey: boolean;
}

interface MarkedSchema {
  readonly type?: string;
  readonly 'x-weft-ref'?: { readonly target: string; readonly onTargetDelete: OnTargetDelete };
}

/** Builds the spec of an object type; references and the tunnel key are read off the schema. */
export function defineObject<Schema extends TObject>(
  name: string,
  schema: Schema,
  rules: ObjectRules = {},
): ObjectSpec<Schema> {
  const references: Reference[] = [];
  for (const [field, raw] of Object.entries(schema.properties)) {
    const marked = raw as MarkedSchema;
    const mark = marked['x-weft-ref'];
    if (mark) references.push({ field, many: marked.type === 'array', ...mark });
  }
  return {
    ...rules,
    name,
    schema,
    references,
    unique: rules.unique ?? [],
    immutable: ['id', ...(rules.immutable ?? [])],
    private: rules.private ?? false,
    tunnelKey: 'tunnelKey' in schema.properties,
  };
}
