/**
 * The packet worker's thread. It never returns to an event loop: it blocks in the datapath's poll (epoll_wait) and reads the
 * main thread's messages between turns, so that a packet waits for nothing else.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { openDatapath } from '@weft/datapath';
import { monotonicNs } from '@weft/sys';
import { AgentError } from '../errors.ts';
import { fileBlockStore } from './connections/block-keeper.ts';
import { bootId, openStateTable } from './connections/state-memory.ts';
import type { Effects } from './effects.ts';
import { Engine } from './engine.ts';
import { openFlowBases } from './flow-bases.ts';
import { PeerMacs } from './peer-macs.ts';
import { IcmpPinger } from './pinger.ts';
import type { FromWorker, InterfaceReport, Question, ToWorker, WorkerData } from './protocol.ts';
import { fileRuleStore } from './rule-state.ts';
import { Underlay } from './underlay.ts';

const { config, hostId, identity, archiveTaken } = workerData as WorkerData;
const port = parentPort as MessagePort;
const post = (message: FromWorker): void => port.postMessage(message);

/** Batches for the archive that the main thread may have before it: beyond, what is noted stays in the worker. */
const MOST_BATCHES = 4;
let batches = 0;

const effects: Effects = {
  addInterests: (add) => post({ type: 'interests', add, remove: [] }),
  removeInterests: (remove) => post({ type: 'interests', add: [], remove }),
  putEntry: (table, key, value) => post({ type: 'entry', table, key, value }),
  removeEntry: (table, key) => post({ type: 'entry', table, key, value: null }),
  allocateBlocks: (pool, first, last, count) => post({ type: 'allocate', pool, first, last, count }),
  keepBlocks: (blocks) => post({ type: 'keep', blocks }),
  releaseBlocks: (blocks) => post({ type: 'release', blocks }),
  archive: (entries) => {
    if (batches - Atomics.load(archiveTaken, 0) >= MOST_BATCHES) return false;
    batches++;
    port.postMessage({ type: 'archive', entries } satisfies FromWorker, [entries.buffer]);
    return true;
  },
  readArchive: (portId) => post({ type: 'readArchive', port: portId }),
  vouch: (hostIds) => post({ type: 'vouch', hostIds }),
  applied: (revision) => post({ type: 'applied', revision }),
  ruleLog: (line) => post({ type: 'ruleLog', line }),
  log: (event, fields = {}) => post({ type: 'log', event, fields }),
};

const underlay = new Underlay();
const datapath = openDatapath(config.datapath, {
  instance: config.instance,
  encap: config.encap,
  vxlanPort: config.vxlanPort,
  maxFlows: config.limits.maxFlows,
  stateDir: config.datapath === 'ebpf' ? config.bpffs : config.runDir,
});
const monotonicMs = (): number => monotonicNs() / 1e6;
const seed = new Int32Array(new Uint8Array(randomBytes(8)).buffer);
const memory = openStateTable({
  file: join(config.runDir, 'connections'),
  hostId,
  incarnation: identity.incarnation,
  capacity: config.limits.maxConnections,
  portCap: config.limits.maxConnectionsPerPort,
  timeouts: config.connectionTimeouts,
  now: monotonicMs(),
  seed: [seed[0], seed[1]],
});
if (memory.table.adoption.adopted + memory.table.adoption.damaged > 0) {
  effects.log('connections.adopted', { ...memory.table.adoption });
}
const bases = openFlowBases(join(config.runDir, 'flow-bases'), config.limits.maxFlows);
const engine = new Engine({
  datapath,
  underlay,
  peerMacs: new PeerMacs(underlay),
  pinger: new IcmpPinger(),
  hostId,
  limits: config.limits,
  effects,
  flowBases: bases,
  ruleStore: fileRuleStore(join(config.runDir, 'rule-counts')),
  connections: {
    table: memory.table,
    identity,
    offset: monotonicMs() - performance.now(),
    archived: config.archive.kind !== 'off',
    blocks: fileBlockStore(join(config.runDir, 'nat-blocks'), bootId(), monotonicMs),
  },
  clock: () => performance.now(),
});

let lastInterfaces = '';
let nextInterfaces = 0;

/** Tells the main thread which interfaces this host has, when that changed. */
function reportInterfaces(): void {
  const now = performance.now();
  if (now < nextInterfaces) return;
  nextInterfaces = now + 1_000;
  const interfaces: InterfaceReport[] = [...underlay.links].map(({ name, mac, mtu, up, kind }) => ({
    name,
    mac,
    mtu,
    up,
    kind,
  }));
  const text = JSON.stringify(interfaces);
  if (text === lastInterfaces) return;
  lastInterfaces = text;
  post({ type: 'interfaces', interfaces });
}

/** Answers a question of the main thread; a refusal is told by its code, since errors lose their class on the way. */
function answer(ask: Question, ticket: number): void {
  const reply = (said: unknown): void => {
    const refusal = said instanceof AgentError ? { refused: { code: said.code, message: said.message } } : said;
    post({ type: 'answer', ticket, answer: refusal });
  };
  try {
    if (ask.kind === 'status') reply(engine.status());
    else if (ask.kind === 'flows') reply(engine.flows(ask.query));
    else if (ask.kind === 'flushFlows') reply(engine.flushFlows());
    else if (ask.kind === 'connections') reply(engine.connections(ask.query));
    else if (ask.kind === 'cutConnections') reply(engine.cutConnections(ask.query));
    else if (ask.kind === 'rules') reply(engine.rules(ask.chain));
    else if (ask.kind === 'clearRules') reply(engine.clearRules(ask.chain));
    else if (ask.kind === 'arrival') reply(engine.arrival(ask.arrival));
    else if (ask.kind === 'link') reply(engine.link(ask.port));
    else engine.trace(ask.request, reply);
  } catch (error) {
    if (!(error instanceof AgentError)) throw error;
    reply(error);
  }
}

/** @returns false when the worker is to stop. */
function readMessages(): boolean {
  for (;;) {
    const received = receiveMessageOnPort(port);
    if (!received) return true;
    const message = received.message as ToWorker;
    if (message.type === 'stop') return false;
    if (message.type === 'batch') {
      engine.enqueue(message.batch, () => post({ type: 'taken', ticket: message.ticket }));
    } else if (message.type === 'granted') engine.blocksGranted(message.pool, message.blocks);
    else if (message.type === 'blocks') engine.blocksHeld(message.blocks);
    else if (message.type === 'kept') engine.blocksKept(message.blocks);
    else if (message.type === 'restored') engine.restored(message.records);
    else if (message.type === 'restoreEnded') engine.restoreEnded(message.port, message.whole);
    else answer(message.ask, message.ticket);
  }
}

post({ type: 'started', wakeFd: datapath.wakeFd });
while (readMessages()) {
  engine.turn();
  reportInterfaces();
}
engine.close();
memory.close();
bases.close();
post({ type: 'stopped' });
