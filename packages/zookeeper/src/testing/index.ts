/** What tests of this and other packages use: real servers, and a bad network before them. */
export { makeCertificates, type TestCertificates } from './certificates.ts';
export { type ProxyMode, startProxy, TestProxy } from './proxy.ts';
export { fourLetterWord, needsServer, serverCommand, writeServerFiles } from './server-files.ts';
export { type ServerMode, type ServerOptions, startServers, TestEnsemble, TestServer } from './servers.ts';
