/** The socket's doors, hostile clients, silent peers. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { newBridge, refused, until, Watcher } from '../compliance/harness.ts';
import { connect } from '../connect.ts';
import { openEmbedded } from '../embedded/index.ts';
import { encodeMessage, MessageDecoder } from './frames.ts';
import { PROTOCOL } from './protocol.ts';
import { serve } from './server.ts';

const root = mkdtempSync(join(tmpdir(), 'weft-nsdb-'));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const path = () => join(root, `s${count++}`);

/** A client that sends raw bytes; resolves with what it heard when the server hangs up, or after `enough` messages. */
function raw(socket: string, bytes: Buffer, enough = Number.POSITIVE_INFINITY): Promise<unknown[]> {
  return new Promise((resolve) => {
    const heard: unknown[] = [];
    const decoder = new MessageDecoder(2 ** 24);
    const link = dial(socket, () => link.write(bytes));
    link.on('error', () => {});
    link.on('close', () => resolve(heard));
    link.on('data', (chunk) => {
      for (const { message } of decoder.push(chunk)) heard.push(message);
      if (heard.length >= enough) link.destroy();
    });
  });
}

describe('store server', () => {
  it('its socket is for its owner alone; a leftover is replaced, a live one or another file is not', async () => {
    const nsdb = await openEmbedded({ dir: path() });
    const socket = path();
    const server = await serve(nsdb, { socket });
    assert.equal(statSync(socket).mode & 0o777, 0o600);
    await refused(serve(nsdb, { socket }), 'WEFT_SOCKET_IN_USE');
    await server.close();
    // What a killed server leaves: a socket that nobody listens on.
    const { spawnSync } = await import('node:child_process');
    const script = `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);
    assert.ok(statSync(socket).isSocket());
    const second = await serve(nsdb, { socket });
    const client = await connect({ socket });
    assert.equal(await client.revision(), 0);
    await client.close();
    await second.close();
    const file = path();
    writeFileSync(file, 'precious');
    await refused(serve(nsdb, { socket: file }), 'WEFT_SOCKET_IN_USE');
    assert.equal(statSync(file).size, 8);
    await nsdb.close();
  });

  it('asks who it is, and turns away who may not', async () => {
    const nsdb = await openEmbedded({ dir: path() });
    const socket = path();
    const asked: number[] = [];
    const server = await serve(nsdb, {
      socket,
      authorize: (fd) => {
        asked.push(fd);
        return false;
      },
    });
    assert.deepEqual(await raw(socket, encodeMessage({ i: 1, m: 'revision', p: [] })), []);
    assert.ok(asked[0] > 2);
    const client = await connect({ socket });
    await refused(client.revision(), 'WEFT_STORE_AWAY');
    await client.close();
    await server.close();
    await nsdb.close();
  });

  it('hangs up on broken framing and unknown requests, answers bad parameters, and others notice nothing', async () => {
    const nsdb = await openEmbedded({ dir: path() });
    const socket = path();
    const errors: Error[] = [];
    const server = await serve(nsdb, { socket, onProtocolError: (error) => errors.push(error) });
    const client = await connect({ socket });
    const bridge = await newBridge(client);
    const watcher = new Watcher(client, [`o/Bridge/${bridge}`]);
    const revision = await client.revision();
    for (const hostile of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.from([0xff, 0xff, 0xff, 0xff, 0]),
      encodeMessage({ i: 1, m: 'constructor', p: [] }),
      encodeMessage({ i: 1, m: 'get' }),
      encodeMessage({ i: 'x', m: 'get', p: [] }),
      encodeMessage('text'),
      encodeMessage(7),
    ])
      assert.equal((await raw(socket, hostile)).length, 1, 'only the hello');
    assert.equal(errors.length, 7);
    for (const [m, p] of [
      ['get', [1, {}]],
      ['get', ['__proto__', 'x']],
      ['list', [null]],
      ['tx.create', [1, 'Bridge', 'x']],
      ['tx.create', [1, 'Bridge', JSON.parse('{"__proto__":{"name":"x"},"name":7}')]],
      ['sub.open', [1, 1, ['nonsense']]],
      ['session.write', ['host', 1, []]],
      ['session.open', [{}, 1]],
    ]) {
      const [, reply] = await raw(socket, encodeMessage({ i: 9, m, p }), 2);
      assert.match((reply as { e: { code: string } }).e.code, /^WEFT_/, String(m));
    }
    assert.equal(await client.revision(), revision, 'nothing changed');
    await watcher.reached(revision);
    assert.deepEqual(watcher.links, [true], 'the other client kept its link');
    watcher.close();
    await client.close();
    await server.close();
    await nsdb.close();
  });

  it('a host cannot be written for by a link that holds no session of it', async () => {
    const nsdb = await openEmbedded({ dir: path() });
    const socket = path();
    const server = await serve(nsdb, { socket });
    const host = crypto.randomUUID();
    await nsdb.transact((tx) => tx.create('Host', { id: host, name: 'h' }));
    const session = await nsdb.openSession(host);
    const entries = [{ table: 'free/x', key: 'k', value: 'v' }];
    for (const [m, p] of [
      ['session.write', [host, session.incarnation, entries]],
      ['session.close', [host, true]],
      ['session.applied', [host, nsdb.generation, 1]],
    ]) {
      const [, reply] = await raw(socket, encodeMessage({ i: 9, m, p }), 2);
      assert.equal((reply as { e: { code: string } }).e.code, 'WEFT_SESSION_LOST');
    }
    assert.deepEqual(await nsdb.entries('free/x'), []);
    await server.close();
    await nsdb.close();
  });

  it('a client notices a server that fell silent, and one that never greets does not hold it up', async () => {
    for (const greets of [true, false]) {
      const socket = path();
      const silent = createServer((link) => {
        link.on('error', () => {});
        if (greets) link.write(encodeMessage({ hello: PROTOCOL, generation: 'g' }));
      });
      await new Promise<void>((resolve) => silent.listen(socket, resolve));
      const client = await connect({ socket, pingInterval: 20 });
      const watcher = new Watcher(client, []);
      await until(() => watcher.links.at(-1) === false, 'told that the link is down');
      watcher.close();
      await client.close();
      silent.close();
    }
  });

  it('a commit whose answer is lost has an unknown outcome, and is not repeated', async () => {
    const socket = path();
    let commits = 0;
    const decoder = new MessageDecoder(2 ** 20);
    const server = createServer((link) => {
      link.on('error', () => {});
      link.write(encodeMessage({ hello: PROTOCOL, generation: 'g' }));
      link.on('data', (chunk) => {
        for (const { message } of decoder.push(chunk)) {
          if ((message as { m: string }).m !== 'tx.commit') continue;
          commits++;
          link.destroy();
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    const client = await connect({ socket });
    await refused(
      client.transact(async () => {}),
      'WEFT_OUTCOME_UNKNOWN',
    );
    assert.equal(commits, 1);
    await client.close();
    server.close();
  });
});
