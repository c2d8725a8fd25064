/** The table of flows: what hits, what misses, what is counted. */
import assert from 'node:assert/strict';
import {
  A_OWNER_PORT,
  classFor,
  F_ETH_DST,
  F_ICMP_ID,
  F_IP_DST,
  F_IP_PROTO,
  F_IP_SRC,
  F_IP_TTL,
  F_TP_DST,
  F_TP_SRC,
  FLOW_VALUE_SIZE,
  KEY_SIZE,
  MASK_CLASS_COUNT,
  OUT_DROP,
  OUT_PORT,
  UPCALL_MISS,
  writeU32le,
} from '@weft/flow';
import { arpRequest, icmpEcho } from '@weft/packet';
import { hex, type InstalledFlow } from './bench.ts';
import { ETH, payload, tcp, udp, V4, V6, VM3 } from './frames.ts';
import { group } from './suite.ts';
import type { DriverFactory } from './testbed.ts';

/** One set of fields per mask class, from the most general to the exact one. */
const READ = [F_ETH_DST, F_IP_DST, F_IP_SRC, F_IP_PROTO, F_TP_DST, F_TP_SRC, F_ICMP_ID, F_IP_TTL] as const;

export function flowTests(factory: DriverFactory): void {
  group('flows', factory, { encap: 'vxlan', maxFlows: 64 }, (t) => {
    t('a miss goes up with its key and bytes', (b) => {
      const [p1] = b.testbed.ports;
      const frame = udp();
      b.testbed.vms[0].send(frame);
      const [u] = b.takeUpcalls(1);
      assert.equal(u.reason, UPCALL_MISS);
      assert.equal(u.inPort, p1.ifindex);
      assert.equal(hex(u.frame), hex(frame));
      assert.equal(hex(u.key), hex(b.key(frame, p1.ifindex)));
      assert.equal(u.length, frame.length);
      assert.equal(u.segmentLength, frame.length - 14);
      assert.equal(hex(u.vnetHeader), '00'.repeat(10));
      assert.ok(u.time > 0);
      assert.deepEqual([u.peer, u.mtu], [0, 0]);
    });

    t('a tagged frame goes up with its tag in bytes and key', (b) => {
      for (const vlan of [0x2064, [0x00c8, 0x0064]] as const) {
        const frame = udp({ vlan });
        b.testbed.vms[1].send(frame);
        const [u] = b.takeUpcalls(1);
        assert.equal(hex(u.frame), hex(frame));
        assert.equal(hex(u.key), hex(b.key(frame, b.testbed.ports[1].ifindex)));
        assert.equal(u.length, frame.length);
      }
    });

    t('ARP and unknown ethertypes go up', (b) => {
      const arp = arpRequest({ senderMac: VM3, senderIp: '10.0.0.3', targetIp: '10.0.0.1' });
      const lldp = new Uint8Array([...udp().subarray(0, 12), 0x88, 0xcc, ...payload(40)]);
      for (const frame of [arp, lldp]) {
        b.testbed.vms[2].send(frame);
        const [u] = b.takeUpcalls(1);
        assert.equal(hex(u.frame), hex(frame));
        assert.equal(hex(u.key), hex(b.key(frame, b.testbed.ports[2].ifindex)));
      }
    });

    t('a malformed packet is dropped', (b) => {
      const frame = udp();
      frame[14] = 0x44; // header length of 16 bytes
      b.testbed.vms[0].send(frame);
      const long = udp({ payload: payload(0) });
      long[16] = 0xff; // total length beyond the frame
      b.testbed.vms[0].send(long);
      b.expectDrops({ malformed: 2 });
      b.takeUpcalls(0);
    });

    t('put, replace, delete', (b) => {
      const [p1, p2, p3] = b.testbed.ports;
      const [v1, v2, v3] = b.testbed.vms;
      const frame = udp();
      b.flow({ port: p1, frame, output: OUT_PORT, outPort: p2.ifindex });
      v1.send(frame);
      b.expect(new Map([[v2, [frame]]]));
      const flow = b.flow({ port: p1, frame, output: OUT_PORT, outPort: p3.ifindex });
      assert.equal(b.driver.stats().flows, 1);
      v1.send(frame);
      b.expect(new Map([[v3, [frame]]]));
      b.driver.deleteFlows(flow.key, 1);
      assert.equal(b.driver.stats().flows, 0);
      v1.send(frame);
      b.takeUpcalls(1);
      b.expect(new Map());
    });

    t('deleting skips flows that are not there', (b) => {
      const [p1, p2] = b.testbed.ports;
      const flows = [1, 2, 3, 4, 5].map((n) =>
        b.flow({ port: p1, frame: udp({ srcPort: n }), output: OUT_PORT, outPort: p2.ifindex }),
      );
      const absent = [100, 101, 102].map((n) => b.compile({ port: p1, frame: udp({ srcPort: n }), output: OUT_DROP }));
      const order = [absent[0], flows[0], absent[1], flows[1], flows[2], absent[2], flows[3]];
      b.driver.deleteFlows(joinKeys(order), order.length);
      assert.equal(b.driver.stats().flows, 1);
      b.testbed.vms[0].send(udp({ srcPort: 5 }));
      b.expect(new Map([[b.testbed.vms[1], [udp({ srcPort: 5 })]]]));
    });

    t('a flow belongs to its ingress port', (b) => {
      const [p1, p2] = b.testbed.ports;
      const frame = udp();
      b.flow({ port: p1, frame, read: F_ETH_DST, output: OUT_PORT, outPort: p2.ifindex });
      b.testbed.vms[2].send(frame);
      assert.equal(b.takeUpcalls(1)[0].inPort, b.testbed.ports[2].ifindex);
      b.expect(new Map());
    });

    t('each mask class holds its fields and no more', (b) => {
      const [p1, p2] = b.testbed.ports;
      const base = { ...ETH, ...V4, id: 7, seq: 1 };
      // Frames that differ from the base in one field each, and the first class that tells them apart.
      const differing: [Uint8Array, number][] = [
        [icmpEcho({ ...base, dst: '10.0.0.9' }), 1],
        [icmpEcho({ ...base, src: '10.0.0.9' }), 2],
        [icmpEcho({ ...base, id: 8 }), 6],
        [icmpEcho({ ...base, ttl: 33 }), 7],
      ];
      for (let cls = 0; cls < MASK_CLASS_COUNT; cls++) {
        assert.equal(classFor(READ[cls]), cls);
        const frame = icmpEcho(base);
        const flow = b.flow({ port: p1, frame, read: READ[cls], output: OUT_PORT, outPort: p2.ifindex });
        for (const [other, from] of differing) {
          b.testbed.vms[0].send(other);
          if (cls >= from) b.takeUpcalls(1);
          else b.expect(new Map([[b.testbed.vms[1], [other]]]));
        }
        b.driver.deleteFlows(flow.key, 1);
      }
    });

    t('the most general class is asked first', (b) => {
      const [p1, p2, p3] = b.testbed.ports;
      const frame = tcp();
      b.flow({ port: p1, frame, output: OUT_PORT, outPort: p3.ifindex });
      const general = b.flow({ port: p1, frame, read: F_IP_DST, output: OUT_PORT, outPort: p2.ifindex });
      b.testbed.vms[0].send(frame);
      b.expect(new Map([[b.testbed.vms[1], [frame]]]));
      b.driver.deleteFlows(general.key, 1);
      b.testbed.vms[0].send(frame);
      b.expect(new Map([[b.testbed.vms[2], [frame]]]));
    });

    t('IPv6 flows', (b) => {
      const [p1, p2] = b.testbed.ports;
      const frame = tcp(V6);
      b.flow({ port: p1, frame, output: OUT_PORT, outPort: p2.ifindex });
      b.testbed.vms[0].send(frame);
      b.expect(new Map([[b.testbed.vms[1], [frame]]]));
    });

    t('packets and bytes are counted per slot, and survive a replacement', (b) => {
      const [p1, p2] = b.testbed.ports;
      const frames = [udp({ payload: payload(10) }), udp({ payload: payload(700) })];
      const other = b.flow({ port: p1, frame: udp({ srcPort: 9 }), output: OUT_DROP });
      const flow = b.flow({ port: p1, frame: frames[0], output: OUT_PORT, outPort: p2.ifindex });
      const before = b.counters(flow);
      for (const frame of frames) b.testbed.vms[0].send(frame);
      b.expect(new Map([[b.testbed.vms[1], frames]]));
      const after = b.counters(flow);
      assert.equal(after.packets - before.packets, 2);
      assert.equal(after.bytes - before.bytes, frames[0].length + frames[1].length);
      assert.equal(b.counters(other).packets, 0);
      const changed = b.compile({ port: p1, frame: frames[0], output: OUT_PORT, outPort: b.testbed.ports[2].ifindex });
      const value = changed.value.slice();
      writeU32le(value, 92, flow.slot);
      b.driver.putFlows({ keys: changed.key, values: value, count: 1 });
      b.testbed.vms[0].send(frames[0]);
      b.expect(new Map([[b.testbed.vms[2], [frames[0]]]]));
      assert.equal(b.counters(flow).packets - before.packets, 3);
      b.driver.deleteFlows(changed.key, 1);
    });

    t('an action that belongs to another flow is not executed', (b) => {
      const [p1, p2, p3] = b.testbed.ports;
      const frame = udp();
      for (const break_ of [
        (v: Uint8Array) => writeU32le(v, A_OWNER_PORT, p3.ifindex),
        (v: Uint8Array) => writeU32le(v, 104, 0x7777),
        (v: Uint8Array) => (v[12] = 3),
      ]) {
        const flow = b.compile({ port: p1, frame, output: OUT_PORT, outPort: p2.ifindex });
        break_(flow.value);
        b.driver.putFlows({ keys: flow.key, values: flow.value, count: 1 });
        b.testbed.vms[0].send(frame);
        assert.equal(b.takeUpcalls(1)[0].reason, UPCALL_MISS);
        b.expectDrops({ flow_raced: 1 });
        b.expect(new Map());
        b.driver.deleteFlows(flow.key, 1);
      }
    });

    t('a full table takes a prefix of the batch', (b) => {
      const [p1, p2] = b.testbed.ports;
      const n = 80;
      const flows = Array.from({ length: n }, (_, i) =>
        b.compile({ port: p1, frame: udp({ srcPort: 5000 + i }), output: OUT_PORT, outPort: p2.ifindex }),
      );
      const values = new Uint8Array(n * FLOW_VALUE_SIZE);
      flows.forEach((f, i) => {
        values.set(f.value, i * FLOW_VALUE_SIZE);
      });
      const taken = b.driver.putFlows({ keys: joinKeys(flows), values, count: n });
      try {
        assert.equal(taken, b.testbed.options.maxFlows);
        assert.equal(b.driver.stats().flows, taken);
        b.testbed.vms[0].send(udp({ srcPort: 5000 + taken - 1 }));
        b.expect(new Map([[b.testbed.vms[1], [udp({ srcPort: 5000 + taken - 1 })]]]));
        b.testbed.vms[0].send(udp({ srcPort: 5000 + taken }));
        b.takeUpcalls(1);
        assert.equal(
          b.driver.putFlows({ keys: flows[0].key, values: flows[0].value, count: 1 }),
          1,
          'replacing needs no room',
        );
      } finally {
        b.driver.deleteFlows(joinKeys(flows), n);
      }
      assert.equal(b.driver.stats().flows, 0);
    });
  });
}

function joinKeys(flows: readonly InstalledFlow[]): Uint8Array {
  const keys = new Uint8Array(flows.length * KEY_SIZE);
  flows.forEach((f, i) => {
    keys.set(f.key, i * KEY_SIZE);
  });
  return keys;
}
