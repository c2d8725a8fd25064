/** What a server sends that is broken or malicious: every request ends with its answer or a coded error, and the client lives on. */
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { isZooKeeperError, ZooKeeper } from './index.ts';
import { JuteWriter } from './jute/writer.ts';

function frame(write: (writer: JuteWriter) => void): Buffer {
  const writer = new JuteWriter();
  writer.int(0);
  write(writer);
  writer.buffer.writeInt32BE(writer.length - 4, 0);
  return Buffer.from(writer.buffer.subarray(0, writer.length));
}

const granted = (timeout: number) =>
  frame((writer) => {
    writer.int(0);
    writer.int(timeout);
    writer.long(77n);
    writer.bytes(Buffer.alloc(16, 1));
  });

const reply = (xid: number, error: number, body: Uint8Array) =>
  frame((writer) => {
    writer.int(xid);
    writer.long(5n);
    writer.int(error);
    writer.raw(body);
  });

const PONG = reply(-2, 0, Buffer.alloc(0));

/** A stat, data, children: bodies that fit some operations, and can be broken. */
const body = frame((writer) => {
  writer.bytes(Buffer.from('data'));
  for (let i = 0; i < 68; i++) writer.bool(i === 3);
  writer.strings(['a', 'b']);
}).subarray(4);

/** `first` is all that the next connection gets; later ones get a session, the next of them `answers`, and pings are answered. */
interface Script {
  first: Buffer | undefined;
  answers: Buffer | undefined;
}

describe('bytes of a server', () => {
  const script: Script = { first: undefined, answers: undefined };
  let server: Server;
  before(async () => {
    server = createServer((socket) => {
      const { first } = script;
      script.first = undefined;
      let greeted = false;
      socket.on('error', () => {});
      socket.on('data', () => {
        if (first !== undefined) {
          socket.end(first);
        } else if (!greeted) {
          greeted = true;
          socket.write(granted(4_000));
        } else if (script.answers !== undefined) {
          socket.end(script.answers);
          script.answers = undefined;
        } else socket.write(PONG);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  after(() => new Promise((resolve) => server.close(resolve)));

  const connect = () => {
    const { port } = server.address() as { port: number };
    const servers = Array(4).fill(`127.0.0.1:${port}`).join(',');
    return ZooKeeper.connect({ servers, sessionTimeout: 4_000, repeatReads: false, maxResponse: 4_096 });
  };

  const operations = (zk: ZooKeeper): Promise<unknown>[] => [
    zk.getData('/a', { watch: () => {} }),
    zk.exists('/a'),
    zk.getChildren('/a'),
    zk.create('/a'),
    zk.multi([
      { op: 'delete', path: '/a' },
      { op: 'create', path: '/b' },
    ]),
    zk.multiRead([{ op: 'getData', path: '/a' }]),
    zk.getAcl('/a'),
    zk.whoAmI(),
    zk.addWatch('/w'),
  ];

  /** Whole packets of which parts are replaced, and bytes without any sense. */
  const broken = fc
    .record({
      bodies: fc.array(fc.oneof(fc.constant(body), fc.uint8Array({ maxLength: 100 })), { maxLength: 12 }),
      errors: fc.array(fc.constantFrom(0, 0, 0, -101, -1), { minLength: 12, maxLength: 12 }),
      xids: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.integer({ min: -10, max: 3 })),
      changes: fc.array(fc.record({ at: fc.nat(), value: fc.nat(255) }), { maxLength: 6 }),
      tail: fc.uint8Array({ maxLength: 30 }),
    })
    .map(({ bodies, errors, xids, changes, tail }) => {
      const bytes = Buffer.concat([...bodies.map((one, i) => reply(i + 1 + xids, errors[i], one)), tail]);
      for (const { at, value } of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
      return bytes;
    });

  it('in answers to requests', async () => {
    await fc.assert(
      fc.asyncProperty(broken, async (bytes) => {
        script.answers = bytes;
        const zk = await connect();
        try {
          for (const result of await Promise.allSettled(operations(zk)))
            if (result.status === 'rejected') assert.ok(isZooKeeperError(result.reason), String(result.reason?.stack));
        } finally {
          script.answers = undefined;
          await zk.close({ keepSession: true });
        }
      }),
      { numRuns: 300 },
    );
  });

  it('in answer to the request for a session', async () => {
    const sane = granted(1_000);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), fc.nat(sane.length), async (noise, keep) => {
        script.first = Buffer.concat([sane.subarray(0, keep), noise]);
        const zk = await connect();
        await zk.whenConnected();
        await zk.close({ keepSession: true });
      }),
      { numRuns: 100 },
    );
  });

  it('that are an answer longer than allowed: the request fails, the connection goes on', async () => {
    const zk = await connect();
    let disconnects = 0;
    zk.on('disconnected', () => disconnects++);
    script.answers = Buffer.concat([reply(1, 0, Buffer.alloc(100_000)), reply(2, -101, Buffer.alloc(0))]);
    const [long, next] = await Promise.allSettled([zk.getData('/a'), zk.exists('/a')]);
    assert.ok(long.status === 'rejected' && isZooKeeperError(long.reason, 'WEFT_ZK_TOO_LARGE'));
    assert.deepEqual(next, { status: 'fulfilled', value: undefined });
    assert.equal(disconnects, 0);
    await zk.close({ keepSession: true });
  });
});
