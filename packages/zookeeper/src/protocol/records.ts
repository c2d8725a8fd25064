/** The records that requests and replies consist of (zookeeper.jute of Apache ZooKeeper), without those of multi. */
import type { Acl } from '../acl.ts';
import type { JuteReader } from '../jute/reader.ts';
import type { JuteWriter } from '../jute/writer.ts';

/** What ZooKeeper knows of a znode beside its data. Transaction ids and the owner are whole 64-bit numbers: bigint. */
export interface Stat {
  /** The transaction that created the znode. */
  readonly czxid: bigint;
  /** The transaction that last changed its data. */
  readonly mzxid: bigint;
  /** Milliseconds since 1970, of creation and of the last change, by the leader's clock. */
  readonly ctime: number;
  readonly mtime: number;
  /** Changes of the data, of the list of children, and of the ACL. */
  readonly version: number;
  readonly cversion: number;
  readonly aversion: number;
  /** The session that an ephemeral znode belongs to; 0n for others. */
  readonly ephemeralOwner: bigint;
  readonly dataLength: number;
  readonly numChildren: number;
  /** The transaction that last added or removed a child. */
  readonly pzxid: bigint;
}

export function readStat(reader: JuteReader): Stat {
  return {
    czxid: reader.long(),
    mzxid: reader.long(),
    ctime: reader.number(),
    mtime: reader.number(),
    version: reader.int(),
    cversion: reader.int(),
    aversion: reader.int(),
    ephemeralOwner: reader.long(),
    dataLength: reader.int(),
    numChildren: reader.int(),
    pzxid: reader.long(),
  };
}

export function writeAcl(writer: JuteWriter, acl: readonly Acl[]): void {
  writer.int(acl.length);
  for (const { perms, scheme, id } of acl) {
    writer.int(perms);
    writer.string(scheme);
    writer.string(id);
  }
}

export function readAcl(reader: JuteReader): Acl[] {
  return reader.vector(12, () => ({ perms: reader.int(), scheme: reader.string(), id: reader.string() }));
}

export interface ConnectRequest {
  /** The newest transaction that the client knows of: a server that is behind it refuses. */
  readonly lastZxid: bigint;
  /** Milliseconds. */
  readonly timeout: number;
  /** 0n and 16 zero bytes: a new session. */
  readonly sessionId: bigint;
  readonly password: Uint8Array;
}

export function writeConnectRequest(writer: JuteWriter, request: ConnectRequest): void {
  writer.int(0); // protocol version
  writer.long(request.lastZxid);
  writer.int(request.timeout);
  writer.long(request.sessionId);
  writer.bytes(request.password);
  writer.bool(false); // a read-only server will not do
}

export interface ConnectResponse {
  /** Milliseconds that the server grants; 0 or less: the session does not exist (any more). */
  readonly timeout: number;
  readonly sessionId: bigint;
  readonly password: Buffer;
}

export function readConnectResponse(reader: JuteReader): ConnectResponse {
  reader.int(); // protocol version
  const response = { timeout: reader.int(), sessionId: reader.long(), password: reader.bytes() };
  // Servers since 3.4 add a byte: whether they are read-only, which they never are for a client that did not ask for it.
  if (reader.remaining > 0) reader.bool();
  return response;
}

/** Paths of watches, by kind. */
export interface WatchPaths {
  readonly data: string[];
  readonly exists: string[];
  readonly children: string[];
  readonly persistent: string[];
  readonly recursive: string[];
}

/** The body of setWatches or, with `extended`, of setWatches2. */
export function writeSetWatches(writer: JuteWriter, lastZxid: bigint, paths: WatchPaths, extended: boolean): void {
  writer.long(lastZxid);
  writer.strings(paths.data);
  writer.strings(paths.exists);
  writer.strings(paths.children);
  if (!extended) return;
  writer.strings(paths.persistent);
  writer.strings(paths.recursive);
}

export interface Identity {
  readonly scheme: string;
  readonly id: string;
}

/** The answer to whoAmI. */
export function readIdentities(reader: JuteReader): Identity[] {
  return reader.vector(8, () => ({ scheme: reader.string(), id: reader.string() }));
}
