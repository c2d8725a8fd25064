/**
 * Every field of the object model's condition, and every inversion, has a packet that it matches and one that it does not.
 * The table is compared with the schema: a field that is added there without a case here fails.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { K_IP_DST } from '@weft/flow';
import { arpRequest, ethFrame, icmpEcho, icmpError, tcpFrame, udpFrame } from '@weft/packet';
import { conditionFields } from '@weft/topology';
import { VERDICT_FORWARD } from '../contract.ts';
import { attach, boundPort, LEFT_MAC, MAC_A, MAC_B } from '../testing/networks.ts';
import { Workbench } from '../testing/workbench.ts';
import { World } from '../testing/world.ts';
import { ACTION_ACCEPT, ACTION_DROP } from '../view/chain.ts';
import { runFilter } from './chain.ts';
import { newSimulation } from './simulation.ts';
import { Walk } from './walk.ts';

type Value = Record<string, unknown>;

const MAC_C = '02:00:00:00:00:0c';

/** Bridge with ports a, b and c; A is member of a port group and of an address group. The rule is in the bridge's filters. */
class Net {
  readonly world = new World();
  readonly bridge = this.world.put('Bridge', {});
  readonly portGroup = this.world.put('PortGroup', {});
  readonly addressGroup = this.world.put('IpAddrGroup', { name: 'g' });
  readonly a = boundPort(this.world, { bridgeId: this.bridge, portGroupIds: [this.portGroup] });
  readonly b = boundPort(this.world, { bridgeId: this.bridge });
  readonly c = boundPort(this.world, { bridgeId: this.bridge });
  readonly behindA: string;

  constructor() {
    const { world, bridge } = this;
    for (const [mac, port] of [
      [MAC_A, this.a],
      [MAC_B, this.b],
      [MAC_C, this.c],
    ]) {
      world.entry(`mac/${bridge}`, mac, port);
    }
    for (const member of ['10.0.0.1', '10.7.0.0/16', 'fd00::1', 'fd07::/16']) {
      world.entry(`addresses/${this.addressGroup}`, member, '');
    }
    // A VLAN-aware bridge in front of port d: what comes that way has passed another device.
    this.behindA = world.put('Bridge', {});
  }

  /**
   * Whether a drop rule of this condition in the bridge's in or out filter drops the frame.
   * @param known a packet from A whose connection the bridge knows
   */
  drops(rule: Value, frame: Uint8Array, from: string, direction = 'outboundFilterId', known?: Uint8Array): boolean {
    const bench = new Workbench(this.world);
    if (known !== undefined) {
      const asks = this.world.chain([{ type: 'accept', matchForwardFlow: true }]);
      this.world.patch('Bridge', this.bridge, { inboundFilterId: asks });
      assert.equal(bench.state.commit(bench.simulate(known, this.a)).length, 1);
    }
    const chain = this.world.chain([{ type: 'drop', ...rule }]);
    this.world.patch('Bridge', this.bridge, {
      inboundFilterId: undefined,
      outboundFilterId: undefined,
      [direction]: chain,
    });
    bench.sync();
    return bench.simulate(frame, from).verdict !== VERDICT_FORWARD;
  }
}

const udp = (more: Value = {}) =>
  udpFrame({
    ethSrc: MAC_A,
    ethDst: MAC_B,
    src: '10.0.0.1',
    dst: '10.0.0.2',
    srcPort: 1000,
    dstPort: 53,
    tos: 0x20,
    payload: new Uint8Array(8),
    ...more,
  });
const tcp = tcpFrame({ ethSrc: MAC_A, ethDst: MAC_B, src: '10.0.0.1', dst: '10.0.0.2', srcPort: 9, dstPort: 80 });
const arp = arpRequest({ senderMac: MAC_A, senderIp: '10.0.0.1', targetIp: '10.0.0.2', ethDst: MAC_B });
const other = ethFrame({ ethSrc: MAC_A, ethDst: MAC_B, type: 0x88b5, payload: new Uint8Array(46) });
const udp6 = udp({ src: 'fd00::1', dst: 'fd00::2' });
const later = udp();
later[14 + 7] = 1;

/** An ICMP error from A to B about a packet from `src` to `dst`. */
function error(src: string, dst: string): Uint8Array {
  const v6 = src.includes(':');
  const packet = udp({ src, dst });
  return icmpError({
    ethSrc: MAC_A,
    ethDst: MAC_B,
    src: v6 ? 'fd00::9' : '10.0.0.9',
    type: v6 ? 1 : 3,
    code: 3,
    packet,
    ip: 14,
  });
}

/** How one field is shown to match: condition without inversion, frames and the port by which they come. */
interface Case {
  /** A packet from A whose connection is known. */
  known?: Uint8Array;
  rule: (net: Net) => Value;
  hits: (Uint8Array | [Uint8Array, 'b' | 'c'])[];
  misses: (Uint8Array | [Uint8Array, 'b' | 'c'])[];
}

const fromB = udp({ ethSrc: MAC_B, ethDst: MAC_A });
const fromC = udp({ ethSrc: MAC_C });
const answer = udp({
  ethSrc: MAC_B,
  ethDst: MAC_A,
  src: '10.0.0.2',
  dst: '10.0.0.1',
  srcPort: 53,
  dstPort: 1000,
});
const echo = icmpEcho({ ethSrc: MAC_A, ethDst: MAC_B, src: '10.0.0.1', dst: '10.0.0.2', id: 1, seq: 1 });

const CASES: Record<string, Case> = {
  inPorts: { rule: (n) => ({ inPorts: [n.a, n.c] }), hits: [udp(), [fromC, 'c']], misses: [[fromB, 'b']] },
  outPorts: {
    rule: (n) => ({ outPorts: [n.b] }),
    hits: [udp(), [fromC, 'c']],
    misses: [udp({ ethDst: MAC_C }), [fromB, 'b']],
  },
  portGroup: { rule: (n) => ({ portGroup: n.portGroup }), hits: [udp(), other], misses: [[fromB, 'b']] },
  inPortGroup: { rule: (n) => ({ inPortGroup: n.portGroup }), hits: [udp(), arp], misses: [[fromC, 'c']] },
  outPortGroup: { rule: (n) => ({ outPortGroup: n.portGroup }), hits: [[fromB, 'b']], misses: [udp(), [fromC, 'c']] },
  traversedDevice: {
    rule: (n) => ({ traversedDevice: n.a }),
    hits: [udp(), other],
    // To A, not by it: the filter of the bridge comes before the port of departure.
    misses: [
      [fromB, 'b'],
      [fromC, 'c'],
    ],
  },
  dlType: { rule: () => ({ dlType: 0x0806 }), hits: [arp], misses: [udp(), other] },
  dlSrc: { rule: () => ({ dlSrc: MAC_A }), hits: [udp()], misses: [[fromC, 'c']] },
  dlSrcMask: {
    rule: () => ({ dlSrc: '02:00:00:00:00:00', dlSrcMask: '02:00:00:00:00:06' }),
    hits: [udp({ ethSrc: '02:00:00:00:00:09' })],
    misses: [
      [fromC, 'c'],
      [fromB, 'b'],
    ],
  },
  dlDst: { rule: () => ({ dlDst: MAC_B }), hits: [udp()], misses: [udp({ ethDst: MAC_C })] },
  dlDstMask: {
    rule: () => ({ dlDst: '02:00:00:00:00:04', dlDstMask: 'ff:00:00:00:00:04' }),
    hits: [udp({ ethDst: MAC_C })],
    misses: [udp()],
  },
  vlan: { rule: () => ({ vlan: 5 }), hits: [udp({ vlan: 5 })], misses: [udp(), udp({ vlan: 6 })] },
  noVlan: { rule: () => ({ noVlan: true }), hits: [udp()], misses: [udp({ vlan: 5 })] },
  nwProto: { rule: () => ({ nwProto: 6 }), hits: [tcp], misses: [udp(), arp, other] },
  nwTos: { rule: () => ({ nwTos: 0x20 }), hits: [udp(), udp6], misses: [udp({ tos: 0 }), arp] },
  nwSrc: {
    rule: () => ({ nwSrc: '10.0.0.0/30' }),
    hits: [udp(), arp],
    misses: [udp({ src: '10.0.0.4' }), udp6, other],
  },
  nwDst: {
    rule: () => ({ nwDst: 'fd00::2/127' }),
    hits: [udp6],
    misses: [udp({ src: 'fd00::1', dst: 'fd00::4' }), udp()],
  },
  matchNwDstRewritten: { rule: () => ({ matchNwDstRewritten: true }), hits: [], misses: [udp(), udp6, arp, other] },
  ipAddrGroupSrc: {
    rule: (n) => ({ ipAddrGroupSrc: n.addressGroup }),
    hits: [udp(), arp, udp6, udp({ src: '10.7.3.4' }), udp({ src: 'fd07::9', dst: 'fd00::2' }), later],
    misses: [udp({ src: '10.0.0.3' }), udp({ src: 'fd00::3', dst: 'fd00::1' }), other],
  },
  ipAddrGroupDst: {
    rule: (n) => ({ ipAddrGroupDst: n.addressGroup }),
    hits: [udp({ dst: '10.0.0.1' }), udp({ dst: '10.7.255.255' }), udp({ src: 'fd00::2', dst: 'fd00::1' })],
    misses: [udp(), udp6, arp, other],
  },
  icmpDataSrcIp: {
    rule: () => ({ icmpDataSrcIp: '10.1.0.0/16' }),
    hits: [error('10.1.2.3', '10.0.0.1')],
    misses: [error('10.2.2.3', '10.1.0.1'), error('fd00::1', 'fd00::2'), udp({ src: '10.1.0.1' }), echo, arp, later],
  },
  icmpDataDstIp: {
    rule: () => ({ icmpDataDstIp: 'fd01::/16' }),
    hits: [error('fd00::1', 'fd01::2')],
    misses: [error('fd01::1', 'fd02::2'), error('10.1.2.3', '10.0.0.1'), udp6],
  },
  tpSrc: { rule: () => ({ tpSrc: { start: 999, end: 1000 } }), hits: [udp(), udp6], misses: [tcp, later, arp, other] },
  tpDst: { rule: () => ({ tpDst: { start: 50, end: 60 } }), hits: [udp(), udp6], misses: [tcp, later, arp, other] },
  fragmentPolicy: { rule: () => ({ fragmentPolicy: 'nonheader' }), hits: [later], misses: [udp(), arp, other] },
  matchForwardFlow: {
    known: udp(),
    rule: () => ({ matchForwardFlow: true }),
    hits: [udp(), udp({ srcPort: 1001 }), tcp, later, arp, other],
    misses: [[answer, 'b']],
  },
  matchReturnFlow: {
    known: udp(),
    rule: () => ({ matchReturnFlow: true }),
    hits: [[answer, 'b']],
    misses: [udp(), udp({ srcPort: 1001 }), [fromB, 'b'], tcp, later, arp, other],
  },
  conjunctionInv: {
    rule: () => ({ nwProto: 17, nwDst: '10.0.0.2/32', conjunctionInv: true }),
    hits: [tcp, udp({ dst: '10.0.0.3' }), arp],
    misses: [udp(), later],
  },
};

/** The name of the field's inversion. */
const inversionOf = (field: string) => `inv${field[0].toUpperCase()}${field.slice(1)}`;
const fields = Object.keys(conditionFields).filter((field) => !field.startsWith('inv'));
const inversions = Object.keys(conditionFields).filter((field) => field.startsWith('inv'));

describe('condition', () => {
  it('has a case for every field, and every inversion belongs to one', () => {
    assert.deepEqual(Object.keys(CASES).sort(), [...fields].sort());
    for (const inversion of inversions)
      assert.ok(
        fields.some((f) => inversionOf(f) === inversion),
        inversion,
      );
  });

  for (const field of fields) {
    const { rule, hits, misses, known } = CASES[field];
    const check = (more: Value, frames: Case['hits'], matches: boolean) => {
      for (const [i, item] of frames.entries()) {
        const [frame, from] = Array.isArray(item) ? item : [item, 'a' as const];
        const net = new Net();
        assert.equal(net.drops({ ...rule(net), ...more }, frame, net[from], undefined, known), matches, `packet ${i}`);
      }
    };

    it(`${field} matches what it says and nothing else`, () => {
      // Only address translation can bring that about: see below.
      if (field !== 'matchNwDstRewritten') assert.ok(hits.length > 0, 'a hit');
      assert.ok(misses.length > 0, 'a miss');
      check({}, hits, true);
      check({}, misses, false);
    });
    // The mask of an address is inverted with it.
    const inversion = inversionOf(field.replace(/Mask$/, ''));
    if (!inversions.includes(inversion)) continue;
    // The policy that comes with transport fields stays outside of inversions: no later fragment matches.
    const headers = (frames: Case['hits']) => frames.filter((frame) => !(field.startsWith('tp') && frame === later));
    it(`${field} inverted matches the rest`, () => {
      check({ [inversion]: true }, hits, false);
      check({ [inversion]: true }, headers(misses), true);
    });
    it(`${field} inverted by the whole matches the rest`, () => {
      check({ conjunctionInv: true }, hits, false);
      check({ conjunctionInv: true }, headers(misses), true);
    });
  }

  it('an inversion without its field says nothing', () => {
    for (const inversion of inversions) {
      const net = new Net();
      assert.equal(net.drops({ [inversion]: true }, udp(), net.a), true, inversion);
    }
  });

  it('matchNwDstRewritten matches once the destination is another than that of entry', () => {
    const net = new Net();
    const chain = net.world.chain([{ type: 'drop', matchNwDstRewritten: true }]);
    const bench = new Workbench(net.world);
    const handle = bench.view.handle(chain);
    const walk = new Walk(bench.view, 12, null, bench.state);
    const input = bench.input(udp(), net.a);
    const out = newSimulation();
    walk.begin(input.key, input.frame, input.length, input.port, 1, out);
    assert.equal(runFilter(walk, handle, 0, 0), 0, 'postponed');
    bench.subscribe([...out.needs]);
    bench.subscribe((net.world.get('Chain', chain)!.ruleIds as string[]).map((id) => `o/Rule/${id}`));
    walk.begin(input.key, input.frame, input.length, input.port, 1, out);
    assert.equal(runFilter(walk, handle, 0, 0), ACTION_ACCEPT);
    walk.key[K_IP_DST + 15]++;
    assert.equal(runFilter(walk, handle, 0, 0), ACTION_DROP);
  });

  it('traversedDevice knows devices and ports on the way, and only on the way of this copy', () => {
    const net = new Net();
    const { world } = net;
    const router = world.put('Router', {});
    const port = attach(world, router, net.bridge, ['10.0.0.254/24'], LEFT_MAC);
    const far = world.put('Bridge', {});
    const farPort = attach(world, router, far, ['10.1.0.254/24'], 'ac:ca:ba:00:00:02');
    const d = boundPort(world, { bridgeId: far });
    world.entry(`arp/${router}`, '10.1.0.1', MAC_C);
    const frame = udp({ ethDst: LEFT_MAC, dst: '10.1.0.1' });
    const passed = (device: string) => {
      world.patch('Port', d, { outboundFilterId: world.chain([{ type: 'drop', traversedDevice: device }]) });
      return new Workbench(world).simulate(frame, net.a).verdict !== VERDICT_FORWARD;
    };
    for (const device of [net.a, net.bridge, port, router, farPort, far, d]) assert.ok(passed(device), device);
    for (const device of [net.b, net.c, net.behindA]) assert.ok(!passed(device), device);
  });

  it('a copy of a flood has not traversed the ports of the others', () => {
    const net = new Net();
    net.world.patch('Port', net.c, {
      outboundFilterId: net.world.chain([{ type: 'drop', traversedDevice: net.b }]),
    });
    const bench = new Workbench(net.world);
    const out = bench.simulate(udp({ ethDst: 'ff:ff:ff:ff:ff:ff' }), net.a);
    assert.deepEqual(
      [...out.outputs.slice(0, out.outputCount)].map((h) => bench.view.id(h)),
      [net.b, net.c],
    );
  });

  it('the port of entry into the network stays so behind other devices', () => {
    const net = new Net();
    const { world } = net;
    const trunk = world.put('Bridge', {});
    const d = boundPort(world, { bridgeId: trunk, portGroupIds: [net.portGroup] });
    world.link(world.put('Port', { bridgeId: trunk, vlanId: 7 }), world.put('Port', { bridgeId: net.bridge }));
    const frame = udp({ ethSrc: '02:00:00:00:00:0d', vlan: 7 });
    assert.equal(net.drops({ portGroup: net.portGroup }, frame, d), true);
    assert.equal(net.drops({ inPortGroup: net.portGroup }, frame, d), false);
    assert.equal(net.drops({ inPortGroup: net.portGroup, invInPortGroup: true }, frame, d), true);
  });

  it('matches inside VLAN frames as outside', () => {
    for (const vlan of [undefined, 0, 5]) {
      const net = new Net();
      const frame = vlan === undefined ? udp() : udp({ vlan });
      for (const direction of ['inboundFilterId', 'outboundFilterId']) {
        assert.equal(net.drops({ nwProto: 17, tpDst: { start: 53, end: 53 } }, frame, net.a, direction), true);
        assert.equal(net.drops({ ipAddrGroupSrc: net.addressGroup }, frame, net.a, direction), true);
        assert.equal(net.drops({ nwProto: 6 }, frame, net.a, direction), false);
      }
    }
  });

  it('an error whose quotation is cut, or of another kind, matches no prefix of it', () => {
    const net = new Net();
    const rule = { icmpDataSrcIp: '0.0.0.0/0' };
    assert.equal(net.drops(rule, error('10.1.2.3', '10.0.0.1'), net.a), true);
    const quoting = (payload: Uint8Array) => {
      const frame = icmpEcho({ ethSrc: MAC_A, ethDst: MAC_B, src: '10.0.0.9', dst: '10.1.2.3', id: 0, payload });
      frame[34] = 3;
      return frame;
    };
    assert.equal(net.drops(rule, quoting(new Uint8Array(20).fill(0x45)), net.a), true);
    assert.equal(net.drops(rule, quoting(new Uint8Array(15).fill(0x45)), net.a), false);
    assert.equal(net.drops(rule, quoting(new Uint8Array(40).fill(0x60)), net.a), false);
  });
});
