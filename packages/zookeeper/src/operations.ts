/** The operations on one znode as the protocol has them. Paths are the server's; `shown` is the path as the caller named it. */
import type { Acl } from './acl.ts';
import { ZooKeeperError } from './errors.ts';
import type { JuteReader } from './jute/reader.ts';
import type { JuteWriter } from './jute/writer.ts';
import { integer } from './options.ts';
import type { Chroot } from './paths.ts';
import { CREATE, OP } from './protocol/constants.ts';
import { readAcl, readStat, type Stat, writeAcl } from './protocol/records.ts';
import type { Operation } from './request.ts';

/** What a new znode is to be. */
export interface CreateOptions {
  /**
   * `ephemeral`: it goes with the session. `container`: the server removes it some time after its last child is gone.
   * Default `persistent`.
   */
  readonly mode?: 'persistent' | 'ephemeral' | 'container' | undefined;
  /** The server appends a number of ten digits that rises with each child of the parent. */
  readonly sequential?: boolean | undefined;
  /** Milliseconds without change or children after which a persistent znode goes. The servers must allow it (extendedTypesEnabled). */
  readonly ttl?: number | undefined;
  /** Default: everybody may do everything. */
  readonly acl?: readonly Acl[] | undefined;
}

export interface Created {
  /** With the number that was appended, if it is sequential. */
  readonly path: string;
  readonly stat: Stat;
}

export interface NodeData {
  readonly data: Buffer;
  readonly stat: Stat;
}

export interface NodeChildren {
  /** Names, not paths, in no order. */
  readonly children: string[];
  /** Of the parent. */
  readonly stat: Stat;
}

/** Longest time to live that fits beside the server's marks in the field of the owner. */
const MAX_TTL = 2 ** 40 - 1;
const NO_DATA = Buffer.alloc(0);
const nothing = () => undefined;

export type NodeContent = Uint8Array | string | undefined;

/** Strings become UTF-8; undefined becomes no bytes. */
export const toBytes = (data: NodeContent): Uint8Array =>
  data === undefined ? NO_DATA : typeof data === 'string' ? Buffer.from(data) : data;

/** Opcode and body of a create, as a request and within multi. */
export interface CreateBody {
  readonly opcode: number;
  encode(writer: JuteWriter): void;
}

export function createBody(
  path: string,
  data: Uint8Array,
  options: CreateOptions,
  defaultAcl: readonly Acl[],
): CreateBody {
  const { mode = 'persistent', sequential = false, ttl, acl = defaultAcl } = options;
  if (ttl !== undefined && mode !== 'persistent')
    throw new ZooKeeperError('WEFT_ZK_ARGUMENT', `A node of mode ${mode} has no ttl`);
  if (sequential && mode === 'container') throw new ZooKeeperError('WEFT_ZK_ARGUMENT', 'A container is not sequential');
  if (ttl !== undefined) integer('ttl', ttl, 1, MAX_TTL);
  const flags =
    mode === 'container'
      ? CREATE.container
      : mode === 'ephemeral'
        ? sequential
          ? CREATE.ephemeralSequential
          : CREATE.ephemeral
        : ttl !== undefined
          ? sequential
            ? CREATE.persistentSequentialTtl
            : CREATE.persistentTtl
          : sequential
            ? CREATE.persistentSequential
            : CREATE.persistent;
  return {
    opcode: mode === 'container' ? OP.createContainer : ttl !== undefined ? OP.createTTL : OP.create2,
    encode: (writer) => {
      writer.string(path);
      writer.bytes(data);
      writeAcl(writer, acl);
      writer.int(flags);
      if (ttl !== undefined) writer.number(ttl);
    },
  };
}

export function readCreated(reader: JuteReader, chroot: Chroot): Created {
  const path = reader.string();
  return { path: chroot.fromServer(path) ?? path, stat: readStat(reader) };
}

export function deleteOperation(path: string, shown: string, version: number): Operation<void> {
  return {
    opcode: OP.delete,
    name: 'delete',
    path: shown,
    changes: true,
    encode: (writer) => {
      writer.string(path);
      writer.int(version);
    },
    decode: nothing,
  };
}

export function setDataOperation(path: string, shown: string, data: Uint8Array, version: number): Operation<Stat> {
  return {
    opcode: OP.setData,
    name: 'setData',
    path: shown,
    changes: true,
    encode: (writer) => {
      writer.string(path);
      writer.bytes(data);
      writer.int(version);
    },
    decode: readStat,
  };
}

/** A read of `path` that may leave a watch. */
export function readOperation<T>(
  name: 'exists' | 'getData' | 'getChildren',
  path: string,
  shown: string,
  watch: boolean,
  decode: (reader: JuteReader) => T,
): Operation<T> {
  return {
    opcode: name === 'getChildren' ? OP.getChildren2 : OP[name],
    name,
    path: shown,
    changes: false,
    encode: (writer) => {
      writer.string(path);
      writer.bool(watch);
    },
    decode,
  };
}

export const readData = (reader: JuteReader): NodeData => ({ data: reader.bytes(), stat: readStat(reader) });
export const readChildren = (reader: JuteReader): NodeChildren => ({
  children: reader.strings(),
  stat: readStat(reader),
});

export function setAclOperation(path: string, shown: string, acl: readonly Acl[], version: number): Operation<Stat> {
  return {
    opcode: OP.setACL,
    name: 'setAcl',
    path: shown,
    changes: true,
    encode: (writer) => {
      writer.string(path);
      writeAcl(writer, acl);
      writer.int(version);
    },
    decode: readStat,
  };
}

/** A read whose request is a path, or nothing. */
export function simpleRead<T>(
  opcode: number,
  name: string,
  path: string | undefined,
  shown: string | undefined,
  decode: (reader: JuteReader) => T,
): Operation<T> {
  return {
    opcode,
    name,
    path: shown,
    changes: false,
    encode: (writer) => {
      if (path !== undefined) writer.string(path);
    },
    decode,
  };
}

export const readAclAndStat = (reader: JuteReader): { acl: Acl[]; stat: Stat } => ({
  acl: readAcl(reader),
  stat: readStat(reader),
});

/** addWatch and removeWatches: a path and a number. They change nothing that outlives the connection. */
export function watchOperation<T>(
  opcode: number,
  name: string,
  path: string,
  shown: string,
  number: number,
  decode: () => T,
): Operation<T> {
  return {
    opcode,
    name,
    path: shown,
    changes: false,
    encode: (writer) => {
      writer.string(path);
      writer.int(number);
    },
    decode,
  };
}
