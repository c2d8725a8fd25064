/**
 * Tables of another layout under traffic: flows go on with their ids and counters, whenever a process is killed on the way. The other
 * build is this one, whose directory has another name; how fields are translated is in `@weft/flow` and, with builds that differ
 * indeed, in `test/soak/upgrade.test.ts`. Processes that are killed indeed: `killed.root.test.ts`.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, renameSync, unlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { actionId, fieldOf, K_TP_SRC, OUT_LIST, OUT_PORT, readU16, type StructLayout } from '@weft/flow';
import { fragmentFrame } from '@weft/packet';
import {
  close as closeFd,
  linkDel,
  linkInfo,
  NetlinkSocket,
  openPinned,
  pinObject,
  programId,
  updateLink,
} from '@weft/sys';
import { Bench, hex, type InstalledFlow } from '../../compliance/bench.ts';
import { payload, udp } from '../../compliance/frames.ts';
import { PEER4, Testbed } from '../../compliance/testbed.ts';
import type { DatapathOptions } from '../../contract.ts';
import { type EbpfDatapath, OBJECT_DIRECTORY } from '../index.ts';
import { FRAGMENT, u32Key } from '../layout.ts';
import { createEbpf, needsEbpf, pinsFor } from '../testing.ts';
import { copyFragments } from './carry-over.ts';
import { describeTables, readLayout, writeLayout } from './layout-description.ts';
import { removePins } from './pins.ts';
import { Predecessor } from './predecessor.ts';

/** The same record with two fields the other way round. */
function exchanged(layout: StructLayout, one: string, other: string): StructLayout {
  const name = (was: string) => (was === one ? other : was === other ? one : was);
  return { ...layout, fields: layout.fields.map(([was, ...rest]) => [name(was), ...rest] as const) };
}

const bytesOf = ({ buffer }: DataView) => new Uint8Array(buffer);

const skip = needsEbpf();
const OTHER = '0123456789abcdef';

describe('another layout', { skip }, () => {
  let testbed: Testbed;
  let driver: EbpfDatapath;
  let stateDir: string;
  let mine: string;
  let bench: Bench;
  let flow: InstalledFlow;
  const sent = udp({ srcPort: 4_001 });
  /** Only the first has ports, 1000 among them. */
  const [first, later] = fragmentFrame(udp({ payload: payload(1400), dontFragment: false }), 600);

  /** Packets that the flow has forwarded. */
  let count = 0;

  before(() => {
    const create = (options: DatapathOptions) => (driver = createEbpf(options));
    testbed = new Testbed({ kind: 'ebpf', skip: needsEbpf, adopts: true, create }, { encap: 'vxlan', maxFlows: 64 });
    testbed.attachAll();
    stateDir = pinsFor(testbed.options);
    mine = driver.object.directory;
    bench = new Bench(testbed);
    bench.reset();
    const [p1, p2] = testbed.ports;
    flow = bench.flow({ port: p1, frame: sent, output: OUT_PORT, outPort: p2.ifindex });
    forwards();
  });
  after(() => testbed?.close());

  /** A packet that was sent arrives. */
  function arrives(): Bench {
    count++;
    const now = new Bench(testbed);
    now.expect(new Map([[testbed.vms[1], [sent]]]));
    return now;
  }

  /** The flow forwards, nothing comes up, and all that it forwarded is counted. */
  function forwards(): void {
    testbed.vms[0].send(sent);
    const now = arrives();
    now.takeUpcalls(0);
    assert.deepEqual(now.counters(flow), { packets: count, bytes: count * sent.length });
  }

  /** Source port under which the later fragment comes up. */
  function laterPort(): number {
    testbed.vms[0].send(later);
    return readU16(new Bench(testbed).takeUpcalls(1)[0].key, K_TP_SRC);
  }

  /** Where a field of such an entry stands. */
  function valueField(name: string): number {
    return fieldOf(readLayout(mine)!.tables.weft_fragments.value, name)[1];
  }

  /** The entry of the first fragment in the tables at hand. */
  function fragmentEntry(): { key: DataView; value: DataView } {
    const entries: { key: DataView; value: DataView }[] = [];
    driver.object.map.weft_fragments.forEach((key, value) => {
      entries.push({ key: new DataView(key.slice().buffer), value: new DataView(value.slice().buffer) });
    });
    assert.equal(entries.length, 1);
    return entries[0];
  }

  /** What is there looks as if another build had left it. */
  function asOther(name = OTHER): string {
    const path = join(stateDir, name);
    renameSync(mine, path);
    return path;
  }

  function taken(): void {
    assert.deepEqual(readdirSync(stateDir), [basename(mine)]);
    const ids: number[] = [];
    driver.adopted().forEachFlow((key, value) => {
      assert.equal(hex(key), hex(flow.key));
      ids.push(actionId(value));
    });
    assert.deepEqual(ids, [flow.id]);
    const [p1] = testbed.ports;
    const fd = openPinned(join(mine, `port_${p1.ifindex}`));
    assert.equal(linkInfo(fd).programId, programId(driver.object.program.weft_port));
    closeFd(fd);
  }

  test('flows, their ids and counters are taken over before programs are swapped; nothing of the old is left', () => {
    driver.close();
    asOther();
    // Nobody is there, and known flows go on and are counted.
    testbed.vms[0].send(sent);
    testbed.driver = testbed.create();
    arrives();
    assert.deepEqual(driver.adopted().upgrade, { from: OTHER, flows: 1, left: 0 });
    taken();
    forwards();
    // Once more, and what was carried over is carried on.
    driver.close();
    asOther('fedcba9876543210');
    testbed.driver = testbed.create();
    taken();
    forwards();
  });

  test('ports, tunnels, egress keys, lists and drops are taken over', () => {
    const [p1, p2, p3] = testbed.ports;
    const tunnel = testbed.tunnel(1, PEER4);
    driver.setEgress({ key: 77, ports: [p1.ifindex, p2.ifindex] });
    driver.setEgress({ key: 78, ports: [p2.ifindex] });
    driver.setList({ id: 5, ports: [p2.ifindex, p3.ifindex], remotes: [{ peer: 1, key: 9 }] });
    const flooded = udp({ srcPort: 4_002 });
    const flood = bench.flow({ port: p1, frame: flooded, output: OUT_LIST, outPort: 5 });
    const before = driver.stats();
    driver.close();
    asOther();
    testbed.driver = testbed.create();
    const { ports, tunnels, egress, lists, upgrade } = driver.adopted();
    assert.deepEqual(upgrade, { from: OTHER, flows: 2, left: 0 });
    const byIndex = <T extends { ifindex: number }>(list: readonly T[]) =>
      [...list].sort((a, b) => a.ifindex - b.ifindex);
    assert.deepEqual(byIndex(ports), byIndex(testbed.ports));
    assert.deepEqual(tunnels, [tunnel]);
    assert.deepEqual(
      [...egress].sort((a, b) => a.key - b.key),
      [
        { key: 77, ports: [p1.ifindex, p2.ifindex] },
        { key: 78, ports: [p2.ifindex] },
      ],
    );
    assert.deepEqual(lists, [{ id: 5, ports: [p2.ifindex, p3.ifindex], remotes: [{ peer: 1, key: 9 }] }]);
    assert.deepEqual(driver.stats(), before);
    testbed.vms[0].send(flooded);
    const after_ = new Bench(testbed);
    for (const vm of [testbed.vms[1], testbed.vms[2]]) {
      assert.deepEqual(
        after_.arrivals(vm, 1).map(({ frame }) => hex(frame)),
        [hex(flooded)],
      );
    }
    after_.arrivals(testbed.underlay[0], 1);
    after_.takeUpcalls(0);
    driver.deleteFlows(flood.key, 1);
  });

  test('killed while the tables were filled', () => {
    driver.close();
    asOther();
    mkdirSync(`${mine}_new`);
    const fd = openPinned(join(stateDir, OTHER, 'weft_flows'));
    pinObject(fd, join(`${mine}_new`, 'weft_flows'));
    closeFd(fd);
    testbed.driver = testbed.create();
    taken();
    forwards();
  });

  /** Pins everything of a directory, and the program of the first port, a second time. @returns a directory without a name of ours */
  function stash(directory: string): string {
    const path = join(stateDir, 'stash');
    mkdirSync(path);
    pinObject(driver.object.program.weft_port, join(path, 'program'));
    for (const name of readdirSync(directory)) {
      if (!name.startsWith('weft_')) continue;
      const fd = openPinned(join(directory, name));
      pinObject(fd, join(path, name));
      closeFd(fd);
    }
    return path;
  }

  /** Undoes the swap of the first port's link: it runs the stashed program, over the stashed tables, in a directory of this name. */
  function unswap(stashed: string, from: string, name: string): void {
    const pin = `port_${testbed.ports[0].ifindex}`;
    const link = openPinned(join(from, pin));
    const program = openPinned(join(stashed, 'program'));
    updateLink(link, program);
    closeFd(link);
    closeFd(program);
    unlinkSync(join(stashed, 'program'));
    renameSync(join(from, pin), join(stashed, pin));
    renameSync(stashed, join(stateDir, name));
  }

  test('killed when not all links were swapped: both tables count, and the sum is told', () => {
    const stashed = stash(mine);
    driver.close();
    asOther();
    testbed.driver = testbed.create();
    forwards();
    driver.close();
    unswap(stashed, mine, `${OTHER}_old`);
    testbed.vms[0].send(sent);
    testbed.vms[0].send(first);
    testbed.driver = testbed.create();
    arrives();
    taken();
    // One packet of both tables, two of the old ones, one by the new program.
    forwards();
    // The first fragment met the old program when the new tables had long been filled.
    assert.equal(laterPort(), 1000);
  });

  test('killed when not all links were swapped, and the build from before comes back: what both tables know counts once', () => {
    const stashed = stash(mine);
    driver.close();
    asOther();
    testbed.driver = testbed.create();
    forwards();
    driver.close();
    unswap(stashed, mine, `${basename(mine)}_old`);
    asOther();
    testbed.vms[0].send(sent);
    testbed.driver = testbed.create();
    arrives();
    taken();
    forwards();
  });

  test('a link that was swapped but still has its old pin, too', () => {
    driver.close();
    asOther();
    testbed.driver = testbed.create();
    driver.close();
    const left = join(stateDir, `${OTHER}_old`);
    mkdirSync(left);
    const name = `port_${testbed.ports[0].ifindex}`;
    const fd = openPinned(join(mine, name));
    pinObject(fd, join(left, name));
    closeFd(fd);
    testbed.driver = testbed.create();
    taken();
    forwards();
  });

  test('tables without a description, or with one that is not understood: no flows, and the links stay until ports come', () => {
    for (const text of ['', '{"format":2}', 'no JSON']) {
      const { map } = driver.object;
      const value = new Uint8Array(map.weft_layout.valueBytes);
      value.set(Buffer.from(text));
      map.weft_layout.update(u32Key(0), value);
      driver.close();
      asOther();
      assert.equal(readLayout(join(stateDir, OTHER)), undefined);
      // The flow goes on under the old program until its port is attached.
      testbed.driver = testbed.create();
      testbed.vms[0].send(sent);
      arrives();
      assert.equal(driver.adopted().upgrade, undefined);
      assert.equal(driver.stats().flows, 0);
      testbed.attachAll();
      assert.deepEqual(readdirSync(stateDir), [basename(mine)]);
      testbed.vms[0].send(sent);
      const now = new Bench(testbed);
      now.takeUpcalls(1);
      now.flow({ port: testbed.ports[0], frame: sent, output: OUT_PORT, outPort: testbed.ports[1].ifindex });
    }
  });

  test('fields of another order are read where they stood', () => {
    // As if the other build had had these two the other way round: what it stored is then read so.
    const layout = readLayout(mine)!;
    const { flows } = layout;
    writeLayout(driver.object.map.weft_layout, {
      ...layout,
      flows: { ...flows, key: exchanged(flows.key, 'ipTos', 'ipTtl') },
    });
    driver.close();
    asOther();
    testbed.driver = testbed.create();
    const keys: string[] = [];
    driver.adopted().forEachFlow((key) => {
      keys.push(hex(key));
    });
    const expected = flow.key.slice();
    [expected[53], expected[54]] = [flow.key[54], flow.key[53]];
    assert.deepEqual(keys, [hex(expected)]);
  });

  test('fragments: of the same datagram in two tables the one counts whose first fragment came last', () => {
    const stashed = stash(mine);
    driver.close();
    asOther();
    testbed.driver = testbed.create();
    testbed.vms[0].send(first);
    new Bench(testbed).takeUpcalls(1);
    const { key, value } = fragmentEntry();
    const source = Predecessor.open(stashed, driver.object.cpus)!;
    const theirs = source.table('weft_fragments')!.map;
    for (const [ports, newer, expected] of [
      [7777, -1n, 1000],
      [7777, 1n, 7777],
    ] as const) {
      const entry = new DataView(value.buffer.slice(0));
      for (const at of [FRAGMENT.time, FRAGMENT.timeTail]) {
        entry.setBigUint64(at, value.getBigUint64(at, true) + newer, true);
      }
      entry.setUint16(valueField('l4'), ports);
      theirs.update(bytesOf(key), bytesOf(entry));
      copyFragments(source, readLayout(mine)!, driver.object);
      assert.equal(laterPort(), expected);
    }
    source.close();
    removePins(stashed);
  });

  test('fragments: ports of a datagram whose first fragment met another build, which had all in another order', () => {
    testbed.vms[0].send(first);
    new Bench(testbed).takeUpcalls(1);
    const { key, value } = fragmentEntry();
    // That build had identification and protocol the other way round, source and target of the key too, and counted slots otherwise.
    const layout = readLayout(mine)!;
    const { flows, tables } = layout;
    const { weft_fragments: table } = tables;
    writeLayout(driver.object.map.weft_layout, {
      ...layout,
      flows: { ...flows, key: exchanged(flows.key, 'ipSrc', 'ipDst') },
      tables: { ...tables, weft_fragments: { ...table, value: exchanged(table.value, 'id', 'proto') } },
    });
    const [id, proto] = [valueField('id'), valueField('proto')];
    const stored = new DataView(value.buffer.slice(0));
    stored.setUint32(proto, value.getUint32(id, true), true);
    stored.setUint32(id, value.getUint32(proto, true), true);
    const datagram = valueField('datagram');
    const [src, dst] = ['ipSrc', 'ipDst'].map(
      (name) => datagram + fieldOf(flows.key, name)[1] - layout.fragments.datagram[0],
    );
    bytesOf(stored).set(bytesOf(value).subarray(src, src + 16), dst);
    bytesOf(stored).set(bytesOf(value).subarray(dst, dst + 16), src);
    const { weft_fragments } = driver.object.map;
    weft_fragments.delete(bytesOf(key));
    key.setUint32(4, (key.getUint32(4, true) + 1) % 256, true);
    weft_fragments.update(bytesOf(key), bytesOf(stored));
    driver.close();
    asOther();
    testbed.driver = testbed.create();
    assert.equal(laterPort(), 1000);
  });

  test('an interface that went away meanwhile is forgotten', () => {
    driver.close();
    asOther();
    const [, , p3] = testbed.ports;
    const nl = testbed.inHost(() => new NetlinkSocket());
    linkDel(nl, 'p3');
    nl.close();
    testbed.driver = testbed.create();
    assert.deepEqual(readdirSync(stateDir), [basename(mine)]);
    assert.ok(!driver.adopted().ports.some(({ ifindex }) => ifindex === p3.ifindex));
  });
});

test('a description has a place in its table, and says of every table what is where', { skip }, () => {
  const layout = describeTables(readFileSync(join(OBJECT_DIRECTORY, 'weft.bpf.o')));
  assert.ok(JSON.stringify(layout).length < 12_000);
  assert.deepEqual(layout.tables.weft_egress.value.fields[1], ['port', 4, 4, 'le']);
  assert.equal(layout.tables.weft_flows.key.size, layout.flows.key.size);
  assert.equal(layout.tables.weft_flows.value.size, layout.flows.action.size);
});
