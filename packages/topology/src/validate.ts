/**
 * From whatever came in to an object of the model: unknown keys, nulls, defaults and spelling are settled first, then
 * the schema decides, then the rules within the object. Pure but for the injected randomness; `validateObject` of its own
 * result returns an equal one.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { Compile, type Validator } from 'typebox/compile';
import { FORMATS, type FormatName } from './formats.ts';
import { isTypeName, OBJECT_TYPES, type ObjectTypes, type TypeName } from './objects/index.ts';
import type { ObjectValue, Random, Violation } from './spec.ts';

export interface ValidateOptions {
  /**
   * `report` (default): a key that the schema does not have is a violation. `drop`: it is left out, unless it is part of a field:
   * without it, that could mean something else.
   */
  readonly unknownKeys?: 'report' | 'drop';
  /** Accept numbers and booleans written as strings, and enumerated words in any case. Default false. */
  readonly coerce?: boolean;
  /** Where new ids and MACs come from. Default: the operating system. */
  readonly random?: Random;
}

export type Validated<T = ObjectValue> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly violations: readonly Violation[] };

const systemRandom: Random = { uuid: randomUUID, bytes: randomBytes };

/** Validates `value` as an object of `type`; the result has defaults applied and is in canonical spelling. */
export function validateObject<Name extends TypeName>(
  type: Name,
  value: unknown,
  options?: ValidateOptions,
): Validated<ObjectTypes[Name]>;
export function validateObject(type: string, value: unknown, options?: ValidateOptions): Validated;
export function validateObject(type: string, value: unknown, options: ValidateOptions = {}): Validated {
  if (!isTypeName(type)) return invalid([{ property: '', message: `there is no object type ${type}` }]);
  if (!isRecord(value)) return invalid([{ property: '', message: 'must be an object' }]);
  const spec = OBJECT_TYPES[type];
  const violations: Violation[] = [];
  const result = normalise(spec.schema as SchemaNode, value, '', options, violations) as ObjectValue;
  const random = options.random ?? systemRandom;
  spec.complete?.(result, random);
  result.id ??= random.uuid();

  const validator = validatorOf(type);
  if (!validator.Check(result)) addSchemaViolations(validator, result, violations);
  if (violations.length === 0 && spec.check) violations.push(...spec.check(result));
  return violations.length > 0 ? invalid(violations) : { ok: true, value: result };
}

/** The value with defaults, ids and canonical spelling, valid or not. For forms and tests; `validateObject` includes it. */
export function applyDefaults(type: TypeName, value: ObjectValue, random: Random = systemRandom): ObjectValue {
  const spec = OBJECT_TYPES[type];
  const result = normalise(spec.schema as SchemaNode, value, '', {}, []) as ObjectValue;
  spec.complete?.(result, random);
  result.id ??= random.uuid();
  return result;
}

function invalid(violations: readonly Violation[]): Validated {
  return { ok: false, violations };
}

function isRecord(value: unknown): value is ObjectValue {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The part of JSON Schema that the model uses. */
interface SchemaNode {
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly maxItems?: number;
  readonly maxLength?: number;
  readonly items?: SchemaNode;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
}

function normalise(
  schema: SchemaNode,
  value: unknown,
  path: string,
  options: ValidateOptions,
  violations: Violation[],
): unknown {
  if (schema.properties && isRecord(value)) return normaliseObject(schema.properties, value, path, options, violations);
  if (schema.items && Array.isArray(value)) {
    // A list over its bound is refused by the schema as it is.
    if (value.length > (schema.maxItems ?? Infinity)) return value;
    return value.map((item, i) => normalise(schema.items!, item, join(path, String(i)), options, violations));
  }
  if (typeof value !== 'string') return value;
  const text = options.coerce ? coerce(schema, value) : value;
  if (typeof text !== 'string' || schema.format === undefined || !(schema.format in FORMATS)) return text;
  const format = FORMATS[schema.format as FormatName];
  const canonical = text.length <= (schema.maxLength ?? Infinity) ? format.canonical(text) : undefined;
  if (canonical === undefined) violations.push({ property: path, message: `must be ${format.expected}` });
  return canonical ?? text;
}

function normaliseObject(
  properties: Readonly<Record<string, SchemaNode>>,
  value: ObjectValue,
  path: string,
  options: ValidateOptions,
  violations: Violation[],
): ObjectValue {
  const result: ObjectValue = {};
  for (const [key, schema] of Object.entries(properties)) {
    // Clients write null where a field is not set; the model has absence alone.
    const given = Object.hasOwn(value, key) ? value[key] : undefined;
    if (given !== undefined && given !== null) {
      result[key] = normalise(schema, given, join(path, key), options, violations);
    } else if (schema.default !== undefined) {
      result[key] = structuredClone(schema.default);
    }
  }
  if (options.unknownKeys === 'drop' && path === '') return result;
  for (const key of Object.keys(value)) {
    if (!Object.hasOwn(properties, key)) {
      violations.push({ property: join(path, key.slice(0, 64)), message: 'is not a known property' });
    }
  }
  return result;
}

function coerce(schema: SchemaNode, text: string): unknown {
  if (schema.type === 'integer' && /^-?\d{1,15}$/.test(text)) return Number(text);
  if (schema.type === 'integer' && /^0x[0-9a-f]{1,8}$/i.test(text)) return Number(text);
  if (schema.type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  if (schema.enum?.includes(text.toLowerCase())) return text.toLowerCase();
  return text;
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

const validators = new Map<TypeName, Validator>();

/** Compiled on first use: most processes meet few of the types. */
function validatorOf(type: TypeName): Validator {
  let validator = validators.get(type);
  if (!validator) validators.set(type, (validator = Compile(OBJECT_TYPES[type].schema) as unknown as Validator));
  return validator;
}

function addSchemaViolations(validator: Validator, value: unknown, violations: Violation[]): void {
  const named = new Set(violations.map((v) => v.property));
  const add = (property: string, message: string) => {
    if (named.has(property)) return;
    named.add(property);
    violations.push({ property, message });
  };
  for (const error of validator.Errors(value)) {
    const path = error.instancePath.slice(1).replaceAll('/', '.');
    if (error.keyword === 'required') {
      for (const key of (error.params as { requiredProperties: string[] }).requiredProperties) {
        add(join(path, key), 'is required');
      }
    } else if (error.keyword === 'enum') {
      const { allowedValues } = error.params as { allowedValues: unknown[] };
      add(path, `must be one of ${allowedValues.join(', ')}`);
    } else add(path, error.message);
  }
  if (violations.length === 0) add('', 'does not match the schema');
}
