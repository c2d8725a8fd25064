/** Several operations as one: multi (all or nothing) and multiRead (a set of reads). */
import type { Acl } from './acl.ts';
import { type ErrorDetails, serverError, ZooKeeperError, type ZooKeeperErrorCode } from './errors.ts';
import type { JuteReader } from './jute/reader.ts';
import type { JuteWriter } from './jute/writer.ts';
import { type CreateOptions, createBody, type NodeContent, type NodeData, readData, toBytes } from './operations.ts';
import type { Chroot } from './paths.ts';
import { OP } from './protocol/constants.ts';
import { readStat, type Stat } from './protocol/records.ts';
import type { Operation } from './request.ts';

export interface CreateOp extends CreateOptions {
  readonly op: 'create';
  readonly path: string;
  readonly data?: NodeContent;
}

export interface SetDataOp {
  readonly op: 'setData';
  readonly path: string;
  readonly data: NodeContent;
  /** The version that the node must have; default: any. */
  readonly version?: number | undefined;
}

export interface DeleteOp {
  readonly op: 'delete';
  readonly path: string;
  readonly version?: number | undefined;
}

/** Changes nothing, but fails unless the node exists and has the version. */
export interface CheckOp {
  readonly op: 'check';
  readonly path: string;
  readonly version?: number | undefined;
}

export type MultiOp = CreateOp | SetDataOp | DeleteOp | CheckOp;

/** What became of one operation, in the order of the operations. */
export type MultiResult =
  /** Servers up to 3.9 leave `stat` out, but for containers and nodes with a TTL. */
  | { readonly op: 'create'; readonly path: string; readonly stat: Stat | undefined }
  | { readonly op: 'setData'; readonly stat: Stat }
  | { readonly op: 'delete' | 'check' };

export interface ReadOp {
  readonly op: 'getData' | 'getChildren';
  readonly path: string;
}

export type ReadResult =
  | ({ readonly op: 'getData' } & NodeData)
  | { readonly op: 'getChildren'; readonly children: string[] }
  /** This read failed; others may have not. */
  | { readonly op: 'error'; readonly error: ZooKeeperError };

/** A multi of which nothing was done. `code` and `path` are those of the operation that failed, `index` says which. */
export class MultiError extends ZooKeeperError {
  override readonly name = 'MultiError';
  readonly index: number;

  constructor(code: ZooKeeperErrorCode, detail: string, details: ErrorDetails, index: number) {
    super(code, detail, details);
    this.index = index;
  }
}

/** What the server answers for operations that it did not try, as an earlier one had failed. */
const NOT_TRIED = -2;

export function multiOperation(
  ops: readonly MultiOp[],
  chroot: Chroot,
  defaultAcl: readonly Acl[],
): Operation<MultiResult[]> {
  const parts = ops.map((op) => encodeOp(op, chroot, defaultAcl));
  return {
    opcode: OP.multi,
    name: 'multi',
    path: ops.length === 1 ? ops[0].path : undefined,
    changes: ops.some(({ op }) => op !== 'check'),
    encode: (writer) => {
      for (const { opcode, encode } of parts) {
        writeHeader(writer, opcode, false);
        encode(writer);
      }
      writeHeader(writer, OP.error, true);
    },
    decode: (reader) => {
      const errors: number[] = [];
      const results: MultiResult[] = [];
      readParts(reader, ops.length, (opcode, index) => {
        if (opcode === OP.error) errors[index] = reader.int();
        else results.push(readResult(reader, ops[index], opcode, chroot));
      });
      if (errors.length > 0) throw failure(errors, ops);
      return results;
    },
  };
}

export function multiReadOperation(ops: readonly ReadOp[], chroot: Chroot): Operation<ReadResult[]> {
  const parts = ops.map(({ op, path }) => ({ opcode: OP[op], path: chroot.toServer(path) }));
  return {
    opcode: OP.multiRead,
    name: 'multiRead',
    path: ops.length === 1 ? ops[0].path : undefined,
    changes: false,
    encode: (writer) => {
      for (const { opcode, path } of parts) {
        writeHeader(writer, opcode, false);
        writer.string(path);
        writer.bool(false);
      }
      writeHeader(writer, OP.error, true);
    },
    decode: (reader) => {
      const results: ReadResult[] = [];
      readParts(reader, ops.length, (opcode, index) => {
        const { op, path } = ops[index];
        if (opcode === OP.error) results.push({ op: 'error', error: serverError(reader.int(), op, path) });
        else if (opcode !== OP[op]) throw outOfStep(opcode);
        else if (op === 'getData') results.push({ op, ...readData(reader) });
        else results.push({ op, children: reader.strings() });
      });
      return results;
    },
  };
}

function encodeOp(op: MultiOp, chroot: Chroot, defaultAcl: readonly Acl[]) {
  const path = chroot.toServer(op.path, op.op === 'create' && op.sequential === true);
  if (op.op === 'create') return createBody(path, toBytes(op.data), op, defaultAcl);
  const { version = -1 } = op;
  return {
    opcode: OP[op.op],
    encode: (writer: JuteWriter) => {
      writer.string(path);
      if (op.op === 'setData') writer.bytes(toBytes(op.data));
      writer.int(version);
    },
  };
}

function writeHeader(writer: JuteWriter, opcode: number, done: boolean): void {
  writer.int(opcode);
  writer.bool(done);
  writer.int(-1);
}

/** Reads headers until the last, which must be the one behind `count` parts. */
function readParts(reader: JuteReader, count: number, part: (opcode: number, index: number) => void): void {
  for (let index = 0; index <= count; index++) {
    const opcode = reader.int();
    const done = reader.bool();
    reader.int(); // the error, which the body repeats
    if (done !== (index === count)) throw new ZooKeeperError('WEFT_ZK_PROTOCOL', 'Not one result for each operation');
    if (!done) part(opcode, index);
  }
}

function readResult(reader: JuteReader, { op }: MultiOp, opcode: number, chroot: Chroot): MultiResult {
  if (op === 'create') {
    if (opcode !== OP.create && opcode !== OP.create2) throw outOfStep(opcode);
    const path = reader.string();
    return { op, path: chroot.fromServer(path) ?? path, stat: opcode === OP.create2 ? readStat(reader) : undefined };
  }
  if (opcode !== OP[op]) throw outOfStep(opcode);
  return op === 'setData' ? { op, stat: readStat(reader) } : { op };
}

function failure(errors: readonly number[], ops: readonly MultiOp[]): MultiError {
  // Those before the one that failed bear 0, those behind it NOT_TRIED.
  let index = errors.findIndex((code) => code !== undefined && code !== 0 && code !== NOT_TRIED);
  if (index < 0) index = errors.findIndex((code) => code !== undefined && code !== 0);
  const { op, path } = ops[index] ?? ops[0];
  const { code, serverCode, message } = serverError(errors[index] ?? NOT_TRIED, op, path);
  return new MultiError(
    code,
    `Operation ${index} of a multi failed: ${message.split('. ')[0]}`,
    { path, serverCode },
    index,
  );
}

const outOfStep = (opcode: number) => new ZooKeeperError('WEFT_ZK_PROTOCOL', `An unexpected result of type ${opcode}`);
