/** Carries out a command of the topology language on the REST API. */
import type { RestClient } from '@weft/lab';
import { CliError } from '../errors.ts';
import { splitWords } from './lexer.ts';
import { type Assignment, parseCommand, type Step } from './parse.ts';
import type { ObjectType } from './types.ts';

type Value = Readonly<Record<string, unknown>>;

export interface EvaluateOptions {
  /** `list` and `show` give JSON as the API sent it. */
  readonly json?: boolean;
}

/** Returns what is to be printed; empty for commands that say nothing. */
export async function evaluate(line: string, api: RestClient, options: EvaluateOptions = {}): Promise<string> {
  const command = parseCommand(splitWords(line));
  const { verb, target, assignments, fields } = command;
  const subject = target ?? command.path.at(-1)!.type;
  if (verb === 'describe') return describe(subject);

  let parent = '';
  let path = '';
  for (const step of command.path) {
    parent = path;
    path = await resolve(api, path, step);
  }
  switch (verb) {
    case 'list': {
      const all = await api.get<Value[]>(`${path}/${subject.collection}`);
      const chosen = all.filter((value) => assignments.every((assignment) => matches(value, assignment)));
      if (options.json) return JSON.stringify(chosen, null, 2);
      return chosen.map((value) => printObject(subject, value)).join('\n');
    }
    case 'show': {
      const value = await api.get<Value>(path);
      if (options.json) return JSON.stringify(value, null, 2);
      if (fields.length === 0) return printObject(subject, value);
      return fields.map((field) => field.value.print(value[field.property]) ?? '').join('\n');
    }
    case 'create':
      return create(api, path, subject, assignments);
    case 'set':
      await update(api, path, subject, assignments);
      return '';
    case 'clear': {
      const cleared = fields.map((field) => ({ field, value: null, inverted: false }));
      await update(api, path, subject, cleared);
      return '';
    }
    case 'delete':
      if (parent === path) throw new CliError('WEFT_CLI_INCOMPLETE', 'Missing arguments, incomplete command');
      await api.delete(path);
      return '';
  }
}

/** Path of the object that a step selects. */
async function resolve(api: RestClient, parent: string, { type, reference }: Step): Promise<string> {
  if ('id' in reference) {
    const path = type.item ? `/${type.item}/${reference.id}` : `${parent}/${type.collection}/${reference.id}`;
    return path;
  }
  const all = await api.get<Value[]>(`${parent}/${type.collection}`);
  const found = all.filter((value) => reference.filter.every((assignment) => matches(value, assignment)));
  if (found.length === 1) {
    const [value] = found;
    return type.item
      ? `/${type.item}/${value!.id}`
      : `${parent}/${type.collection}/${encodeURIComponent(String(value![type.key!]))}`;
  }
  const words = reference.filter.map(({ field, value }) => `${field.name} ${field.value.print(value) ?? ''}`).join(' ');
  const count = found.length === 0 ? 'no' : String(found.length);
  throw new CliError(
    'WEFT_CLI_NOT_FOUND',
    `User error: there ${found.length < 2 ? 'is' : 'are'} ${count} ${type.name} with ${words}`,
    1,
  );
}

async function create(
  api: RestClient,
  parent: string,
  type: ObjectType,
  assignments: readonly Assignment[],
): Promise<string> {
  const [later, now] = partition(assignments, ({ field }) => type.special?.[field.name] !== undefined);
  const collection = `${parent}/${type.collection}`;
  const { location } = await api.post(collection, bodyOf(now));
  const id = decodeURIComponent(location?.split('/').at(-1) ?? '');
  const path = type.item ? `/${type.item}/${id}` : `${collection}/${encodeURIComponent(id)}`;
  if (later.length > 0) await update(api, path, type, later);
  // What has no id of its own is shown by its fields.
  return type.item ? id : printObject(type, await api.get<Value>(path));
}

async function update(
  api: RestClient,
  path: string,
  type: ObjectType,
  assignments: readonly Assignment[],
): Promise<void> {
  const [special, plain] = partition(assignments, ({ field }) => type.special?.[field.name] !== undefined);
  if (plain.length > 0) {
    const merged = { ...(await api.get<Value>(path)), ...bodyOf(plain) };
    await api.put(path, Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== null)));
  }
  for (const { field, value } of special) {
    const { path: below, property } = type.special![field.name]!;
    if (value === null) await api.delete(`${path}/${below}`);
    else await api.post(`${path}/${below}`, { [property]: value });
  }
}

function bodyOf(assignments: readonly Assignment[]): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  for (const { field, value, inverted } of assignments) {
    body[field.property] = value;
    if (field.inverted !== undefined && value !== null) body[field.inverted] = inverted;
  }
  return body;
}

function matches(value: Value, { field, value: wanted }: Assignment): boolean {
  return field.value.print(value[field.property]) === field.value.print(wanted);
}

/** `<type> <id> <field> <value>…`, without the fields that have no value. Without an id: only fields. */
function printObject(type: ObjectType, value: Value): string {
  const parts = type.item ? [type.name, String(value.id)] : [];
  for (const field of type.fields) {
    if (field.name === 'id') continue;
    const shown = field.value.print(value[field.property]);
    if (shown === undefined) continue;
    const bang = field.inverted !== undefined && value[field.inverted] === true ? '!' : '';
    parts.push(field.name, `${bang}${shown}`);
  }
  return parts.join(' ');
}

function describe(type: ObjectType): string {
  const lines = type.fields.map((field) => `  ${field.name}${field.readOnly ? ' (read-only)' : ''}`);
  const below = type.children.length === 0 ? [] : ['below it:', ...type.children.map((child) => `  ${child.name}`)];
  return [`${type.name}: ${type.verbs.join(', ')}`, 'fields:', ...lines, ...below].join('\n');
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  const yes: T[] = [];
  const no: T[] = [];
  for (const item of items) (test(item) ? yes : no).push(item);
  return [yes, no];
}
