/** Tunnels both ways: what we send is exact, what we take is validated from the outside in. */
import assert from 'node:assert/strict';
import { type DropReason, FLOW_STATE_KEY, OUT_TUNNEL, UPCALL_FLOW_STATE, UPCALL_PATH_MTU } from '@weft/flow';
import { arpRequest, icmpError, setU16, setU32, tcpFrame, u16, verifyChecksums } from '@weft/packet';
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
        const stranger = ipv6 ? STRANGER6 : STRANGER4;

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

        t('delivery by key: a port, several, none', (b) => {
          const [, p2, p3] = b.testbed.ports;
          b.testbed.tunnel(PEER, remote);
          b.driver.setEgress({ key: 100, ports: [p2.ifindex] });
          b.driver.setEgress({ key: 101, ports: [p2.ifindex, p3.ifindex] });
          const peer = { src: remote, dst: local, ethDst: b.testbed.underlayMacs[0] };
          const arp = arpRequest({ senderMac: VM3, senderIp: '10.0.0.9', targetIp: '10.0.0.2' });
          for (const inner of [
            udp(),
            tcp(V6),
            udp({ vlan: 6 }),
            udp({ ethDst: VM3 }),
            arp,
            udp({ payload: payload(1300) }),
          ]) {
            b.testbed.underlay[0].send(tunnelled(encap, inner, { ...peer, key: 100 }));
            b.expect(new Map([[b.testbed.vms[1], [inner]]]));
            b.testbed.underlay[0].send(tunnelled(encap, inner, { ...peer, key: 101 }));
            b.expect(
              new Map([
                [b.testbed.vms[1], [inner]],
                [b.testbed.vms[2], [inner]],
              ]),
            );
          }
          b.driver.deleteEgress(101);
          b.testbed.underlay[0].send(tunnelled(encap, udp(), { ...peer, key: 101 }));
          b.expectDrops({ outer_unknown_key: 1 });
          b.expect(new Map());
          b.takeUpcalls(0);
        });

        t('no answer of the host to tunnel packets', (b) => {
          b.testbed.tunnel(PEER, remote);
          const peer = { src: remote, dst: local, ethDst: b.testbed.underlayMacs[0], key: 0x123456 };
          b.testbed.underlay[0].send(tunnelled(encap, udp(), peer));
          b.expectDrops({ outer_unknown_key: 1 });
          b.silent(b.testbed.underlay[0]);
        });

        t('ECN is combined on arrival', (b) => {
          const [, p2] = b.testbed.ports;
          b.testbed.tunnel(PEER, remote);
          b.driver.setEgress({ key: 102, ports: [p2.ifindex] });
          const peer = { src: remote, dst: local, ethDst: b.testbed.underlayMacs[0], key: 102 };
          // Inner, outer, result (RFC 6040 figure 4; -1: dropped).
          const table = [
            [0, 0, 0],
            [0, 2, 0],
            [0, 3, -1],
            [2, 0, 2],
            [2, 1, 1],
            [2, 3, 3],
            [1, 2, 1],
            [1, 3, 3],
            [3, 0, 3],
          ];
          for (const v of [{}, V6]) {
            for (const [inner, outer, result] of table) {
              const frame = tunnelled(encap, udp({ ...v, tos: 0x20 | inner }), { ...peer, tos: outer });
              b.testbed.underlay[0].send(frame);
              if (result >= 0) b.expect(new Map([[b.testbed.vms[1], [udp({ ...v, tos: 0x20 | result })]]]));
              else b.expectDrops({ decap_failed: 1 });
            }
          }
        });

        t('malformed and foreign outer packets, each with its counter', (b) => {
          const [, p2] = b.testbed.ports;
          b.testbed.tunnel(PEER, remote);
          b.driver.setEgress({ key: 103, ports: [p2.ifindex] });
          const peer = { src: remote, dst: local, ethDst: b.testbed.underlayMacs[0], key: 103 };
          const l4 = ipv6 ? 54 : 34;
          const good = () => tunnelled(encap, udp(), peer);
          const broken = (edit: (f: Uint8Array) => void) => {
            const f = good();
            edit(f);
            if (!ipv6) fixIpv4(f);
            return f;
          };
          const expectOnly = (frame: Uint8Array, drops: Partial<Record<DropReason, number>>) => {
            b.testbed.underlay[0].send(frame);
            b.expectDrops(drops);
            b.silent(b.testbed.vms[1]);
            b.testbed.underlay[0].take(); // what the host answers to packets that are not ours is its own business
          };
          if (!ipv6) {
            expectOnly(
              broken((f) => setU16(f, 20, 0x2000)),
              { outer_fragment: 1 },
            );
            const later = broken((f) => setU16(f, 20, 0x0010));
            expectOnly(later, encap === 'gre' ? { outer_fragment: 1 } : {});
            expectOnly(
              broken((f) => setU16(f, 16, u16(f, 16) + 1)),
              { outer_length: 1 },
            );
          } else {
            expectOnly(
              broken((f) => setU16(f, 18, u16(f, 18) + 1)),
              { outer_length: 1 },
            );
          }
          if (encap === 'vxlan') {
            expectOnly(
              broken((f) => setU16(f, l4 + 4, u16(f, l4 + 4) - 1)),
              { outer_length: 1 },
            );
            expectOnly(
              broken((f) => setU32(f, l4 + 8, 0)),
              { outer_flags: 1 },
            );
            expectOnly(
              broken((f) => setU32(f, l4 + 8, 0x88000000)),
              { outer_flags: 1 },
            );
            expectOnly(tunnelled(encap, udp(), { ...peer, src: stranger }), { outer_unknown_peer: 1 });
            expectOnly(
              broken((f) => setU16(f, l4 + 2, 4790)),
              {},
            );
          } else {
            expectOnly(
              broken((f) => setU16(f, l4, 0)),
              { outer_flags: 1 },
            );
            expectOnly(
              broken((f) => setU16(f, l4, 0xa000)),
              { outer_flags: 1 },
            );
            expectOnly(
              broken((f) => setU16(f, l4 + 2, 0x0800)),
              { outer_flags: 1 },
            );
            expectOnly(tunnelled(encap, udp(), { ...peer, src: stranger }), { foreign_gre: 1 });
            // To somebody else's address it is not even noted.
            expectOnly(tunnelled(encap, udp(), { ...peer, src: stranger, dst: ipv6 ? STRANGER6 : OTHER_PEER4 }), {});
          }
          expectOnly(tunnelled(encap, udp().subarray(0, 13), peer), { inner_malformed: 1 });
          expectOnly(tunnelled(encap, udp(), { ...peer, dst: ipv6 ? STRANGER6 : OTHER_PEER4 }), {});
          b.testbed.underlay[0].send(good());
          b.expect(new Map([[b.testbed.vms[1], [udp()]]]));
          b.takeUpcalls(0);
        });

        t('a padded outer frame loses its trailer', (b) => {
          const [, p2] = b.testbed.ports;
          b.testbed.tunnel(PEER, remote);
          b.driver.setEgress({ key: 104, ports: [p2.ifindex] });
          const frame = tunnelled(encap, udp(), {
            src: remote,
            dst: local,
            ethDst: b.testbed.underlayMacs[0],
            key: 104,
          });
          const padded = new Uint8Array(frame.length + 9).fill(0xee);
          padded.set(frame);
          b.testbed.underlay[0].send(padded);
          b.expect(new Map([[b.testbed.vms[1], [udp()]]]));
        });

        t('host-to-host messages go up', (b) => {
          b.testbed.tunnel(PEER, remote);
          const inner = udp({ payload: payload(400) });
          const peer = { src: remote, dst: local, ethDst: b.testbed.underlayMacs[0], key: FLOW_STATE_KEY };
          b.testbed.underlay[0].send(tunnelled(encap, inner, peer));
          const [u] = b.takeUpcalls(1);
          assert.equal(u.reason, UPCALL_FLOW_STATE);
          assert.equal(u.inPort, 0);
          assert.equal(hex(u.frame), hex(inner));
        });

        t('messages of which no key can be made are counted like other frames that are cut', (b) => {
          b.testbed.tunnel(PEER, remote);
          const peer = { src: remote, dst: local, ethDst: b.testbed.underlayMacs[0], key: FLOW_STATE_KEY };
          const longer = udp();
          setU16(longer, 16, u16(longer, 16) + 1);
          const noPorts = udp().slice(0, 14 + 20 + 3);
          setU16(noPorts, 16, 23);
          const broken = [longer, noPorts, udp().slice(0, 33), udp(V6).slice(0, 60), udp({ vlan: 3 }).slice(0, 17)];
          for (const inner of broken) b.testbed.underlay[0].send(tunnelled(encap, inner, peer));
          b.expectDrops({ inner_malformed: broken.length });
          b.takeUpcalls(0);
        });

        t('an inner IP packet without its whole header reaches nobody', (b) => {
          const [, p2] = b.testbed.ports;
          b.testbed.tunnel(PEER, remote);
          b.driver.setEgress({ key: 106, ports: [p2.ifindex] });
          const peer = { src: remote, dst: local, ethDst: b.testbed.underlayMacs[0], key: 106 };
          const shortest: [Uint8Array, number][] = [
            [udp(), 34],
            [udp(V6), 54],
            [udp({ vlan: 3 }), 38],
            [udp({ ...V6, vlan: 3 }), 58],
          ];
          for (const [frame, least] of shortest) {
            for (const length of [least - 1, least]) {
              b.testbed.underlay[0].send(tunnelled(encap, frame.slice(0, length), peer));
              if (length < least) b.expectDrops({ inner_malformed: 1 });
              else b.expect(new Map([[b.testbed.vms[1], [frame.slice(0, length)]]]));
            }
          }
        });

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

/** Writes the right header checksum into the outer IPv4 header. */
function fixIpv4(frame: Uint8Array): void {
  setU16(frame, 24, 0);
  let s = 0;
  for (let i = 14; i < 34; i += 2) s += u16(frame, i);
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16);
  setU16(frame, 24, ~s);
}
