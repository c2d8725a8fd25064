import assert from 'node:assert/strict';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { isNsdbError } from '../../errors.ts';
import { type ArchivedRecord, compareVersions, GRACE, MAX_RECORD_BYTES } from '../contract.ts';
import { newRecord, readAll, version } from '../testing.ts';
import { TestMachine } from './testing.ts';

const PORT = '11111111-1111-4111-8111-111111111111';
const OTHER = '22222222-2222-4222-8222-222222222222';

let machine: TestMachine;
beforeEach(() => {
  machine = new TestMachine();
});
afterEach(() => machine.clean());

function records(count: number, fields: Partial<ArchivedRecord> = {}): ArchivedRecord[] {
  return Array.from({ length: count }, (_, i) =>
    newRecord({ name: `n${i}`, ingress: PORT, egress: undefined, ...fields }),
  );
}

/** Opens, gives, closes. */
async function write(given: readonly ArchivedRecord[]): Promise<void> {
  const archive = machine.open();
  archive.put(given);
  await archive.close();
}

/** Opens, reads a port, closes. */
async function read(port = PORT): Promise<Map<string, ArchivedRecord>> {
  const archive = machine.open();
  try {
    return await readAll(archive, port);
  } finally {
    await archive.close();
  }
}

test('records outlive the process; only the owner of the files may read them', async () => {
  await write(records(3));
  assert.equal((await read()).size, 3);
  assert.equal(statSync(machine.logOf(PORT)).mode & 0o777, 0o600);
  await write(records(4));
  assert.equal(statSync(machine.logOf(PORT)).mode & 0o777, 0o600);
});

test('a directory belongs to one process at a time', async () => {
  const archive = machine.open();
  assert.throws(
    () => machine.open(),
    (error) => isNsdbError(error, 'WEFT_STORE_LOCKED'),
  );
  await archive.close();
  await machine.open().close();
});

test('within a boot lifetimes go by the steady clock, whatever happens to the wall clock', async () => {
  await write(records(1, { remaining: 100_000 }));
  machine.step(-86_400_000);
  machine.pass(40_000);
  assert.equal((await read()).get('n0')!.remaining, 60_000);
  machine.step(300 * 86_400_000);
  assert.equal((await read()).get('n0')!.remaining, 60_000);
  machine.pass(60_000);
  assert.equal((await read()).size, 0);
});

test('across boots they go by the wall clock; one that went back counts as no time passed', async () => {
  await write(records(1, { remaining: 100_000 }));
  machine.reboot();
  machine.pass(30_000);
  assert.equal((await read()).get('n0')!.remaining, 70_000);
  machine.reboot();
  machine.step(-86_400_000);
  assert.equal((await read()).get('n0')!.remaining, 70_000, 'which it had when it was last written');
  machine.reboot();
  machine.step(2 * 86_400_000);
  assert.equal((await read()).size, 0);
});

test('a removal that was compacted does not come to life when the wall clock goes back', async () => {
  const [record] = records(1);
  await write([record!, ...records(2).slice(1)]);
  const archive = machine.open();
  archive.remove([record!]);
  await archive.close();
  machine.pass(1_000);
  await read(); // looks at the log and replaces it
  machine.reboot();
  machine.step(-86_400_000);
  assert.deepEqual([...(await read()).keys()], ['n1']);
});

test('a log that is cut anywhere keeps the entries before the cut, and takes new ones', async () => {
  await write(records(10));
  const whole = readFileSync(machine.logOf(PORT));
  const entry = whole.length / 10;
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: whole.length }), fc.constantFrom(0, 1, 700), async (cut, zeros) => {
      writeFileSync(machine.logOf(PORT), whole);
      truncateSync(machine.logOf(PORT), cut);
      // What a file system may leave where nothing had been written yet.
      appendFileSync(machine.logOf(PORT), Buffer.alloc(zeros));
      const archive = machine.open();
      try {
        assert.equal((await readAll(archive, PORT)).size, Math.floor(cut / entry));
        assert.equal(archive.stats().damaged, cut % entry > 0 || zeros > 0 ? 1 : 0);
        archive.put([newRecord({ name: 'new', ingress: PORT })]);
        await archive.flush();
        assert.equal((await readAll(archive, PORT)).size, Math.floor(cut / entry) + 1);
      } finally {
        await archive.close();
      }
      assert.equal((await read()).size, Math.floor(cut / entry) + 1);
    }),
    { numRuns: 40 },
  );
});

test('a flipped bit costs the entries from there on, and none is believed that was not written', async () => {
  const given = records(10);
  await write(given);
  const whole = readFileSync(machine.logOf(PORT));
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: whole.length * 8 - 1 }), async (bit) => {
      const damaged = Buffer.from(whole);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      writeFileSync(machine.logOf(PORT), damaged);
      const found = await read();
      assert.deepEqual([...found.values()], given.slice(0, Math.floor((bit >> 3) / (whole.length / 10))));
    }),
    { numRuns: 60 },
  );
});

test('files that are no logs are left alone; unfinished replacements go', async () => {
  for (const name of ['notes.txt', 'x.log', `${PORT}.log.new`]) writeFileSync(`${machine.dir}/${name}`, 'x');
  await machine.open().close();
  assert.deepEqual(readdirSync(machine.dir).sort(), ['notes.txt', 'x.log']);
});

test('a log that cannot be written costs its own records, and is used again when it can', async () => {
  mkdirSync(machine.logOf(PORT));
  const archive = machine.open();
  archive.put([...records(2), newRecord({ name: 'fine', ingress: OTHER })]);
  await archive.flush();
  const { failed, written, up } = archive.stats();
  assert.deepEqual({ failed, written, up }, { failed: 2, written: 1, up: false });
  assert.equal((await readAll(archive, OTHER)).size, 1);
  await assert.rejects(readAll(archive, PORT), (error) => isNsdbError(error, 'WEFT_ARCHIVE_AWAY'));
  rmdirSync(machine.logOf(PORT));
  archive.put(records(1));
  await archive.flush();
  assert.equal((await readAll(archive, PORT)).size, 1);
  assert.equal(archive.stats().up, true);
  await archive.close();
});

test('a log does not grow with how often its records change', async () => {
  const archive = machine.open();
  let longest = 0;
  for (let round = 1; round <= 100; round++) {
    archive.put(records(50, { version: version(round), bytes: new Uint8Array(200) }));
    await archive.flush();
    longest = Math.max(longest, statSync(machine.logOf(PORT)).size);
  }
  assert.equal((await readAll(archive, PORT)).get('n7')!.version.version, 100);
  await archive.close();
  assert.ok(longest < 150_000, `${longest} bytes for 50 records of 300`);
});

test('beyond its bound a log loses what was written longest ago', async () => {
  const archive = machine.open({ maxPortBytes: 4 * 2 ** 20 });
  const given = records(6_000, { bytes: new Uint8Array(MAX_RECORD_BYTES) });
  for (let at = 0; at < given.length; at += 500) {
    archive.put([...given.slice(at + 1, at + 500), given[at]!]);
    archive.put([{ ...given[0]!, version: version(at + 2) }]); // one that goes on changing is not among the oldest
    await archive.flush();
    assert.ok(statSync(machine.logOf(PORT)).size <= 4 * 2 ** 20);
  }
  const found = await readAll(archive, PORT);
  const { evicted, written } = archive.stats();
  assert.equal(written, 6_011);
  assert.ok(evicted > 0);
  assert.equal(found.size, 6_000 - evicted);
  assert.equal([...found.keys()].at(-1), 'n0');
  const places = [...found.keys()].slice(0, -1).map((name) => Number(name.slice(1)));
  assert.ok(Math.min(...places) > evicted - 500, `${Math.min(...places)} is among the ${evicted} oldest`);
  await archive.close();
});

test('beyond the bound of all logs nothing is written until there is room again', async () => {
  const archive = machine.open({ maxBytes: 3_000 });
  archive.put(records(2, { bytes: new Uint8Array(1_000), remaining: 1_000 }));
  await archive.flush();
  archive.put([newRecord({ ingress: OTHER, egress: undefined, bytes: new Uint8Array(1_000) })]);
  await archive.flush();
  assert.equal(archive.stats().dropped, 1);
  machine.pass(1_000 + GRACE);
  await archive.flush();
  archive.put([newRecord({ ingress: OTHER, egress: undefined, bytes: new Uint8Array(1_000) })]);
  await archive.flush();
  assert.equal((await readAll(archive, OTHER)).size, 1);
  await archive.close();
});

test('logs in which nothing lives any more are removed, also those of an earlier life', async () => {
  await write([...records(1, { remaining: 10_000 }), newRecord({ ingress: OTHER, egress: undefined })]);
  machine.reboot();
  machine.pass(10_000 + GRACE);
  const archive = machine.open();
  for (let turn = 0; turn < 3; turn++) await archive.flush();
  assert.equal(existsSync(machine.logOf(PORT)), false);
  assert.equal(existsSync(machine.logOf(OTHER)), true);
  machine.pass(600_000);
  for (let turn = 0; turn < 3; turn++) await archive.flush();
  assert.equal(existsSync(machine.logOf(OTHER)), false);
  await archive.close();
});

test('the memory of a removal ends, however often the log is replaced meanwhile', async () => {
  const archive = machine.open();
  archive.remove(records(1));
  await archive.close();
  for (let passed = 0; passed < GRACE; passed += 100_000) {
    assert.equal(existsSync(machine.logOf(PORT)), true);
    machine.pass(100_000);
    const again = machine.open();
    await again.flush();
    await again.close();
  }
  assert.equal(existsSync(machine.logOf(PORT)), false);
});

test('through restarts, reboots and the passing of time it holds what a model says', async () => {
  const given = fc.record({
    kind: fc.constantFrom('put', 'put', 'remove'),
    name: fc.nat({ max: 3 }),
    version: fc.nat({ max: 3 }),
    life: fc.integer({ min: 1, max: 100 }),
  });
  const other = fc.record({
    kind: fc.constantFrom('restart', 'reboot', 'pass', 'flush'),
    seconds: fc.nat({ max: 20 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(given, other), { maxLength: 30 }), async (steps) => {
      const own = new TestMachine();
      let archive = own.open();
      // Ends within the time that ended versions are remembered: 30 steps of 20 s are too many.
      let left = GRACE - 10_000;
      let now = 0;
      const model = new Map<string, { version: number; removal: boolean; deadline: number; byte: number }>();
      try {
        for (const [i, at] of steps.entries()) {
          if ('name' in at) {
            const name = `n${at.name}`;
            const removal = at.kind === 'remove';
            const deadline = now + (removal ? 0 : at.life * 1_000);
            const before = model.get(name);
            const order = before === undefined ? 1 : compareVersions(version(at.version), version(before.version));
            const wins = order > 0 || (order === 0 && !before!.removal && (removal || deadline > before!.deadline));
            if (wins) model.set(name, { version: at.version, removal, deadline, byte: i });
            const record = { name, ingress: PORT, egress: undefined, version: version(at.version) };
            if (removal) archive.remove([record]);
            else archive.put([{ ...record, bytes: Uint8Array.of(i), remaining: at.life * 1_000 }]);
          } else {
            await archive.flush();
            const ms = Math.min(left, at.seconds * 1_000);
            if (at.kind !== 'flush') {
              left -= ms;
              now += ms;
              own.pass(ms);
            }
            if (at.kind === 'restart' || at.kind === 'reboot') {
              await archive.close();
              if (at.kind === 'reboot') own.reboot();
              archive = own.open();
            }
          }
        }
        await archive.flush();
        const wanted = [...model].filter(([, { removal, deadline }]) => !removal && deadline > now);
        const found = await readAll(archive, PORT);
        assert.deepEqual(
          [...found.values()]
            .map(({ name, version: v, remaining, bytes }) => [name, v.version, remaining, bytes[0]])
            .sort(),
          wanted.map(([name, { version: v, deadline, byte }]) => [name, v, deadline - now, byte]).sort(),
        );
      } finally {
        await archive.close();
        own.clean();
      }
    }),
    { numRuns: 100 },
  );
});
