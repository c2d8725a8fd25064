/**
 * Where things are among the znodes, below the root that the connect string names.
 *
 * | znode | content |
 * |---|---|
 * | `/n/<path>` | a node of `objects/paths.ts`: `=` and its content; empty: a directory, or a tombstone (see below) |
 * | `/n/s/<host>` | ephemeral: the host's session is here; content its incarnation |
 * | `/t/<kind>/<owner>` | root of the tables of an owner: content the epoch that counts. Dropping them is a new epoch |
 * | `/t/<kind>/<owner>/<epoch>/<sub>/<space>/<bucket>/<key>\|<owner>` | an entry: its value |
 * | `/w/<host>/<table>` | the host may own entries of the table |
 * | `/a/<host>`, `/v/<host>` | what the host has applied; touched by who vouches for it |
 * | `/revision` | written by every commit: its last change is the revision |
 * | `/clock`, `/q/<sequence>`, `/m/<key>` | the store's clock, sequences, small facts (`away/<host>`: since when it is away) |
 * | `/ask` | touched by who wants fresh reports; `/janitor/<n>`: who may clean up; `/generation`, `/format` |
 *
 * A node that is removed stays as a tombstone for a while: a znode made anew would start at data version 0 again, and a
 * check of an older one of that version would pass. Markers (whose version nobody checks: their stamp stands for them) are
 * deleted for good.
 */
import type { StoreNode } from '../backend.ts';
import { tableOwner } from '../interests.ts';

export const FORMAT = '1';
export const FORMAT_PATH = '/format';
export const GENERATION_PATH = '/generation';
export const REVISION_PATH = '/revision';
export const CLOCK_PATH = '/clock';
export const ASK_PATH = '/ask';
export const JANITOR_PATH = '/janitor';
export const APPLIED_ROOT = '/a';
export const VOUCHED_ROOT = '/v';

/** Below it a directory for each type that there is, or was, an object of. */
export const OBJECTS_ROOT = '/n/o';

export const nodeZnode = (path: string): string => `/n/${path}`;
export const sequenceZnode = (name: string): string => `/q/${encodeURIComponent(name)}`;
export const metaZnode = (key: string): string => `/m/${encodeURIComponent(key)}`;
export const appliedZnode = (hostId: string): string => `${APPLIED_ROOT}/${hostId}`;
export const vouchedZnode = (hostId: string): string => `${VOUCHED_ROOT}/${hostId}`;
export const ownedZnode = (hostId: string): string => `/w/${hostId}`;
export const ownedTableZnode = (hostId: string, table: string): string => `/w/${hostId}/${encodeURIComponent(table)}`;

/** Node of a host's presence: ephemeral, beside those of the shared layout. */
export const PRESENCE_PATH = 's';
export const presencePath = (hostId: string): string => `${PRESENCE_PATH}/${hostId}`;

/** A marker is deleted, not made a tombstone, and has no version of its own. */
export function isMarker(path: string): boolean {
  const slashes = path.split('/').length - 1;
  return (
    (path.startsWith('i/') && slashes === 3) || ((path.startsWith('h/') || path.startsWith('p/')) && slashes === 2)
  );
}

/** Whether what lies directly below the node are markers. */
export function holdsMarkers(path: string): boolean {
  return isMarker(`${path}/x`);
}

// ---- tables ----

/** Directories that the entries of one table and owner are spread over, so that no list of children becomes too long. */
const BUCKETS = 64;
/** The space of entries that no host owns. */
export const COMMON_SPACE = '-';

export interface TablePlace {
  /** Znode of the owner's tables. */
  readonly root: string;
  /** Directory within the epoch: `_`, or what follows the owner in the table's name. */
  readonly sub: string;
}

export function tablePlace(table: string): TablePlace {
  const { kind, id } = tableOwner(table);
  const rest = table.slice(kind.length + id.length + 2);
  return { root: `/t/${kind}/${id}`, sub: rest === '' ? '_' : rest.replaceAll('/', '|') };
}

function bucketOf(key: string): number {
  let hash = 0;
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key.charCodeAt(i)) | 0;
  return (hash >>> 0) % BUCKETS;
}

/** Znode of an entry, below the directory of its table in the epoch. */
export function entryZnode(directory: string, space: string, key: string, owner: string | null): string {
  return `${directory}/${space}/${bucketOf(key)}/${encodeURIComponent(key)}|${owner ?? ''}`;
}

/** Key and owner that an entry's znode names. */
export function entryOf(znode: string): { key: string; owner: string | null } {
  const name = znode.slice(znode.lastIndexOf('/') + 1);
  const bar = name.indexOf('|');
  const owner = name.slice(bar + 1);
  return { key: decodeURIComponent(name.slice(0, bar)), owner: owner === '' ? null : owner };
}

// ---- content ----

const LIVE = 0x3d; // "="

export const liveContent = (json: string): string => `=${json}`;
export const TOMBSTONE = '';

export interface Znode {
  readonly data: Uint8Array;
  readonly stat: {
    readonly mzxid: bigint;
    readonly version: number;
    readonly mtime: number;
    readonly numChildren: number;
  };
}

export const isLive = ({ data }: Znode): boolean => data.length > 0 && data[0] === LIVE;

/** The node in a znode, or undefined for a directory or tombstone. Transaction ids stay exact below 2^53: 2^21 elections. */
export function toNode(path: string, znode: Znode | undefined): StoreNode | undefined {
  if (znode === undefined || !isLive(znode)) return undefined;
  return { path, version: Number(znode.stat.mzxid), json: Buffer.from(znode.data).toString('utf8', 1) };
}
