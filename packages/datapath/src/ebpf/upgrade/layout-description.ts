/** What tables and flows of a build look like, as data that stands beside them (table weft_layout) and lives as long as they do. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import {
  describeFlows,
  type FlowDescription,
  K_ETHER_TYPE,
  K_IP_PROTO,
  K_TP_SRC,
  KEY_SIZE,
  type StructLayout,
} from '@weft/flow';
import { BpfMap, Btf, type CStruct, isErrno, openPinned } from '@weft/sys';
import { u32Key } from '../layout.ts';

export interface TableLayout {
  readonly key: StructLayout;
  readonly value: StructLayout;
  /** As the object file has it; the loader may have chosen another number. */
  readonly entries: number;
}

/** A part of a key: first byte and how many. */
export type KeyRange = readonly [at: number, bytes: number];

export interface Layout {
  readonly format: 1;
  readonly tables: Readonly<Record<string, TableLayout>>;
  readonly flows: FlowDescription;
  /** Parts of the key that stand in an entry of weft_fragments. */
  readonly fragments: { readonly datagram: KeyRange; readonly l4: KeyRange };
  /** Names these very tables; absent in what a build says of itself. */
  readonly id?: string;
  /** Those that they were filled from. */
  readonly from?: string;
}

export type StoredLayout = Layout & { readonly id: string };

/** Name of the table that holds the description. */
const TABLE = 'weft_layout';
/** Bounds on what is read: far above what any build has. */
const MAX_STRUCT = 1 << 16;
const MAX_FIELDS = 1024;

/** A scalar is a record of one field. */
function structLayout({ size, fields }: CStruct): StructLayout {
  if (fields.length === 0) return { size, fields: [['value', 0, size, 'le']] };
  return { size, fields: fields.map(([name, at, bytes]) => [name, at, bytes, 'le']) };
}

/** Describes the tables of an object file, and this build's flows. @throws WEFT_SYS_PROTOCOL */
export function describeTables(object: Uint8Array): Layout {
  const shapes = [...Btf.ofObject(object).mapShapes()].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    format: 1,
    tables: Object.fromEntries(
      shapes.map(([name, { key, value, entries }]) => [
        name,
        { key: structLayout(key), value: structLayout(value), entries },
      ]),
    ),
    flows: describeFlows(),
    fragments: {
      datagram: [K_ETHER_TYPE, K_IP_PROTO - K_ETHER_TYPE],
      l4: [K_TP_SRC, KEY_SIZE - K_TP_SRC],
    },
  };
}

/** Writes a description into its table. @param from `id` of the tables that these are filled from. @throws RangeError if there is no room */
export function writeLayout(table: BpfMap, layout: Layout, from?: string): void {
  const text = Buffer.from(JSON.stringify({ ...layout, id: layout.id ?? randomUUID(), from }), 'utf8');
  const value = new Uint8Array(table.valueBytes);
  if (text.length >= value.length)
    throw new RangeError(`a layout of ${text.length} bytes, with room for ${value.length}`);
  value.set(text);
  table.update(u32Key(0), value);
}

/** Whether a description was written into its table. */
export function hasLayout(table: BpfMap): boolean {
  const value = new Uint8Array(table.valueBytes);
  return table.lookup(u32Key(0), value) && value[0] !== 0;
}

/** The description in a directory of pins; undefined: there is none, or none that this build understands. */
export function readLayout(directory: string): StoredLayout | undefined {
  let table: BpfMap;
  try {
    table = new BpfMap(openPinned(join(directory, TABLE)));
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
  const value = new Uint8Array(table.valueBytes);
  try {
    table.lookup(u32Key(0), value);
  } finally {
    table.close();
  }
  try {
    const layout: unknown = JSON.parse(Buffer.from(value).toString('utf8').replace(/\0.*$/s, ''));
    return isLayout(layout) ? layout : undefined;
  } catch {
    return undefined;
  }
}

type Plain = Record<string, unknown>;

function isPlain(value: unknown): value is Plain {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max;
}

function isStruct(value: unknown): value is StructLayout {
  if (!isPlain(value) || !isCount(value.size, MAX_STRUCT) || !Array.isArray(value.fields)) return false;
  const { size, fields } = value as { size: number; fields: unknown[] };
  return fields.length <= MAX_FIELDS && fields.every((field) => isField(field, size));
}

function isField(field: unknown, size: number): boolean {
  if (!Array.isArray(field) || field.length !== 4) return false;
  const [name, at, bytes, order] = field as unknown[];
  const placed = isCount(at, size) && isCount(bytes, size) && at + bytes <= size;
  return typeof name === 'string' && placed && (order === 'le' || order === 'be');
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.length <= MAX_FIELDS && value.every((name) => typeof name === 'string');
}

function isNumbers(value: unknown): boolean {
  return isPlain(value) && Object.values(value).every((n) => isCount(n, 0xffff));
}

function isRange(value: unknown, size: number): boolean {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [at, bytes] = value as unknown[];
  return isCount(at, size) && isCount(bytes, size) && at + bytes <= size;
}

function isFlows(value: unknown): value is FlowDescription {
  if (!isPlain(value) || !isStruct(value.key) || !isStruct(value.action)) return false;
  const { classes, outputs, flags, rewrites, drops } = value;
  return (
    Array.isArray(classes) &&
    classes.length <= 256 &&
    classes.every(isNames) &&
    [outputs, flags, rewrites].every(isNumbers) &&
    isNames(drops)
  );
}

/** Whether something that was read has the form of a description of tables. */
function isLayout(value: unknown): value is StoredLayout {
  if (!isPlain(value) || value.format !== 1 || !isPlain(value.tables) || !isFlows(value.flows)) return false;
  const { tables, fragments, flows, id, from } = value;
  if (!isPlain(fragments) || typeof id !== 'string' || (from !== undefined && typeof from !== 'string')) return false;
  const { datagram, l4 } = fragments;
  return (
    Object.values(tables).every(
      (t) => isPlain(t) && isStruct(t.key) && isStruct(t.value) && isCount(t.entries, 1 << 30),
    ) &&
    isRange(datagram, flows.key.size) &&
    isRange(l4, flows.key.size)
  );
}
