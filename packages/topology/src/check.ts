/** Constraints that involve more than the object itself: what must not change, and what other objects must look like. */
import { isDeepStrictEqual } from 'node:util';
import { OBJECT_TYPES, type TypeName } from './objects/index.ts';
import type { Lookup, ObjectValue, Problem, Violation } from './spec.ts';

export type Checked =
  | { readonly ok: true }
  | {
      readonly ok: false;
      /** Code of the first problem, from this package's error table. */
      readonly code: string;
      readonly message: string;
      readonly violations: readonly Violation[];
    };

/**
 * Checks a valid object against others. Called by the store within the transaction, after references are known to
 * resolve and before the object is written or at commit: `lookup` may or may not show the new value already, it must show
 * all other writes of the transaction. `previous` is the committed value, undefined on creation.
 */
export async function checkObject(
  type: TypeName,
  value: ObjectValue,
  lookup: Lookup,
  previous?: ObjectValue,
): Promise<Checked> {
  const spec = OBJECT_TYPES[type];
  const problems: Problem[] = [];
  if (previous) {
    for (const field of new Set(spec.immutable)) {
      if (isDeepStrictEqual(previous[field], value[field])) continue;
      problems.push({
        code: 'WEFT_IMMUTABLE',
        property: field,
        message: `${field} of a ${type} cannot change; delete the object and create a new one`,
      });
    }
  }
  if (problems.length === 0 && spec.checkOthers) problems.push(...(await spec.checkOthers(value, lookup, previous)));
  return problems.length === 0 ? { ok: true } : refusal(problems);
}

function refusal(problems: readonly Problem[]): Checked {
  const [first] = problems;
  return {
    ok: false,
    code: first!.code,
    message: first!.message,
    violations: problems.map(({ property = '', message }) => ({ property, message })),
  };
}
