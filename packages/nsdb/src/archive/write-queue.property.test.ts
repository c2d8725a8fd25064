import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { newRecord, version } from './testing.ts';
import { type Write, WriteQueue } from './write-queue.ts';

const PORT = '11111111-1111-4111-8111-111111111111';

/** The queue as a list in order, oldest first. */
class Model {
  readonly waiting: { name: string; version: number; removal: boolean; deadline: number }[] = [];
  offer(write: Model['waiting'][number], capacity: number): void {
    const at = this.waiting.findIndex(({ name }) => name === write.name);
    if (at < 0) {
      if (this.waiting.length === capacity) this.waiting.shift();
      this.waiting.push(write);
      return;
    }
    const before = this.waiting[at]!;
    const newer =
      write.version !== before.version
        ? write.version > before.version
        : write.removal !== before.removal
          ? write.removal
          : write.deadline > before.deadline;
    if (newer) this.waiting[at] = write;
  }
}

test('the queue holds what a list would: bounded, each name once, in order, and counts everything', () => {
  const offer = fc.record({
    kind: fc.constantFrom('put', 'put', 'remove'),
    name: fc.nat({ max: 6 }),
    version: fc.nat({ max: 3 }),
    life: fc.integer({ min: 1, max: 50 }),
  });
  const step = fc.oneof(
    { weight: 4, arbitrary: offer },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait'), ms: fc.nat({ max: 20 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('take') }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('done', 'drop', 'fail', 'giveBack') }) },
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step, { maxLength: 60 }), (capacity, steps) => {
      let now = 0;
      const queue = new WriteQueue(capacity, () => now);
      const model = new Model();
      const taken: Write[] = [];
      const asModel = ({ name, version: { version: v }, removal, deadline }: Write) => ({
        name,
        version: v,
        removal,
        deadline,
      });
      for (const at of steps) {
        if (at.kind === 'wait') now += (at as { ms: number }).ms;
        else if (at.kind === 'put' || at.kind === 'remove') {
          const { name, version: v, life } = at as { name: number; version: number; life: number };
          const record = newRecord({ name: `n${name}`, ingress: PORT, version: version(v), remaining: life });
          const removal = at.kind === 'remove';
          if (removal) queue.remove([record]);
          else queue.put([record]);
          model.offer({ name: record.name, version: v, removal, deadline: removal ? now : now + life }, capacity);
        } else if (at.kind === 'take') {
          const write = queue.take();
          while (model.waiting.length > 0 && !model.waiting[0]!.removal && model.waiting[0]!.deadline <= now)
            model.waiting.shift();
          assert.deepEqual(write === undefined ? undefined : asModel(write), model.waiting.shift());
          if (write !== undefined) taken.push(write);
        } else {
          const write = taken.shift();
          if (write === undefined) continue;
          if (at.kind === 'giveBack') {
            const again = asModel(write);
            if (model.waiting.some(({ name }) => name === write.name)) model.offer(again, capacity);
            else if (model.waiting.length < capacity) model.waiting.unshift(again);
            queue.giveBack(write);
          } else queue[at.kind as 'done' | 'drop' | 'fail']();
        }
        assert.equal(queue.size, model.waiting.length);
        const { offered, queued, writing, written, superseded, expired, dropped, failed, invalid } = queue.stats();
        assert.equal(offered, queued + writing + written + superseded + expired + dropped + failed + invalid);
        assert.equal(writing, taken.length);
      }
    }),
  );
});
