/** What becomes of a packet: ports, lists, drops, upcalls. Tunnels have a file of their own. */
import assert from 'node:assert/strict';
import {
  AF_PEER,
  AF_REPORT_TCP_FLAGS,
  dropReason,
  F_ETH_DST,
  K_ETH_DST,
  OUT_DROP,
  OUT_LIST,
  OUT_PORT,
  OUT_TUNNEL,
  OUT_UPCALL,
  UPCALL_ACTION,
  UPCALL_TCP_FLAGS,
} from '@weft/flow';
import { macParse, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '@weft/packet';
import { hex } from './bench.ts';
import { ETH, openTunnel, payload, tcp, udp, V6, VM3 } from './frames.ts';
import { group } from './suite.ts';
import { type DriverFactory, OTHER_PEER4, PEER4 } from './testbed.ts';

export function outputTests(factory: DriverFactory): void {
  group('outputs', factory, { encap: 'vxlan' }, (t) => {
    t('drop, counted under its reason', (b) => {
      const [p1] = b.testbed.ports;
      b.flow({ port: p1, frame: udp(), output: OUT_DROP });
      b.flow({ port: p1, frame: tcp(), output: OUT_DROP, reason: dropReason('filtered') });
      b.testbed.vms[0].send(udp());
      b.testbed.vms[0].send(tcp());
      b.testbed.vms[0].send(tcp());
      b.expectDrops({ flow_drop: 1, filtered: 2 });
      b.expect(new Map());
      b.takeUpcalls(0);
    });

    t('a port that is not attached gets nothing', (b) => {
      const [p1] = b.testbed.ports;
      b.flow({ port: p1, frame: udp(), output: OUT_PORT, outPort: b.testbed.underlays[1] });
      b.testbed.vms[0].send(udp());
      b.expectDrops({ no_egress_port: 1 });
      b.expect(new Map());
    });

    t('frames of every size pass unchanged', (b) => {
      const [p1, p2] = b.testbed.ports;
      const sizes = [0, 1, 17, 100, 128, 129, 1400, 1472];
      b.flow({ port: p1, frame: udp(), read: F_ETH_DST, output: OUT_PORT, outPort: p2.ifindex, flags: AF_PEER });
      const frames = sizes.map((n) => udp({ payload: payload(n) }));
      for (const frame of frames) b.testbed.vms[0].send(frame);
      b.expect(new Map([[b.testbed.vms[1], frames]]));
    });

    t('peer delivery: IPv4, IPv6, tagged, another MAC', (b) => {
      const [p1, p2] = b.testbed.ports;
      const frames = [udp(), tcp(V6), udp({ vlan: 5 }), udp({ ethDst: VM3 }), udp({ ethDst: 'ff:ff:ff:ff:ff:ff' })];
      for (const frame of frames) {
        b.flow({ port: p1, frame, output: OUT_PORT, outPort: p2.ifindex, flags: AF_PEER });
        b.testbed.vms[0].send(frame);
        b.expect(new Map([[b.testbed.vms[1], [frame]]]));
      }
    });

    t('upcall as the action', (b) => {
      const [p1] = b.testbed.ports;
      const frame = udp();
      b.flow({
        port: p1,
        frame,
        output: OUT_UPCALL,
        rewrite: (k) => k.set(macParse(VM3), K_ETH_DST),
      });
      b.testbed.vms[0].send(frame);
      b.testbed.vms[0].send(frame);
      for (const u of b.takeUpcalls(2)) {
        assert.equal(u.reason, UPCALL_ACTION);
        assert.equal(hex(u.frame), hex(frame), 'not rewritten');
      }
      b.expect(new Map());
    });

    t('FIN and RST go up beside being forwarded', (b) => {
      const [p1, p2] = b.testbed.ports;
      const frame = tcp();
      b.flow({ port: p1, frame, output: OUT_PORT, outPort: p2.ifindex, flags: AF_REPORT_TCP_FLAGS });
      const quiet = [tcp(), tcp({ flags: TCP_SYN })];
      const loud = [tcp({ flags: TCP_FIN | TCP_ACK }), tcp({ flags: TCP_RST })];
      for (const f of [...quiet, ...loud]) b.testbed.vms[0].send(f);
      const upcalls = b.takeUpcalls(2);
      upcalls.forEach((u, i) => {
        assert.equal(u.reason, UPCALL_TCP_FLAGS);
        assert.equal(hex(u.frame), hex(loud[i]));
      });
      b.expect(new Map([[b.testbed.vms[1], [...quiet, ...loud]]]));
    });

    t('a list: every local port but the ingress one, one copy for each remote', (b) => {
      const [p1, p2, p3] = b.testbed.ports;
      b.testbed.tunnel(1, PEER4);
      b.testbed.tunnel(2, OTHER_PEER4);
      const list = {
        id: 7,
        ports: [p1.ifindex, p2.ifindex, p3.ifindex],
        remotes: [
          { peer: 1, key: 1001 },
          { peer: 2, key: 1002 },
          { peer: 1, key: 1003 },
        ],
      };
      b.driver.setList(list);
      const frame = udp({ ...ETH, ethDst: 'ff:ff:ff:ff:ff:ff', dst: '10.0.0.255' });
      b.flow({ port: p1, frame, output: OUT_LIST, outPort: 7 });
      b.testbed.vms[0].send(frame);
      const outer = b.arrivals(b.testbed.underlay[0], 3).map((a) => openTunnel(a.frame, 'vxlan'));
      assert.deepEqual(
        // Each peer's neighbour may have to be resolved first: the copies wait per peer.
        outer.map((o) => `${o.dst} ${o.key}`).sort(),
        [`${PEER4} 1001`, `${OTHER_PEER4} 1002`, `${PEER4} 1003`].sort(),
      );
      for (const o of outer) assert.equal(hex(o.inner), hex(frame));
      b.expect(
        new Map([
          [b.testbed.vms[1], [frame]],
          [b.testbed.vms[2], [frame]],
        ]),
      );
      b.expectDrops({});
    });

    t('a list: ARP, IPv6 and tagged frames', (b) => {
      const [p1, p2] = b.testbed.ports;
      b.testbed.tunnel(1, PEER4);
      b.driver.setList({ id: 8, ports: [p2.ifindex], remotes: [{ peer: 1, key: 5 }] });
      const arp = new Uint8Array([...udp().subarray(0, 12), 0x08, 0x06, ...payload(28)]);
      for (const frame of [arp, udp(V6), udp({ vlan: 9 })]) {
        b.flow({ port: p1, frame, output: OUT_LIST, outPort: 8 });
        b.testbed.vms[0].send(frame);
        const [a] = b.arrivals(b.testbed.underlay[0], 1);
        const o = openTunnel(a.frame, 'vxlan');
        assert.equal(o.key, 5);
        assert.equal(hex(o.inner), hex(frame));
        b.expect(new Map([[b.testbed.vms[1], [frame]]]));
      }
    });

    t('a list that changes, shrinks, and goes', (b) => {
      const [p1, p2, p3] = b.testbed.ports;
      const frame = udp();
      b.driver.setList({ id: 9, ports: [p2.ifindex, p3.ifindex], remotes: [] });
      b.flow({ port: p1, frame, output: OUT_LIST, outPort: 9 });
      b.driver.setList({ id: 9, ports: [p3.ifindex], remotes: [] });
      b.testbed.vms[0].send(frame);
      b.expect(new Map([[b.testbed.vms[2], [frame]]]));
      b.driver.deleteList(9);
      b.testbed.vms[0].send(frame);
      b.expectDrops({ no_list: 1 });
      b.expect(new Map());
    });

    t('a remote of a list without tunnel costs only its own copy', (b) => {
      const [p1, p2] = b.testbed.ports;
      b.testbed.tunnel(1, PEER4);
      b.driver.deleteTunnel(3);
      b.driver.setList({
        id: 10,
        ports: [p2.ifindex],
        remotes: [
          { peer: 3, key: 1 },
          { peer: 1, key: 2 },
        ],
      });
      const frame = udp();
      b.flow({ port: p1, frame, output: OUT_LIST, outPort: 10 });
      b.testbed.vms[0].send(frame);
      assert.equal(openTunnel(b.arrivals(b.testbed.underlay[0], 1)[0].frame, 'vxlan').key, 2);
      b.expect(new Map([[b.testbed.vms[1], [frame]]]));
      b.expectDrops({ no_tunnel: 1 });
    });

    t('a list: the rewrite is in every copy', (b) => {
      const [p1, p2, p3] = b.testbed.ports;
      b.driver.setList({ id: 11, ports: [p2.ifindex, p3.ifindex], remotes: [] });
      const frame = udp();
      b.flow({
        port: p1,
        frame,
        output: OUT_LIST,
        outPort: 11,
        ttlDec: 1,
        rewrite: (k) => k.set(macParse(VM3), K_ETH_DST),
      });
      b.testbed.vms[0].send(frame);
      const out = udp({ ethDst: VM3, ttl: 63 });
      b.expect(
        new Map([
          [b.testbed.vms[1], [out]],
          [b.testbed.vms[2], [out]],
        ]),
      );
    });

    t('no tunnel to the peer', (b) => {
      const [p1] = b.testbed.ports;
      b.driver.deleteTunnel(4);
      b.flow({ port: p1, frame: udp(), output: OUT_TUNNEL, outPort: 4, tunnelKey: 1 });
      b.testbed.vms[0].send(udp());
      b.expectDrops({ no_tunnel: 1 });
      b.expect(new Map());
    });
  });
}
