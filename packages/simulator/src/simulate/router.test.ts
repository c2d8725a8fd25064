import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { classFor, F_IP_SRC, F_IP_TTL, F_TP_DST, K_IP_TTL, MASK_CLASSES } from '@weft/flow';
import {
  arpReply,
  arpRequest,
  describe as describeFrame,
  icmpEcho,
  icmpError,
  ipParse,
  ndNeighborAdvert,
  ndNeighborSolicit,
  tcpFrame,
  udpFrame,
  verifyChecksums,
} from '@weft/packet';
import { GENERATED_TCP_RESET } from '../contract.ts';
import { attach, boundPort, HOST, LEFT_MAC, MAC_A, MAC_B, RIGHT_MAC, routed } from '../testing/networks.ts';
import { Workbench } from '../testing/workbench.ts';
import { World } from '../testing/world.ts';

const A4 = '10.0.1.10';
const B4 = '10.0.2.10';
const A6 = 'fd00:1::10';
const B6 = 'fd00:2::10';

function udp(src: string, dst: string, more: Record<string, unknown> = {}): Uint8Array {
  const frame = {
    ethSrc: MAC_A,
    ethDst: LEFT_MAC,
    src,
    dst,
    srcPort: 1000,
    dstPort: 33434,
    payload: new Uint8Array(8),
  };
  return udpFrame({ ...frame, ...more });
}

/** The generated frames in words; every checksum must be right. */
function answers(bench: Workbench): string[] {
  return bench.out.generated.map(({ frame }) => {
    assert.deepEqual(verifyChecksums(frame), []);
    return describeFrame(frame);
  });
}

describe('router: forwarding', () => {
  for (const [name, src, dst] of [
    ['IPv4', A4, B4],
    ['IPv6', A6, B6],
  ]) {
    it(`routes ${name} between bridges: MACs rewritten, TTL one less, no L4 field read`, () => {
      const net = routed();
      const bench = new Workbench(net.world);
      const out = bench.simulate(udp(src, dst), net.a);
      assert.equal(bench.describe(), `forward ${net.b} ${RIGHT_MAC}>${MAC_B} ttl-1`);
      assert.equal(out.key[K_IP_TTL], 63);
      assert.equal(out.routers, 1);
      assert.equal(out.devices, 3);
      assert.equal(MASK_CLASSES[classFor(out.fields)].name, name === 'IPv4' ? 'dst' : 'l3');
      assert.equal(out.cacheable, true);
    });
  }

  it('waits for an unresolved neighbour, naming port and address, and goes on when it is learned', () => {
    const net = routed();
    net.world.entry(`arp/${net.router}`, B4, null);
    const bench = new Workbench(net.world);
    bench.simulate(udp(A4, B4), net.a);
    assert.equal(bench.describe(), `postpone ${net.right} ${B4}`);
    const request = bench.simulator.buildNeighbourRequest(bench.view.handle(net.right), ipParse(B4))!;
    assert.match(describeFrame(request), /who-has 10\.0\.2\.10 tell 10\.0\.2\.1/);
    bench.generated(request, bench.view.handle(net.right));
    assert.equal(bench.describe(), `forward ${net.b} ${RIGHT_MAC}>ff:ff:ff:ff:ff:ff ttl-0 flood`);
    const reply = arpReply({ senderMac: MAC_B, senderIp: B4, targetMac: RIGHT_MAC, targetIp: '10.0.2.1' });
    const out = bench.simulate(reply, net.b);
    assert.equal(out.learnedNeighbourCount, 1);
    const { table, key, value } = bench.view.neighbourEntry(out.learnedNeighbours[0]);
    assert.deepEqual([table, key, value], [`arp/${net.router}`, B4, MAC_B]);
    net.world.entry(table, key, value);
    bench.sync();
    assert.equal(bench.simulate(udp(A4, B4), net.a).outputCount, 1);
  });

  it('answers host unreachable for a neighbour marked failed, until it is learned', () => {
    const net = routed();
    net.world.entry(`arp/${net.router}`, B4, null);
    const bench = new Workbench(net.world);
    bench.simulate(udp(A4, B4), net.a);
    assert.equal(bench.view.markNeighbourFailed(bench.view.handle(net.right), ipParse(B4)).length, 1);
    bench.simulate(udp(A4, B4), net.a);
    assert.match(bench.describe(), /^drop no_neighbour/);
    assert.match(answers(bench)[0], /10\.0\.1\.1 > 10\.0\.1\.10.*host/i);
    net.world.entry(`arp/${net.router}`, B4, MAC_B);
    assert.equal(bench.sync().tags.length, 1);
    assert.equal(bench.simulate(udp(A4, B4), net.a).outputCount, 1);
  });

  it('knows the addresses of other routers on the bridge, and of a router at the end of a link', () => {
    const net = routed();
    const { world } = net;
    const second = world.put('Router', {});
    attach(world, second, net.rightBridge, ['10.0.2.2/24'], 'ac:ca:ba:00:00:03');
    const third = world.put('Router', {});
    const near = world.put('Port', { routerId: second, portSubnet: ['10.0.3.1/30'], portMac: 'ac:ca:ba:00:00:04' });
    const far = world.put('Port', { routerId: third, portSubnet: ['10.0.3.2/30'], portMac: 'ac:ca:ba:00:00:05' });
    world.link(near, far);
    const exit = boundPort(world, { routerId: third, portSubnet: ['10.0.4.1/24'], portMac: 'ac:ca:ba:00:00:06' });
    world.put('Route', {
      routerId: net.router,
      dstSubnet: '10.0.4.0/24',
      nextHopPort: net.right,
      nextHopGateway: '10.0.2.2',
    });
    world.put('Route', { routerId: second, dstSubnet: '10.0.4.0/24', nextHopPort: near, nextHopGateway: '10.0.3.2' });
    world.put('Route', { routerId: third, dstSubnet: '10.0.4.0/24', nextHopPort: exit });
    world.entry(`arp/${third}`, '10.0.4.9', MAC_B);
    const bench = new Workbench(world);
    const out = bench.simulate(udp(A4, '10.0.4.9'), net.a);
    assert.equal(bench.describe(), `forward ${exit} ac:ca:ba:00:00:06>${MAC_B} ttl-3`);
    assert.equal(out.routers, 3);
  });

  it('stops at the device limit', () => {
    const world = new World();
    const routers = Array.from({ length: 14 }, () => world.put('Router', {}));
    const entry = boundPort(world, { routerId: routers[0], portSubnet: ['10.1.0.1/24'], portMac: LEFT_MAC });
    routers.forEach((routerId, i) => {
      const next = routers[i + 1];
      if (next === undefined) return;
      const subnet = (end: number) => [`10.2.${i}.${end}/30`];
      const near = world.put('Port', { routerId, portSubnet: subnet(1) });
      world.link(near, world.put('Port', { routerId: next, portSubnet: subnet(2) }));
      world.put('Route', { routerId, dstSubnet: '0.0.0.0/0', nextHopPort: near, nextHopGateway: `10.2.${i}.2` });
    });
    const bench = new Workbench(world);
    const out = bench.simulate(udp('10.1.0.9', '10.9.9.9'), entry);
    assert.equal(bench.describe(), 'drop device_limit');
    assert.equal(out.shortLived, 5000);
  });
});

describe('router: choice of route', () => {
  /** A router with exits to as many bound ports, all to the same destination. */
  function exits(routes: Record<string, unknown>[]) {
    const world = new World();
    const routerId = world.put('Router', {});
    const entry = boundPort(world, { routerId, portSubnet: ['10.0.1.1/24'], portMac: LEFT_MAC });
    const ports = routes.map((route, i) => {
      const nextHopPort = boundPort(world, { routerId, portSubnet: [`10.9.${i}.1/24`] });
      world.put('Route', { routerId, dstSubnet: '0.0.0.0/0', nextHopPort, nextHopGateway: `10.9.${i}.2`, ...route });
      world.entry(`arp/${routerId}`, `10.9.${i}.2`, MAC_B);
      return nextHopPort;
    });
    return { world, routerId, entry, ports, bench: new Workbench(world) };
  }
  const exit = (bench: Workbench) => bench.view.id(bench.out.outputs[0]);

  it('prefers the longest destination, then the source that fits, then the lowest weight', () => {
    const { bench, entry, ports } = exits([
      { weight: 5 },
      { dstSubnet: '10.5.0.0/16', weight: 10 },
      { dstSubnet: '10.5.0.0/16', weight: 9 },
      { dstSubnet: '10.5.5.0/24', srcSubnet: '10.0.1.128/25' },
    ]);
    const to = (src: string, dst: string) => {
      bench.simulate(udp(src, dst), entry);
      return ports.indexOf(exit(bench));
    };
    assert.equal(to('10.0.1.9', '8.8.8.8'), 0);
    assert.equal(bench.out.fields & F_IP_SRC, 0);
    assert.equal(to('10.0.1.9', '10.5.0.1'), 2);
    assert.equal(to('10.0.1.9', '10.5.5.1'), 2);
    assert.notEqual(bench.out.fields & F_IP_SRC, 0);
    assert.equal(to('10.0.1.200', '10.5.5.1'), 3);
  });

  it('passes over ports that are down, unplugged or not active', () => {
    const { world, bench, entry, ports } = exits([{ weight: 0 }, { weight: 1 }, { weight: 2 }]);
    const to = () => {
      bench.sync();
      bench.simulate(udp('10.0.1.9', '8.8.8.8'), entry);
      return ports.indexOf(exit(bench));
    };
    assert.equal(to(), 0);
    world.patch('Port', ports[0], { adminStateUp: false });
    assert.equal(to(), 1);
    world.entry(`active/${ports[1]}`, HOST, null);
    assert.equal(to(), 2);
    world.entry(`active/${ports[1]}`, HOST, 'eth0');
    assert.equal(to(), 1);
  });

  it('shares equal routes by flow, and moves only the flows of a lost route', () => {
    const { world, bench, entry, ports } = exits([{}, {}, {}, {}]);
    const flows = Array.from({ length: 200 }, (_, i) => ({ srcPort: 1024 + i, dst: `8.8.${i % 7}.8` }));
    const choose = () =>
      flows.map(({ srcPort, dst }) => {
        bench.simulate(udp('10.0.1.9', dst, { srcPort, dstPort: 443 }), entry);
        return ports.indexOf(exit(bench));
      });
    const before = choose();
    for (let i = 0; i < 4; i++) assert.ok(before.filter((p) => p === i).length > 20, `port ${i} has its share`);
    assert.notEqual(bench.out.fields & F_TP_DST, 0);
    world.patch('Port', ports[2], { adminStateUp: false });
    bench.sync();
    choose().forEach((now, i) => {
      if (before[i] === 2) assert.notEqual(now, 2);
      else assert.equal(now, before[i]);
    });
  });

  it('chooses alike for both directions of a conversation', () => {
    const { bench, entry, ports } = exits([{}, {}, {}]);
    for (let i = 0; i < 50; i++) {
      bench.simulate(udp('8.8.1.1', '8.8.2.2', { srcPort: 1000 + i, dstPort: 443 }), entry);
      const forth = exit(bench);
      bench.simulate(udp('8.8.2.2', '8.8.1.1', { srcPort: 443, dstPort: 1000 + i }), entry);
      assert.equal(exit(bench), forth);
      assert.ok(ports.includes(forth));
    }
  });

  it('obeys blackhole, reject and local', () => {
    const net = routed();
    for (const [type, dstSubnet] of [
      ['blackhole', '10.0.2.64/26'],
      ['reject', '10.0.2.128/26'],
      ['local', '10.0.7.7/32'],
    ]) {
      net.world.put('Route', { routerId: net.router, type, dstSubnet });
    }
    const bench = new Workbench(net.world);
    bench.simulate(udp(A4, '10.0.2.70'), net.a);
    assert.equal(bench.describe(), 'drop blackhole');
    bench.simulate(udp(A4, '10.0.2.130'), net.a);
    assert.match(bench.describe(), /^drop rejected\n/);
    bench.simulate(icmpEcho({ ethSrc: MAC_A, ethDst: LEFT_MAC, src: A4, dst: '10.0.7.7', id: 1, seq: 1 }), net.a);
    assert.match(bench.describe(), /^drop local_delivered\n/);
    bench.simulate(udp(A4, '99.9.9.9'), net.a);
    assert.match(bench.describe(), /^drop no_route\n/);
    assert.match(answers(bench)[0], /net/i);
  });
});

describe('router: for itself', () => {
  it('answers ARP and solicitations for its own addresses and learns who asks', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    let out = bench.simulate(arpRequest({ senderMac: MAC_A, senderIp: A4, targetIp: '10.0.1.1' }), net.a);
    assert.equal(bench.view.id(out.generated[0].port), net.left);
    assert.match(answers(bench)[0], new RegExp(`10\\.0\\.1\\.1 is-at ${LEFT_MAC}`));
    assert.equal(bench.view.neighbourEntry(out.learnedNeighbours[0]).key, A4);
    const { frame, port } = out.generated[0];
    bench.generated(frame, port);
    assert.equal(bench.describe(), `forward ${net.a} ${LEFT_MAC}>${MAC_A} ttl-0`);
    out = bench.simulate(ndNeighborSolicit({ mac: MAC_A, src: A6, target: 'fd00:1::1' }), net.a);
    assert.equal(out.generated.length, 1);
    assert.equal(bench.view.neighbourEntry(out.learnedNeighbours[0]).key, A6);
    out = bench.simulate(ndNeighborSolicit({ mac: MAC_A, src: 'fe80::a', target: 'fe80::aeca:baff:fe00:1' }), net.a);
    assert.equal(out.generated.length, 1, 'its link-local address');
    assert.equal(bench.view.neighbourEntry(out.learnedNeighbours[0]).key, `fe80::a%${net.left}`);
  });

  it('does not answer askers outside the subnet, and learns nothing from them', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    const out = bench.simulate(arpRequest({ senderMac: MAC_A, senderIp: '10.7.7.7', targetIp: '10.0.1.1' }), net.a);
    assert.equal(bench.describe(), 'drop not_for_router');
    assert.equal(out.learnedNeighbourCount, 0);
    const probe = bench.simulate(arpRequest({ senderMac: MAC_A, senderIp: '0.0.0.0', targetIp: '10.0.1.1' }), net.a);
    assert.equal(probe.generated.length, 1);
    assert.equal(probe.learnedNeighbourCount, 0);
  });

  it('believes solicited advertisements, and unsolicited ones of neighbours that it knows', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    const advert = (target: string, mac: string, solicited: boolean) =>
      ndNeighborAdvert({
        mac,
        target,
        dst: solicited ? 'fd00:2::1' : 'ff02::1',
        ethDst: solicited ? RIGHT_MAC : '33:33:00:00:00:01',
        flags: solicited ? 0x60 : 0x20,
      });
    const learned = () =>
      bench.out.learnedNeighbours.slice(0, bench.out.learnedNeighbourCount).filter((n) => n.port !== 0);
    bench.simulate(advert('fd00:2::77', '02:00:00:00:00:77', true), net.b);
    assert.equal(learned().length, 1);
    bench.simulate(advert('fd00:2::78', '02:00:00:00:00:78', false), net.b);
    assert.equal(learned().length, 0, 'nobody asked for it');
    bench.simulate(advert(B6, '02:00:00:00:00:99', false), net.b);
    assert.equal(learned().length, 1, 'a known neighbour has moved');
    bench.simulate(arpRequest({ senderMac: '02:00:00:00:00:99', senderIp: B4, targetIp: B4 }), net.b);
    assert.equal(learned().length, 1);
  });

  it('answers echo requests to any of its addresses', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    for (const [src, dst] of [
      [A4, '10.0.1.1'],
      [A4, '10.0.2.1'],
      [A6, 'fd00:1::1'],
      [A6, 'fd00:2::1'],
    ]) {
      const payload = Uint8Array.from({ length: 56 }, (_, i) => i);
      const out = bench.simulate(
        icmpEcho({ ethSrc: MAC_A, ethDst: LEFT_MAC, src, dst, id: 7, seq: 3, payload }),
        net.a,
      );
      assert.equal(out.cacheable, false);
      assert.ok(answers(bench)[0].includes(`${dst} > ${src}`), answers(bench)[0]);
      bench.generated(out.generated[0].frame, out.generated[0].port);
      assert.equal(bench.describe(), `forward ${net.a} ${LEFT_MAC}>${MAC_A} ttl-0`);
    }
  });

  it('refuses TCP with a reset and UDP with port unreachable', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    const out = bench.simulate(
      tcpFrame({ ethSrc: MAC_A, ethDst: LEFT_MAC, src: A4, dst: '10.0.1.1', srcPort: 9, dstPort: 80, seq: 5 }),
      net.a,
    );
    assert.equal(out.generated[0].kind, GENERATED_TCP_RESET);
    answers(bench);
    bench.simulate(udp(A6, 'fd00:1::1'), net.a);
    assert.match(answers(bench)[0], /port/i);
  });

  it('drops what is not for its MAC, tagged frames, groups and broadcasts', () => {
    const net = routed();
    const { world } = net;
    const port = boundPort(world, { routerId: net.router, portSubnet: ['10.0.8.1/24'], portMac: 'ac:ca:ba:00:00:08' });
    const bench = new Workbench(world);
    const drops = (frame: Uint8Array) => {
      bench.simulate(frame, port);
      return bench.describe();
    };
    const to = { ethDst: 'ac:ca:ba:00:00:08' };
    assert.equal(drops(udp('10.0.8.2', B4, { ethDst: '02:00:00:00:99:99' })), 'drop wrong_mac');
    assert.equal(drops(udp('10.0.8.2', B4, { ...to, vlan: 5 })), 'drop vlan_unsupported');
    assert.equal(drops(udp('10.0.8.2', '224.0.0.5', { ethDst: '01:00:5e:00:00:05' })), 'drop not_for_router');
    assert.equal(drops(udp('10.0.8.2', '255.255.255.255', { ethDst: 'ff:ff:ff:ff:ff:ff' })), 'drop not_for_router');
    assert.equal(drops(udp('10.0.8.2', '10.0.2.255', to)), 'drop not_for_router');
    assert.equal(drops(udp('10.0.8.2', '127.0.0.1', to)), 'drop not_for_router');
    assert.equal(drops(udp('fe80::5', B6, to)), 'drop not_for_router');
    assert.equal(drops(udp('fd00:8::5', 'fe80::9', to)), 'drop not_for_router');
  });
});

describe('router: errors', () => {
  it('says time exceeded from the port by which the packet came, reading the TTL', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    for (const [src, dst, from] of [
      [A4, B4, '10.0.1.1'],
      [A6, B6, 'fd00:1::1'],
    ]) {
      const out = bench.simulate(udp(src, dst, { ttl: 1 }), net.a);
      assert.match(bench.describe(), /^drop ttl_expired\n/);
      assert.notEqual(out.fields & F_IP_TTL, 0);
      assert.ok(answers(bench)[0].includes(`${from} > ${src}`), answers(bench)[0]);
      assert.equal(bench.view.id(out.generated[0].port), net.left);
      bench.generated(out.generated[0].frame, out.generated[0].port);
      assert.equal(bench.describe(), `forward ${net.a} ${LEFT_MAC}>${MAC_A} ttl-0`);
    }
  });

  it('quotes the packet as the router got it: TTL lowered by the routers before', () => {
    const net = routed();
    const { world } = net;
    const second = world.put('Router', {});
    attach(world, second, net.rightBridge, ['10.0.2.2/24'], 'ac:ca:ba:00:00:03');
    world.put('Route', {
      routerId: net.router,
      dstSubnet: '10.9.0.0/16',
      nextHopPort: net.right,
      nextHopGateway: '10.0.2.2',
    });
    const bench = new Workbench(world);
    const out = bench.simulate(udp(A4, '10.9.0.1', { ttl: 9 }), net.a);
    assert.match(bench.describe(), /^drop no_route\n/);
    const { frame } = out.generated[0];
    assert.match(answers(bench)[0], /10\.0\.2\.2 > 10\.0\.1\.10/);
    assert.equal(frame[14 + 20 + 8 + 8], 8, 'TTL in the quoted header');
  });

  it('never answers errors, later fragments, groups, or sources that are no host', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    const silent = (frame: Uint8Array) => {
      const out = bench.simulate(frame, net.a);
      assert.match(bench.describe(), /^drop no_route$/);
      assert.equal(out.cacheable, true, 'a silent drop is worth a flow');
    };
    const about = udp(A4, '99.9.9.9');
    silent(
      icmpError({ ethSrc: MAC_A, ethDst: LEFT_MAC, src: A4, type: 3, code: 1, packet: udp('99.9.9.9', A4), ip: 14 }),
    );
    silent(udp('0.0.0.0', '99.9.9.9'));
    silent(udp('127.0.0.1', '99.9.9.9'));
    silent(udp('240.0.0.1', '99.9.9.9'));
    const later = about.slice();
    later[14 + 7] = 1;
    silent(later);
    bench.simulate(about, net.a);
    assert.match(bench.describe(), /no_route\n/);
  });

  it('says prohibited for a rejecting rule, an admin-down router, and nothing for a drop', () => {
    const net = routed();
    const { world } = net;
    const chain = world.chain([{ type: 'drop', nwDst: '10.0.2.0/24' }]);
    world.patch('Router', net.router, { inboundFilterId: chain });
    const bench = new Workbench(world);
    bench.simulate(udp(A4, B4), net.a);
    assert.equal(bench.describe(), 'drop filtered');
    world.patch('Router', net.router, { inboundFilterId: undefined, adminStateUp: false });
    bench.sync();
    bench.simulate(udp(A4, B4), net.a);
    assert.match(bench.describe(), /^drop admin_down\n/);
    assert.match(answers(bench)[0], /prohibited/i);
  });

  it('sends packet too big from the last router, and none on a pure L2 path', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    for (const [src, dst, from] of [
      [A4, B4, '10.0.1.1'],
      [A6, B6, 'fd00:1::1'],
    ]) {
      const input = bench.input(udp(src, dst, { payload: new Uint8Array(1400) }), net.a);
      const out = bench.run(input);
      const { cacheable, fields } = out;
      assert.equal(bench.simulator.tooBig(input, out, 1300), true);
      assert.deepEqual([out.cacheable, out.fields], [cacheable, fields], 'the flow is not concerned');
      assert.equal(bench.view.id(out.generated[0].port), net.left);
      assert.ok(answers(bench)[0].includes(`${from} > ${src}`));
      assert.match(answers(bench)[0], /1300/);
    }
    net.world.entry(`mac/${net.leftBridge}`, MAC_B, net.a);
    const c = boundPort(net.world, { bridgeId: net.leftBridge });
    bench.sync();
    const input = bench.input(udp(A4, B4, { ethDst: MAC_B }), c);
    const out = bench.run(input);
    assert.equal(out.outputCount, 1);
    assert.equal(bench.simulator.tooBig(input, out, 1300), false);
  });
});
