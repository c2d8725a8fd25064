/**
 * The object types of the topology language: their names, their fields in the order in which they are printed, and where
 * they live in the REST API. Parser, evaluator and completion know nothing of any type but what stands here.
 */

import { BRIDGE_TYPES } from './types/bridge.ts';
import { CHAIN_TYPES } from './types/chain.ts';
import { GROUP_TYPES } from './types/group.ts';
import { HOST_TYPES } from './types/host.ts';
import { ROUTER_TYPES } from './types/router.ts';
import { SYSTEM_TYPES } from './types/system.ts';
import { ZONE_TYPES } from './types/zone.ts';

/** Names of objects in a session: `bridge0:port0`. Without them ids are read and printed as they are. */
export interface Names {
  /** Id of the object with this alias; undefined: the word is no alias. Throws CliError when no object has it. */
  idOf(word: string): string | undefined;
  aliasOf(id: string): string | undefined;
}

/** From a word of the command to a value of the API and back; throws CliError on a word that it does not take. */
export interface ValueType {
  readonly parse: (word: string, field: string, names?: Names) => unknown;
  readonly print: (value: unknown, names?: Names) => string | undefined;
  /** What it is, for people: `a prefix such as 10.0.0.0/24`. */
  readonly takes: string;
  /** The words that it takes, where they can be listed. */
  readonly words?: readonly string[];
  /** References: the kind of object that is named. */
  readonly refersTo?: ReferenceTarget;
}

/** What a reference leads to; `device` is a bridge or a router, `any` also a port. */
export type ReferenceTarget =
  | 'device'
  | 'any'
  | 'port'
  | 'chain'
  | 'host'
  | 'tunnel-zone'
  | 'port-group'
  | 'ip-address-group'
  | 'security-group'
  | 'logging-resource';

export interface FieldType {
  /** Name in commands. */
  readonly name: string;
  /** Property of the REST API. */
  readonly property: string;
  readonly value: ValueType;
  /** Word → property of the API that is true: the field has the word whose property is. `property` is the first of them. */
  readonly flags?: Readonly<Record<string, string>>;
  /** Property that inverts the match when the value is written with `!`. */
  readonly inverted?: string;
  readonly readOnly?: boolean;
  /** What the field means, where the object model has no such property. */
  readonly doc?: string;
  /** Completion proposes this property of the elements of a collection beside this one. */
  readonly suggest?: { readonly collection: string; readonly property: string };
}

export interface ObjectType {
  readonly name: string;
  readonly aliases: readonly string[];
  /** One sentence. */
  readonly doc: string;
  /** Type of the object model that describes the fields; absent: this table alone does. */
  readonly model?: string;
  readonly fields: readonly FieldType[];
  /** Collection below the root or below the parent. */
  readonly collection: string;
  /** Objects are found below the root by id (`/ports/ID`), else only below their parent, at the URI that they carry. */
  readonly item?: string;
  /** Property that names the object that it is part of, where it is found by id below the root. */
  readonly parent?: string;
  /** Aliases are this and a number; present where objects have an id. */
  readonly alias?: string;
  /** There is one object, at the collection's own path. */
  readonly singleton?: boolean;
  /** A command for `help` and `--help`. */
  readonly examples: readonly string[];
  readonly children: readonly ObjectType[];
  /** Field that is set by a request of its own: `set peer X` links, `clear peer` unlinks. */
  readonly special?: Readonly<Record<string, { readonly path: string; readonly property: string }>>;
  readonly verbs: readonly Verb[];
}

export const VERBS = ['list', 'show', 'create', 'set', 'clear', 'delete', 'describe'] as const;
export type Verb = (typeof VERBS)[number];

/** The types that a command may begin with. */
export const ROOT_TYPES: readonly ObjectType[] = [
  ...BRIDGE_TYPES,
  ...CHAIN_TYPES,
  ...GROUP_TYPES,
  ...HOST_TYPES,
  ...ROUTER_TYPES,
  ...SYSTEM_TYPES,
  ...ZONE_TYPES,
];

/** What a field has in an object of the API. */
export function fieldValue(object: Readonly<Record<string, unknown>>, { property, flags }: FieldType): unknown {
  if (flags === undefined) return object[property];
  return Object.keys(flags).find((word) => object[flags[word]!] === true);
}

export function findType(types: readonly ObjectType[], word: string): ObjectType | undefined {
  return types.find((type) => type.name === word || type.aliases.includes(word));
}

export function findField(type: ObjectType, word: string): FieldType | undefined {
  return type.fields.find((field) => field.name === word);
}
