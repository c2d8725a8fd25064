/** What outlives a process and what does not: links, programs, tables, upgrades, interfaces that go away. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { dropReason, OUT_PORT } from '@weft/flow';
import {
  close as closeFd,
  linkDel,
  linkGet,
  linkInfo,
  NetlinkSocket,
  openPinned,
  pinObject,
  programId,
  sysctlGet,
  tcList,
} from '@weft/sys';
import { Bench } from '../compliance/bench.ts';
import { udp } from '../compliance/frames.ts';
import { Testbed } from '../compliance/testbed.ts';
import type { EbpfDatapath, EbpfOptions } from './index.ts';
import { FILTER_ROWS, FILTER_SIZE, u32Key } from './layout.ts';
import { createEbpf, needsEbpf, pinsBelow, pinsFor } from './testing.ts';

const skip = needsEbpf();

function testbedWith(extra: Partial<EbpfOptions>, remember: (driver: EbpfDatapath) => void): Testbed {
  const create = (options: Parameters<typeof createEbpf>[0]) => {
    const driver = createEbpf(options, extra);
    remember(driver);
    return driver;
  };
  return new Testbed({ kind: 'ebpf', skip: needsEbpf, adopts: true, create }, { encap: 'vxlan', maxFlows: 64 });
}

describe('ebpf: what stays and what goes', { skip }, () => {
  let testbed: Testbed;
  let driver: EbpfDatapath;
  before(() => {
    testbed = testbedWith({}, (d) => (driver = d));
    testbed.attachAll();
  });
  after(() => testbed?.close());

  test('a bound interface is cut off from the host', () => {
    testbed.inHost(() => {
      assert.equal(sysctlGet(['net', 'ipv6', 'conf', 'p1', 'disable_ipv6']), '1');
      assert.equal(sysctlGet(['net', 'ipv4', 'conf', 'p1', 'arp_ignore']), '8');
      assert.equal(sysctlGet(['net', 'ipv4', 'conf', 'p1', 'forwarding']), '0');
    });
  });

  test('a second process is refused, and the first one goes on', () => {
    assert.throws(() => testbed.create(), { code: 'WEFT_DATAPATH_LOCKED' });
    testbed.vms[0].send(udp());
    new Bench(testbed).takeUpcalls(1);
  });

  test('class bits follow the flows of a port, exactly', () => {
    const bench = new Bench(testbed);
    const [p1, p2] = testbed.ports;
    const bits = () => {
      const row = new Uint8Array(FILTER_SIZE);
      driver.object.map.weft_filters.lookup(u32Key(p1.ifindex % FILTER_ROWS), row);
      // As many bits in the filters as there are flows (of this few, all different).
      const bits = row.subarray(64).reduce((n, byte) => n + byte.toString(2).replaceAll('0', '').length, 0);
      assert.equal(bits, driver.stats().flows);
      return row[0];
    };
    const flow = (srcPort: number, read: number) =>
      bench.flow({ port: p1, frame: udp({ srcPort }), read, output: OUT_PORT, outPort: p2.ifindex });
    assert.equal(bits(), 0);
    const [a, b] = [flow(1, 0x7fff), flow(2, 0x7fff)];
    flow(1, 0x7fff);
    const general = flow(1, 1);
    assert.equal(bits(), 0x81);
    driver.deleteFlows(a.key, 1);
    driver.deleteFlows(a.key, 1);
    assert.equal(bits(), 0x81);
    driver.deleteFlows(b.key, 1);
    assert.equal(bits(), 1);
    driver.deleteFlows(general.key, 1);
    assert.equal(bits(), 0);
    assert.equal(driver.stats().flows, 0);
  });

  test('a restarted process swaps the program under the same link', () => {
    const [port] = testbed.ports;
    const bench = new Bench(testbed);
    bench.flow({ port, frame: udp(), output: OUT_PORT, outPort: testbed.ports[1].ifindex });
    const pin = join(driver.object.directory, `port_${port.ifindex}`);
    const describeLink = () => {
      const fd = openPinned(pin);
      const info = linkInfo(fd);
      closeFd(fd);
      return info;
    };
    const before = describeLink();
    testbed.driver.close();
    testbed.driver = testbed.create();
    const now = describeLink();
    assert.equal(now.id, before.id);
    assert.notEqual(now.programId, before.programId);
    assert.equal(now.programId, programId(driver.object.program.weft_port));
    assert.equal(driver.stats().flows, 1);
    const after_ = new Bench(testbed);
    after_.reset();
    testbed.vms[0].send(udp());
    after_.expect(new Map([[testbed.vms[1], [udp()]]]));
    driver.adopted().forEachFlow((key) => driver.deleteFlows(key.slice(), 1));
  });

  test('records of a dead process are thrown away when they are old', async () => {
    testbed.driver.close();
    testbed.vms[0].send(udp());
    await new Promise((resolve) => setTimeout(resolve, 1200));
    testbed.driver = testbed.create();
    const bench = new Bench(testbed);
    bench.settle();
    assert.equal(testbed.driver.stats().drops[dropReason('stale_record')], 1);
    bench.takeUpcalls(0);
  });

  test('an unbound interface stays closed', () => {
    const [, , p3] = testbed.ports;
    const bench = new Bench(testbed);
    testbed.driver.detachPort(p3.ifindex);
    testbed.vms[2].send(udp());
    bench.expectDrops({ port_unbound: 1 });
    testbed.driver.attachPort(p3);
    testbed.vms[2].send(udp());
    bench.takeUpcalls(1);
  });

  test('a version with other tables takes over the links and clears up', () => {
    const stateDir = pinsFor(testbed.options);
    const mine = driver.object.directory;
    testbed.driver.close();
    // As if the tables of the version before had another layout: its pins stand in another directory.
    const theirs = join(stateDir, '0123456789abcdef');
    mkdirSync(theirs);
    const ids = new Map<string, number>();
    for (const name of readdirSync(mine)) {
      if (!/^(port|underlay|helper|gro)_/.test(name)) continue;
      const fd = openPinned(join(mine, name));
      pinObject(fd, join(theirs, name));
      ids.set(name, linkInfo(fd).id);
      closeFd(fd);
    }
    for (const name of pinsBelow(mine)) unlinkSync(join(mine, name));
    testbed.driver = testbed.create();
    assert.deepEqual(driver.adopted().ports, []);
    testbed.attachAll();
    assert.ok(ids.size >= 5);
    for (const [name, id] of ids) {
      const fd = openPinned(join(mine, name));
      assert.equal(linkInfo(fd).id, id, name);
      closeFd(fd);
    }
    assert.deepEqual(readdirSync(stateDir), [mine.slice(stateDir.length + 1)]);
    testbed.vms[0].send(udp());
    new Bench(testbed).takeUpcalls(1);
  });

  test("other programs' pins on the same bpffs are left alone", () => {
    const stateDir = pinsFor(testbed.options);
    const foreign = ['tc', 'fedcba9876543210'].map((name) => join(stateDir, name));
    for (const directory of foreign) {
      mkdirSync(directory);
      pinObject(driver.object.map.weft_drops.fd, join(directory, 'globals'));
    }
    testbed.driver.close();
    testbed.driver = testbed.create();
    testbed.attachAll();
    for (const directory of foreign) {
      assert.deepEqual(readdirSync(directory), ['globals']);
      unlinkSync(join(directory, 'globals'));
      rmdirSync(directory);
    }
  });

  test('an interface that vanished while nobody looked is forgotten', () => {
    const [, , p3] = testbed.ports;
    testbed.driver.close();
    const nl = testbed.inHost(() => new NetlinkSocket());
    linkDel(nl, 'p3');
    assert.equal(linkGet(nl, 'p3'), undefined);
    nl.close();
    testbed.driver = testbed.create();
    assert.deepEqual(
      driver
        .adopted()
        .ports.map((p) => p.name)
        .sort(),
      ['p1', 'p2'],
    );
    assert.ok(!pinsBelow(driver.object.directory).includes(`port_${p3.ifindex}`));
  });

  test('destroy leaves nothing', () => {
    const directory = driver.object.directory;
    testbed.driver.close({ destroy: true });
    assert.deepEqual(pinsBelow(directory), []);
    assert.deepEqual(testbed.foreignLinks(), []);
    testbed.driver = testbed.create();
  });

  test('a start that fails says why and leaves nothing', () => {
    testbed.driver.close({ destroy: true });
    const start = (extra: Partial<EbpfOptions>) => testbed.inHost(() => createEbpf(testbed.options, extra));
    try {
      assert.throws(() => start({ stateDir: tmpdir() }), { code: 'WEFT_DATAPATH_OPTIONS', message: /not on a bpffs/ });
      assert.throws(() => start({ objectName: 'none.bpf.o' }), { code: 'WEFT_DATAPATH_OBJECT' });
      assert.deepEqual(testbed.foreignLinks(), []);
    } finally {
      testbed.driver = testbed.create();
    }
  });
});

describe('ebpf: without tcx', { skip }, () => {
  test('clsact filters carry the same traffic, survive, and are recognised', () => {
    const testbed = testbedWith({ clsact: true }, () => {});
    try {
      testbed.attachAll();
      const [p1, p2] = testbed.ports;
      const nl = testbed.inHost(() => new NetlinkSocket());
      assert.deepEqual(
        tcList(nl, p1.ifindex, 'ingress').map((f) => f.name),
        ['weft_port'],
      );
      const bench = new Bench(testbed);
      bench.reset();
      bench.flow({ port: p1, frame: udp(), output: OUT_PORT, outPort: p2.ifindex });
      testbed.vms[0].send(udp());
      bench.expect(new Map([[testbed.vms[1], [udp()]]]));
      testbed.driver.close();
      testbed.vms[0].send(udp());
      testbed.driver = testbed.create();
      const next = new Bench(testbed);
      next.expect(new Map([[testbed.vms[1], [udp()]]]));
      testbed.attachAll();
      assert.equal(tcList(nl, p1.ifindex, 'ingress').length, 1);
      testbed.driver.close({ destroy: true });
      assert.equal(tcList(nl, p1.ifindex, 'ingress').length, 0);
      nl.close();
      testbed.driver = testbed.create();
    } finally {
      testbed.close();
    }
  });
});
