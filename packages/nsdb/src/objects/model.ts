/** What the store needs of an object model. `topologyModel` is the real one; tests bring small ones. */
import { checkObject, type Lookup, OBJECT_TYPES, type ObjectSpec, validateObject } from '@weft/topology';
import type { Violation } from '../errors.ts';

export type TypeSpec = Pick<ObjectSpec, 'references' | 'unique' | 'tunnelKey' | 'entries'>;

export interface ObjectModel {
  readonly types: Readonly<Record<string, TypeSpec>>;
  /** Rules within one object; applies defaults. */
  validate(
    type: string,
    value: unknown,
  ):
    | { readonly ok: true; readonly value: Record<string, unknown> }
    | { readonly ok: false; readonly violations: readonly Violation[] };
  /** Rules across objects, seen as the transaction leaves them. */
  check?(
    type: string,
    value: Record<string, unknown>,
    lookup: Lookup,
    previous: Record<string, unknown> | undefined,
  ): Promise<
    | { readonly ok: true }
    | {
        readonly ok: false;
        readonly code: string;
        readonly message: string;
        readonly violations: readonly Violation[];
      }
  >;
}

export const topologyModel: ObjectModel = {
  types: OBJECT_TYPES,
  validate: (type, value) => validateObject(type as string, value),
  check: checkObject,
};

/** A reference seen from its target. */
export interface IncomingReference {
  readonly type: string;
  readonly field: string;
  readonly many: boolean;
  readonly onTargetDelete: 'cascade' | 'clear' | 'refuse';
}

/** All references to each type, from the model's own declarations. */
export function incomingReferences(model: ObjectModel): Map<string, IncomingReference[]> {
  const incoming = new Map<string, IncomingReference[]>();
  for (const [type, spec] of Object.entries(model.types)) {
    for (const { field, target, many, onTargetDelete } of spec.references) {
      const list = incoming.get(target) ?? [];
      list.push({ type, field, many, onTargetDelete });
      incoming.set(target, list);
    }
  }
  return incoming;
}
