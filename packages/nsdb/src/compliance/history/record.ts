/** Clients that work on registers (names of bridges) and numbers, while a store suffers; what they saw is the history. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HostSession, Nsdb } from '../../contract.ts';
import { newBridge, newHost, Watcher } from '../harness.ts';
import type { BatchRecord, History, HoldRecord, TransactionRecord } from './check.ts';

/** What may go wrong while the store suffers. */
const EXPECTED = new Set(['WEFT_STORE_AWAY', 'WEFT_OUTCOME_UNKNOWN', 'WEFT_CONFLICT', 'WEFT_SESSION_LOST']);
const REGISTERS = 5;
const NUMBERS = { first: 0, last: 7 };

export interface RecordOptions {
  /** Handles as different processes have them; each is a writer, a subscriber and a host. */
  readonly handles: readonly Nsdb[];
  /** Dice. */
  random(): number;
  /** Does harm, and heals it; the history ends with it. */
  disturb(): Promise<void>;
}

/** Runs until `disturb` is done and everybody has seen the end. */
export async function recordHistory({ handles, random, disturb }: RecordOptions): Promise<History> {
  const [first] = handles;
  const registers: string[] = [];
  for (let i = 0; i < REGISTERS; i++) registers.push(await newBridge(first, `initial-${i}`));
  const router = (await first.transact((tx) => tx.create('Router', { name: 'r' }))).result.id as string;
  const initial = new Map<string, { value: string; version: number }>();
  for (const id of registers) {
    const stored = (await first.get<{ name: string }>('Bridge', id))!;
    initial.set(id, { value: stored.value.name, version: stored.version });
  }
  const transactions: TransactionRecord[] = [];
  const batches: BatchRecord[] = [];
  const holds: HoldRecord[] = [];
  let running = true;
  let next = 0;
  const some = (count: number) => [...registers].sort(() => random() - 0.5).slice(0, count);
  const tolerate = async (error: unknown): Promise<void> => {
    if (!EXPECTED.has((error as { code?: string }).code ?? '')) throw error;
    await sleep(10);
  };

  const write = async (nsdb: Nsdb): Promise<void> => {
    const [read, written] = [some(2), random() < 0.3 ? [] : some(1 + Math.floor(random() * 2))];
    let [reads, writes] = [new Map<string, string>(), new Map<string, string>()];
    const start = performance.now();
    const note = (outcome: TransactionRecord['outcome'], revision: number) =>
      transactions.push({ start, end: performance.now(), outcome, revision, reads, writes });
    try {
      const { revision } = await nsdb.transact(async (tx) => {
        [reads, writes] = [new Map(), new Map()];
        for (const id of new Set([...read, ...written])) {
          const { value } = (await tx.get<{ name: string }>('Bridge', id))!;
          reads.set(id, value.name);
          if (!written.includes(id)) continue;
          const name = `v${next++}`;
          await tx.update('Bridge', id, { ...value, name });
          writes.set(id, name);
        }
      });
      note('committed', writes.size > 0 ? revision : -1);
    } catch (error) {
      if ((error as { code?: string }).code === 'WEFT_OUTCOME_UNKNOWN') note('unknown', -1);
      await tolerate(error);
    }
  };

  const watch = (nsdb: Nsdb, subscriber: string): Watcher => {
    const watcher = new Watcher(
      nsdb,
      registers.map((id) => `o/Bridge/${id}`),
    );
    watcher.afterBatch = ({ revision }) => {
      const state = new Map<string, { value: string; version: number }>();
      for (const id of registers) {
        const object = watcher.objects.get(`o/Bridge/${id}`);
        if (object) state.set(id, { value: String(object.value.name), version: object.version });
      }
      batches.push({ subscriber, revision, state });
    };
    return watcher;
  };

  const allocate = async (session: HostSession): Promise<void> => {
    const given = await session.allocate(`nat/${router}/x`, NUMBERS, 2, 0);
    const from = performance.now();
    await sleep(random() * 20);
    const until = performance.now();
    for (const { pool, index, token } of given)
      holds.push({ host: session.hostId, number: `${pool}/${index}`, token, from, until });
    await session.release(given);
  };

  const watchers = handles.map((nsdb, i) => watch(nsdb, `subscriber-${i}`));
  const sessions: HostSession[] = [];
  for (const nsdb of handles) sessions.push(await nsdb.openSession(await newHost(nsdb)));
  const loop = async (run: () => Promise<void>) => {
    while (running) {
      await run().catch(tolerate);
      await sleep(1);
    }
  };
  const work = Promise.all([
    ...handles.map((nsdb) => loop(() => write(nsdb))),
    ...sessions.map((session) => loop(() => allocate(session))),
  ]);
  try {
    await Promise.race([disturb(), work]);
  } finally {
    running = false;
  }
  await work;
  const revision = await first.revision();
  for (const watcher of watchers) {
    await watcher.reached(revision);
    watcher.close();
  }
  return { initial, transactions, batches, holds };
}
