/** How old an entry of the fragment table may be, and that one that is half another's is not believed. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { K_TP_SRC, readU16 } from '@weft/flow';
import { fragmentFrame } from '@weft/packet';
import { payload, udp } from '../compliance/frames.ts';
import { Bench, Testbed } from '../compliance/index.ts';
import { guard } from '../compliance/suite.ts';
import type { EbpfDatapath } from './index.ts';
import { FRAGMENT, FRAGMENT_SIZE } from './layout.ts';
import { createEbpf, needsEbpf } from './testing.ts';

const skip = needsEbpf();
let bench: Bench;
let driver: EbpfDatapath;

guard();
before(() => {
  if (skip) return;
  const create = (options: Parameters<typeof createEbpf>[0]) => (driver = createEbpf(options));
  const testbed = new Testbed({ kind: 'ebpf', skip: needsEbpf, adopts: true, create }, { encap: 'gre' });
  testbed.attachAll();
  bench = new Bench(testbed);
});
after(() => bench?.testbed.close());

const [first, later] = fragmentFrame(udp({ payload: payload(1400), dontFragment: false }), 600);

/** Source port under which the later fragment comes up. */
function look(): number {
  bench.testbed.vms[0].send(later);
  return readU16(bench.takeUpcalls(1)[0].key, K_TP_SRC);
}

/** Sends the first fragment and changes the entry that it leaves. */
function change(edit: (entry: DataView) => void): void {
  bench.testbed.vms[0].send(first);
  bench.takeUpcalls(1);
  const { weft_fragments } = driver.object.map;
  const entries: [Uint8Array, Uint8Array][] = [];
  weft_fragments.forEach((key, value) => {
    entries.push([key.slice(), value.slice()]);
  });
  assert.equal(entries.length, 1);
  const [[key, value]] = entries;
  assert.equal(value.length, FRAGMENT_SIZE);
  edit(new DataView(value.buffer));
  weft_fragments.update(key, value);
}

function age(entry: DataView, at: number, ns: bigint): void {
  entry.setBigUint64(at, entry.getBigUint64(at, true) - ns, true);
}

test('an entry of 29 s serves, one of 31 s does not', { skip }, () => {
  for (const [seconds, expected] of [
    [29n, 1000],
    [31n, 0],
  ] as const) {
    change((entry) => {
      age(entry, FRAGMENT.time, seconds * 1_000_000_000n);
      age(entry, FRAGMENT.timeTail, seconds * 1_000_000_000n);
    });
    assert.equal(look(), expected);
  }
});

test('an entry whose ends differ is being written: it serves nobody', { skip }, () => {
  change((entry) => age(entry, FRAGMENT.timeTail, 1n));
  assert.equal(look(), 0);
  change(() => {});
  assert.equal(look(), 1000);
});
