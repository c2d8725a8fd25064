/** What may stand next in a command: types, verbs, fields, words of a value, aliases, names of objects that there are. */
import { SESSION_COMMANDS } from '../shell/interpreter.ts';
import { isAlias } from './aliases.ts';
import { ROOT, resolve } from './evaluate.ts';
import { splitWords } from './lexer.ts';
import { type Step, verbOf } from './parse.ts';
import type { Session, Value } from './session.ts';
import {
  type FieldType,
  fieldValue,
  findField,
  findType,
  type ObjectType,
  ROOT_TYPES,
  VERBS,
  type Verb,
} from './types.ts';
import { isUuid, quoteWord } from './values.ts';

/** How long what the API listed is good for, ms: a burst of TABs asks it once. */
const FRESH_MS = 3000;
/** Candidates of one TAB. */
const MOST = 500;

/** Where the words so far have led. */
interface Position {
  readonly path: Step[];
  verb: Verb | undefined;
  target: ObjectType | undefined;
  /** The type just named: its reference comes next. */
  type: ObjectType | undefined;
  /** The field just named: its value comes next. `of` is the type that it belongs to. */
  field: { readonly field: FieldType; readonly of: ObjectType } | undefined;
}

export class Completion {
  readonly #session: Session;
  readonly #listed = new Map<string, { readonly at: number; readonly values: Promise<Value[]> }>();

  constructor(session: Session) {
    this.#session = session;
  }

  /** The candidates for the last word of `line`, and that word: what readline asks for. Never throws. */
  async complete(line: string): Promise<[candidates: string[], word: string]> {
    const at = lastWord(line);
    const [before, last] = [line.slice(0, at), line.slice(at)];
    try {
      const words = await this.#candidates(splitWords(before), last);
      const fitting = [...new Set(words)].filter((word) => word.startsWith(last)).sort(byNumber);
      return [fitting.slice(0, MOST).map((word) => (/[:!]$/.test(word) ? word : `${word} `)), last];
    } catch {
      // A line that makes no sense, an API that does not answer: there is nothing to suggest.
      return [[], last];
    }
  }

  async #candidates(words: readonly string[], last: string): Promise<string[]> {
    const [first] = words;
    if (first === 'help' || (first !== undefined && verbOf(first) === 'describe')) return typesBelow(words.slice(1));
    if (first === 'debug') return words.length === 1 ? ['on', 'off'] : [];
    if (first !== undefined && first in SESSION_COMMANDS) return [];
    const position = walk(words);
    if (position === undefined) return [];
    const { path, verb, target, type, field } = position;
    if (field) return this.#values(position, field.field, field.of, last);
    const parent = path.at(-1)?.type;
    if (type) {
      const fields = namesOf(type.fields);
      // After "list port" and "create port" come the fields of what is listed or made.
      if (verb === 'list') return fields;
      const verbs = verb === undefined ? verbsOf(type) : [];
      if (verb === 'create') return [...namesOf(writable(type)), ...(await this.#aliases(position, type))];
      return [...(await this.#aliases(position, type)), ...fields, ...verbs];
    }
    const subject = target ?? parent;
    const result: string[] = [];
    if (verb === undefined) result.push(...(subject ? verbsBelow(subject) : [...VERBS, 'add']));
    if (target === undefined) {
      const types = parent ? parent.children : ROOT_TYPES;
      if (verb !== 'set' && verb !== 'clear' && verb !== 'show') result.push(...namesOf(types));
      else if (parent === undefined) result.push(...namesOf(types));
    }
    if (subject && verb !== undefined && verb !== 'delete' && verb !== 'describe') {
      const isCollection = verb === 'list' || verb === 'create';
      if (!isCollection || target)
        result.push(...namesOf(verb === 'list' || verb === 'show' ? subject.fields : writable(subject)));
    }
    if (path.length === 0 && verb === undefined && target === undefined) result.push(...Object.keys(SESSION_COMMANDS));
    return result;
  }

  /** Aliases of the objects of a type below where the path leads; those that there are get theirs now. */
  async #aliases({ path }: Position, type: ObjectType): Promise<string[]> {
    const { aliases } = this.#session;
    if (aliases === undefined || type.alias === undefined) return [];
    const place = await this.#place(path);
    const values = await this.#list(`${place.path}/${type.collection}`);
    for (const { id } of values) aliases.discover(type.alias, String(id), place.id);
    return values.flatMap(({ id }) => aliases.ownAlias(String(id)) ?? []);
  }

  async #values({ path, verb, target }: Position, field: FieldType, of: ObjectType, last: string): Promise<string[]> {
    const bang = field.inverted !== undefined && last.startsWith('!') ? '!' : '';
    const { value } = field;
    if (value.words) return [...value.words.map((word) => bang + word)];
    if (value.refersTo)
      return (await this.#references(value.refersTo, last.slice(bang.length))).map((word) => bang + word);
    // Names of a new object are made up; everything else is about objects that there are.
    const isFilter = verb !== 'create' && verb !== 'set';
    const place = await this.#place(path);
    if (field.suggest && !isFilter) {
      const { collection, property } = field.suggest;
      return (await this.#list(`${place.path}/${collection}`)).map((one) => quoteWord(String(one[property])));
    }
    if (!isFilter) return [];
    const below = target === of || path.at(-1)?.type !== of ? place : await this.#place(path.slice(0, -1));
    const values = await this.#list(`${below.path}/${of.collection}`);
    return values.flatMap((one) => value.print(fieldValue(one, field), this.#session.aliases) ?? []);
  }

  /** Aliases of the objects that a reference may lead to. For ports: the devices, then their ports. */
  async #references(target: string, last: string): Promise<string[]> {
    const { aliases } = this.#session;
    if (aliases === undefined) return [];
    // Of several ids, comma separated, the last one is being written.
    const head = last.slice(0, last.lastIndexOf(',') + 1);
    const word = last.slice(head.length);
    const roots = target === 'port' || target === 'device' || target === 'any' ? ['bridge', 'router'] : [target];
    const found: string[] = [];
    for (const name of roots) {
      const type = findType(ROOT_TYPES, name)!;
      for (const { id } of await this.#list(`/${type.collection}`)) aliases.discover(type.alias!, String(id));
      const all = [...aliases.entries(type.alias)].map(([alias]) => alias);
      found.push(...(target === 'port' ? all.map((alias) => `${alias}:`) : all));
    }
    const [, device] = /^([a-z]+\d+):/.exec(word) ?? [];
    if (device !== undefined && (target === 'port' || target === 'any')) {
      const id = aliases.idOf(device)!;
      const type = findType(ROOT_TYPES, device.replace(/\d+$/, ''));
      for (const port of await this.#list(`/${type?.collection}/${id}/ports`))
        aliases.discover('port', String(port.id), id);
      found.push(...[...aliases.entries('port')].map(([alias]) => alias));
    }
    return found.map((one) => head + one);
  }

  #place(path: readonly Step[]) {
    return path.reduce(async (place, step) => resolve(this.#session, await place, step), Promise.resolve(ROOT));
  }

  #list(path: string): Promise<Value[]> {
    const now = performance.now();
    const known = this.#listed.get(path);
    if (known && now - known.at < FRESH_MS) return known.values;
    const values = this.#session.api.list<Value>(path);
    this.#listed.clear();
    this.#listed.set(path, { at: now, values });
    return values;
  }
}

const namesOf = (items: readonly { readonly name: string }[]) => items.map(({ name }) => name);
const writable = (type: ObjectType) => type.fields.filter((field) => !field.readOnly);
const verbsOf = (type: ObjectType): string[] => [...type.verbs, ...(type.verbs.includes('create') ? ['add'] : [])];

/** Verbs of an object that has been named, and those of what is below it. */
function verbsBelow(type: ObjectType): string[] {
  const own = verbsOf(type).filter((verb) => verb !== 'list' && verb !== 'create' && verb !== 'add');
  return [...own, ...type.children.flatMap(verbsOf).filter((verb) => /^(list|create|add)$/.test(verb))];
}

function typesBelow(words: readonly string[]): string[] {
  let types: readonly ObjectType[] = ROOT_TYPES;
  for (const word of words) types = findType(types, word)?.children ?? [];
  const nested = words.length === 0 ? ROOT_TYPES.flatMap((type) => type.children) : [];
  return [...namesOf(types), ...namesOf(nested)];
}

/** Follows the words as the parser does; undefined where nothing can come of them. */
function walk(words: readonly string[]): Position | undefined {
  const position: Position = { path: [], verb: undefined, target: undefined, type: undefined, field: undefined };
  const filter: { field: FieldType; value: unknown; inverted: boolean }[] = [];
  const endFilter = () => {
    if (position.type && filter.length > 0)
      position.path.push({ type: position.type, reference: { filter: [...filter] } });
    filter.length = 0;
    position.type = undefined;
  };
  for (const word of words) {
    const { verb, target, type, field } = position;
    if (field) {
      position.field = undefined;
      if (type && verb !== 'list' && verb !== 'create') {
        filter.push({ field: field.field, value: field.field.value.parse(word, field.field.name), inverted: false });
      }
      continue;
    }
    if (type) {
      const own = findField(type, word);
      const isTarget = verb === 'list' || verb === 'create';
      if (filter.length === 0 && (isUuid(word) || isAlias(word))) {
        position.path.push({ type, reference: isUuid(word) ? { id: word } : { alias: word } });
        position.type = undefined;
        continue;
      }
      if (own && isTarget) {
        position.target = type;
        position.type = undefined;
        position.field = { field: own, of: type };
        continue;
      }
      if (own && !(filter.length > 0 && verb !== undefined && verb !== 'delete')) {
        position.field = { field: own, of: type };
        continue;
      }
      if (filter.length > 0) endFilter();
      else {
        position.target = type;
        position.type = undefined;
      }
    }
    const parent = position.path.at(-1)?.type;
    const subject = position.target ?? parent;
    const about = verb === 'set' || verb === 'clear' || verb === 'show';
    const found = verb === undefined ? verbOf(word) : undefined;
    const next = position.target ? undefined : findType(parent ? parent.children : ROOT_TYPES, word);
    const own = subject && verb !== undefined ? findField(subject, word) : undefined;
    if (found && !next) position.verb = found;
    else if (next && !(own && about)) {
      if (next.singleton) position.path.push({ type: next, reference: { only: true } });
      else position.type = next;
    } else if (own && target === undefined && about) {
      position.field = verb === 'set' ? { field: own, of: subject! } : undefined;
    } else if (own) position.field = { field: own, of: subject! };
    else return undefined;
  }
  if (position.type && filter.length > 0 && position.field === undefined) {
    const { type } = position;
    endFilter();
    // A filter may go on, or the verb come next.
    if (type.children.length === 0 && position.verb === undefined) return position;
  }
  return position;
}

/** Where the last word begins; at the end of the line when a new one may begin there. */
function lastWord(line: string): number {
  let start = 0;
  let quote = '';
  for (let i = 0; i < line.length; i++) {
    const char = line[i]!;
    if (char === '\\' && quote !== "'") i++;
    else if (quote !== '') quote = char === quote ? '' : quote;
    else if (char === '"' || char === "'") quote = char;
    else if (/\s/.test(char)) start = i + 1;
  }
  return start;
}

/** port2 before port10. */
function byNumber(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
