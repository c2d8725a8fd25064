import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { classFor, F_PAYLOAD, MASK_CLASSES } from '@weft/flow';
import {
  arpRequest,
  describe as describeFrame,
  ethFrame,
  ipParse,
  macFormat,
  ndNeighborSolicit,
  udpFrame,
} from '@weft/packet';
import { Workbench } from '../testing/workbench.ts';
import { uuid, World } from '../testing/world.ts';

const HOST = uuid(0x900);
const A = '02:00:00:00:00:0a';
const B = '02:00:00:00:00:0b';
const C = '02:00:00:00:00:0c';

/** One bridge with three bound ports. */
function network(bridge: Record<string, unknown> = {}) {
  const world = new World();
  const bridgeId = world.put('Bridge', bridge);
  const ports = ['a', 'b', 'c'].map((interfaceName) => world.put('Port', { bridgeId, hostId: HOST, interfaceName }));
  const bench = new Workbench(world);
  return { world, bench, bridgeId, a: ports[0], b: ports[1], c: ports[2] };
}

function udp(ethSrc: string, ethDst: string, vlan?: number): Uint8Array {
  return udpFrame({
    ethSrc,
    ethDst,
    src: '10.0.0.1',
    dst: '10.0.0.2',
    srcPort: 1000,
    dstPort: 53,
    payload: new Uint8Array(8),
    ...(vlan === undefined ? {} : { vlan }),
  });
}

describe('bridge', () => {
  it('sends a frame for a known MAC to its port alone, reading no more than L2', () => {
    const { world, bench, bridgeId, a, b } = network();
    world.entry(`mac/${bridgeId}`, B, b);
    const out = bench.simulate(udp(A, B), a);
    assert.equal(bench.describe(), `forward ${b} ${A}>${B} ttl-0`);
    assert.equal(MASK_CLASSES[classFor(out.fields)].name, 'l2');
    assert.equal(out.cacheable, true);
  });

  it('floods unknown unicast and groups to all ports but the one it came by', () => {
    const { bench, a, b, c } = network();
    for (const dst of [B, 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01']) {
      bench.simulate(udp(A, dst), a);
      assert.equal(bench.describe(), `forward ${b} ${A}>${dst} ttl-0 flood; ${c} ${A}>${dst} ttl-0 flood`);
    }
  });

  it('learns where a sender is, once', () => {
    const { world, bench, bridgeId, a } = network();
    let out = bench.simulate(udp(A, B), a);
    assert.equal(out.learnedMacCount, 1);
    assert.deepEqual(bench.view.macEntry(out.learnedMacs[0]), { table: `mac/${bridgeId}`, key: A, value: a });
    world.entry(`mac/${bridgeId}`, A, a);
    bench.sync();
    out = bench.simulate(udp(A, B), a);
    assert.equal(out.learnedMacCount, 0);
  });

  it('keeps a MAC table per VLAN and carries the tag', () => {
    const { world, bench, bridgeId, a, b, c } = network();
    world.entry(`mac/${bridgeId}`, `7|${B}`, b);
    let out = bench.simulate(udp(A, B, 7), a);
    assert.equal(bench.describe(), `forward ${b} ${A}>${B} vlan 7 ttl-0`);
    assert.deepEqual(bench.view.macEntry(out.learnedMacs[0]), { table: `mac/${bridgeId}`, key: `7|${A}`, value: a });
    out = bench.simulate(udp(A, B, 8), a);
    assert.equal(out.outputCount, 2, `${b} and ${c}`);
  });

  it('drops a group source, a hairpin, and everything while it is down', () => {
    const { world, bench, bridgeId, a } = network();
    bench.simulate(udp('03:00:00:00:00:01', B), a);
    assert.equal(bench.describe(), 'drop mcast_source');
    world.entry(`mac/${bridgeId}`, B, a);
    bench.sync();
    const out = bench.simulate(udp(A, B), a);
    assert.equal(bench.describe(), 'drop hairpin');
    assert.equal(out.shortLived, 5000);
    world.patch('Bridge', bridgeId, { adminStateUp: false });
    bench.sync();
    bench.simulate(udp(A, B), a);
    assert.equal(bench.describe(), 'drop admin_down');
  });

  it('leaves out ports that are down, unplugged, or filtered; nobody left is a drop', () => {
    const { world, bench, a, b, c } = network();
    world.patch('Port', b, { adminStateUp: false });
    const chain = world.chain([{ type: 'drop', dlType: 0x0800 }]);
    world.patch('Port', c, { outboundFilterId: chain });
    bench.simulate(udp(A, B), a);
    assert.equal(bench.describe(), 'drop filtered');
    bench.simulate(ethFrame({ ethSrc: A, ethDst: B, type: 0x88b5, payload: new Uint8Array(46) }), a);
    assert.equal(bench.describe(), `forward ${c} ${A}>${B} ttl-0 flood`);
    world.patch('Port', c, { hostId: undefined, interfaceName: undefined });
    bench.sync();
    bench.simulate(udp(A, B), a);
    assert.equal(bench.describe(), 'drop no_egress_port');
  });

  it('does not learn from a frame that the port filter dropped, but does from one that its own filter dropped', () => {
    const { world, bench, bridgeId, a } = network();
    const chain = world.chain([{ type: 'drop' }]);
    world.patch('Port', a, { inboundFilterId: chain });
    assert.equal(bench.simulate(udp(A, B), a).learnedMacCount, 0);
    world.patch('Port', a, { inboundFilterId: undefined });
    world.patch('Bridge', bridgeId, { inboundFilterId: chain });
    bench.sync();
    assert.equal(bench.simulate(udp(A, B), a).learnedMacCount, 1);
    assert.equal(bench.describe(), 'drop filtered');
  });

  it('ignores a MAC entry whose port is on another bridge', () => {
    const { world, bench, bridgeId, a, b, c } = network();
    const other = world.put('Bridge', {});
    const stranger = world.put('Port', { bridgeId: other, hostId: HOST, interfaceName: 'x' });
    world.entry(`mac/${bridgeId}`, B, stranger);
    bench.simulate(udp(A, B), a);
    assert.equal(bench.describe(), `forward ${b} ${A}>${B} ttl-0 flood; ${c} ${A}>${B} ttl-0 flood`);
  });

  it('answers ARP for known addresses only, and not the owner itself', () => {
    const { world, bench, bridgeId, a } = network();
    world.entry(`arp/${bridgeId}`, '10.0.0.2', B);
    const ask = (mac: string, senderIp: string, targetIp: string) => arpRequest({ senderMac: mac, senderIp, targetIp });
    const out = bench.simulate(ask(A, '10.0.0.1', '10.0.0.2'), a);
    assert.equal(bench.describe().split('\n')[0], 'drop local_delivered');
    assert.equal(out.generated.length, 1);
    assert.equal(bench.view.id(out.generated[0].port), a);
    assert.match(describeFrame(out.generated[0].frame), /10\.0\.0\.2 is-at 02:00:00:00:00:0b/i);
    assert.equal(out.cacheable, false);
    assert.equal(bench.simulate(ask(A, '10.0.0.1', '10.0.0.3'), a).outputCount, 2);
    assert.equal(bench.simulate(ask(B, '0.0.0.0', '10.0.0.2'), a).outputCount, 2);
  });

  it('answers neighbour solicitations for known addresses', () => {
    const { world, bench, bridgeId, a } = network();
    world.entry(`arp/${bridgeId}`, 'fd00::2', B);
    const out = bench.simulate(ndNeighborSolicit({ mac: A, src: 'fd00::1', target: 'fd00::2' }), a);
    assert.equal(out.generated.length, 1);
    assert.equal(macFormat(out.generated[0].frame, 0), A);
    assert.equal(out.fields & F_PAYLOAD, F_PAYLOAD);
    assert.equal(bench.simulate(ndNeighborSolicit({ mac: A, src: 'fd00::1', target: 'fd00::3' }), a).outputCount, 2);
  });

  it('learns from gratuitous ARP and floods it', () => {
    const { bench, bridgeId, a } = network();
    const out = bench.simulate(arpRequest({ senderMac: A, senderIp: '10.0.0.1', targetIp: '10.0.0.1' }), a);
    assert.equal(out.outputCount, 2);
    assert.equal(out.cacheable, false);
    assert.equal(out.learnedNeighbourCount, 1);
    const entry = bench.view.neighbourEntry(out.learnedNeighbours[0]);
    assert.deepEqual(entry, { table: `arp/${bridgeId}`, key: '10.0.0.1', value: A });
    assert.deepEqual(out.learnedNeighbours[0].ip, ipParse('10.0.0.1'));
  });

  it('pushes and pops tags between a VLAN-aware bridge and the bridges behind it', () => {
    const world = new World();
    const trunkBridge = world.put('Bridge', {});
    const trunk = world.put('Port', { bridgeId: trunkBridge, hostId: HOST, interfaceName: 'trunk' });
    const leaf = [10, 20].map((vlanId) => {
      const bridgeId = world.put('Bridge', {});
      const vm = world.put('Port', { bridgeId, hostId: HOST, interfaceName: `v${vlanId}` });
      const down = world.put('Port', { bridgeId: trunkBridge, vlanId });
      world.link(down, world.put('Port', { bridgeId }));
      return vm;
    });
    const bench = new Workbench(world);
    bench.simulate(udp(A, C, 10), trunk);
    assert.equal(bench.describe(), `forward ${leaf[0]} ${A}>${C} ttl-0 flood`);
    bench.simulate(udp(A, C), leaf[1]);
    assert.equal(bench.describe(), `forward ${trunk} ${A}>${C} vlan 20 ttl-0 flood`);
    bench.simulate(udp(A, C, 30), trunk);
    assert.equal(bench.describe(), 'drop no_egress_port');
  });
});
