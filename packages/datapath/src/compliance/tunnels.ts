/** What leaves by tunnels is exact; a tunnel may change under its flows. (What comes: `arrivals.ts`.) */
import assert from 'node:assert/strict';
import { OUT_TUNNEL, UPCALL_PATH_MTU } from '@weft/flow';
import { arpRequest, icmpError, tcpFrame, u16, verifyChecksums } from '@weft/packet';
import { setOffloads } from '@weft/sys';
import { type Bench, hex } from './bench.ts';
import { ETH, openTunnel, payload, tcp, tunnelled, udp, V6, VM3 } from './frames.ts';
import { offloadCases } from './rewrites.ts';
import { group } from './suite.ts';
import {
  type DriverFactory,
  LOCAL4,
  LOCAL6,
  MULTIPATH_PEER4,
  OTHER_PEER4,
  PEER4,
  PEER6,
  STRANGER4,
  STRANGER6,
} from './testbed.ts';

const PEER = 1;

export function tunnelTests(factory: DriverFactory): void {
  for (const encap of ['vxlan', 'gre'] as const) {
    for (const family of ['IPv4', 'IPv6'] as const) {
      group(`${encap} over ${family}`, factory, { encap }, (t) => {
        const ipv6 = family === 'IPv6';
        const remote = ipv6 ? PEER6 : PEER4;
        const local = ipv6 ? LOCAL6 : LOCAL4;

        t('outer headers', (b) => {
          const [p1] = b.testbed.ports;
          b.testbed.tunnel(PEER, remote);
          assert.equal(b.driver.overhead(ipv6), (encap === 'gre' ? 42 : 50) + (ipv6 ? 20 : 0));
          const frames = [udp(), tcp(V6), udp({ tos: 0xb9 }), udp({ ...V6, tos: 0x03 }), udp({ vlan: 0x2005, tos: 2 })];
          for (const frame of frames) {
            b.flow({ port: p1, frame, output: OUT_TUNNEL, outPort: PEER, tunnelKey: 0xabcdef });
            b.testbed.vms[0].send(frame);
            const [a] = b.arrivals(b.testbed.underlay[0], 1);
            const o = openTunnel(a.frame, encap);
            assert.deepEqual([o.src, o.dst, o.key, o.ttl], [local, remote, 0xabcdef, 64]);
            assert.ok(o.headerOk && o.dontFragment);
            const l3 = frame[12] === 0x81 ? 18 : 14;
            const tos = frame[l3] >>> 4 === 4 ? frame[l3 + 1] : (u16(frame, l3) >>> 4) & 0xff;
            assert.equal(o.tos, tos & 3, 'ECN is copied, DSCP is not');
            assert.equal(hex(o.inner), hex(frame));
            if (encap === 'vxlan') assert.ok(o.sourcePort >= 49_152);
          }
          for (const vm of b.testbed.vms) b.silent(vm);
        });

        t('any ethertype is carried', (b) => {
          const [p1] = b.testbed.ports;
          b.testbed.tunnel(PEER, remote);
          const arp = arpRequest({
            senderMac: ETH.ethSrc,
            senderIp: '10.0.0.1',
            targetIp: '10.0.0.2',
            ethDst: ETH.ethDst,
          });
          const lldp = new Uint8Array([...udp().subarray(0, 12), 0x88, 0xcc, ...payload(60)]);
          for (const frame of [arp, lldp, udp({ vlan: [7, 8] }), arpWithTag()]) {
            b.flow({ port: p1, frame, output: OUT_TUNNEL, outPort: PEER, tunnelKey: 3 });
            b.testbed.vms[0].send(frame);
            const o = openTunnel(b.arrivals(b.testbed.underlay[0], 1)[0].frame, encap);
            assert.equal(hex(o.inner), hex(frame));
            assert.equal(o.tos, 0);
          }
        });

        t('the source port tells flows apart and keeps one together', (b) => {
          const [p1] = b.testbed.ports;
          b.testbed.tunnel(PEER, remote);
          const sourcePort = (frame: Uint8Array) => {
            b.flow({ port: p1, frame, output: OUT_TUNNEL, outPort: PEER, tunnelKey: 3 });
            b.testbed.vms[0].send(frame);
            return openTunnel(b.arrivals(b.testbed.underlay[0], 1)[0].frame, encap).sourcePort;
          };
          const flows = Array.from({ length: 8 }, (_, i) => sourcePort(udp({ srcPort: 3000 + i })));
          if (encap === 'gre') return;
          assert.ok(new Set(flows).size >= 4, `source ports ${flows}`);
          assert.equal(sourcePort(udp({ srcPort: 3000, payload: payload(99) })), flows[0]);
        });

        for (const c of offloadCases()) {
          t(`${c.name}, cut for the wire`, (b) => {
            const [p1] = b.testbed.ports;
            b.testbed.tunnel(PEER, remote);
            b.testbed.inHost(() => setOffloads('u0', { tx: false, tso: false, gso: false }));
            b.flow({
              port: p1,
              frame: c.from,
              rewrite: c.rewrite,
              ttlDec: 1,
              output: OUT_TUNNEL,
              outPort: PEER,
              tunnelKey: 3,
            });
            b.testbed.vms[0].send(c.from, c.vnetHeader);
            const got = b.arrivals(b.testbed.underlay[0], c.to.length).map((a) => {
              assert.equal(hex(a.vnetHeader), '00'.repeat(10), 'nothing is left to a card');
              return openTunnel(a.frame, encap);
            });
            c.to.forEach((frame, i) => {
              assert.deepEqual(verifyChecksums(got[i].inner.slice()), []);
              assert.ok(got[i].headerOk);
              assert.equal(hex(got[i].inner), hex(frame));
            });
          });
        }

        t('a router of the underlay says "too big"', (b) => pathMtu(b, encap, ipv6));

        t('a tunnel that changes: other remote, other MTU; deleted peers are strangers', (b) => {
          const [p1, p2] = b.testbed.ports;
          b.testbed.tunnel(PEER, remote);
          b.driver.setEgress({ key: 105, ports: [p2.ifindex] });
          b.flow({ port: p1, frame: udp(), output: OUT_TUNNEL, outPort: PEER, tunnelKey: 3 });
          b.testbed.vms[0].send(udp());
          b.arrivals(b.testbed.underlay[0], 1);
          b.testbed.tunnel(PEER, OTHER_PEER4);
          b.testbed.vms[0].send(udp());
          const [a] = b.arrivals(b.testbed.underlay[0], 1);
          assert.equal(openTunnel(a.frame, encap).dst, OTHER_PEER4);
          const old = tunnelled(encap, udp(), { src: remote, dst: local, ethDst: b.testbed.underlayMacs[0], key: 105 });
          b.testbed.underlay[0].send(old);
          b.expectDrops(encap === 'gre' ? { foreign_gre: 1 } : { outer_unknown_peer: 1 });
          b.silent(b.testbed.vms[1]);
          b.driver.deleteTunnel(PEER);
        });
      });
    }
  }

  group('several ways to a peer', factory, { encap: 'vxlan' }, (t) => {
    t('flows spread over the interfaces, each stays on its own', (b) => {
      const [p1] = b.testbed.ports;
      b.testbed.tunnel(PEER, MULTIPATH_PEER4, { ifindexes: b.testbed.underlays });
      const flows = Array.from({ length: 24 }, (_, i) => udp({ srcPort: 100 + i * 13 }));
      for (const frame of flows) b.flow({ port: p1, frame, output: OUT_TUNNEL, outPort: PEER, tunnelKey: 3 });
      const ways: string[] = [];
      for (let round = 0; round < 2; round++) {
        for (const frame of flows) b.testbed.vms[0].send(frame);
        const seen = b.testbed.underlay.map((w) => w).map(() => [] as string[]);
        b.until(() => {
          b.testbed.underlay.forEach((wire, i) => {
            for (const a of wire.take()) seen[i].push(hex(openTunnel(a.frame, 'vxlan').inner));
          });
          return seen[0].length + seen[1].length >= flows.length;
        });
        assert.equal(seen[0].length + seen[1].length, flows.length);
        assert.ok(seen[0].length >= 3 && seen[1].length >= 3, `${seen[0].length} and ${seen[1].length}`);
        ways.push(seen[0].sort().join());
      }
      assert.equal(ways[0], ways[1]);
    });
  });
}

function pathMtu(b: Bench, encap: 'gre' | 'vxlan', ipv6: boolean): void {
  const remote = ipv6 ? PEER6 : PEER4;
  const local = ipv6 ? LOCAL6 : LOCAL4;
  b.testbed.tunnel(PEER, remote);
  const ours = (dst: string) =>
    tunnelled(encap, udp({ payload: payload(1300) }), { src: local, dst, ethDst: b.testbed.underlayMacs[0], key: 3 });
  const report = (offending: Uint8Array, mtu: number) =>
    icmpError({
      ethSrc: '02:0e:00:00:00:00',
      ethDst: b.testbed.underlayMacs[0],
      src: ipv6 ? 'fd00:255::99' : '10.255.0.99',
      type: ipv6 ? 2 : 3,
      code: ipv6 ? 0 : 4,
      rest: mtu,
      packet: offending,
      ip: 14,
    });
  const overhead = b.driver.overhead(ipv6);
  for (const [mtu, inner] of [
    [1400, 1400 - overhead],
    [600, 1280],
  ]) {
    b.testbed.underlay[0].send(report(ours(remote), mtu));
    const [u] = b.takeUpcalls(1);
    assert.deepEqual([u.reason, u.peer, u.mtu], [UPCALL_PATH_MTU, PEER, inner]);
  }
  // About a packet that we never sent: nobody of ours at its destination, or no tunnel packet.
  b.testbed.underlay[0].send(report(ours(ipv6 ? STRANGER6 : STRANGER4), 1400));
  const addresses = { src: local, dst: remote, ethSrc: ETH.ethSrc, ethDst: b.testbed.underlayMacs[0] };
  b.testbed.underlay[0].send(report(tcpFrame({ ...addresses, srcPort: 1, dstPort: 4789 }), 1400));
  b.takeUpcalls(0);
  b.expectDrops({});
}

function arpWithTag(): Uint8Array {
  return arpRequest({ senderMac: VM3, senderIp: '10.0.0.1', targetIp: '10.0.0.2', vlan: 44 });
}
