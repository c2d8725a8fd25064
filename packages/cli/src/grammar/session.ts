/** What a command is carried out with, and what a session learns of objects while it prints them. */
import { type ApiClient, ApiRefusal } from '../api/client.ts';
import type { Aliases } from './aliases.ts';
import { findType, type ObjectType, type ReferenceTarget, ROOT_TYPES } from './types.ts';

export interface Session {
  readonly api: ApiClient;
  /** `list` and `show` give JSON as the API sent it. */
  readonly json?: boolean;
  /** Lists show this tenant's objects only, and new ones are this tenant's. */
  tenant?: string | undefined;
  /** Interactive use only. */
  readonly aliases?: Aliases;
}

export type Value = Readonly<Record<string, unknown>>;

/** Requests that one command may cost for the aliases of what it prints; what is beyond them is printed by id. */
const LOOKUPS = 256;

/** Gives aliases to the objects that these values name. */
export async function discoverReferences(session: Session, type: ObjectType, values: readonly Value[]): Promise<void> {
  const { aliases } = session;
  if (aliases === undefined) return;
  const left = { lookups: LOOKUPS };
  for (const value of values) {
    for (const field of type.fields) {
      const { refersTo } = field.value;
      if (refersTo === undefined) continue;
      for (const id of [value[field.property]].flat()) {
        if (typeof id === 'string' && !aliases.has(id)) await discover(session, aliases, refersTo, id, left);
      }
    }
  }
}

async function discover(
  { api }: Session,
  aliases: Aliases,
  target: ReferenceTarget,
  id: string,
  left: { lookups: number },
): Promise<void> {
  if (target === 'port' || target === 'any') {
    const port = await find(api, `/ports/${id}`, left);
    const device = port && deviceOf(port);
    if (device) {
      aliases.discover(device.alias, device.id);
      aliases.discover('port', id, device.id);
    }
    if (port || target === 'port') return;
  }
  if (target === 'device' || target === 'any') {
    for (const alias of ['bridge', 'router']) {
      if (!(await find(api, `/${alias}s/${id}`, left))) continue;
      aliases.discover(alias, id);
      return;
    }
    return;
  }
  const { alias } = findType(ROOT_TYPES, target) ?? {};
  if (alias !== undefined) aliases.discover(alias, id);
}

async function find(api: ApiClient, path: string, left: { lookups: number }): Promise<Value | undefined> {
  if (left.lookups-- <= 0) return undefined;
  try {
    return await api.get<Value>(path);
  } catch (error) {
    if (error instanceof ApiRefusal && error.status === 404) return undefined;
    throw error;
  }
}

function deviceOf({ deviceId, deviceType }: Value): { id: string; alias: string } | undefined {
  if (typeof deviceId !== 'string' || (deviceType !== 'bridge' && deviceType !== 'router')) return undefined;
  return { id: deviceId, alias: deviceType };
}
