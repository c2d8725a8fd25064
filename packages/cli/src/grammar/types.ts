/**
 * The object types of the topology language: their names, their fields in the order in which they are printed, and where
 * they live in the REST API. Parser and evaluator know nothing of any type but what stands here.
 */

import { BRIDGE_TYPES } from './types/bridge.ts';
import { CHAIN_TYPES } from './types/chain.ts';
import { HOST_TYPES } from './types/host.ts';
import { ROUTER_TYPES } from './types/router.ts';
import { ZONE_TYPES } from './types/zone.ts';

/** From a word of the command to a value of the API and back; throws CliError on a word that it does not take. */
export interface ValueType {
  readonly parse: (word: string, field: string) => unknown;
  readonly print: (value: unknown) => string | undefined;
}

export interface FieldType {
  /** Name in commands. */
  readonly name: string;
  /** Property of the REST API; absent: not a plain property (see `ObjectType.prepare`). */
  readonly property: string;
  readonly value: ValueType;
  /** Property that inverts the match when the value is written with `!`. */
  readonly inverted?: string;
  readonly readOnly?: boolean;
}

export interface ObjectType {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly fields: readonly FieldType[];
  /** Collection below the root or below the parent. */
  readonly collection: string;
  /** Objects are found below the root by id (`/ports/ID`), else below their parent by the value of `key`. */
  readonly item?: string;
  /** Without an id: property by which an element is addressed below its collection. */
  readonly key?: string;
  readonly children: readonly ObjectType[];
  /** Field that is set by a request of its own: `set peer X` links, `clear peer` unlinks. */
  readonly special?: Readonly<Record<string, { readonly path: string; readonly property: string }>>;
  readonly verbs: readonly Verb[];
}

export type Verb = 'list' | 'show' | 'create' | 'set' | 'clear' | 'delete' | 'describe';

/** The types that a command may begin with. */
export const ROOT_TYPES: readonly ObjectType[] = [
  ...BRIDGE_TYPES,
  ...CHAIN_TYPES,
  ...HOST_TYPES,
  ...ROUTER_TYPES,
  ...ZONE_TYPES,
];

export function findType(types: readonly ObjectType[], word: string): ObjectType | undefined {
  return types.find((type) => type.name === word || type.aliases.includes(word));
}

export function findField(type: ObjectType, word: string): FieldType | undefined {
  return type.fields.find((field) => field.name === word);
}
