import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parkedCopy, WaitingRoom } from './waiting-room.ts';

function packet(inPort: number, mark: number, deadline = 100) {
  const frame = Uint8Array.of(mark);
  const key = new Uint8Array(64);
  const vnetHeader = new Uint8Array(10);
  return parkedCopy({
    key,
    frame,
    vnetHeader,
    length: 1,
    segmentLength: 1,
    reason: 1,
    leavingPort: 0,
    inPort,
    asked: -1,
    deadline,
  });
}

const marks = (parked: { frame: Uint8Array }[]) => parked.map((p) => p.frame[0]);

test('wakes what waits for a need, in order of arrival, once', () => {
  const room = new WaitingRoom({ maxWaiting: 10, maxWaitingPerPort: 10 });
  room.park(packet(1, 1), ['a', 'b']);
  room.park(packet(1, 2), ['b']);
  room.park(packet(1, 3), ['a']);
  assert.deepEqual(marks(room.wake(['b', 'a'])), [1, 2, 3]);
  assert.deepEqual(room.wake(['a', 'b']), []);
  assert.equal(room.size, 0);
});

test('a port fills its own share only, the room as a whole is bounded', () => {
  const room = new WaitingRoom({ maxWaiting: 3, maxWaitingPerPort: 2 });
  assert.equal(room.park(packet(1, 1), ['x']), true);
  assert.equal(room.park(packet(1, 2), ['x']), true);
  assert.equal(room.park(packet(1, 3), ['x']), false);
  assert.equal(room.park(packet(2, 4), ['y']), true);
  assert.equal(room.park(packet(3, 5), ['y']), false);
  assert.deepEqual(marks(room.wake(['x'])), [1, 2]);
  assert.equal(room.park(packet(1, 6), ['x']), true);
});

test('packets leave when their time is up, and are not woken later', () => {
  const room = new WaitingRoom({ maxWaiting: 10, maxWaitingPerPort: 10 });
  room.park(packet(1, 1, 50), ['a']);
  room.park(packet(1, 2, 150), ['a']);
  assert.deepEqual(marks(room.expire(100)), [1]);
  assert.deepEqual(marks(room.wake(['a'])), [2]);
});
