/** Carries out a command of the topology language on the REST API. */
import { pathOf } from '../api/client.ts';
import { CliError } from '../errors.ts';
import { splitWords } from './lexer.ts';
import { type Assignment, type ParsedCommand, parseCommand, type Step } from './parse.ts';
import { discoverReferences, type Session, type Value } from './session.ts';
import { fieldValue, findField, type ObjectType } from './types.ts';

/** An object on the way: where it is, and its id where it has one. */
interface Place {
  readonly path: string;
  readonly id: string;
}

export const ROOT: Place = { path: '', id: '' };

/** Returns what is to be printed; empty for commands that say nothing. */
export function evaluate(line: string, session: Session): Promise<string> {
  return execute(parseCommand(splitWords(line), session.aliases), session);
}

export async function execute(command: ParsedCommand, session: Session): Promise<string> {
  const { verb, target, assignments, fields } = command;
  const subject = target ?? command.path.at(-1)!.type;
  if (verb === 'describe') {
    const { describeTypes } = await import('./describe.ts');
    return describeTypes(command.described ?? [subject]);
  }
  const { api, json } = session;
  let place = ROOT;
  for (const step of command.path) place = await resolve(session, place, step);
  switch (verb) {
    case 'list': {
      const wanted = [...assignments, ...tenancy(session, subject, assignments, place)];
      const all = await api.list<Value>(`${place.path}/${subject.collection}`);
      const chosen = all.filter((value) => wanted.every((assignment) => matches(value, assignment)));
      if (json) return JSON.stringify(chosen, null, 2);
      return printObjects(session, subject, chosen, place.id);
    }
    case 'show': {
      const value = await api.get<Value>(place.path);
      if (json) return JSON.stringify(value, null, 2);
      await discoverReferences(session, subject, [value]);
      if (fields.length === 0) return printObject(session, subject, value);
      return fields.map((field) => field.value.print(fieldValue(value, field), session.aliases) ?? '').join('\n');
    }
    case 'create':
      return create(session, place, subject, [...assignments, ...tenancy(session, subject, assignments, place)]);
    case 'set':
      await update(session, place.path, subject, assignments);
      return '';
    case 'clear': {
      const cleared = fields.map((field) => ({ field, value: null, inverted: false }));
      await update(session, place.path, subject, cleared);
      return '';
    }
    case 'delete':
      if (command.path.length === 0) throw new CliError('WEFT_CLI_INCOMPLETE', 'Missing arguments, incomplete command');
      await api.delete(place.path);
      session.aliases?.forget(place.id);
      return '';
  }
}

/** What `sett` adds: new objects below the root are the tenant's, and lists show only those. */
function tenancy(session: Session, type: ObjectType, given: readonly Assignment[], place: Place): Assignment[] {
  const field = findField(type, 'tenant');
  if (session.tenant === undefined || field === undefined || place !== ROOT) return [];
  if (given.some((assignment) => assignment.field === field)) return [];
  return [{ field, value: session.tenant, inverted: false }];
}

/** Where the object is that a step selects. */
export async function resolve(session: Session, parent: Place, { type, reference }: Step): Promise<Place> {
  const collection = `${parent.path}/${type.collection}`;
  if ('only' in reference) return { path: collection, id: '' };
  if ('alias' in reference) {
    const { alias } = reference;
    const aliases = session.aliases!;
    const id = alias.includes(':') ? aliases.idOf(alias)! : aliases.find(alias, parent.id);
    const kind = alias.split(':').at(-1)!.replace(/\d+$/, '');
    if (kind !== type.alias) throw new CliError('WEFT_CLI_ALIAS', `User error: ${alias} is no ${type.name}`);
    return partOf(session, parent, type, { path: `/${type.item}/${id}`, id }, alias);
  }
  if ('id' in reference) {
    const { id } = reference;
    const place = { path: type.item ? `/${type.item}/${id}` : `${collection}/${id}`, id };
    return partOf(session, parent, type, place, id);
  }
  const all = await session.api.list<Value>(collection);
  const found = all.filter((value) => reference.filter.every((assignment) => matches(value, assignment)));
  if (found.length === 1) {
    const [value] = found;
    const id = String(value!.id ?? '');
    if (type.item === undefined) return { path: pathOf(String(value!.uri)), id: '' };
    if (type.alias !== undefined) session.aliases?.discover(type.alias, id, parent.id);
    return { path: `/${type.item}/${id}`, id };
  }
  const words = reference.filter
    .map(({ field, value }) => `${field.name} ${field.value.print(value, session.aliases) ?? ''}`)
    .join(' ');
  const count = found.length === 0 ? 'no' : String(found.length);
  throw new CliError(
    'WEFT_CLI_NOT_FOUND',
    `User error: there ${found.length < 2 ? 'is' : 'are'} ${count} ${type.name} with ${words}`,
    1,
  );
}

/** The place, if the object there is part of the one before it: `bridge A port P` never means a port of bridge B. */
async function partOf(session: Session, parent: Place, type: ObjectType, place: Place, name: string): Promise<Place> {
  if (type.parent === undefined || parent === ROOT) return place;
  const value = await session.api.get<Value>(place.path);
  if (value[type.parent] === parent.id) return place;
  throw new CliError('WEFT_CLI_NOT_FOUND', `User error: ${type.name} ${name} is part of another object`, 1);
}

/** Says the new object's alias or id; what has none is shown by its fields. */
async function create(
  session: Session,
  parent: Place,
  type: ObjectType,
  assignments: readonly Assignment[],
): Promise<string> {
  const [later, now] = partition(assignments, ({ field }) => type.special?.[field.name] !== undefined);
  const { path, body } = await session.api.post(`${parent.path}/${type.collection}`, bodyOf(now));
  if (path === undefined) throw new CliError('WEFT_CLI_API', 'the API does not say where the new object is', 1);
  if (later.length > 0) {
    try {
      await update(session, path, type, later);
    } catch (error) {
      // Half an object is none: what could not be finished goes away again.
      await session.api.delete(path).catch(() => undefined);
      throw error;
    }
  }
  const id = decodeURIComponent(path.split('/').at(-1)!);
  if (session.json) return JSON.stringify(body ?? (await session.api.get<Value>(path)), null, 2);
  if (type.item === undefined) {
    const value = await session.api.get<Value>(path);
    await discoverReferences(session, type, [value]);
    return printObject(session, type, value);
  }
  if (type.alias !== undefined) session.aliases?.discover(type.alias, id, parent.id);
  return session.aliases?.aliasOf(id) ?? id;
}

async function update(
  { api }: Session,
  path: string,
  type: ObjectType,
  assignments: readonly Assignment[],
): Promise<void> {
  const [special, plain] = partition(assignments, ({ field }) => type.special?.[field.name] !== undefined);
  if (plain.length > 0) {
    // Null takes a field away; one that is left out may be kept.
    await api.change(path, (value) => ({ ...value, ...bodyOf(plain) }));
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
    if (field.flags === undefined) body[field.property] = value;
    else for (const [word, property] of Object.entries(field.flags)) body[property] = word === value ? true : null;
    if (field.inverted !== undefined && value !== null) body[field.inverted] = inverted;
  }
  return body;
}

/** Compared as printed: both sides then have one spelling. */
function matches(value: Value, { field, value: wanted, inverted }: Assignment): boolean {
  if (field.inverted !== undefined && inverted !== (value[field.inverted] === true)) return false;
  return field.value.print(fieldValue(value, field)) === field.value.print(wanted);
}

/** A line for each object; what is printed gets its alias, in this order. */
async function printObjects(
  session: Session,
  type: ObjectType,
  values: readonly Value[],
  parentId: string,
): Promise<string> {
  if (type.alias !== undefined) {
    for (const { id } of values) session.aliases?.discover(type.alias, String(id), parentId);
  }
  await discoverReferences(session, type, values);
  return values.map((value) => printObject(session, type, value)).join('\n');
}

/** `<type> <alias or id> <field> <value>…`, without the fields that have no value. Without an id: only fields. */
function printObject({ aliases }: Session, type: ObjectType, value: Value): string {
  const parts = type.item ? [type.name, aliases?.ownAlias(String(value.id)) ?? String(value.id)] : [];
  for (const field of type.fields) {
    if (field.name === 'id' && type.item) continue;
    const shown = field.value.print(fieldValue(value, field), aliases);
    if (shown === undefined) continue;
    const bang = field.inverted !== undefined && value[field.inverted] === true ? '!' : '';
    parts.push(field.name, `${bang}${shown}`);
  }
  return parts.join(' ');
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  const yes: T[] = [];
  const no: T[] = [];
  for (const item of items) (test(item) ? yes : no).push(item);
  return [yes, no];
}
