/** What comes by tunnels: validated from the outside in, each failure counted under its own name, the rest delivered by key. */
import assert from 'node:assert/strict';
import { type DropReason, FLOW_STATE_KEY, KEY_FORWARDED, UPCALL_FLOW_STATE } from '@weft/flow';
import { arpRequest, setU16, setU32, u16 } from '@weft/packet';
import { hex } from './bench.ts';
import { openTunnel, payload, tcp, tunnelled, udp, V6, VM3 } from './frames.ts';
import { group } from './suite.ts';
import { type DriverFactory, LOCAL4, LOCAL6, OTHER_PEER4, PEER4, PEER6, STRANGER4, STRANGER6 } from './testbed.ts';

const PEER = 1;

export function arrivalTests(factory: DriverFactory): void {
  for (const encap of ['vxlan', 'gre'] as const) {
    for (const family of ['IPv4', 'IPv6'] as const) {
      group(`arrivals: ${encap} over ${family}`, factory, { encap }, (t) => {
        const ipv6 = family === 'IPv6';
        const remote = ipv6 ? PEER6 : PEER4;
        const local = ipv6 ? LOCAL6 : LOCAL4;
        const stranger = ipv6 ? STRANGER6 : STRANGER4;

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

        t('a port that has moved: on to its host, as it came, and no further', (b) => {
          const [, p2] = b.testbed.ports;
          b.testbed.tunnel(PEER, remote);
          const away = 7;
          b.testbed.tunnel(away, OTHER_PEER4);
          const key = 107;
          b.driver.setEgress({ key, ports: [], remotes: [{ peer: away, key: 108 }] });
          const sentOn = (n: number) => (n | KEY_FORWARDED) >>> 0;
          const peer = { src: remote, dst: local, ethDst: b.testbed.underlayMacs[0] };
          const arp = arpRequest({ senderMac: VM3, senderIp: '10.0.0.9', targetIp: '10.0.0.2' });
          for (const inner of [udp(), tcp(V6), udp({ vlan: 6 }), arp, udp({ payload: payload(1300) })]) {
            b.testbed.underlay[0].send(tunnelled(encap, inner, { ...peer, key, tos: 1 }));
            const o = openTunnel(b.arrivals(b.testbed.underlay[0], 1)[0].frame, encap);
            assert.deepEqual([o.src, o.dst, o.key, o.ttl], [LOCAL4, OTHER_PEER4, sentOn(108), 64]);
            assert.ok(o.headerOk);
            assert.equal(hex(o.inner), hex(inner));
            // Who comes from another host that the port has left goes round in no circle.
            b.testbed.underlay[0].send(tunnelled(encap, inner, { ...peer, key: sentOn(key) }));
            b.expectDrops({ forwarded_before: 1 });
          }
          b.testbed.tunnel(away, OTHER_PEER4, { mtu: 1_000 });
          b.testbed.underlay[0].send(tunnelled(encap, udp({ payload: payload(1300) }), { ...peer, key }));
          b.expectDrops({ too_big: 1 });
          b.driver.deleteTunnel(away);
          b.testbed.underlay[0].send(tunnelled(encap, udp(), { ...peer, key }));
          b.expectDrops({ no_tunnel: 1 });
          // Where the port is, what was sent on is delivered like anything else.
          b.driver.setEgress({ key, ports: [p2.ifindex] });
          for (const k of [key, sentOn(key)]) {
            b.testbed.underlay[0].send(tunnelled(encap, udp(), { ...peer, key: k }));
            b.expect(new Map([[b.testbed.vms[1], [udp()]]]));
          }
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
      });
    }
  }
}

/** Writes the right header checksum into the outer IPv4 header. */
function fixIpv4(frame: Uint8Array): void {
  setU16(frame, 24, 0);
  let s = 0;
  for (let i = 14; i < 34; i += 2) s += u16(frame, i);
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16);
  setU16(frame, 24, ~s);
}
