/** Binding and unbinding interfaces, the host's own stack kept out, what a process leaves behind. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FLOW_FIRST_KEY, FLOW_VALUE_SIZE, OUT_PORT } from '@weft/flow';
import { arpRequest, icmpEcho } from '@weft/packet';
import { Bench, hex } from './bench.ts';
import { udp, VM1 } from './frames.ts';
import { group } from './suite.ts';
import { type DriverFactory, LOCAL4, PEER4, Testbed } from './testbed.ts';

export function lifecycleTests(factory: DriverFactory): void {
  group('ports', factory, { encap: 'vxlan' }, (t) => {
    t('attaching is idempotent', (b) => {
      const [p1, p2] = b.testbed.ports;
      const frame = udp();
      b.flow({ port: p1, frame, output: OUT_PORT, outPort: p2.ifindex });
      b.testbed.attachAll();
      b.testbed.vms[0].send(frame);
      b.expect(new Map([[b.testbed.vms[1], [frame]]]));
    });

    t("the host's stack neither speaks to a VM nor answers it", (b) => {
      const mac = 'ff:ff:ff:ff:ff:ff';
      b.testbed.vms[0].send(arpRequest({ senderMac: VM1, senderIp: '10.255.0.77', targetIp: LOCAL4 }));
      b.testbed.vms[0].send(icmpEcho({ ethSrc: VM1, ethDst: mac, src: '10.255.0.77', dst: LOCAL4, id: 1 }));
      b.takeUpcalls(2);
      b.settle(100);
      b.expect(new Map());
    });

    t('a detached port neither sends nor receives, and the host does not get its frames', (b) => {
      const [p1, p2, p3] = b.testbed.ports;
      b.flow({ port: p1, frame: udp(), output: OUT_PORT, outPort: p3.ifindex });
      b.driver.detachPort(p3.ifindex);
      try {
        b.testbed.vms[2].send(udp({ srcPort: 8 }));
        b.testbed.vms[2].send(arpRequest({ senderMac: VM1, senderIp: '10.255.0.77', targetIp: LOCAL4 }));
        b.testbed.vms[0].send(udp());
        b.settle(60);
        b.takeUpcalls(0);
        b.expect(new Map());
      } finally {
        b.driver.attachPort(p3);
      }
      b.testbed.vms[0].send(udp());
      b.expect(new Map([[b.testbed.vms[2], [udp()]]]));
      b.testbed.vms[2].send(udp());
      assert.equal(b.takeUpcalls(1)[0].inPort, p3.ifindex);
      assert.notEqual(p2.ifindex, p3.ifindex);
    });

    t('a detached underlay interface takes no tunnel packets', (b) => {
      b.testbed.tunnel(1, PEER4);
      b.driver.detachUnderlay(b.testbed.underlays[1]);
      b.driver.attachUnderlay(b.testbed.underlays[1]);
      b.driver.attachUnderlay(b.testbed.underlays[1]);
      b.takeUpcalls(0);
    });
  });

  const skip = factory.skip();
  describe(`${factory.kind}: processes`, { skip }, () => {
    test('destroy leaves nothing', () => {
      const testbed = new Testbed(factory, { encap: 'vxlan' });
      try {
        testbed.attachAll();
        testbed.tunnel(1, PEER4);
        const bench = new Bench(testbed);
        bench.flow({ port: testbed.ports[0], frame: udp(), output: OUT_PORT, outPort: testbed.ports[1].ifindex });
        testbed.driver.close({ destroy: true });
        assert.deepEqual(testbed.foreignLinks(), []);
        testbed.driver = testbed.create();
        const adopted = testbed.driver.adopted();
        assert.deepEqual([adopted.ports, adopted.tunnels, adopted.egress, adopted.lists], [[], [], [], []]);
        adopted.forEachFlow(() => assert.fail('a flow survived destroy'));
        assert.equal(testbed.driver.stats().flows, 0);
        testbed.attachAll();
        const again = new Bench(testbed);
        again.reset();
        testbed.vms[0].send(udp());
        again.takeUpcalls(1);
      } finally {
        testbed.close();
      }
    });

    test('one process at a time', () => {
      const testbed = new Testbed(factory, { encap: 'vxlan' });
      try {
        assert.throws(() => testbed.create(), { code: /^WEFT_/ });
      } finally {
        testbed.close();
      }
    });

    test('what the next process finds', () => {
      const testbed = new Testbed(factory, { encap: 'gre' });
      try {
        testbed.attachAll();
        const [p1, p2] = testbed.ports;
        const tunnel = testbed.tunnel(1, PEER4);
        testbed.driver.setEgress({ key: 77, ports: [p1.ifindex, p2.ifindex] });
        testbed.driver.setList({ id: 5, ports: [p1.ifindex], remotes: [{ peer: 1, key: 9 }] });
        const bench = new Bench(testbed);
        bench.reset();
        const request = { port: p1, frame: udp(), output: OUT_PORT, outPort: p2.ifindex };
        const flow = bench.flow(request);
        testbed.driver.close();
        if (factory.adopts) {
          // Nobody is there, and known flows go on.
          testbed.vms[0].send(udp());
        }
        testbed.driver = testbed.create();
        const adopted = testbed.driver.adopted();
        const flows: string[] = [];
        const firstKeys: string[] = [];
        adopted.forEachFlow((key, value) => {
          assert.equal(value.length, FLOW_VALUE_SIZE);
          flows.push(hex(key));
          firstKeys.push(hex(value.subarray(FLOW_FIRST_KEY)));
        });
        if (!factory.adopts) {
          assert.deepEqual(
            [adopted.ports, adopted.tunnels, adopted.egress, adopted.lists, flows],
            [[], [], [], [], []],
          );
          return;
        }
        const after = new Bench(testbed);
        after.expect(new Map([[testbed.vms[1], [udp()]]]));
        const byIndex = <T extends { ifindex: number }>(list: readonly T[]) =>
          [...list].sort((a, b) => a.ifindex - b.ifindex);
        assert.deepEqual(byIndex(adopted.ports), byIndex(testbed.ports));
        assert.deepEqual(adopted.tunnels, [tunnel]);
        assert.deepEqual(adopted.egress, [{ key: 77, ports: [p1.ifindex, p2.ifindex] }]);
        assert.deepEqual(adopted.lists, [{ id: 5, ports: [p1.ifindex], remotes: [{ peer: 1, key: 9 }] }]);
        assert.deepEqual(flows, [hex(flow.key)]);
        assert.deepEqual(firstKeys, [hex(bench.key(request.frame, p1.ifindex))]);
        testbed.vms[0].send(udp());
        after.expect(new Map([[testbed.vms[1], [udp()]]]));
        testbed.driver.deleteFlows(flow.key, 1);
        testbed.vms[0].send(udp());
        after.takeUpcalls(1);
      } finally {
        testbed.close();
      }
    });
  });
}
