/**
 * The grammar: `[type reference]… [verb] [collection] [field value]…`. The verb may come first, in the middle or last, and a
 * reference is an id, in a session an alias, or a filter (`bridge name demo`).
 */
import { CliError } from '../errors.ts';
import { isAlias } from './aliases.ts';
import { type FieldType, findField, findType, type Names, type ObjectType, ROOT_TYPES, type Verb } from './types.ts';
import { isUuid } from './values.ts';

export interface Assignment {
  readonly field: FieldType;
  readonly value: unknown;
  /** Written with `!`. */
  readonly inverted: boolean;
}

/** One object on the way from the root. */
export interface Step {
  readonly type: ObjectType;
  readonly reference:
    | { readonly id: string }
    /** Found when the command is carried out: its scope is the object before it. */
    | { readonly alias: string }
    | { readonly filter: readonly Assignment[] }
    /** The only object of its type. */
    | { readonly only: true };
}

export interface ParsedCommand {
  readonly verb: Verb;
  readonly path: readonly Step[];
  /** The collection that `list` and `create` work on. */
  readonly target: ObjectType | undefined;
  readonly assignments: readonly Assignment[];
  /** Fields named without a value: of `show` and `clear`. */
  readonly fields: readonly FieldType[];
  /** Of `describe`. */
  readonly described?: readonly ObjectType[];
}

/** `names`: of a session; without them only ids name objects. Throws CliError WEFT_CLI_SYNTAX, WEFT_CLI_INCOMPLETE. */
export function parseCommand(words: readonly string[], names?: Names): ParsedCommand {
  if (words.length === 0) throw new CliError('WEFT_CLI_INCOMPLETE', 'Missing arguments, incomplete command');
  const described = parseDescribe(words);
  if (described) return described;
  const path: Step[] = [];
  let verb: Verb | undefined;
  let target: ObjectType | undefined;
  let i = 0;
  const context = () => path.at(-1)?.type;

  while (i < words.length) {
    const word = words[i]!;
    const found = verb === undefined ? verbOf(word) : undefined;
    const type = target === undefined ? findType(context()?.children ?? ROOT_TYPES, word) : undefined;
    const mayBeField = verb !== undefined && (target ?? context()) && findField((target ?? context())!, word);
    if (found !== undefined && !type) {
      verb = found;
      i++;
    } else if (type && !(mayBeField && isAboutFields(verb!))) {
      i++;
      const next = words[i];
      if (type.singleton) path.push({ type, reference: { only: true } });
      else if (next === undefined || (verb === undefined && verbOf(next) && !isUuid(next))) target = type;
      else if (isUuid(next)) {
        path.push({ type, reference: { id: next.toLowerCase() } });
        i++;
      } else if (names && type.item !== undefined && isAlias(next)) {
        path.push({ type, reference: { alias: next } });
        i++;
      } else if (!findField(type, next)) throw syntaxError(words, i, `neither an id nor a field of ${type.name}`);
      else if (verb === 'list' || verb === 'create') target = type;
      else {
        const filter: Assignment[] = [];
        while (
          i < words.length &&
          findField(type, words[i]!) &&
          !(filter.length > 0 && verb !== undefined && verb !== 'delete')
        ) {
          filter.push(readAssignment(type, words, i, names));
          i += 2;
        }
        path.push({ type, reference: { filter } });
      }
    } else break;
  }

  if (verb === undefined) {
    if (i < words.length) throw syntaxError(words, i, unknownWord(words[i]!, context()));
    verb = target === undefined ? 'show' : 'list';
  }
  const subject = target ?? context();
  if (subject === undefined) {
    if (i < words.length) throw syntaxError(words, i, unknownWord(words[i]!, undefined));
    throw new CliError('WEFT_CLI_INCOMPLETE', 'Missing arguments, incomplete command: it names no type of object');
  }
  if ((verb === 'list' || verb === 'create') && target === undefined) {
    throw new CliError('WEFT_CLI_INCOMPLETE', `Missing arguments, incomplete command: ${verb} what?`);
  }
  if (verb !== 'list' && verb !== 'create' && verb !== 'describe' && target !== undefined) {
    throw new CliError('WEFT_CLI_INCOMPLETE', `Missing arguments, incomplete command: which ${target.name}?`);
  }
  if (!subject.verbs.includes(verb))
    throw new CliError('WEFT_CLI_SYNTAX', `Syntax error at: ${verb} (a ${subject.name} has no ${verb})`);

  const assignments: Assignment[] = [];
  const fields: FieldType[] = [];
  while (i < words.length) {
    const field = findField(subject, words[i]!);
    if (!field)
      throw syntaxError(
        words,
        i,
        `not a field of ${subject.name}: ${subject.fields.map((one) => one.name).join(', ')}`,
      );
    if (verb === 'show' || verb === 'clear') {
      fields.push(field);
      i++;
      continue;
    }
    if (verb === 'delete' || verb === 'describe') throw syntaxError(words, i, `${verb} takes no fields`);
    assignments.push(readAssignment(subject, words, i, names));
    i += 2;
  }
  if (verb !== 'list') {
    for (const { field } of assignments) refuseReadOnly(field);
  }
  if (verb === 'clear') for (const field of fields) refuseReadOnly(field);
  if ((verb === 'set' || verb === 'clear') && assignments.length + fields.length === 0) {
    throw new CliError('WEFT_CLI_INCOMPLETE', `Missing arguments, incomplete command: ${verb} which field?`);
  }
  return { verb, path, target, assignments, fields };
}

/** `describe bridge port`, `bridge port describe`; also `describe port`, which means every type of that name. */
function parseDescribe(words: readonly string[]): ParsedCommand | undefined {
  const first = verbOf(words[0]!) === 'describe';
  if (!first && verbOf(words.at(-1)!) !== 'describe') return undefined;
  const rest = first ? words.slice(1) : words.slice(0, -1);
  const described = typesAt(rest);
  if (described.length === 0) return undefined;
  return { verb: 'describe', path: [], target: described[0]!, described, assignments: [], fields: [] };
}

/** The types that these words lead to; one word alone may be a type at any depth. */
function typesAt(words: readonly string[]): ObjectType[] {
  if (words.length === 1) {
    const root = findType(ROOT_TYPES, words[0]!);
    if (root) return [root];
    return ROOT_TYPES.flatMap((type) => findType(type.children, words[0]!) ?? []);
  }
  let found: readonly ObjectType[] = ROOT_TYPES;
  let type: ObjectType | undefined;
  for (const word of words) {
    type = findType(found, word);
    if (type === undefined) return [];
    found = type.children;
  }
  return type === undefined ? [] : [type];
}

/** After these verbs a word that is both a field and a collection is the field: `set port …`. */
function isAboutFields(verb: Verb): boolean {
  return verb === 'set' || verb === 'clear' || verb === 'show';
}

function readAssignment(type: ObjectType, words: readonly string[], i: number, names: Names | undefined): Assignment {
  const field = findField(type, words[i]!)!;
  let word = words[i + 1];
  if (word === undefined) {
    throw new CliError('WEFT_CLI_INCOMPLETE', `Missing arguments, incomplete command: ${field.name} has no value`);
  }
  const inverted = word.length > 1 && word.startsWith('!') && field.inverted !== undefined;
  if (inverted) word = word.slice(1);
  return { field, value: field.value.parse(word, field.name, names), inverted };
}

function refuseReadOnly(field: FieldType): void {
  if (field.readOnly) throw new CliError('WEFT_CLI_SYNTAX', `Syntax error at: ${field.name} (it cannot be set)`);
}

/** Why a word is neither a verb nor a type where it stands; of a part of other objects it says whose. */
function unknownWord(word: string, context: ObjectType | undefined): string {
  const owners = context === undefined ? ROOT_TYPES.filter(({ children }) => findType(children, word)) : [];
  if (owners.length === 0) return 'neither a verb nor a type that is known here';
  return `a ${word} is named with what it is part of: ${owners.map(({ name }) => `${name} … ${word}`).join(', ')}`;
}

function syntaxError(words: readonly string[], i: number, why: string): CliError {
  return new CliError('WEFT_CLI_SYNTAX', `Syntax error at: ${words.slice(i).join(' ')} (${why})`);
}

/** Verbs may be shortened; `set` and `list` may not, since they are short already. */
export function verbOf(word: string): Verb | undefined {
  if (word === 'list' || word === 'set' || word === 'clear') return word;
  if (word === 'create' || word === 'add') return 'create';
  if (word.length >= 2 && 'show'.startsWith(word)) return 'show';
  if (word.length >= 3 && 'delete'.startsWith(word)) return 'delete';
  if (word.length >= 4 && 'describe'.startsWith(word)) return 'describe';
  return undefined;
}
