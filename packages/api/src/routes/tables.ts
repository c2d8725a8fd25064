/**
 * The state tables that an operator may read and seed: a bridge's MAC table (whole or one VLAN's), the ARP tables of
 * bridges and routers. Learned entries are shown, and win over seeded ones while they last; only seeded ones can be
 * deleted.
 */
import type { TableEntry } from '@weft/nsdb';
import { canonicalIp, canonicalMac, isAssignableMac, type Port, type TypeName } from '@weft/topology';
import type { FastifyInstance } from 'fastify';
import Type, { type TProperties } from 'typebox';
import { baseUri, type Context, existing, idFrom, pageOf, ROOT, write } from '../context.ts';
import { type Creator, postRoute } from '../creators.ts';
import { invalid, notFound } from '../errors.ts';
import { negotiate, vendorTypes } from '../media.ts';
import { answers, BODY_ERRORS, LIST_QUERY, params } from '../openapi.ts';
import { resourceOf } from '../resources.ts';

const origin = {
  learned: Type.Optional(Type.Boolean({ description: 'By a host, from traffic; false: seeded by an operator' })),
  hostId: Type.Optional(Type.String({ description: 'The host that learned it' })),
  uri: Type.Optional(Type.String()),
};
const entrySchema = ($id: string, fields: TProperties) => Type.Object({ ...fields, ...origin }, { $id });

const MacPort = entrySchema('MacPort', {
  macAddr: Type.String(),
  portId: Type.String({ format: 'uuid' }),
  vlanId: Type.Optional(Type.Integer({ minimum: 1, maximum: 4094 })),
  bridgeId: Type.Optional(Type.String()),
});
const IP4Mac = entrySchema('IP4Mac', {
  ip: Type.String({ description: 'IPv4 or IPv6' }),
  mac: Type.String(),
  portId: Type.Optional(Type.String({ description: 'Of a link-local IPv6 neighbour: the port it is behind' })),
});

/** A kind of table: how its entries are spelled in JSON, in paths and in the store. */
interface TableKind {
  readonly media: string;
  readonly version: number;
  readonly owner: TypeName;
  readonly kind: 'mac' | 'arp';
  /** Path below the owner; the two-part key of an entry follows. */
  readonly path: string;
  /** Table entry → JSON and the entry's part of its URI; undefined: not of this table. */
  show(
    entry: TableEntry,
    ownerId: string,
    vlan: number | undefined,
  ): { json: Record<string, unknown>; key: string } | undefined;
  /** JSON → table entry, or throws. */
  read(body: Record<string, unknown>, vlan: number | undefined): { key: string; value: string };
  /** The two parts in a path → store key and value. */
  parse(first: string, second: string, vlan: number | undefined): { key: string; value: string };
}

const macTable: Omit<TableKind, 'path'> = {
  media: 'MacPort',
  version: 2,
  owner: 'Bridge',
  kind: 'mac',
  show({ key, value }, bridgeId, vlan) {
    const bar = key.indexOf('|');
    const vlanId = bar < 0 ? undefined : Number(key.slice(0, bar));
    if (vlan !== undefined && vlan !== vlanId) return undefined;
    const macAddr = key.slice(bar + 1);
    const json = { macAddr, portId: value, bridgeId, ...(vlanId === undefined ? {} : { vlanId }) };
    return { json, key: `${macAddr.replaceAll(':', '-')}_${value}` };
  },
  read({ macAddr, portId }, vlan) {
    const mac = macFrom('macAddr', macAddr);
    if (typeof portId !== 'string') throw invalid([{ property: 'portId', message: 'is required: the id of a port' }]);
    return { key: macKey(mac, vlan), value: idFrom('Port', portId) };
  },
  parse: (mac, portId, vlan) => ({ key: macKey(canonicalMac(mac) ?? mac, vlan), value: portId.toLowerCase() }),
};

const arpTable: Omit<TableKind, 'path' | 'owner'> = {
  media: 'IP4Mac',
  version: 1,
  kind: 'arp',
  show({ key, value }) {
    const [ip = '', portId] = key.split('%');
    const json = { ip, mac: value, ...(portId === undefined ? {} : { portId }) };
    return { json, key: `${encodeURIComponent(key)}_${value.replaceAll(':', '-')}` };
  },
  read({ ip, mac }) {
    const address = typeof ip === 'string' ? canonicalIp(ip) : undefined;
    if (address === undefined) throw invalid([{ property: 'ip', message: 'must be an IPv4 or IPv6 address' }]);
    return { key: address, value: macFrom('mac', mac) };
  },
  parse: (ip, mac) => ({ key: canonicalIp(ip) ?? ip, value: canonicalMac(mac) ?? mac }),
};

const TABLES: readonly TableKind[] = [
  { ...macTable, path: 'mac_table' },
  { ...macTable, path: 'vlans/:vlan/mac_table' },
  { ...arpTable, owner: 'Bridge', path: 'arp_table' },
  { ...arpTable, owner: 'Router', path: 'arp_table' },
];

function macFrom(property: string, text: unknown): string {
  const mac = typeof text === 'string' ? canonicalMac(text) : undefined;
  if (mac === undefined || !isAssignableMac(mac)) {
    throw invalid([{ property, message: 'must be a unicast MAC address such as 02:00:00:00:00:01' }]);
  }
  return mac;
}

/** Untagged entries are keyed by the MAC alone, those of a VLAN by `<vlan>|<MAC>`. */
function macKey(mac: string, vlan: number | undefined): string {
  return vlan === undefined ? mac : `${vlan}|${mac}`;
}

type Params = Record<'id' | 'entry', string> & { vlan?: string };

function vlanFrom({ vlan }: Params): number | undefined {
  if (vlan === undefined) return undefined;
  if (!/^[1-9]\d{0,3}$/.test(vlan) || Number(vlan) > 4094) throw notFound('VLAN', vlan);
  return Number(vlan);
}

export function tableRoutes(app: FastifyInstance, context: Context): void {
  app.addSchema(MacPort);
  app.addSchema(IP4Mac);
  for (const table of TABLES) {
    listRoute(app, context, table);
    createRoute(app, context, table);
    entryRoutes(app, context, table);
  }
}

function describeTable(table: TableKind, summary: string, item: boolean) {
  const names = ['id', ...(table.path.includes(':vlan') ? ['vlan'] : []), ...(item ? ['entry'] : [])];
  return { tags: [resourceOf(table.owner).path!], summary, params: params(...names) };
}

/** The table's name in the store, once its owner is known to exist. */
async function tableOf(context: Context, table: TableKind, { id }: Params): Promise<{ ownerId: string; name: string }> {
  const owner = await existing(context.nsdb, table.owner, idFrom(table.owner, id));
  return { ownerId: owner.id, name: `${table.kind}/${owner.id}` };
}

function shown(base: string, table: TableKind, ownerId: string, entry: TableEntry, vlan: number | undefined) {
  const view = table.show(entry, ownerId, vlan);
  if (!view) return undefined;
  const path = table.path.replace(':vlan', String(vlan));
  const vlanId = view.json.vlanId as number | undefined;
  // A tagged entry in the whole table points to where it can be addressed.
  const at = vlan === undefined && vlanId !== undefined ? `vlans/${vlanId}/mac_table` : path;
  return {
    ...view.json,
    learned: entry.owner !== null,
    ...(entry.owner === null ? {} : { hostId: entry.owner }),
    uri: `${base}/${resourceOf(table.owner).path}/${ownerId}/${at}/${view.key}`,
  };
}

function listRoute(app: FastifyInstance, context: Context, table: TableKind): void {
  const response = answers({ 200: { type: 'array', items: { $ref: `${table.media}#` } } }, [404]);
  const schema = { ...describeTable(table, 'List the entries', false), querystring: LIST_QUERY, response };
  app.get(urlOf(table), { schema }, async (request, reply) => {
    const media = negotiate(request.headers.accept, vendorTypes(table.media, [table.version], true));
    const vlan = vlanFrom(request.params as Params);
    const { ownerId, name } = await tableOf(context, table, request.params as Params);
    const base = baseUri(request);
    const entries = await context.nsdb.entries(name);
    entries.sort((a, b) => (a.key < b.key ? -1 : 1));
    const list = entries
      .map((entry) => shown(base, table, ownerId, entry, vlan))
      .filter((entry) => entry !== undefined);
    return reply.type(media).send(pageOf(request, reply, list, ({ uri }) => uri.slice(uri.lastIndexOf('/') + 1)));
  });
}

function createRoute(app: FastifyInstance, context: Context, table: TableKind): void {
  const ref = { $ref: `${table.media}#` };
  const response = answers({ 201: ref }, [404, ...BODY_ERRORS]);
  const schema = { ...describeTable(table, 'Seed an entry', false), body: ref, response };
  const creator: Creator = {
    path: pathOf(table),
    types: vendorTypes(table.media, [table.version]),
    prepare(params, body) {
      const vlan = vlanFrom(params as Params);
      const ownerId = idFrom(table.owner, params.id!);
      const { key, value } = table.read(body, vlan);
      return {
        async run(tx) {
          await existing(tx, table.owner, ownerId);
          if (table.kind === 'mac') {
            const port = await existing<Port>(tx, 'Port', value);
            if (port.value.bridgeId !== ownerId) {
              throw invalid([{ property: 'portId', message: `is not a port of bridge ${ownerId}` }]);
            }
          }
          tx.putEntry(`${table.kind}/${ownerId}`, key, value);
        },
        created(base, _result, version) {
          return { json: shown(base, table, ownerId, { key, value, owner: null, version }, vlan)! };
        },
      };
    },
  };
  postRoute(app, context, creator, schema);
}

function entryRoutes(app: FastifyInstance, context: Context, table: TableKind): void {
  const url = `${urlOf(table)}/:entry`;
  const find = async (given: Params) => {
    const vlan = vlanFrom(given);
    const { ownerId, name } = await tableOf(context, table, given);
    const bar = given.entry.lastIndexOf('_');
    const { key, value } = table.parse(given.entry.slice(0, Math.max(bar, 0)), given.entry.slice(bar + 1), vlan);
    const entry = (await context.nsdb.entries(name)).find((candidate) => candidate.key === key);
    if (!entry) throw notFound('entry', given.entry);
    return { ownerId, name, key, value, entry, vlan };
  };

  const got = answers({ 200: { $ref: `${table.media}#` } }, [404]);
  const get = { ...describeTable(table, 'Get an entry', true), response: got };
  app.get(url, { schema: get }, async (request, reply) => {
    const media = negotiate(request.headers.accept, vendorTypes(table.media, [table.version]));
    const { ownerId, entry, value, vlan } = await find(request.params as Params);
    if (entry.value !== value) throw notFound('entry', (request.params as Params).entry);
    return reply.type(media).send(shown(baseUri(request), table, ownerId, entry, vlan));
  });

  const gone = answers({ 204: { type: 'null', description: 'No seeded entry is left; a learned one may be' } }, [
    404,
    ...BODY_ERRORS,
  ]);
  const remove = { ...describeTable(table, 'Delete a seeded entry', true), response: gone };
  app.delete(url, { schema: remove }, async (request, reply) => {
    const { name, key, value, entry } = await find(request.params as Params);
    // Behind a learned entry (which wins) there may be the seeded one that is meant.
    if (entry.owner === null && entry.value !== value) throw notFound('entry', (request.params as Params).entry);
    await write(context, reply, async (tx) => tx.deleteEntry(name, key));
    return reply.code(204).send();
  });
}

function pathOf(table: TableKind): string {
  return `/${resourceOf(table.owner).path}/:id/${table.path}`;
}

function urlOf(table: TableKind): string {
  return ROOT + pathOf(table);
}
