import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import fc from 'fast-check';
import { isZooKeeperError, ZooKeeperError } from './errors.ts';
import { JuteReader } from './jute/reader.ts';
import { JuteWriter } from './jute/writer.ts';
import type { Operation, RequestOptions } from './request.ts';
import { RequestQueue, type RequestTarget } from './request-queue.ts';

/** What was sent, and whether more may be. */
class Wire implements RequestTarget {
  writable = true;
  readonly packets: Buffer[] = [];
  send(write: (writer: JuteWriter) => void, limit: number): boolean {
    const writer = new JuteWriter();
    write(writer);
    if (writer.length > limit) return false;
    this.packets.push(Buffer.from(writer.buffer.subarray(0, writer.length)));
    return true;
  }
  get xids(): number[] {
    return this.packets.map((packet) => packet.readInt32BE(0));
  }
}

const SETTINGS = { maxOutstanding: 100, maxRequest: 100, requestTimeout: 0, repeatReads: true, now: () => 0 };
const LOST = new ZooKeeperError('WEFT_ZK_CONNECTION_LOST');

function operation(changes: boolean, body = 'x', hooks: Partial<Operation<string>> = {}): Operation<string> {
  return {
    opcode: 4,
    name: 'op',
    path: '/a',
    changes,
    encode: (writer) => writer.string(body),
    decode: (reader) => reader.string(),
    ...hooks,
  };
}

/** A submitted request with what became of it. */
function submit(queue: RequestQueue, wire: Wire | undefined, op: Operation<string>, options: RequestOptions = {}) {
  const request = { outcome: undefined as string | ZooKeeperError | undefined };
  queue.submit(op, options, wire).then(
    (value) => {
      request.outcome = value;
    },
    (error) => {
      request.outcome = error;
    },
  );
  return request;
}

const settled = () => new Promise(setImmediate);

function text(value: string): JuteReader {
  const writer = new JuteWriter();
  writer.string(value);
  return new JuteReader().reset(writer.buffer, 0, writer.length);
}

const code = ({ outcome }: { outcome: unknown }) => (outcome instanceof ZooKeeperError ? outcome.code : outcome);

describe('the queue of requests', () => {
  it('gives each request its answer, and refuses those that are out of step', async () => {
    const queue = new RequestQueue(SETTINGS);
    const wire = new Wire();
    const [first, second] = [submit(queue, wire, operation(false)), submit(queue, wire, operation(true))];
    assert.deepEqual(wire.xids, [1, 2]);
    queue.answer(1, undefined, 0, text('one'));
    assert.throws(
      () => queue.answer(3, undefined, 0, text('three')),
      (error) => isZooKeeperError(error, 'WEFT_ZK_PROTOCOL'),
    );
    await settled();
    assert.equal(first.outcome, 'one');
    assert.equal(second.outcome, undefined);
    queue.lost(LOST);
    await settled();
    assert.equal(code(second), 'WEFT_ZK_CONNECTION_LOST', 'it is not forgotten');
    assert.throws(
      () => new RequestQueue(SETTINGS).answer(1, undefined, 0, text('')),
      (error) => isZooKeeperError(error, 'WEFT_ZK_PROTOCOL'),
    );
  });

  it('after a loss: nothing succeeds behind a request of which its caller learned that it is lost, except repeated reads', async () => {
    const step = fc.record({ changes: fc.boolean(), blocked: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 20 }),
        fc.array(fc.boolean()),
        fc.nat(20),
        async (before, after, answered) => {
          const queue = new RequestQueue(SETTINGS);
          const wire = new Wire();
          const old = before.map(({ changes, blocked }) => {
            wire.writable &&= !blocked;
            return { changes, sent: wire.writable, ...{ request: submit(queue, wire, operation(changes)) } };
          });
          const answers = Math.min(answered, wire.packets.length);
          for (let xid = 1; xid <= answers; xid++) queue.answer(xid, undefined, 0, text('ok'));
          queue.lost(LOST);
          const fresh = after.map((changes) => submit(queue, undefined, operation(changes)));
          await settled();
          old.forEach(({ changes, sent, request }, i) => {
            const expected = i < answers ? 'ok' : changes ? 'WEFT_ZK_CONNECTION_LOST' : undefined;
            assert.equal(code(request), expected);
            if (request.outcome instanceof ZooKeeperError) assert.equal(request.outcome.outcomeUnknown, sent);
          });
          const next = new Wire();
          queue.pump(next);
          const repeated = old.slice(answers).filter(({ changes }) => !changes);
          assert.equal(next.packets.length, repeated.length + fresh.length);
          for (const xid of next.xids) queue.answer(xid, undefined, 0, text(`x${xid}`));
          await settled();
          const outcomes = [...repeated.map(({ request }) => request.outcome), ...fresh.map(({ outcome }) => outcome)];
          assert.deepEqual(
            outcomes,
            next.xids.map((xid) => `x${xid}`),
            'in order',
          );
          assert.equal(queue.size, 0);
        },
      ),
    );
  });

  it('repeats a read three times, and none if that is not wanted', async () => {
    const queue = new RequestQueue(SETTINGS);
    const read = submit(queue, new Wire(), operation(false));
    for (let i = 0; i < 4; i++) {
      await settled();
      assert.equal(read.outcome, undefined);
      queue.pump(new Wire());
      queue.lost(LOST);
    }
    await settled();
    assert.equal(code(read), 'WEFT_ZK_CONNECTION_LOST');
    assert.equal((read.outcome as unknown as ZooKeeperError).outcomeUnknown, false);
    const once = new RequestQueue({ ...SETTINGS, repeatReads: false });
    const other = submit(once, new Wire(), operation(false));
    once.lost(LOST);
    await settled();
    assert.equal(code(other), 'WEFT_ZK_CONNECTION_LOST');
  });

  it('keeps what a waiting request was submitted with', () => {
    const queue = new RequestQueue(SETTINGS);
    const data = Buffer.from('before');
    const wire = new Wire();
    submit(queue, undefined, operation(true, '', { encode: (writer) => writer.bytes(data) }));
    data.fill('x');
    queue.pump(wire);
    assert.ok(wire.packets[0].includes('before'));
  });

  it('an aborted request: says whether it may have happened, leaves the others in step, and releases what it held', async () => {
    const queue = new RequestQueue(SETTINGS);
    const wire = new Wire();
    const abandoned = mock.fn();
    const controller = new AbortController();
    const options = { signal: controller.signal };
    const sent = submit(queue, wire, operation(true, 'x', { abandoned }), options);
    const other = submit(queue, wire, operation(false));
    wire.writable = false;
    const waiting = submit(queue, wire, operation(true, 'x', { abandoned }), options);
    controller.abort(new Error('why'));
    const late = submit(queue, wire, operation(true, 'x', { abandoned }), options);
    queue.answer(1, undefined, 0, text('nobody'));
    queue.answer(2, undefined, 0, text('two'));
    await settled();
    assert.deepEqual([code(sent), code(waiting), code(late)], Array(3).fill('WEFT_ZK_ABORTED'));
    assert.deepEqual(
      [sent, waiting, late].map(({ outcome }) => (outcome as unknown as ZooKeeperError).outcomeUnknown),
      [true, false, false],
    );
    assert.equal(((sent.outcome as unknown as ZooKeeperError).cause as Error).message, 'why');
    assert.equal(other.outcome, 'two');
    assert.equal(abandoned.mock.callCount(), 3);
    wire.writable = true;
    queue.pump(wire);
    assert.equal(wire.packets.length, 2, 'what was aborted before it was sent is not sent');
    assert.equal(queue.size, 0);
  });

  it('a request that times out fails, sent or not, and its answer is nobody’s', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    let now = 0;
    const queue = new RequestQueue({ ...SETTINGS, requestTimeout: 1_000, now: () => now });
    const wire = new Wire();
    const sent = submit(queue, wire, operation(true));
    const patient = submit(queue, wire, operation(true), { timeout: 0 });
    wire.writable = false;
    const waiting = submit(queue, wire, operation(true));
    now = 999;
    t.mock.timers.tick(100);
    await settled();
    assert.equal(sent.outcome, undefined);
    now = 1_000;
    t.mock.timers.tick(100);
    await settled();
    assert.deepEqual([code(sent), code(waiting), patient.outcome], ['WEFT_ZK_TIMEOUT', 'WEFT_ZK_TIMEOUT', undefined]);
    assert.equal((sent.outcome as unknown as ZooKeeperError).outcomeUnknown, true);
    assert.equal((waiting.outcome as unknown as ZooKeeperError).outcomeUnknown, false);
    queue.answer(1, undefined, 0, text('late'));
    queue.answer(2, undefined, 0, text('ok'));
    await settled();
    assert.equal(patient.outcome, 'ok');
  });

  it('is bounded: in requests, and in the size of each', async () => {
    const queue = new RequestQueue({ ...SETTINGS, maxOutstanding: 2 });
    const wire = new Wire();
    const large = [
      submit(queue, wire, operation(true, 'x'.repeat(100))),
      submit(queue, undefined, operation(true, 'x'.repeat(100))),
    ];
    for (let i = 0; i < 2; i++) submit(queue, wire, operation(false));
    const busy = submit(queue, wire, operation(false));
    await settled();
    assert.deepEqual(large.map(code), ['WEFT_ZK_TOO_LARGE', 'WEFT_ZK_TOO_LARGE']);
    assert.equal(code(busy), 'WEFT_ZK_BUSY');
    assert.equal(wire.packets.length, 2);
    const roomy = new RequestQueue({ ...SETTINGS, maxOutstanding: 10_000 });
    const waiting = Array.from({ length: 100 }, () => submit(roomy, undefined, operation(true, 'x'.repeat(80))));
    await settled();
    assert.ok(waiting.map(code).includes('WEFT_ZK_BUSY'), 'bytes that wait');
  });

  it('turns the errors of the server into its own, unless the operation has a better idea', async () => {
    const queue = new RequestQueue(SETTINGS);
    const wire = new Wire();
    const zxids: bigint[] = [];
    const failed = submit(queue, wire, operation(true), { onZxid: (zxid) => zxids.push(zxid) });
    const recovered = submit(
      queue,
      wire,
      operation(false, 'x', { recover: (n) => (n === -101 ? { value: 'none' } : undefined) }),
    );
    const unsure = submit(queue, wire, operation(true));
    const unknown = submit(queue, wire, operation(false));
    const tooLong = submit(queue, wire, operation(false));
    queue.answer(1, 7n, -101, text(''));
    queue.answer(2, undefined, -101, text(''));
    queue.answer(3, undefined, -1, text(''));
    queue.answer(4, undefined, -9_999, text(''));
    queue.answerTooLong(5, 10_000);
    await settled();
    assert.equal(code(failed), 'WEFT_ZK_NO_NODE');
    assert.deepEqual(zxids, [7n]);
    assert.equal((failed.outcome as unknown as ZooKeeperError).serverCode, -101);
    assert.equal(recovered.outcome, 'none');
    assert.equal((unsure.outcome as unknown as ZooKeeperError).outcomeUnknown, true);
    assert.equal(code(unknown), 'WEFT_ZK_SERVER');
    assert.equal(code(tooLong), 'WEFT_ZK_TOO_LARGE');
  });
});
