import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Liveness } from './liveness.ts';
import { ServerList } from './server-list.ts';

const servers = (count: number) => Array.from({ length: count }, (_, i) => ({ host: `zk${i}`, port: 2181 }));
const random01 = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('the list of servers', () => {
  it('tries every server once a round; the first round without a wait', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.infiniteStream(random01), (count, stream) => {
        const list = new ServerList(servers(count), () => stream.next().value);
        for (let round = 0; round < 4; round++) {
          const attempts = Array.from({ length: count }, () => list.next(6_000));
          assert.equal(new Set(attempts.map(({ server }) => server.host)).size, count);
          assert.equal(attempts[0].delay > 0, round > 0);
          assert.ok(attempts.slice(1).every(({ delay }) => delay === 0));
        }
      }),
    );
  });

  it('waits longer each round, by half at least of what it could, and 5 s at most', () => {
    for (const random of [0, 0.999]) {
      const list = new ServerList(servers(1), () => random);
      const delays = Array.from({ length: 12 }, () => list.next(6_000).delay);
      assert.ok(delays.every((delay, i) => i < 2 || delay >= delays[i - 1]));
      const longest = delays.at(-1)!;
      assert.ok(random === 0 ? longest === 2_500 : longest > 4_990 && longest <= 5_000);
    }
  });

  it('in its first round is through within the third of the session that is left, and later gives each server longer', () => {
    const list = new ServerList(servers(3), () => 0);
    const round = () => Array.from({ length: 3 }, () => list.next(9_000).timeout);
    assert.deepEqual(round(), [1_000, 1_000, 1_000]);
    assert.deepEqual(round(), [2_000, 2_000, 2_000]);
    for (let i = 0; i < 20; i++) round();
    assert.deepEqual(round(), [9_000, 9_000, 9_000]);
  });

  it('begins anew after a success, with the next server', () => {
    const list = new ServerList(servers(2), () => 0.9);
    const first = list.next(6_000).server;
    list.next(6_000);
    assert.ok(list.next(6_000).delay > 0);
    list.succeeded();
    const next = list.next(6_000);
    assert.equal(next.delay, 0);
    assert.notDeepEqual(next.server, first);
  });
});

describe('liveness', () => {
  it('calls a link that fell silent dead after two thirds of the session, having pinged before, however it is used', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 100, max: 100_000 }),
        fc.array(fc.record({ wait: fc.integer({ min: 0, max: 40_000 }), heard: fc.boolean(), sent: fc.boolean() })),
        (timeout, steps) => {
          const liveness = new Liveness(timeout, 0);
          let now = 0;
          let lastHeard = 0;
          let lastSent = 0;
          /** Follows the advice until `end`; returns false if the link was given up. */
          const run = (end: number): boolean => {
            for (;;) {
              const due = liveness.check(now);
              if (due === 'dead') {
                assert.ok(now - lastHeard >= (timeout * 2) / 3 - 1e-6);
                assert.ok(now - lastHeard <= (timeout * 2) / 3 + 1, 'noticed in time');
                assert.ok(lastSent + 1e-6 >= lastHeard - timeout / 3, 'something was sent that needed an answer');
                return false;
              }
              if (due === 'ping') {
                assert.ok(now - lastSent >= timeout / 3 - 1e-6);
                lastSent = now;
                liveness.sent(now);
              } else if (now + due > end) return true;
              else now += due;
            }
          };
          for (const { wait, heard, sent } of steps) {
            const end = now + wait;
            if (!run(end)) return;
            now = end;
            if (heard) {
              lastHeard = now;
              liveness.heard(now);
            }
            if (sent) {
              lastSent = now;
              liveness.sent(now);
            }
          }
          assert.equal(run(Number.POSITIVE_INFINITY), false);
        },
      ),
    );
  });
});
