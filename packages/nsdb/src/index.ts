export type * from './contract.ts';
export { type EmbeddedOptions, openEmbedded } from './embedded/index.ts';
export { ERRORS, isNsdbError, NsdbError, type NsdbErrorCode, type Violation } from './errors.ts';
export { allInterest, indexInterest, objectInterest, parseInterest, tableInterest } from './interests.ts';
export { registerHost } from './register-host.ts';
export { type ConnectOptions, connectRemote } from './remote/client.ts';
export { type ServeOptions, type StoreServer, serve } from './remote/server.ts';
export { ALIVE_TABLE } from './sessions.ts';
export { StoreNsdb } from './store-nsdb.ts';
