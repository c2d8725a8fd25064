/** Started by servers.test.ts: starts a server, says so, and waits to be ended. */
import { startServers } from './servers.ts';

const ensemble = await startServers();
process.stdout.write(`${JSON.stringify({ pid: ensemble.servers[0].pid })}\n`);
