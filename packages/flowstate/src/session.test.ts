import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SentLog } from './sent-log.ts';
import {
  PeerSession,
  SESSION_NEW_LIFE,
  SESSION_OK,
  SESSION_OTHER_LIFE,
  SESSION_PAST_LIFE,
  SESSION_REPLAY,
  SESSION_TOO_OLD,
  SESSION_UNACQUAINTED,
  WINDOW,
} from './session.ts';
import { newTable, recordOf, tuple } from './testing/fixtures.ts';
import { KIND_CONNTRACK } from './tuple.ts';

/** A session of a host of incarnation 3 that has just met its peer of incarnation 7, by number `first`. */
function met(first = 1): PeerSession {
  const session = new PeerSession(3);
  assert.equal(session.accept(7, 3, first), SESSION_NEW_LIFE);
  return session;
}

test('two hosts get acquainted by three datagrams; a hello alone is not believed', () => {
  const a = new PeerSession(7);
  const b = new PeerSession(3);
  assert.equal(a.addressee, 0);
  assert.equal(b.accept(7, a.addressee, a.next()), SESSION_UNACQUAINTED);
  assert.equal(b.incarnation, 0);
  assert.equal(a.accept(3, b.addressee, b.next()), SESSION_NEW_LIFE);
  assert.equal(b.accept(7, a.addressee, a.next()), SESSION_NEW_LIFE);
  assert.equal(a.accept(3, b.addressee, b.next()), SESSION_OK);
});

test('what was recorded is refused after the restart of either side', () => {
  const recorded: [number, number, number] = [7, 3, 20];
  const session = met();
  assert.equal(session.accept(...recorded), SESSION_OK);
  assert.equal(session.accept(...recorded), SESSION_REPLAY);
  const restarted = new PeerSession(4);
  assert.equal(restarted.accept(...recorded), SESSION_OTHER_LIFE);
  assert.equal(session.accept(8, 3, 1), SESSION_NEW_LIFE);
  assert.equal(session.accept(...recorded), SESSION_PAST_LIFE);
});

test('gaps are named, repaired, or become a reason for a full synchronisation', () => {
  const session = met();
  for (const s of [2, 5, 6, 9]) assert.equal(session.accept(7, 3, s), SESSION_OK);
  const out = new Float64Array(8);
  assert.equal(session.gaps(9, out), 2);
  assert.deepEqual([...out.subarray(0, 4)], [3, 4, 7, 8]);
  assert.equal(session.gaps(7, out), 2);
  assert.deepEqual([...out.subarray(0, 4)], [3, 4, 7, 7]);
  assert.equal(session.accept(7, 3, 4), SESSION_OK, 'late, not lost');
  session.forgive(7);
  assert.equal(session.gaps(9, out), 1);
  assert.deepEqual([...out.subarray(0, 2)], [8, 8]);
  assert.equal(session.lost, 0);
  assert.equal(session.accept(7, 3, 8 + WINDOW), SESSION_OK);
  assert.equal(session.lost, 1);
  assert.equal(session.accept(7, 3, 8), SESSION_TOO_OLD);
  assert.equal(session.accept(7, 3, 100 * WINDOW), SESSION_OK);
  assert.ok(session.lost > 90 * WINDOW);
});

test('no number is accepted twice; the window equals a plain model', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.oneof(fc.nat(60), fc.nat(3000)), { maxLength: 200 }),
      (first, offsets) => {
        const session = met(first);
        const seen = new Set([first]);
        let highest = first;
        for (const offset of offsets) {
          // Around the highest, or anywhere.
          const s = Math.max(1, offset <= 60 ? highest - 40 + offset : first + offset);
          const wanted =
            s > highest
              ? SESSION_OK
              : highest - s >= WINDOW
                ? SESSION_TOO_OLD
                : seen.has(s)
                  ? SESSION_REPLAY
                  : s <= first
                    ? SESSION_TOO_OLD
                    : SESSION_OK;
          assert.equal(session.accept(7, 3, s), wanted);
          if (wanted === SESSION_OK) seen.add(s);
          highest = Math.max(highest, s);
        }
        let missing = 0;
        let lost = 0;
        for (let s = first + 1; s < highest; s++) {
          if (seen.has(s)) continue;
          if (highest - s < WINDOW) missing++;
          else lost++;
        }
        const out = new Float64Array(2 * WINDOW);
        let named = 0;
        const ranges = session.gaps(highest, out);
        for (let i = 0; i < ranges; i++) named += out[i * 2 + 1] - out[i * 2] + 1;
        assert.equal(named, missing);
        assert.equal(session.lost, lost);
      },
    ),
    { numRuns: 300 },
  );
});

test('a resend brings the records that still exist; what is forgotten says so', () => {
  const table = newTable();
  const log = new SentLog(table, 4, 8);
  const records = [0, 1, 2].map((i) =>
    table.insert(recordOf(tuple(table, KIND_CONNTRACK, 17, '10.0.0.1', i, '10.0.0.2', 53)), 0),
  );
  log.begin(1);
  for (const record of records) log.note(1, record);
  log.begin(2);
  log.note(2, records[0]);
  table.remove(records[1]);
  // Its place is used anew, by another connection.
  table.insert(recordOf(tuple(table, KIND_CONNTRACK, 17, '10.0.0.1', 99, '10.0.0.2', 53)), 0);
  const recalled: number[] = [];
  assert.equal(
    log.recall(1, (record) => recalled.push(record)),
    true,
  );
  assert.deepEqual(recalled, [records[0], records[2]]);
  assert.equal(
    log.recall(3, () => {}),
    false,
  );
  log.begin(5);
  for (let i = 0; i < 9; i++) log.note(5, records[0]);
  assert.equal(
    log.recall(1, () => {}),
    false,
    'its place has another datagram',
  );
  assert.equal(
    log.recall(2, () => {}),
    false,
    'its records are overwritten',
  );
});
