/** One client of the server. Everything that comes in is untrusted: bounded, checked, and applied by the store's own rules. */
import type { Socket } from 'node:net';
import type { Claim } from '../allocations/allocations.ts';
import { Conflict } from '../backend.ts';
import type { Allocation, Batch, Subscription } from '../contract.ts';
import { NsdbError } from '../errors.ts';
import type { ObjectTransaction } from '../objects/transaction.ts';
import type { OwnEntry } from '../sessions.ts';
import type { StoreNsdb } from '../store-nsdb.ts';
import { encodeMessage, MessageDecoder } from './frames.ts';
import { type AttachResult, MAX_REQUEST, PROTOCOL, type Reply, type Request, toWire } from './protocol.ts';

const MAX_TRANSACTIONS = 1_024;
const MAX_SUBSCRIPTIONS = 1_024;
/** Requests being worked on and bytes not yet taken by the client, above which no more is read from it. */
const MAX_OPEN_REQUESTS = 4_096;
const MAX_UNSENT = 32 * 2 ** 20;

interface ServedSubscription {
  readonly subscription: Subscription;
  /** Number of the last add or remove that was applied. */
  seq: number;
  acknowledge: (() => void) | undefined;
}

interface ServedTransaction {
  readonly tx: ObjectTransaction;
  /** Its operations run in the order in which they came. */
  tail: Promise<unknown>;
  /** First error of an operation that nobody waits for. */
  failure: unknown;
}

interface ServedSession {
  readonly incarnation: number;
  readonly holder: () => void;
}

type Handler = (p: readonly unknown[]) => unknown;

export class Connection {
  readonly #nsdb: StoreNsdb;
  readonly #socket: Socket;
  readonly #onClose: (error?: Error) => void;
  readonly #decoder = new MessageDecoder(MAX_REQUEST);
  readonly #subscriptions = new Map<number, ServedSubscription>();
  readonly #transactions = new Map<number, ServedTransaction>();
  readonly #sessions = new Map<string, ServedSession>();
  #openRequests = 0;
  #closed = false;

  constructor(nsdb: StoreNsdb, socket: Socket, onClose: (error?: Error) => void) {
    this.#nsdb = nsdb;
    this.#socket = socket;
    this.#onClose = onClose;
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => this.#end());
    socket.on('drain', () => this.#flow());
    socket.on('data', (chunk) => this.#receive(chunk));
    this.#write({ hello: PROTOCOL, generation: nsdb.generation, grace: nsdb.sessions.grace, keeps: true });
  }

  close(): void {
    this.#socket.destroy();
    this.#end();
  }

  #receive(chunk: Buffer): void {
    try {
      for (const { message } of this.#decoder.push(chunk)) this.#dispatch(message);
      this.#flow();
    } catch (error) {
      this.#socket.destroy();
      this.#end(error as Error);
    }
  }

  #dispatch(message: unknown): void {
    const { i, m, p } = message as Request;
    if (typeof m !== 'string' || !Array.isArray(p) || (i !== undefined && !Number.isSafeInteger(i)))
      throw new NsdbError('WEFT_PROTOCOL', 'Not a request');
    if (!Object.hasOwn(this.#handlers, m)) throw new NsdbError('WEFT_PROTOCOL', `Unknown request ${m.slice(0, 50)}`);
    this.#openRequests++;
    // Called at once, in the order of arrival; only the answers may overtake each other.
    let result: unknown;
    try {
      result = this.#handlers[m](p);
    } catch (error) {
      result = Promise.reject(error);
    }
    void Promise.resolve(result).then(
      (r) => this.#answer(i === undefined ? undefined : { i, r }),
      (error) => this.#answer(i === undefined ? undefined : { i, e: toWire(error) }),
    );
  }

  #answer(reply: Reply | undefined): void {
    this.#openRequests--;
    if (this.#closed) return;
    if (reply !== undefined) this.#write(reply);
    this.#flow();
  }

  #write(message: unknown): void {
    if (!this.#closed) this.#socket.write(encodeMessage(message));
  }

  #flow(): void {
    const full = this.#openRequests > MAX_OPEN_REQUESTS || this.#socket.writableLength > MAX_UNSENT;
    if (full && !this.#socket.isPaused()) this.#socket.pause();
    else if (!full && this.#socket.isPaused()) this.#socket.resume();
  }

  #end(error?: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const served of this.#subscriptions.values()) {
      served.subscription.close();
      served.acknowledge?.();
    }
    for (const [hostId, { incarnation, holder }] of this.#sessions)
      this.#nsdb.sessions.detach(hostId, incarnation, holder);
    this.#transactions.clear();
    this.#onClose(error);
  }

  // ---- requests ----

  readonly #handlers: Readonly<Record<string, Handler>> = {
    ping: () => null,
    get: ([type, id]) => this.#nsdb.get(text(type), text(id)),
    list: ([type]) => this.#nsdb.list(text(type)),
    referrers: ([type, field, id]) => this.#nsdb.referrers(text(type), text(field), text(id)),
    entries: ([table]) => this.#nsdb.entries(text(table)),
    revision: () => this.#nsdb.revision(),
    convergence: () => this.#nsdb.convergence(),
    poolUsage: ([pool]) => this.#nsdb.poolUsage(text(pool)),
    size: () => this.#nsdb.size(),

    'tx.get': ([n, type, id]) => this.#inTransaction(n, (tx) => tx.get(text(type), text(id))),
    'tx.referrers': ([n, type, field, id]) =>
      this.#inTransaction(n, (tx) => tx.referrers(text(type), text(field), text(id))),
    'tx.create': ([n, type, value]) => this.#inTransaction(n, (tx) => tx.create(text(type), record(value))),
    'tx.update': ([n, type, id, value, ifVersion]) =>
      this.#inTransaction(n, (tx) => tx.update(text(type), text(id), record(value), optionalNumber(ifVersion))),
    'tx.delete': ([n, type, id, ifVersion]) =>
      this.#inTransaction(n, (tx) => tx.delete(text(type), text(id), optionalNumber(ifVersion))),
    'tx.putEntry': ([n, table, key, value]) =>
      this.#inTransaction(n, (tx) => tx.putEntry(text(table), text(key), text(value)), true),
    'tx.deleteEntry': ([n, table, key]) => this.#inTransaction(n, (tx) => tx.deleteEntry(text(table), text(key)), true),
    'tx.commit': ([n]) => this.#commit(n),
    'tx.stillHolds': ([n]) => {
      const held = this.#inTransaction(n, (tx) => tx.stillHolds());
      this.#transactions.delete(integer(n));
      return held;
    },

    'sub.open': ([n, seq, interests]) => {
      const served = this.#subscribe(integer(n));
      served.seq = integer(seq);
      served.subscription.add(texts(interests));
    },
    'sub.add': ([n, seq, interests]) => {
      const served = this.#subscriptions.get(integer(n));
      if (served === undefined) return;
      served.seq = integer(seq);
      served.subscription.add(texts(interests));
    },
    'sub.remove': ([n, seq, interests]) => {
      const served = this.#subscriptions.get(integer(n));
      if (served === undefined) return;
      served.seq = integer(seq);
      served.subscription.remove(texts(interests));
    },
    'sub.ack': ([n]) => this.#subscriptions.get(integer(n))?.acknowledge?.(),
    'sub.close': ([n]) => {
      this.#subscriptions.get(integer(n))?.subscription.close();
      this.#subscriptions.delete(integer(n));
    },

    'session.open': ([hostId, floor]) => this.#openSession(text(hostId), optionalNumber(floor)),
    'session.attach': ([hostId, incarnation]) => this.#attach(text(hostId), integer(incarnation)),
    'session.write': ([hostId, incarnation, entries]) =>
      this.#writeEntries(text(hostId), integer(incarnation), entries),
    'session.owned': ([hostId]) => {
      this.#session(text(hostId));
      return this.#nsdb.store.ownedBy(text(hostId));
    },
    'session.applied': ([hostId, generation, revision]) => {
      const { incarnation } = this.#session(text(hostId));
      this.#nsdb.sessions.applied(text(hostId), incarnation, text(generation), integer(revision));
    },
    'session.vouch': ([hostId, other]) => {
      this.#session(text(hostId));
      this.#nsdb.sessions.vouch(text(other));
    },
    'session.allocate': ([hostId, incarnation, pool, first, last, count, coolMs]) => {
      this.#own(hostId, incarnation);
      const range = { first: integer(first), last: integer(last) };
      return this.#nsdb.allocations.allocate(
        text(hostId),
        integer(incarnation),
        text(pool),
        range,
        integer(count),
        integer(coolMs),
      );
    },
    'session.release': ([hostId, incarnation, allocations]) => {
      this.#own(hostId, incarnation);
      return this.#nsdb.allocations.release(text(hostId), integer(incarnation), list(allocations).map(toAllocation));
    },
    'session.keep': ([hostId, incarnation, allocations]) => {
      this.#own(hostId, incarnation);
      return this.#nsdb.allocations.keep(text(hostId), integer(incarnation), list(allocations).map(toAllocation));
    },
    'session.allocations': ([hostId, incarnation]) => {
      this.#own(hostId, incarnation);
      return this.#nsdb.allocations.held(text(hostId), integer(incarnation));
    },
    'session.claim': ([hostId, incarnation, claims, complete]) => {
      this.#own(hostId, incarnation);
      return this.#nsdb.allocations.claim(
        text(hostId),
        integer(incarnation),
        list(claims).map(toClaim),
        complete === true,
      );
    },
    'session.close': async ([hostId, leave]) => {
      const { incarnation, holder } = this.#session(text(hostId));
      this.#sessions.delete(text(hostId));
      if (leave === true) await this.#nsdb.sessions.leave(text(hostId), incarnation);
      else this.#nsdb.sessions.detach(text(hostId), incarnation, holder);
    },
  };

  #inTransaction(n: unknown, run: (tx: ObjectTransaction) => unknown, note = false): Promise<unknown> {
    const served = this.#transaction(integer(n));
    const result = served.tail.then(() => run(served.tx));
    served.tail = result.catch((error) => {
      if (note) served.failure ??= error;
    });
    return result;
  }

  #transaction(n: number): ServedTransaction {
    let served = this.#transactions.get(n);
    if (served === undefined) {
      if (this.#transactions.size >= MAX_TRANSACTIONS)
        throw new NsdbError('WEFT_TOO_LARGE', `More than ${MAX_TRANSACTIONS} transactions are open on one link`);
      served = { tx: this.#nsdb.begin(), tail: Promise.resolve(), failure: undefined };
      this.#transactions.set(n, served);
    }
    return served;
  }

  async #commit(n: unknown): Promise<unknown> {
    const served = this.#transaction(integer(n));
    this.#transactions.delete(integer(n));
    await served.tail;
    try {
      if (served.failure !== undefined) throw served.failure;
      return await served.tx.commit();
    } catch (error) {
      if (error instanceof Conflict || !(await served.tx.stillHolds())) throw new NsdbError('WEFT_CONFLICT');
      throw error;
    }
  }

  #subscribe(n: number): ServedSubscription {
    if (this.#subscriptions.size >= MAX_SUBSCRIPTIONS || this.#subscriptions.has(n))
      throw new NsdbError('WEFT_TOO_LARGE', `Subscription ${n} is open, or there are ${MAX_SUBSCRIPTIONS}`);
    const served: ServedSubscription = {
      seq: 0,
      acknowledge: undefined,
      subscription: this.#nsdb.subscribe({
        onBatch: (batch: Batch) =>
          new Promise<void>((resolve) => {
            if (this.#closed) return resolve();
            served.acknowledge = resolve;
            this.#write({ s: n, q: served.seq, b: batch });
          }),
      }),
    };
    this.#subscriptions.set(n, served);
    return served;
  }

  // ---- sessions ----

  #session(hostId: string): ServedSession {
    const session = this.#sessions.get(hostId);
    if (session === undefined) throw new NsdbError('WEFT_SESSION_LOST', `This link holds no session of host ${hostId}`);
    return session;
  }

  /** Refuses who does not hold the host's session with this incarnation. */
  #own(hostId: unknown, incarnation: unknown): void {
    if (this.#session(text(hostId)).incarnation !== integer(incarnation)) throw new NsdbError('WEFT_SESSION_LOST');
  }

  async #openSession(hostId: string, floor: number | undefined): Promise<number> {
    const holder = () => this.#sessions.delete(hostId);
    const incarnation = await this.#nsdb.sessions.open(hostId, holder, floor);
    if (this.#closed) this.#nsdb.sessions.detach(hostId, incarnation, holder);
    else this.#sessions.set(hostId, { incarnation, holder });
    return incarnation;
  }

  async #attach(hostId: string, incarnation: number): Promise<AttachResult> {
    const holder = () => this.#sessions.delete(hostId);
    const { sessions } = this.#nsdb;
    if (await sessions.superseded(hostId, incarnation)) return 'superseded';
    if (!(await sessions.attach(hostId, incarnation, holder))) return 'expired';
    if (this.#closed) sessions.detach(hostId, incarnation, holder);
    else this.#sessions.set(hostId, { incarnation, holder });
    return 'ok';
  }

  async #writeEntries(hostId: string, incarnation: number, entries: unknown): Promise<unknown> {
    this.#own(hostId, incarnation);
    if (!Array.isArray(entries) || entries.length > 10_000) throw new NsdbError('WEFT_PROTOCOL', 'Bad entries');
    const own = entries.map((entry): OwnEntry => {
      const { table, key, value } = record(entry);
      return { table: text(table), key: text(key), value: value === null ? null : text(value) };
    });
    const results = await this.#nsdb.sessions.write(hostId, incarnation, own);
    return results.map((error) => (error === undefined ? null : toWire(error)));
  }
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new NsdbError('WEFT_PROTOCOL', 'A parameter is not a string');
  return value;
}

function texts(value: unknown): string[] {
  return list(value).map(text);
}

function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new NsdbError('WEFT_PROTOCOL', 'A parameter is not a list');
  return value;
}

function toAllocation(value: unknown): Allocation {
  const { pool, index, token } = record(value);
  return { pool: text(pool), index: integer(index), token: integer(token) };
}

function toClaim(value: unknown): Claim {
  const { coolMs, kept } = record(value);
  return { ...toAllocation(value), coolMs: integer(coolMs), ...(kept === true ? { kept } : {}) };
}

function integer(value: unknown): number {
  if (!Number.isSafeInteger(value)) throw new NsdbError('WEFT_PROTOCOL', 'A parameter is not an integer');
  return value as number;
}

function optionalNumber(value: unknown): number | undefined {
  return value === undefined || value === null ? undefined : integer(value);
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new NsdbError('WEFT_PROTOCOL', 'A parameter is not an object');
  return value as Record<string, unknown>;
}
