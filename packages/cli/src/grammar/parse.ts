/**
 * The grammar: `[type reference]… [verb] [collection] [field value]…`. The verb may come first, in the middle or last, and a
 * reference is an id or a filter (`bridge name demo`).
 */
import { CliError } from '../errors.ts';
import { type FieldType, findField, findType, type ObjectType, ROOT_TYPES, type Verb } from './types.ts';
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
  readonly reference: { readonly id: string } | { readonly filter: readonly Assignment[] };
}

export interface ParsedCommand {
  readonly verb: Verb;
  readonly path: readonly Step[];
  /** The collection that `list` and `create` work on. */
  readonly target: ObjectType | undefined;
  readonly assignments: readonly Assignment[];
  /** Fields named without a value: of `show` and `clear`. */
  readonly fields: readonly FieldType[];
}

export function parseCommand(words: readonly string[]): ParsedCommand {
  if (words.length === 0) throw new CliError('WEFT_CLI_INCOMPLETE', 'Missing arguments, incomplete command');
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
      if (next === undefined || (verb === undefined && verbOf(next) && !isUuid(next))) target = type;
      else if (isUuid(next)) {
        path.push({ type, reference: { id: next.toLowerCase() } });
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
          filter.push(readAssignment(type, words, i));
          i += 2;
        }
        path.push({ type, reference: { filter } });
      }
    } else break;
  }

  if (verb === undefined) {
    if (i < words.length) throw syntaxError(words, i, 'neither a verb nor a type that is known here');
    verb = target === undefined ? 'show' : 'list';
  }
  const subject = target ?? context();
  if (subject === undefined) {
    if (i < words.length) throw syntaxError(words, i, 'not a type that is known here');
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
    assignments.push(readAssignment(subject, words, i));
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

/** After these verbs a word that is both a field and a collection is the field: `set port …`. */
function isAboutFields(verb: Verb): boolean {
  return verb === 'set' || verb === 'clear' || verb === 'show';
}

function readAssignment(type: ObjectType, words: readonly string[], i: number): Assignment {
  const field = findField(type, words[i]!)!;
  let word = words[i + 1];
  if (word === undefined) {
    throw new CliError('WEFT_CLI_INCOMPLETE', `Missing arguments, incomplete command: ${field.name} has no value`);
  }
  const inverted = word.length > 1 && word.startsWith('!') && field.inverted !== undefined;
  if (inverted) word = word.slice(1);
  return { field, value: field.value.parse(word, field.name), inverted };
}

function refuseReadOnly(field: FieldType): void {
  if (field.readOnly) throw new CliError('WEFT_CLI_SYNTAX', `Syntax error at: ${field.name} (it cannot be set)`);
}

function syntaxError(words: readonly string[], i: number, why: string): CliError {
  return new CliError('WEFT_CLI_SYNTAX', `Syntax error at: ${words.slice(i).join(' ')} (${why})`);
}

/** Verbs may be shortened; `set` and `list` may not, since they are short already. */
function verbOf(word: string): Verb | undefined {
  if (word === 'list' || word === 'set' || word === 'clear') return word;
  if (word === 'create' || word === 'add') return 'create';
  if (word.length >= 2 && 'show'.startsWith(word)) return 'show';
  if (word.length >= 3 && 'delete'.startsWith(word)) return 'delete';
  if (word.length >= 4 && 'describe'.startsWith(word)) return 'describe';
  return undefined;
}
