/** The filters that spare probes: computed here and in the programs, they must agree, or flows would be hidden. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { MASK_CLASS_COUNT } from '@weft/flow';
import { testRun } from '@weft/sys';
import { Bench } from '../compliance/bench.ts';
import { tcp, udp, V6 } from '../compliance/frames.ts';
import { Testbed } from '../compliance/testbed.ts';
import type { EbpfDatapath } from './index.ts';
import { FILTER_SIZE } from './layout.ts';
import { createEbpf, needsEbpf } from './testing.ts';

const skip = needsEbpf();
/** Fields that only the class of that number holds, besides what all do. */
const READS = [1, 1 << 6, 1 << 5, 1 << 7, 1 << 12, 1 << 11, 1 << 8, 1 << 9];

/** An ICMP echo request, as far as a parser looks. */
function echo(id: number): Uint8Array {
  const frame = udp({ ttl: id + 2 });
  frame[23] = 1;
  frame.set([8, 0, 0, 0, 0, id], 34);
  return frame;
}

describe('filters of the mask classes', { skip }, () => {
  let testbed: Testbed;
  let driver: EbpfDatapath;
  before(() => {
    const create = (options: Parameters<typeof createEbpf>[0]) => (driver = createEbpf(options));
    testbed = new Testbed({ kind: 'ebpf', skip: needsEbpf, adopts: true, create }, { encap: 'vxlan', maxFlows: 4096 });
    testbed.attachAll();
  });
  after(() => testbed?.close());

  const row = () => {
    const value = new Uint8Array(FILTER_SIZE * 1024);
    value.set(driver.object.filters.bytes.subarray(0, value.length));
    return value;
  };
  const set = (bytes: Uint8Array) => bytes.reduce((n, byte) => n + byte.toString(2).replaceAll('0', '').length, 0);

  test('every flow of every class is found among the others; none is left behind', () => {
    const bench = new Bench(testbed);
    const [port] = testbed.ports;
    const frames = (i: number) => [
      udp({ srcPort: i, dstPort: 7 * i, vlan: i % 3 }),
      tcp({ srcPort: 3 * i, tos: (i & 63) << 2, src: `10.1.${i}.9` }),
      udp({ ...V6, dstPort: i, ttl: i + 1 }),
      echo(i),
    ];
    const flows = [];
    for (let i = 1; i <= 20; i++) {
      for (const [f, frame] of frames(i).entries()) {
        // MACs tell the frames apart in every class.
        frame.set([f, i], 10);
        const cls = (i + f) % MASK_CLASS_COUNT;
        flows.push({ frame, flow: bench.flow({ port, frame, read: READS[cls], output: 0 }), cls });
      }
    }
    for (const cls of READS.keys())
      assert.ok(
        flows.some(({ flow }) => flow.key[63] === cls),
        `class ${cls} is used`,
      );
    for (const { frame, flow, cls } of flows) {
      testbed.inHost(() => testRun(driver.object.program.weft_port, frame, { ifindex: port.ifindex }));
      assert.equal(bench.counters(flow).packets, 1, `class ${cls}: ${Buffer.from(frame).toString('hex')}`);
    }
    bench.takeUpcalls(0);
    // Adopted: the same bits.
    const before = row();
    driver.close();
    testbed.driver = testbed.create();
    assert.deepEqual(row(), before);
    for (const { flow } of flows) driver.deleteFlows(flow.key, 1);
    assert.equal(set(row()), 0);
  });

  test('a batch that does not fit leaves bits for what is in only', () => {
    const bench = new Bench(testbed);
    const [port] = testbed.ports;
    const flows = Array.from({ length: 5000 }, (_, i) => {
      const frame = udp({ srcPort: i });
      return bench.compile({ port, frame, output: 0 });
    });
    const keys = new Uint8Array(flows.flatMap(({ key }) => [...key]));
    const values = new Uint8Array(flows.flatMap(({ value }) => [...value]));
    const taken = driver.putFlows({ keys, values, count: flows.length });
    assert.ok(taken < flows.length);
    assert.ok(set(row()) > 0);
    driver.deleteFlows(keys, flows.length);
    assert.equal(set(row()), 0);
  });
});
