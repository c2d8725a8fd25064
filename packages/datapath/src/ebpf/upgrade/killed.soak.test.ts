/** Starts over another build's tables are killed behind every single change that they make, and then anywhere, many in a row. */
import { after, before, describe, test } from 'node:test';
import { needsEbpf } from '../testing.ts';
import { type Build, KillBench } from './kill-bench.ts';

const SECONDS = Number(process.env.SOAK_SECONDS || 60);
const SEED = Number(process.env.SOAK_SEED || Date.now() & 0x7fff_ffff);
const inHaste = SECONDS < 60 && 'takes minutes: run with SOAK_SECONDS=60 or more';
/** Somewhat more changes than a start makes over its own tables, and over another build's. */
const CHANGES = [30, 250] as const;
const KILLS_IN_A_ROW = 4;

describe('killed', { skip: needsEbpf() }, () => {
  let bench: KillBench;
  before(() => {
    bench = new KillBench();
  });
  after(() => bench?.close());

  test('behind every change; both builds come next', { skip: inHaste }, (t) => {
    const places = bench.places();
    t.diagnostic(`${places.length} places`);
    for (const place of places) for (const next of ['again', 'back'] as const) bench.killed(place, next);
  });

  test(`anywhere, several in a row, for ${SECONDS} s`, (t) => {
    t.diagnostic(`SOAK_SEED=${SEED}`);
    let state = SEED;
    // A linear congruential generator; its upper bits are the better ones.
    const below = (n: number) => (((state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32) * n) | 0;
    const deadline = performance.now() + SECONDS * 1000;
    let kills = 0;
    do {
      const history: string[] = [];
      for (let n = 1 + below(KILLS_IN_A_ROW); n > 0; n--) {
        const build = below(2) as Build;
        const times = 1 + below(CHANGES[below(2)]);
        history.push(`build ${build} behind ${times}`);
        if (bench.start(build, { times }).found === undefined) kills++;
        bench.forwards(`killed: ${history.join(', ')}`);
      }
      bench.ends(below(2) as Build, `killed: ${history.join(', ')}`);
    } while (performance.now() < deadline);
    t.diagnostic(`${kills} kills`);
  });
});
