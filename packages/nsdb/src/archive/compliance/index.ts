/**
 * The compliance suite of the flow-state archive: every back end runs it, unchanged.
 *
 *     archiveCompliance('embedded', async () => …)
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import {
  type ArchivedRecord,
  type ArchiveStats,
  CHUNK_RECORDS,
  compareVersions,
  type FlowStateArchive,
  MAX_NAME_BYTES,
  MAX_RECORD_BYTES,
} from '../contract.ts';
import { newRecord, readAll, version } from '../testing.ts';
import { ingest, serve } from '../transfer.ts';

export interface ArchiveHarness {
  /** How many records may wait, where that is given. */
  open(options?: { maxQueued?: number }): Promise<FlowStateArchive>;
  /** Runs of a property. */
  readonly runs: number;
}

function sumOf({ queued, writing, written, superseded, expired, dropped, failed, invalid }: ArchiveStats): number {
  return queued + writing + written + superseded + expired + dropped + failed + invalid;
}

export function archiveCompliance(name: string, harness: () => ArchiveHarness): void {
  const on =
    (body: (archive: FlowStateArchive) => Promise<void>, options?: { maxQueued?: number }) =>
    async (): Promise<void> => {
      const archive = await harness().open(options);
      try {
        await body(archive);
        const stats = archive.stats();
        assert.equal(sumOf(stats), stats.offered, JSON.stringify(stats));
      } finally {
        await archive.close();
      }
    };

  describe(`archive: ${name}`, () => {
    test(
      'a record is read back under both of its ports, and under no other',
      on(async (archive) => {
        const record = newRecord({ name: 'dnat/ü', bytes: Uint8Array.from({ length: MAX_RECORD_BYTES }, (_, i) => i) });
        archive.put([record]);
        await archive.flush();
        for (const port of [record.ingress, record.egress!]) {
          const found = [...(await readAll(archive, port)).values()];
          assert.equal(found.length, 1);
          const { remaining, ...rest } = found[0]!;
          const { remaining: given, ...wanted } = record;
          assert.deepEqual(rest, wanted);
          assert.ok(remaining > 0 && remaining <= given, `${remaining} of ${given} ms`);
        }
        assert.equal((await readAll(archive, randomUUID())).size, 0);
        assert.equal(archive.stats().written, 1);
      }),
    );

    test(
      'a record without an egress, or with one port for both, stands once',
      on(async (archive) => {
        const without = newRecord({ egress: undefined });
        const same = newRecord({ name: 'another', ingress: without.ingress, egress: without.ingress });
        archive.put([without, same]);
        await archive.flush();
        const found = await readAll(archive, without.ingress);
        assert.deepEqual(new Set(found.keys()), new Set([without.name, same.name]));
        assert.equal(found.get(without.name)!.egress, undefined);
        assert.equal(found.get(same.name)!.egress, without.ingress);
      }),
    );

    test(
      'what is given is copied',
      on(async (archive) => {
        const record = newRecord();
        archive.put([record]);
        record.bytes.fill(9);
        await archive.flush();
        assert.deepEqual([...(await readAll(archive, record.ingress)).get(record.name)!.bytes], [1, 2, 3]);
      }),
    );

    test(
      'the newest version counts, in whatever order they are written: by epoch, then version, then owner',
      on(async (archive) => {
        const one = newRecord();
        const versions = [
          version(9, { epoch: 1_780_000_001 }),
          version(2),
          version(9),
          version(1, { epoch: 1_780_000_002, owner: '10000000-0000-4000-8000-000000000000' }),
          version(1, { epoch: 1_780_000_002, owner: 'f0000000-0000-4000-8000-000000000000' }),
          version(1, { epoch: 1_780_000_002, owner: '50000000-0000-4000-8000-000000000000' }),
        ];
        let newest = versions[0]!;
        for (const [i, next] of versions.entries()) {
          archive.put([{ ...one, version: next, bytes: Uint8Array.of(i) }]);
          await archive.flush();
          if (compareVersions(next, newest) > 0) newest = next;
          const found = (await readAll(archive, one.egress!)).get(one.name)!;
          assert.deepEqual(found.version, newest);
          assert.deepEqual([...found.bytes], [versions.indexOf(newest)]);
        }
      }),
    );

    test(
      'of one version the write that lives longer counts',
      on(async (archive) => {
        const record = newRecord({ remaining: 100_000 });
        archive.put([record]);
        await archive.flush();
        archive.put([{ ...record, remaining: 900_000 }]);
        await archive.flush();
        archive.put([{ ...record, remaining: 50_000 }]);
        await archive.flush();
        assert.ok((await readAll(archive, record.ingress)).get(record.name)!.remaining > 800_000);
      }),
    );

    test(
      'a removal covers its version and older ones, also those that come later; a newer one is not covered',
      on(async (archive) => {
        const record = newRecord({ version: version(5) });
        archive.put([record]);
        await archive.flush();
        archive.remove([{ ...record, version: version(4) }]);
        await archive.flush();
        assert.equal((await readAll(archive, record.ingress)).size, 1);
        archive.remove([record]);
        await archive.flush();
        assert.equal((await readAll(archive, record.ingress)).size, 0);
        assert.equal((await readAll(archive, record.egress!)).size, 0);
        archive.put([record, { ...record, version: version(3) }]);
        await archive.flush();
        assert.equal((await readAll(archive, record.ingress)).size, 0);
        archive.put([{ ...record, version: version(6) }]);
        await archive.flush();
        assert.equal((await readAll(archive, record.ingress)).size, 1);
      }),
    );

    test(
      'a record goes when its lifetime ends, and its older versions with it',
      on(async (archive) => {
        const record = newRecord({ remaining: 3_600_000 });
        archive.put([record]);
        await archive.flush();
        archive.put([{ ...record, version: version(2), remaining: 1_000 }]);
        await archive.flush();
        const read = async () => (await readAll(archive, record.ingress)).get(record.name);
        for (let found = await read(); found !== undefined; found = await read()) {
          assert.equal(found.version.version, 2);
          assert.ok(found.remaining <= 1_000);
          await sleep(50);
        }
      }),
    );

    test(
      'of one name the newest waits, and of what waits too long nothing is written',
      on(async (archive) => {
        const record = newRecord();
        archive.put([record, { ...record, version: version(3) }, { ...record, version: version(2) }]);
        archive.put([newRecord({ ingress: record.ingress, name: 'brief', remaining: Number.MIN_VALUE })]);
        await archive.flush();
        const found = await readAll(archive, record.ingress);
        assert.deepEqual([...found.keys()], [record.name]);
        assert.equal(found.get(record.name)!.version.version, 3);
        const { superseded, expired, written } = archive.stats();
        assert.deepEqual({ superseded, expired, written }, { superseded: 2, expired: 1, written: 1 });
      }),
    );

    test(
      'when more waits than may, the oldest go',
      on(
        async (archive) => {
          const port = randomUUID();
          const records = Array.from({ length: 30 }, (_, i) => newRecord({ name: `n${i}`, ingress: port }));
          archive.put(records);
          assert.equal(archive.stats().dropped, 20);
          await archive.flush();
          assert.deepEqual(
            [...(await readAll(archive, port)).keys()].sort(),
            records.slice(20).map((record) => record.name),
          );
        },
        { maxQueued: 10 },
      ),
    );

    test(
      'what breaks a rule is counted and passed over, and takes nothing along',
      on(async (archive) => {
        const good = newRecord();
        const bad: Partial<ArchivedRecord>[] = [
          { name: '' },
          { name: 'x'.repeat(MAX_NAME_BYTES + 1) },
          { ingress: '../../etc/passwd' },
          { egress: 'nowhere' },
          { bytes: new Uint8Array(MAX_RECORD_BYTES + 1) },
          { remaining: 0 },
          { remaining: Number.NaN },
          { version: version(-1) },
          { version: version(2 ** 32) },
          { version: version(1, { owner: 'me' }) },
        ];
        archive.put([...bad.map((fields) => ({ ...good, ...fields })), good]);
        await archive.flush();
        assert.equal((await readAll(archive, good.ingress)).size, 1);
        assert.equal(archive.stats().invalid, bad.length);
      }),
    );

    test(
      'many records of a port come in bounded chunks, and reach another archive whole',
      on(async (archive) => {
        const port = randomUUID();
        const records = Array.from({ length: 3 * CHUNK_RECORDS + 7 }, (_, i) =>
          newRecord({ name: `n${i}`, egress: port, bytes: Uint8Array.of(i, i >> 8) }),
        );
        archive.put(records);
        await archive.flush();
        const seen = new Map<string, Uint8Array>();
        for await (const chunk of ingest(serve(archive, port), port)) {
          assert.ok(chunk.length > 0 && chunk.length <= CHUNK_RECORDS);
          for (const record of chunk) seen.set(record.name, record.bytes);
        }
        assert.deepEqual(seen, new Map(records.map((record) => [record.name, record.bytes])));
      }),
    );

    test(
      'a signal ends the reading',
      on(async (archive) => {
        const port = randomUUID();
        archive.put(Array.from({ length: CHUNK_RECORDS + 1 }, (_, i) => newRecord({ name: `n${i}`, ingress: port })));
        await archive.flush();
        await assert.rejects(readAll(archive, port, { signal: AbortSignal.abort() }), { name: 'AbortError' });
        const abort = new AbortController();
        const reading = archive.read(port, { signal: abort.signal })[Symbol.asyncIterator]();
        assert.equal((await reading.next()).value.length, CHUNK_RECORDS);
        abort.abort();
        await assert.rejects(reading.next(), { name: 'AbortError' });
      }),
    );

    test('after close what is given is dropped, and closing again does nothing', async () => {
      const archive = await harness().open();
      archive.put([newRecord()]);
      await archive.close();
      archive.put([newRecord()]);
      await archive.close();
      const { offered, written, dropped } = archive.stats();
      assert.deepEqual({ offered, written, dropped }, { offered: 2, written: 1, dropped: 1 });
    });

    test(
      'any puts and removals leave what a model of them says',
      on(async (archive) => {
        const step = fc.record({
          name: fc.nat({ max: 3 }),
          epoch: fc.integer({ min: 1_780_000_000, max: 1_780_000_001 }),
          version: fc.nat({ max: 3 }),
          owner: fc.constantFrom('1', 'a'),
          removal: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
          flush: fc.boolean(),
        });
        await fc.assert(
          fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), async (steps) => {
            const ports = Array.from({ length: 3 }, () => randomUUID());
            const model = new Map<string, { record: ArchivedRecord; removal: boolean }>();
            for (const [i, at] of steps.entries()) {
              // Lifetimes rise, so that of two writes of one version the later one lives longer.
              const record: ArchivedRecord = {
                name: `n${at.name}`,
                ingress: ports[at.name % 2]!,
                egress: at.name === 3 ? undefined : ports[2]!,
                version: version(at.version, {
                  epoch: at.epoch,
                  owner: `${at.owner}0000000-0000-4000-8000-000000000000`,
                }),
                bytes: Uint8Array.of(i),
                remaining: 100_000 + 10_000 * i,
              };
              const before = model.get(record.name);
              const order = before === undefined ? 1 : compareVersions(record.version, before.record.version);
              if (order > 0 || (order === 0 && (at.removal || !before!.removal)))
                model.set(record.name, { record, removal: at.removal });
              if (at.removal) archive.remove([record]);
              else archive.put([record]);
              if (at.flush) await archive.flush();
            }
            await archive.flush();
            for (const port of ports) {
              const wanted = [...model.values()]
                .filter(({ record, removal }) => !removal && (record.ingress === port || record.egress === port))
                .map(({ record: { name, version, bytes } }) => ({ name, version, bytes }));
              const found = [...(await readAll(archive, port)).values()];
              const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
              assert.deepEqual(
                found.map(({ name, version, bytes }) => ({ name, version, bytes })).sort(byName),
                wanted.sort(byName),
              );
            }
          }),
          { numRuns: harness().runs },
        );
      }),
    );
  });
}
