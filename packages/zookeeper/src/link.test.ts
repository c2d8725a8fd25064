/** What a server can be made to do only by a script: connections that end in the midst of a handshake. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { ZooKeeper } from './index.ts';
import { JuteReader } from './jute/reader.ts';
import { JuteWriter } from './jute/writer.ts';
import { OP } from './protocol/constants.ts';
import { FrameDecoder } from './protocol/frames.ts';

/** A packet of a client: its xid and opcode, and the rest of it. */
interface Packet {
  readonly xid: number;
  readonly opcode: number;
  readonly body: JuteReader;
}

/** Answers a packet with the transaction that the server stands at; without one, the connection ends. */
type Script = (packet: Packet) => number | undefined;

function send(socket: Socket, write: (writer: JuteWriter) => void): void {
  const writer = new JuteWriter();
  writer.int(0);
  write(writer);
  writer.buffer.writeInt32BE(writer.length - 4, 0);
  socket.write(Buffer.from(writer.buffer.subarray(0, writer.length)));
}

describe('a link', () => {
  const scripts: Script[] = [];
  const server = createServer((socket) => {
    let script: Script | undefined;
    socket.on('error', () => {});
    const decoder = new FrameDecoder(100_000, {
      frame: (buffer, start, end) => {
        const body = new JuteReader().reset(buffer, start, end);
        if (script === undefined) {
          script = scripts.shift() ?? (() => undefined);
          return send(socket, (writer) => {
            writer.int(0);
            writer.int(4_000);
            writer.long(77n);
            writer.bytes(Buffer.alloc(16, 1));
          });
        }
        const [xid, opcode] = [body.int(), body.int()];
        const zxid = script({ xid, opcode, body });
        if (zxid === undefined) return void socket.end();
        send(socket, (writer) => {
          writer.int(xid);
          writer.number(zxid);
          writer.int(0);
        });
      },
      tooLong: () => socket.destroy(),
    });
    socket.on('data', (chunk: Buffer) => decoder.push(chunk));
  });
  before(() => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  after(() => new Promise((resolve) => server.close(resolve)));

  const connect = () => {
    const { port } = server.address() as { port: number };
    const servers = Array(4).fill(`127.0.0.1:${port}`).join(',');
    return ZooKeeper.connect({ servers, sessionTimeout: 4_000 });
  };

  it('that breaks between the answers to setWatches does not hide that something was missed', async () => {
    const relative: bigint[] = [];
    scripts.push(
      ({ opcode }) => (opcode === OP.addWatch ? 5 : undefined),
      ({ opcode, body }) => {
        if (opcode !== OP.setWatches2) return undefined;
        relative.push(body.long());
        return 9;
      },
      ({ opcode, body }) => {
        if (opcode === OP.setWatches2) relative.push(body.long());
        return 9;
      },
    );
    const zk = await connect();
    const watch = await zk.addWatch('/a');
    zk.exists('/a').catch(() => {});
    const [{ missed }] = await once(zk, 'reconnected');
    assert.equal(missed, true);
    assert.deepEqual(relative, [5n, 5n], 'one-shot watches are told from the same point on');
    assert.equal(zk.lastZxid, 9n);
    assert.equal((await watch[Symbol.asyncIterator]().next()).value?.type, 'gap');
    await zk.close({ keepSession: true });
  });

  it('on which everything stands where it stood has missed nothing', async () => {
    scripts.push(
      ({ opcode }) => (opcode === OP.addWatch ? 5 : undefined),
      () => 5,
    );
    const zk = await connect();
    await zk.addWatch('/a');
    zk.exists('/a').catch(() => {});
    const [{ missed }] = await once(zk, 'reconnected');
    assert.equal(missed, false);
    await zk.close({ keepSession: true });
  });
});
