/** Calls about allocated numbers over links that break in the worst moment. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, connect as dial, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { newHost, refused, until } from '../compliance/harness.ts';
import { connect } from '../connect.ts';
import type { Nsdb } from '../contract.ts';
import { openEmbedded } from '../embedded/index.ts';
import type { StoreNsdb } from '../store-nsdb.ts';
import { MessageDecoder } from './frames.ts';
import { MAX_REPLY } from './protocol.ts';
import { serve } from './server.ts';

const POOL = 'free/x/y';
const ALL = { first: 0, last: 99 };

interface Wire {
  /** What clients send by the links that they have is not delivered, until `deliver`. */
  hold(): void;
  /** Whether this text is among what is held back. */
  holds(text: string): boolean;
  /** Ends all links at the clients' end; the server hears nothing of it yet. */
  cutClients(): void;
  /** Delivers what was held back, though the clients have cut the links. */
  deliver(): void;
  /** What the server said by links that the clients had cut. */
  readonly late: { readonly e?: { readonly code: string } }[];
  /** Answers go nowhere until the links are cut. */
  swallow(): void;
}

/** A store behind a wire that the test can disturb. */
async function withWire(body: (nsdb: Nsdb, store: StoreNsdb, wire: Wire) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'weft-nsdb-'));
  const store = await openEmbedded({ dir: join(dir, 'store') });
  const server = await serve(store, { socket: join(dir, 'server') });
  const held: { readonly to: Socket; readonly bytes: Buffer }[] = [];
  const late: Wire['late'] = [];
  let slow = new Set<Socket>();
  let swallowing = false;
  const clients = new Set<Socket>();
  const ends = new Set<Socket>();
  const proxy = createServer((client) => {
    const end = dial(join(dir, 'server'));
    clients.add(client);
    ends.add(end);
    client.on('data', (bytes) => (slow.has(client) ? held.push({ to: end, bytes }) : end.write(bytes)));
    const decoder = new MessageDecoder(MAX_REPLY);
    end.on('data', (bytes) => {
      const messages = [...decoder.push(bytes)].map(({ message }) => message as Wire['late'][number]);
      if (client.destroyed) late.push(...messages);
      else if (!swallowing) client.write(bytes);
    });
    for (const socket of [client, end]) socket.on('error', () => {});
    end.on('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(join(dir, 'proxy'), resolve));
  const nsdb = await connect({ socket: join(dir, 'proxy'), reconnect: { first: 2, most: 20 } });
  try {
    await body(nsdb, store, {
      hold: () => {
        slow = new Set(clients);
      },
      holds: (text) => Buffer.concat(held.map(({ bytes }) => bytes)).includes(text),
      cutClients: () => {
        swallowing = false;
        for (const client of clients) client.destroy();
        clients.clear();
      },
      deliver: () => {
        for (const { to, bytes } of held.splice(0)) to.write(bytes);
      },
      late,
      swallow: () => {
        swallowing = true;
      },
    });
  } finally {
    await nsdb.close();
    proxy.close();
    for (const end of ends) end.destroy();
    await server.close();
    await store.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

describe('allocations over a broken link', () => {
  it('an answer that was lost is in the next list', () =>
    withWire(async (nsdb, store, wire) => {
      const session = await nsdb.openSession(await newHost(store));
      wire.swallow();
      const call = session.allocate(POOL, ALL, 3, 0);
      await until(async () => (await store.poolUsage(POOL)).length === 3, 'the store has given them');
      wire.cutClients();
      await refused(call, 'WEFT_OUTCOME_UNKNOWN');
      let list: number[] = [];
      await until(async () => {
        list = await session.allocations().then(
          (held) => held.map(({ index }) => index),
          () => [],
        );
        return list.length > 0;
      }, 'the session is back');
      const given = (await store.poolUsage(POOL)).map(({ index }) => index);
      assert.deepEqual(
        list.sort((a, b) => a - b),
        given,
      );
    }));

  it('a call that arrives by the old link after the session has moved to a new one does nothing', () =>
    withWire(async (nsdb, store, wire) => {
      const session = await nsdb.openSession(await newHost(store));
      const kept = await session.allocate(POOL, ALL, 2, 0);
      wire.hold();
      const calls = [session.allocate(POOL, ALL, 3, 0), session.release(kept)];
      await until(() => wire.holds('session.allocate') && wire.holds('session.release'), 'both are on the wire');
      const { incarnation } = session;
      wire.cutClients();
      await refused(calls[0], 'WEFT_OUTCOME_UNKNOWN');
      await refused(calls[1], 'WEFT_STORE_AWAY');
      await until(() => session.allocations().then(Boolean, () => false), 'the session is back');
      assert.equal(session.incarnation, incarnation);
      wire.deliver();
      await until(() => wire.late.length === 2, 'the server has answered');
      for (const { e } of wire.late) assert.equal(e?.code, 'WEFT_SESSION_LOST');
      assert.equal((await store.poolUsage(POOL)).length, 2);
      assert.equal((await session.allocations()).length, 2);
    }));
});
