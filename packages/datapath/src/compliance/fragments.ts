/** Fragments: a later one is known by the ports of its first one, if that has passed; who sends many of them harms nobody else. */
import assert from 'node:assert/strict';
import { FRAG_LATER, K_IP_FRAG, K_TP_SRC, OUT_PORT, OUT_TUNNEL } from '@weft/flow';
import { fragmentFrame, icmpEcho, setU16 } from '@weft/packet';
import type { Bench } from './bench.ts';
import { ETH, openTunnel, payload, tcp, udp, V4, V6 } from './frames.ts';
import { group } from './suite.ts';
import { type DriverFactory, PEER4 } from './testbed.ts';

const BIG = { payload: payload(1400), dontFragment: false };

/** The fragments of a frame; `id` names its datagram (IPv4: in the frame, 16 bits). */
function pieces(frame: Uint8Array, id: number): Uint8Array[] {
  const whole = frame.slice();
  const l3 = whole[12] === 0x81 ? 18 : 14;
  if (whole[l3] >>> 4 === 4) setU16(whole, l3 + 4, id);
  return fragmentFrame(whole, 600, id);
}

/** Sends frames and returns the last seven bytes but one of the keys under which they come up: ports, ICMP id, ARP operation. */
function portsOf(b: Bench, frames: readonly Uint8Array[], vm = 0): string[] {
  for (const frame of frames) b.testbed.vms[vm].send(frame);
  return b.takeUpcalls(frames.length).map((u) => Buffer.from(u.key.subarray(K_TP_SRC, K_TP_SRC + 6)).toString('hex'));
}

const NONE = '000000000000';

export function fragmentTests(factory: DriverFactory): void {
  group('fragments', factory, { encap: 'vxlan' }, (t) => {
    t('later fragments have the ports of their first one, or the type, code and id of its ICMP message', (b) => {
      const echo = { ...ETH, id: 77, seq: 1, payload: payload(1400) };
      const cases: [string, Uint8Array, string][] = [
        ['UDP', udp(BIG), '03e807d00000'],
        ['TCP', tcp(BIG), '03e807d00000'],
        ['ICMP', icmpEcho({ ...echo, ...V4, dontFragment: false }), '00080000004d'],
        ['UDP over IPv6', udp({ ...V6, ...BIG }), '03e807d00000'],
        ['ICMPv6', icmpEcho({ ...echo, ...V6 }), '00800000004d'],
        ['with a tag', udp({ ...BIG, vlan: 5 }), '03e807d00000'],
        ['IPv6 with a tag', tcp({ ...V6, ...BIG, vlan: 5 }), '03e807d00000'],
      ];
      cases.forEach(([name, frame, ports], i) => {
        const sent = pieces(frame, 0x1234 + i);
        assert.equal(sent.length, 3);
        assert.deepEqual(portsOf(b, sent), [ports, ports, ports], name);
        // And again: a train of the same identification, as after 65,536 datagrams.
        assert.deepEqual(portsOf(b, sent), [ports, ports, ports], name);
      });
    });

    t('a flow of a later fragment matches by them', (b) => {
      const [p1, p2, p3] = b.testbed.ports;
      const [first, later] = pieces(udp(BIG), 1);
      const rewritten = (ports: { srcPort: number }) => pieces(udp({ ...BIG, ...ports }), 1)[0];
      // Two flows that differ only in ports, made from keys as they come up.
      for (const [frame, port] of [
        [first, p2],
        [rewritten({ srcPort: 1001 }), p3],
      ] as const) {
        b.testbed.vms[0].send(frame);
        b.testbed.vms[0].send(later);
        const key = b.takeUpcalls(2)[1].key;
        assert.equal(key[K_IP_FRAG], FRAG_LATER);
        b.flow({ port: p1, frame: later, key, output: OUT_PORT, outPort: port.ifindex });
      }
      // The second datagram is the last one that passed.
      b.testbed.vms[0].send(later);
      b.expect(new Map([[b.testbed.vms[2], [later]]]));
      portsOf(b, [first]);
      b.testbed.vms[0].send(later);
      b.expect(new Map([[b.testbed.vms[1], [later]]]));
    });

    t('without a first one they have none: it comes later, or never, or is of another datagram', (b) => {
      const [first, later, last] = pieces(udp(BIG), 700);
      assert.deepEqual(portsOf(b, [later, first, last]), [NONE, '03e807d00000', '03e807d00000']);
      const others = {
        'another identification': pieces(udp(BIG), 701),
        'another source': pieces(udp({ ...BIG, src: '10.0.0.9' }), 700),
        'another destination': pieces(udp({ ...BIG, dst: '10.0.0.9' }), 700),
        'addresses the other way round': pieces(udp({ ...BIG, src: V4.dst, dst: V4.src }), 700),
        'another protocol': pieces(tcp(BIG), 700),
        'another VLAN': pieces(udp({ ...BIG, vlan: 9 }), 700),
        'another family': pieces(udp({ ...V6, ...BIG }), 700),
        'identifications 256 apart': pieces(udp(BIG), 700 + 256),
      };
      for (const [what, [, fragment]] of Object.entries(others)) assert.deepEqual(portsOf(b, [fragment]), [NONE], what);
      assert.deepEqual(portsOf(b, [later], 1), [NONE], 'another port');
      assert.deepEqual(portsOf(b, [later]), ['03e807d00000'], 'the entry is still there');
    });

    t('the latest first fragment counts, a malformed one does not', (b) => {
      const [first, later] = pieces(udp(BIG), 9);
      const other = pieces(udp({ ...BIG, srcPort: 7 }), 9)[0];
      assert.deepEqual(portsOf(b, [first, other, later]), ['03e807d00000', '000707d00000', '000707d00000']);
      // A first fragment too short for its ports.
      const tiny = first.slice(0, 14 + 20 + 3);
      setU16(tiny, 16, 23);
      b.testbed.vms[0].send(tiny);
      b.expectDrops({ malformed: 1 });
      assert.deepEqual(portsOf(b, [later]), ['000707d00000']);
    });

    t('a port that sends first fragments without end pushes out only its own', (b) => {
      const [first, later] = pieces(udp(BIG), 4711);
      const [mine, mineLater] = pieces(udp(BIG), 1);
      assert.deepEqual(portsOf(b, [first], 1), ['03e807d00000']);
      assert.deepEqual(portsOf(b, [mine]), ['03e807d00000']);
      for (let i = 0; i < 1200; i += 100) {
        portsOf(
          b,
          Array.from({ length: 100 }, (_, n) => pieces(udp(BIG), 2 + i + n)[0]),
        );
      }
      assert.deepEqual(portsOf(b, [later], 1), ['03e807d00000']);
      assert.deepEqual(portsOf(b, [mineLater]), [NONE]);
      // The latest 256 of a sender that counts are known.
      assert.deepEqual(
        portsOf(
          b,
          Array.from({ length: 256 }, (_, n) => pieces(udp(BIG), 1201 - n)[1]),
        ),
        new Array(256).fill('03e807d00000'),
      );
    });

    t('a port that was detached and came back has forgotten', (b) => {
      const [p1] = b.testbed.ports;
      const [first, later] = pieces(udp(BIG), 33);
      assert.deepEqual(portsOf(b, [first, later]), ['03e807d00000', '03e807d00000']);
      b.driver.detachPort(p1.ifindex);
      b.driver.attachPort(p1);
      assert.deepEqual(portsOf(b, [later]), [NONE]);
    });

    t('all fragments of a packet take one way, known or not', (b) => {
      const [p1] = b.testbed.ports;
      b.testbed.tunnel(1, PEER4);
      for (const family of [{}, V6]) {
        const sent = pieces(udp({ ...BIG, ...family }), 50);
        const sourcePorts = new Set<number>();
        for (const order of [
          [1, 0, 2],
          [0, 1, 2],
        ]) {
          for (const i of order) {
            b.testbed.vms[0].send(sent[i]);
            const [{ key }] = b.takeUpcalls(1);
            b.flow({ port: p1, frame: sent[i], key, output: OUT_TUNNEL, outPort: 1, tunnelKey: 3 });
            b.testbed.vms[0].send(sent[i]);
            sourcePorts.add(openTunnel(b.arrivals(b.testbed.underlay[0], 1)[0].frame, 'vxlan').sourcePort);
            b.deleteAll();
          }
        }
        assert.equal(sourcePorts.size, 1);
      }
    });
  });
}
