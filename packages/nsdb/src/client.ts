/**
 * What an agent needs of the database: the way in, over a socket or to an ensemble. Without the embedded store and the object
 * model, which weigh more than all the rest of an agent; who connects to an ensemble loads the latter.
 */
export { isStoreAddress, type StoreAddress, storeAddress } from './address.ts';
export { type ConnectOptions, connect } from './connect.ts';
export type * from './contract.ts';
export { isNsdbError, NsdbError } from './errors.ts';
export { registerHost } from './register-host.ts';
export { type EnsembleServer, type ServerState, surveyEnsemble } from './zookeeper/survey.ts';
