/** Objects as the API shows them: the model's fields, MidoNet's spellings, links. And the way back. */
import { ALIVE_TABLE, type StoredObject } from '@weft/nsdb';
import { OBJECT_TYPES, type ObjectValue, type TypeName } from '@weft/topology';
import Type, { type TObject, type TSchema } from 'typebox';
import type { Context } from './context.ts';
import { invalid } from './errors.ts';
import { JSON_TYPE } from './media.ts';
import { type Resource, resourceOf } from './resources.ts';

/** URI of an object below `base`. */
export function itemUri(base: string, resource: Resource, value: ObjectValue): string {
  if (resource.path) return `${base}/${resource.path}/${value.id}`;
  const [place] = resource.places;
  const parent = resourceOf(place!.parent);
  return `${base}/${parent.path}/${value[place!.field]}/${place!.segment}/${memberKey(resource, value)}`;
}

/** Last part of the URI of an object that lives below its parent only. */
function memberKey(resource: Resource, value: ObjectValue): string {
  return resource.type === 'TunnelZoneHost' ? (value.hostId as string) : (value.id as string);
}

/** What the API adds that is not stored in the object. */
const EXTRA_FIELDS: Partial<Record<TypeName, Record<string, TSchema>>> = {
  Host: {
    alive: Type.Boolean({ description: 'The agent answers' }),
    addresses: Type.Array(Type.String(), { description: 'Addresses of its interfaces, as the agent reports them' }),
  },
  Port: {
    device: Type.String({ format: 'uri' }),
    hostInterfacePort: Type.Optional(Type.String({ format: 'uri' })),
  },
};

/** Turns stored objects into what is sent; reads what belongs to several of them once. */
export async function represent(
  context: Context,
  base: string,
  resource: Resource,
  objects: readonly StoredObject[],
): Promise<ObjectValue[]> {
  const extra = await extras(context, resource.type, objects);
  return objects.map((object) => {
    const value = object.value;
    const shown: ObjectValue = { ...value, ...extra(object), uri: itemUri(base, resource, value) };
    for (const [link, field] of Object.entries(resource.links)) {
      if (typeof value[field] !== 'string') continue;
      const reference = OBJECT_TYPES[resource.type].references.find((r) => r.field === field)!;
      shown[link] = itemUri(base, resourceOf(reference.target as TypeName), { id: value[field] });
    }
    for (const [link, path] of Object.entries(resource.below)) shown[link] = `${shown.uri}/${path}`;
    if (resource.type === 'Port') {
      shown.device = shown.bridge ?? shown.router;
      if (value.hostId) shown.hostInterfacePort = `${base}/hosts/${value.hostId}/ports/${value.id}`;
    }
    resource.dialect?.write(shown);
    return shown;
  });
}

/**
 * What MidoNet's own clients are sent: they look properties up by name and expect null where there is nothing. Told by the
 * media type; plain JSON leaves out what is not set.
 */
export function asMedia(media: string, resource: Resource, values: readonly ObjectValue[]): readonly ObjectValue[] {
  if (media === JSON_TYPE) return values;
  for (const value of values) for (const name of namesOf(resource)) value[name] ??= null;
  return values;
}

const propertyNames = new Map<TypeName, readonly string[]>();

/** All properties that an answer can have. */
function namesOf(resource: Resource): readonly string[] {
  let names = propertyNames.get(resource.type);
  if (!names) {
    names = Object.keys(restSchema(resource, 'output').properties);
    propertyNames.set(resource.type, names);
  }
  return names;
}

async function extras(
  { nsdb }: Context,
  type: TypeName,
  objects: readonly StoredObject[],
): Promise<(object: StoredObject) => ObjectValue> {
  if (type === 'Rule') {
    const positions = new Map<string, number>();
    for (const chainId of new Set(objects.map((o) => o.value.chainId as string))) {
      const chain = await nsdb.get<{ ruleIds: string[] }>('Chain', chainId);
      for (const [i, id] of (chain?.value.ruleIds ?? []).entries()) positions.set(id, i + 1);
    }
    return ({ id }) => (positions.has(id) ? { position: positions.get(id) } : {});
  }
  if (type === 'Host') {
    const alive = await aliveHosts(nsdb);
    const addresses = new Map<string, string[]>();
    for (const { id } of objects) {
      const interfaces = await hostInterfaces(nsdb, id);
      addresses.set(
        id,
        interfaces.flatMap((i) => (Array.isArray(i.addresses) ? i.addresses.map(String) : [])),
      );
    }
    return ({ id }) => ({ alive: alive.has(id), addresses: addresses.get(id) });
  }
  return () => ({});
}

/** Hosts whose agent has a session, or lost it so recently that it may come back. */
export async function aliveHosts(nsdb: Context['nsdb']): Promise<Set<string>> {
  return new Set((await nsdb.entries(ALIVE_TABLE)).map(({ key }) => key));
}

/** What a host's agent reports of its network interfaces: state table `interfaces/<host>`, name → JSON. */
export async function hostInterfaces(nsdb: Context['nsdb'], hostId: string): Promise<ObjectValue[]> {
  const shown: ObjectValue[] = [];
  for (const { key, value } of await nsdb.entries(`interfaces/${hostId}`)) {
    let details: unknown;
    try {
      details = JSON.parse(value);
    } catch {
      // A host may write what it likes into its own state; what is no JSON tells the name alone.
    }
    shown.push({ ...(typeof details === 'object' && details !== null ? details : {}), name: key, hostId });
  }
  return shown.sort((a, b) => String(a.name).localeCompare(String(b.name)));
}

/**
 * A body in the model's names, with what clients may not set taken out. `strict`: properties that no answer of the resource
 * has are refused, else ignored.
 */
export function readBody(resource: Resource, body: ObjectValue, strict: boolean): ObjectValue {
  if (strict) {
    const known = new Set(namesOf(resource));
    const unknown = Object.keys(body).filter((key) => !known.has(key));
    if (unknown.length > 0) {
      throw invalid(
        unknown.slice(0, 20).map((key) => ({ property: key.slice(0, 64), message: 'is not a known property' })),
      );
    }
  }
  const input = { ...body };
  resource.dialect?.read(input);
  for (const field of resource.managed) delete input[field];
  return input;
}

/** Schema of what is sent (`output`) or accepted on POST and PUT (`input`). Names: `Bridge`, `BridgeInput`. */
export function restSchema(resource: Resource, direction: 'output' | 'input'): TObject {
  const { schema } = OBJECT_TYPES[resource.type];
  const required = new Set(schema.required as string[] | undefined);
  const properties: Record<string, TSchema> = {};
  for (const [field, raw] of Object.entries({ ...schema.properties, ...resource.dialect?.fields })) {
    if (direction === 'input' && resource.managed.includes(field)) continue;
    const plain = plainSchema(raw);
    properties[field] = direction === 'output' && required.has(field) ? plain : Type.Optional(plain);
  }
  if (direction === 'input') {
    // What links and other hosts' reports add to an object comes back in a PUT and is ignored.
    return Type.Object(properties, { $id: `${resource.media}Input`, additionalProperties: true });
  }
  const link = Type.String({ description: 'Absolute URI' });
  for (const name of Object.keys(resource.links)) properties[name] = Type.Optional(link);
  for (const name of ['uri', ...Object.keys(resource.below)]) properties[name] = link;
  Object.assign(properties, EXTRA_FIELDS[resource.type]);
  return Type.Object(properties, {
    $id: resource.media,
    additionalProperties: false,
    description: String((schema as { description?: unknown }).description),
  });
}

/** A schema without the marks that only the object model reads. */
function plainSchema(schema: TSchema): TSchema {
  const text = JSON.stringify(schema, (key, value) => (key.startsWith('x-weft-') ? undefined : value));
  return JSON.parse(text) as TSchema;
}
