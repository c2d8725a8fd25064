/** A ZooKeeper client. The README has examples, what it promises, and what it leaves to its callers. */
export * from './acl.ts';
export type {
  AddedCredentials,
  Credentials,
  DigestCredentials,
  OtherCredentials,
  SaslCredentials,
} from './auth/credentials.ts';
export { type ReadOptions, type VersionOptions, ZooKeeper } from './client.ts';
export { type ConnectString, parseConnectString, type ServerAddress } from './connect-string.ts';
export { ERRORS, isZooKeeperError, ZooKeeperError, type ZooKeeperErrorCode } from './errors.ts';
export { type FourLetterOptions, fourLetterWord } from './four-letter-word.ts';
export {
  type CheckOp,
  type CreateOp,
  type DeleteOp,
  MultiError,
  type MultiOp,
  type MultiResult,
  type ReadOp,
  type ReadResult,
  type SetDataOp,
} from './multi.ts';
export type { Created, CreateOptions, NodeChildren, NodeContent, NodeData } from './operations.ts';
export type { SessionHandle, ZooKeeperOptions } from './options.ts';
export type { Identity, Stat } from './protocol/records.ts';
export type { RequestOptions } from './request.ts';
export type { SessionEvents, SessionState } from './session.ts';
export type { NodeEvent, OneShotWatch, WatchEnded, WatchEvent, WatchGap } from './watches/events.ts';
export { Watch, type WatchOptions } from './watches/watch.ts';
