import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TAG_BRIDGE, TAG_PORT, TAG_ROUTER, tag } from '@weft/flow';
import { ipParse, macParse, udpFrame } from '@weft/packet';
import { VERDICT_FORWARD, VERDICT_POSTPONE } from '../contract.ts';
import { attach, boundPort, HOST, LEFT_MAC, MAC_A, MAC_B, routed } from '../testing/networks.ts';
import { Workbench } from '../testing/workbench.ts';
import { uuid } from '../testing/world.ts';
import { VirtualTopology } from './topology.ts';

function frame(more: Record<string, unknown> = {}): Uint8Array {
  const head = { ethSrc: MAC_A, ethDst: LEFT_MAC, src: '10.0.1.10', dst: '10.0.2.10', srcPort: 1, dstPort: 2 };
  return udpFrame({ ...head, payload: new Uint8Array(8), ...more });
}

describe('view', () => {
  it('gives a UUID one handle for good, and none to nothing', () => {
    const view = new VirtualTopology();
    const handle = view.handle(uuid(1));
    assert.equal(view.handle(uuid(1)), handle);
    assert.notEqual(view.handle(uuid(2)), handle);
    assert.equal(view.id(handle), uuid(1));
    assert.equal(view.handle(''), 0);
  });

  it('asks for what is missing, never twice for what is absent', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    const input = bench.input(frame(), net.a);
    bench.simulator.simulate(input, bench.out);
    assert.equal(bench.out.verdict, VERDICT_POSTPONE);
    assert.deepEqual(bench.out.needs, [`o/Port/${net.a}`]);
    net.world.remove('Port', net.a);
    bench.subscribe(bench.out.needs);
    bench.simulator.simulate(input, bench.out);
    assert.equal(bench.describe(), 'drop no_port');
    assert.deepEqual(bench.out.needs, []);
  });

  it('asks for nothing but what lies on the way', () => {
    const net = routed();
    const elsewhere = net.world.put('Bridge', {});
    const stranger = boundPort(net.world, { bridgeId: elsewhere });
    const bench = new Workbench(net.world);
    bench.simulate(frame({ ethDst: MAC_B }), net.a);
    const asked = [...bench.subscribed].join(' ');
    for (const id of [elsewhere, stranger, net.b, net.rightBridge]) assert.ok(!asked.includes(id), asked);
    bench.simulate(frame(), net.a);
    assert.ok(![...bench.subscribed].join(' ').includes(elsewhere));
  });

  it('warms up a binding', () => {
    const net = routed();
    const chain = net.world.chain([{ type: 'accept' }]);
    const group = net.world.put('PortGroup', { stateful: true });
    net.world.patch('Port', net.a, { inboundFilterId: chain, portGroupIds: [group] });
    net.world.patch('Port', net.b, { portGroupIds: [group] });
    const bench = new Workbench(net.world);
    const port = bench.view.handle(net.a);
    for (let needs = bench.view.interestsFor(port); needs.length > 0; needs = bench.view.interestsFor(port))
      bench.subscribe(needs);
    const held = bench.view.interests();
    for (const interest of [`t/mac/${net.leftBridge}`, `o/Chain/${chain}`, `o/Port/${net.left}`])
      assert.ok(held.includes(interest), interest);
    bench.simulator.simulate(bench.input(frame({ ethDst: MAC_B }), net.a), bench.out);
    assert.notEqual(bench.out.verdict, VERDICT_POSTPONE);
    const needs: string[] = [];
    assert.deepEqual(bench.view.audience(port, needs), [bench.view.handle(HOST)], 'whom to ask');
    assert.deepEqual(needs, []);
  });

  it('goes on with the last whole topology while a new part is on its way', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    const input = bench.input(frame({ ethDst: 'ff:ff:ff:ff:ff:ff' }), net.a);
    const c = boundPort(net.world, { bridgeId: net.leftBridge });
    bench.run(input);
    const before = bench.describe();
    assert.match(before, new RegExp(`forward ${c}`));
    const added = boundPort(net.world, { bridgeId: net.leftBridge });
    const applied = bench.view.apply(net.world.changes(bench.subscribed));
    assert.deepEqual(applied.wanted, [`o/Port/${added}`]);
    bench.simulator.simulate(input, bench.out);
    assert.equal(bench.describe(), before);
    assert.ok(bench.subscribe(applied.wanted).tags.length > 0);
    bench.simulator.simulate(input, bench.out);
    assert.equal(bench.out.outputCount, 2);
  });

  it('invalidates nothing when the same arrives again', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    bench.simulate(frame(), net.a);
    const again = bench.view.apply([...bench.subscribed].map((interest) => net.world.content(interest)));
    assert.deepEqual(again, { tags: [], filters: false, wanted: [] });
  });

  it('survives entries that make no sense', () => {
    const net = routed();
    for (const key of ['nonsense', '9999|02:00:00:00:00:01', 'x|02:00:00:00:00:01'])
      net.world.entry(`mac/${net.leftBridge}`, key, 'y');
    for (const key of ['nonsense', '10.0.0.999', 'fe80::1%']) net.world.entry(`arp/${net.router}`, key, 'y');
    const bench = new Workbench(net.world);
    assert.equal(bench.simulate(frame(), net.a).verdict, VERDICT_FORWARD);
  });

  it('does not let a learned MAC or address take that of a linked router away', () => {
    const net = routed();
    net.world.entry(`mac/${net.leftBridge}`, LEFT_MAC, net.a);
    net.world.entry(`arp/${net.leftBridge}`, '10.0.1.1', MAC_A);
    const bench = new Workbench(net.world);
    bench.simulate(frame(), net.a);
    assert.match(bench.describe(), /^forward/);
    const out = bench.simulate(frame({ ethSrc: LEFT_MAC, ethDst: MAC_B }), net.a);
    assert.equal(out.learnedMacCount, 0);
  });

  it('lists what nothing uses, keeps what a flow or a living device stands on, and forgets', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    const { view } = bench;
    bench.now = 1000;
    bench.simulate(frame(), net.a);
    const none = () => false;
    assert.deepEqual(view.unused(1000, none), []);
    const all = view.unused(1001, none);
    assert.deepEqual(all.toSorted(), view.interests().toSorted());
    const bridgeTag = tag(TAG_BRIDGE, view.handle(net.leftBridge));
    const kept = new Set(view.interests().filter((i) => !view.unused(1001, (t) => t === bridgeTag).includes(i)));
    for (const interest of [
      `o/Bridge/${net.leftBridge}`,
      `t/mac/${net.leftBridge}`,
      `o/Port/${net.a}`,
      `o/Port/${net.left}`,
    ]) {
      assert.ok(kept.has(interest), interest);
    }
    for (const interest of [`o/Router/${net.router}`, `o/Bridge/${net.rightBridge}`])
      assert.ok(!kept.has(interest), interest);
    const tags = view.forget(all);
    for (const wanted of [bridgeTag, tag(TAG_ROUTER, view.handle(net.router)), tag(TAG_PORT, view.handle(net.a))]) {
      assert.ok(tags.includes(wanted));
    }
    assert.deepEqual(view.interests(), []);
    bench.simulator.simulate(bench.input(frame(), net.a), bench.out);
    assert.deepEqual(bench.out.needs, [`o/Port/${net.a}`]);
    bench.subscribed.clear();
    assert.equal(bench.simulate(frame(), net.a).verdict, VERDICT_FORWARD);
  });

  it('says where ports are active, and what belongs to a bridge', () => {
    const net = routed();
    const bench = new Workbench(net.world);
    bench.simulate(frame(), net.a);
    const port = bench.view.handle(net.a);
    assert.equal(bench.view.activeHost(port), undefined);
    bench.subscribe([`t/active/${net.a}`]);
    assert.equal(bench.view.activeHost(port), net.world.get('Port', net.a)!.hostId);
    assert.deepEqual(bench.view.bridgePorts(bench.view.handle(net.leftBridge)), [port]);
    assert.equal(
      bench.view.floodKey(bench.view.handle(net.leftBridge)),
      net.world.get('Bridge', net.leftBridge)!.tunnelKey,
    );
  });

  it('names the table entries of what was learned', () => {
    const view = new VirtualTopology();
    const [device, port] = [view.handle(uuid(1)), view.handle(uuid(2))];
    const learned = (ip: string) => ({ device, port, ip: ipParse(ip), mac: macParse(MAC_A), from: 0 });
    assert.deepEqual(view.neighbourEntry(learned('fd00::1')), {
      table: `arp/${uuid(1)}`,
      key: 'fd00::1',
      value: MAC_A,
    });
    assert.equal(view.neighbourEntry(learned('fe80::1')).key, `fe80::1%${uuid(2)}`);
    const mac = { bridge: device, vlan: 9, mac: macParse(MAC_A), port };
    assert.deepEqual(view.macEntry(mac), { table: `mac/${uuid(1)}`, key: `9|${MAC_A}`, value: uuid(2) });
  });

  it('prefers, of two routers with one address, the one behind the lower port', () => {
    const net = routed();
    const second = net.world.put('Router', {});
    attach(net.world, second, net.rightBridge, ['10.0.2.1/24'], 'ac:ca:ba:00:00:07');
    const bench = new Workbench(net.world);
    bench.simulate(frame({ ethSrc: MAC_B, ethDst: 'ff:ff:ff:ff:ff:ff' }), net.b);
    const bridge = bench.view.handle(net.rightBridge);
    const at = bench.view.neighbours.find(bridge, ipParse('10.0.2.1'), 0);
    const chosen = bench.view.neighbours.linkedPort(at);
    assert.equal(bench.view.id(bench.view.port(chosen)!.peer), net.right);
  });
});
