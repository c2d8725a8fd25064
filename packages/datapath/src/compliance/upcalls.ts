/** What comes up and how much of it; what user space sends back. */
import assert from 'node:assert/strict';
import {
  F_ETH_DST,
  K_ETH_DST,
  K_VLAN,
  OUT_DROP,
  OUT_LIST,
  OUT_PORT,
  OUT_TUNNEL,
  UPCALL_MISS,
  UPCALL_TOO_BIG,
  UPCALL_TTL,
  VLAN_PRESENT,
  writeU16,
} from '@weft/flow';
import { macParse } from '@weft/packet';
import { EventFd, VIRTIO_NET_HDR_GSO_TCPV4 } from '@weft/sys';
import type { Upcall } from '../contract.ts';
import { hex } from './bench.ts';
import { openTunnel, partial, payload, tcp, udp, V6, VM3, vnet } from './frames.ts';
import { offloadCases } from './rewrites.ts';
import { group } from './suite.ts';
import { type DriverFactory, PEER4 } from './testbed.ts';

export function upcallTests(factory: DriverFactory): void {
  group('upcalls', factory, { encap: 'vxlan' }, (t) => {
    t('TTL: a packet that would die goes up unchanged', (b) => {
      const [p1, p2] = b.testbed.ports;
      for (const family of [{}, V6]) {
        const frames = [2, 1, 0].map((ttl) => udp({ ...family, ttl }));
        b.flow({
          port: p1,
          frame: frames[0],
          read: F_ETH_DST,
          ttlDec: 1,
          output: OUT_PORT,
          outPort: p2.ifindex,
          rewrite: (k) => k.set(macParse(VM3), K_ETH_DST),
        });
        for (const frame of frames) b.testbed.vms[0].send(frame);
        const upcalls = b.takeUpcalls(2);
        upcalls.forEach((u, i) => {
          assert.equal(u.reason, UPCALL_TTL);
          assert.equal(hex(u.frame), hex(frames[i + 1]));
        });
        b.expect(new Map([[b.testbed.vms[1], [udp({ ...family, ttl: 1, ethDst: VM3 })]]]));
      }
    });

    t('too big: by the flow, by the tunnel, to the byte', (b) => {
      const [p1, p2] = b.testbed.ports;
      b.testbed.tunnel(1, PEER4, { mtu: 900 });
      const fits = udp({ payload: payload(872) });
      const big = udp({ payload: payload(873) });
      const outputs = [
        { output: OUT_PORT, outPort: p2.ifindex, mtu: 900 },
        { output: OUT_TUNNEL, outPort: 1, tunnelKey: 5 },
        { output: OUT_TUNNEL, outPort: 1, tunnelKey: 5, mtu: 1400 },
      ];
      for (const output of outputs) {
        b.flow({ port: p1, frame: fits, ...output });
        b.testbed.vms[0].send(fits);
        b.testbed.vms[0].send(big);
        const [u] = b.takeUpcalls(1);
        assert.equal(u.reason, UPCALL_TOO_BIG);
        assert.equal(hex(u.frame), hex(big));
        assert.equal(u.segmentLength, 901);
        const wire = output.output === OUT_PORT ? b.testbed.vms[1] : b.testbed.underlay[0];
        b.arrivals(wire, 1);
      }
    });

    t('too big: a tag needs its four bytes in the tunnel', (b) => {
      const [p1] = b.testbed.ports;
      b.testbed.tunnel(1, PEER4, { mtu: 900 });
      const fits = udp({ payload: payload(868), vlan: 4 });
      const big = udp({ payload: payload(869), vlan: 4 });
      b.flow({ port: p1, frame: fits, output: OUT_TUNNEL, outPort: 1, tunnelKey: 5 });
      b.testbed.vms[0].send(fits);
      b.testbed.vms[0].send(big);
      assert.equal(b.takeUpcalls(1)[0].reason, UPCALL_TOO_BIG);
      assert.equal(hex(openTunnel(b.arrivals(b.testbed.underlay[0], 1)[0].frame, 'vxlan').inner), hex(fits));
    });

    t('too big: a tag that the flow pushes, or takes away', (b) => {
      const [p1] = b.testbed.ports;
      b.testbed.tunnel(1, PEER4, { mtu: 900 });
      const tag = VLAN_PRESENT | 4;
      for (const [vlan, after, room] of [
        [undefined, tag, 896],
        [4, 0, 900],
      ] as const) {
        const fits = udp({ payload: payload(room - 28), vlan });
        const big = udp({ payload: payload(room - 27), vlan });
        const rewrite = (k: Uint8Array) => writeU16(k, K_VLAN, after);
        b.flow({ port: p1, frame: fits, rewrite, output: OUT_TUNNEL, outPort: 1, tunnelKey: 5 });
        b.testbed.vms[0].send(fits);
        b.testbed.vms[0].send(big);
        assert.equal(b.takeUpcalls(1)[0].reason, UPCALL_TOO_BIG);
        b.arrivals(b.testbed.underlay[0], 1);
      }
    });

    t('too big: of a super-packet one segment counts', (b) => {
      const [p1, p2] = b.testbed.ports;
      const frame = partial(tcp({ payload: payload(4000) }), 14, 34, 16);
      const header = (gsoSize: number) =>
        vnet({ csumStart: 34, csumOffset: 16, gsoType: VIRTIO_NET_HDR_GSO_TCPV4, gsoSize, hdrLen: 54 });
      b.flow({ port: p1, frame, output: OUT_PORT, outPort: p2.ifindex, mtu: 1040 });
      b.testbed.vms[0].send(frame, header(1000));
      b.testbed.vms[0].send(frame, header(1001));
      const [u] = b.takeUpcalls(1);
      assert.equal(u.reason, UPCALL_TOO_BIG);
      assert.equal(u.segmentLength, 1041);
      assert.ok(b.testbed.vms[1].take().length > 0);
    });

    t('too big: a remote of a list costs only its own copy', (b) => {
      const [p1, p2] = b.testbed.ports;
      b.testbed.tunnel(1, PEER4, { mtu: 500 });
      b.testbed.tunnel(2, PEER4, { mtu: 1500 });
      b.driver.setList({
        id: 3,
        ports: [p2.ifindex],
        remotes: [
          { peer: 1, key: 1 },
          { peer: 2, key: 2 },
        ],
      });
      const frame = udp({ payload: payload(600) });
      b.flow({ port: p1, frame, output: OUT_LIST, outPort: 3 });
      b.testbed.vms[0].send(frame);
      assert.equal(openTunnel(b.arrivals(b.testbed.underlay[0], 1)[0].frame, 'vxlan').key, 2);
      b.expect(new Map([[b.testbed.vms[1], [frame]]]));
      b.expectDrops({ too_big: 1 });
    });

    t('a super-packet goes up whole, ready to be sent again', (b) => {
      const [p1, p2] = b.testbed.ports;
      for (const c of offloadCases()) {
        b.testbed.vms[0].send(c.from, c.vnetHeader);
        const [u] = b.takeUpcalls(1);
        assert.equal(u.reason, UPCALL_MISS);
        assert.equal(hex(u.frame), hex(c.from), c.name);
        const sent = b.action({ port: p1, frame: c.from, output: OUT_PORT, outPort: p2.ifindex });
        b.driver.execute([{ frame: u.frame, vnetHeader: u.vnetHeader, action: sent }]);
        b.settle();
        assert.ok(b.testbed.vms[1].take().length > 0, c.name);
      }
    });

    t('execute: an action without a flow, frames in order, tag and rewrite included', (b) => {
      const [p1, p2, p3] = b.testbed.ports;
      b.testbed.tunnel(1, PEER4);
      b.driver.setList({ id: 4, ports: [p2.ifindex, p3.ifindex], remotes: [] });
      const frames = [1, 2, 3, 4, 5].map((n) => udp({ srcPort: n, vlan: n === 3 ? 12 : undefined }));
      const rewrite = (k: Uint8Array) => {
        k.set(macParse(VM3), K_ETH_DST);
      };
      b.driver.execute(
        frames.map((frame) => ({
          frame,
          vnetHeader: null,
          action: b.action({ port: p1, frame, rewrite, ttlDec: 1, output: OUT_PORT, outPort: p2.ifindex }),
        })),
      );
      const out = [1, 2, 3, 4, 5].map((n) => udp({ srcPort: n, vlan: n === 3 ? 12 : undefined, ethDst: VM3, ttl: 63 }));
      b.expect(new Map([[b.testbed.vms[1], out]]));
      b.driver.execute([
        {
          frame: udp(),
          vnetHeader: null,
          action: b.action({ port: p1, frame: udp(), output: OUT_TUNNEL, outPort: 1, tunnelKey: 9 }),
        },
        { frame: tcp(), vnetHeader: null, action: b.action({ port: p1, frame: tcp(), output: OUT_LIST, outPort: 4 }) },
        { frame: udp(), vnetHeader: null, action: b.action({ port: p1, frame: udp(), output: OUT_DROP }) },
      ]);
      const [a] = b.arrivals(b.testbed.underlay[0], 1);
      assert.equal(hex(openTunnel(a.frame, 'vxlan').inner), hex(udp()));
      b.expect(
        new Map([
          [b.testbed.vms[1], [tcp()]],
          [b.testbed.vms[2], [tcp()]],
        ]),
      );
      b.expectDrops({ flow_drop: 1 });
      assert.equal(b.driver.stats().flows, 0);
    });

    t('execute: what is too big or too old goes up again', (b) => {
      const [p1, p2] = b.testbed.ports;
      const frame = udp({ ttl: 1 });
      b.driver.execute([
        {
          frame,
          vnetHeader: null,
          action: b.action({ port: p1, frame, ttlDec: 1, output: OUT_PORT, outPort: p2.ifindex }),
        },
        {
          frame,
          vnetHeader: null,
          action: b.action({ port: p1, frame, mtu: 30, output: OUT_PORT, outPort: p2.ifindex }),
        },
      ]);
      const upcalls = b.takeUpcalls(2);
      assert.deepEqual(
        upcalls.map((u) => [u.reason, u.inPort]),
        [
          [UPCALL_TTL, p1.ifindex],
          [UPCALL_TOO_BIG, p1.ifindex],
        ],
      );
      b.expect(new Map());
    });

    t('poll: at most max, the rest later, none lost', (b) => {
      for (let i = 0; i < 10; i++) b.testbed.vms[0].send(udp({ srcPort: i }));
      const ports: number[] = [];
      let inRow = 0;
      for (let turn = 0; turn < 1000 && ports.length < 10; turn++) {
        inRow = b.driver.poll(1, 3, (u) => {
          ports.push(u.frame[35]);
        });
        assert.ok(inRow <= 3);
      }
      assert.deepEqual(ports, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    });

    t('poll: 0 does not wait; a wake ends the wait', (b) => {
      assert.equal(
        b.driver.poll(0, 1, () => {}),
        0,
      );
      EventFd.signal(b.driver.wakeFd);
      // Without the wake this would never end.
      assert.equal(
        b.driver.poll(-1, 1, () => {}),
        0,
      );
    });

    t('a handler may install and execute', (b) => {
      const [p1, p2] = b.testbed.ports;
      const frame = udp();
      b.testbed.vms[0].send(frame);
      let n = 0;
      const handler = (u: Upcall) => {
        n++;
        b.flow({ port: p1, frame, output: OUT_PORT, outPort: p2.ifindex });
        const action = b.action({ port: p1, frame, output: OUT_PORT, outPort: p2.ifindex });
        b.driver.execute([{ frame: u.frame, vnetHeader: u.vnetHeader, action }]);
      };
      b.pollUntil(8, handler, () => n > 0);
      b.testbed.vms[0].send(frame);
      b.expect(new Map([[b.testbed.vms[1], [frame, frame]]]));
    });

    t('what a handler executes never comes up inside that handler', (b) => {
      const [p1, p2] = b.testbed.ports;
      const frame = udp({ ttl: 1 });
      const action = b.action({ port: p1, frame, ttlDec: 1, output: OUT_PORT, outPort: p2.ifindex });
      const seen: [number, string][] = [];
      let depth = 0;
      const handler = (u: Upcall) => {
        depth++;
        assert.equal(depth, 1, 'nested');
        if (u.reason === UPCALL_MISS) b.driver.execute([{ frame, vnetHeader: null, action }]);
        // The handler's own upcall is still what it was.
        seen.push([u.reason, hex(u.frame)]);
        depth--;
      };
      b.testbed.vms[0].send(tcp());
      b.pollUntil(8, handler, () => seen.length >= 2);
      assert.deepEqual(seen, [
        [UPCALL_MISS, hex(tcp())],
        [UPCALL_TTL, hex(frame)],
      ]);
    });

    t('the budget of a port: its burst, and nothing for others to pay', (b) => {
      const [p1, p2] = b.testbed.ports;
      b.driver.attachPort({ ...p1, upcallRate: 1, upcallBurst: 5 });
      try {
        for (let i = 0; i < 12; i++) b.testbed.vms[0].send(udp({ srcPort: i }));
        assert.ok(b.takeUpcalls(5).every((u) => u.inPort === p1.ifindex));
        b.expectDrops({ upcall_budget: 7 });
        b.testbed.vms[1].send(udp());
        assert.equal(b.takeUpcalls(1)[0].inPort, p2.ifindex);
      } finally {
        b.driver.attachPort(p1);
      }
    });

    t('super-packets beyond their budget come up as a head', (b) => {
      const [p1] = b.testbed.ports;
      b.driver.attachPort({ ...p1, upcallRate: 1, upcallBurst: 40 });
      try {
        const frame = partial(tcp({ payload: payload(9000) }), 14, 34, 16);
        const header = vnet({
          csumStart: 34,
          csumOffset: 16,
          gsoType: VIRTIO_NET_HDR_GSO_TCPV4,
          gsoSize: 1400,
          hdrLen: 54,
        });
        for (let i = 0; i < 8; i++) b.testbed.vms[0].send(frame, header);
        const upcalls = b.takeUpcalls(8);
        const whole = upcalls.filter((u) => u.frame.length === frame.length);
        const cut = upcalls.filter((u) => u.frame.length < frame.length);
        assert.ok(whole.length >= 1 && cut.length >= 1, `${whole.length} whole, ${cut.length} cut`);
        for (const u of cut) {
          assert.equal(u.length, frame.length);
          assert.equal(hex(u.frame), hex(frame.subarray(0, u.frame.length)));
          assert.ok(u.frame.length >= 128);
        }
        b.expectDrops({ super_packet_cut: cut.length });
      } finally {
        b.driver.attachPort(p1);
      }
    });
  });
}
