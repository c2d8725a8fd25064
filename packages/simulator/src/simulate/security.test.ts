/** Port security: its chains stand outside of the port's own filters, and are known before a packet comes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TAG_CHAIN, tag } from '@weft/flow';
import { arpRequest, tcpFrame } from '@weft/packet';
import {
  PORT_SECURITY_FIELDS,
  portSecurityChains,
  securityGroupChainId,
  securityInChainId,
  securityOutChainId,
} from '@weft/topology';
import { RULE_HIT_WORDS } from '../contract.ts';
import { Names } from '../explain/names.ts';
import { boundPort, MAC_A, MAC_B } from '../testing/networks.ts';
import { Workbench } from '../testing/workbench.ts';
import { World } from '../testing/world.ts';

const there = { ethSrc: MAC_A, ethDst: MAC_B, src: '10.0.0.1', dst: '10.0.0.2', srcPort: 9, dstPort: 80 };
const back = { ethSrc: MAC_B, ethDst: MAC_A, src: '10.0.0.2', dst: '10.0.0.1', srcPort: 80, dstPort: 9 };

/** A and B on a bridge, B secured, in a group that lets TCP port 80 in and nothing out. */
function net() {
  const world = new World();
  const bridgeId = world.put('Bridge', {});
  const group = world.put('SecurityGroup', {
    name: 'web',
    rules: [{ direction: 'ingress', etherType: 'ipv4', protocol: 6, portMin: 80 }],
  });
  const a = boundPort(world, { bridgeId });
  const secured = { macAddress: MAC_B, fixedIps: ['10.0.0.2'], portSecurityEnabled: true, securityGroupIds: [group] };
  const b = boundPort(world, { bridgeId, ...secured });
  world.entry(`mac/${bridgeId}`, MAC_A, a);
  world.entry(`mac/${bridgeId}`, MAC_B, b);
  return { world, bridgeId, group, a, b };
}

describe('port security', () => {
  it('lets in what a group says, and out what answers it', () => {
    const { world, a, b } = net();
    const bench = new Workbench(world);
    assert.match(bench.describe(bench.simulate(tcpFrame({ ...there, dstPort: 81 }), a)), /^drop filtered/);
    assert.match(bench.describe(bench.simulate(tcpFrame(back), b)), /^drop filtered/);
    const out = bench.simulate(tcpFrame(there), a);
    assert.match(bench.describe(out), /^forward/);
    assert.equal(out.createdCount, 1);
    bench.state.commit(out);
    assert.match(bench.describe(bench.simulate(tcpFrame(back), b)), /^forward/);
  });

  it('drops what does not come from the own addresses, whatever the port filter says', () => {
    const { world, b } = net();
    world.patch('Port', b, { inboundFilterId: world.chain([{ type: 'accept' }]) });
    const bench = new Workbench(world);
    const ask = { senderMac: MAC_B, senderIp: '10.0.0.2', targetIp: '10.0.0.1' };
    assert.match(bench.describe(bench.simulate(arpRequest(ask), b)), /^forward/);
    for (const more of [{ senderIp: '10.0.0.3' }, { senderMac: '02:00:00:00:00:0c' }]) {
      const out = bench.simulate(arpRequest({ ...ask, ...more }), b);
      assert.match(bench.describe(out), /^drop filtered/);
      assert.equal(out.learnedMacCount, 0, 'no bridge learns from a liar');
    }
  });

  it('stands outside: before the filter on the way in, behind it on the way out', () => {
    const { world, a, b } = net();
    const own = world.chain([{ type: 'drop' }]);
    world.patch('Port', b, { inboundFilterId: own, outboundFilterId: own });
    const bench = new Workbench(world);
    const chainTag = (id: string) => tag(TAG_CHAIN, bench.view.handle(id));
    const passed = (frame: Uint8Array, port: string) => {
      const out = bench.simulate(frame, port);
      const tags = new Set(out.tags.slice(0, out.tagCount));
      return [securityInChainId(b), own, securityOutChainId(b)].map((id) => tags.has(chainTag(id)));
    };
    assert.deepEqual(passed(tcpFrame({ ...back, src: '10.0.0.9' }), b), [true, false, false], 'spoofed');
    assert.deepEqual(passed(tcpFrame(there), a), [false, true, false]);
  });

  it('is warmed up with the port, asks no store for its chains, and goes with the port', () => {
    const { world, group, b } = net();
    const bench = new Workbench(world);
    for (let round = 0; round < 10; round++) {
      const wanted = bench.view.interestsFor(bench.view.handle(b));
      if (wanted.length === 0) break;
      bench.subscribe(wanted);
    }
    const chains = [securityInChainId(b), securityOutChainId(b)];
    const derived = () => chains.filter((id) => bench.view.raw.objects.get(`o/Chain/${id}`));
    assert.deepEqual(derived(), chains);
    const cached = bench.view.interests();
    assert.deepEqual(cached.sort(), [...bench.subscribed].sort(), 'what derives is nobody’s to give back');
    for (const direction of ['ingress', 'egress'] as const)
      assert.ok(cached.includes(`o/Chain/${securityGroupChainId(group, direction)}`), direction);
    const { size } = bench.subscribed;
    bench.simulate(arpRequest({ senderMac: MAC_B, senderIp: '10.0.0.2', targetIp: '10.0.0.1' }), b);
    assert.equal(bench.subscribed.size, size);
    bench.view.unused(bench.now, () => false);
    assert.deepEqual(derived(), chains, 'in use');
    const unused = bench.view.unused(bench.now + 1, () => false);
    assert.deepEqual(unused.sort(), bench.view.interests().sort());
    assert.deepEqual(derived(), []);
    bench.simulate(arpRequest({ senderMac: MAC_B, senderIp: '10.0.0.2', targetIp: '10.0.0.1' }), b);
    const tags = bench.view.forget(unused);
    assert.ok(tags.includes(tag(TAG_CHAIN, bench.view.handle(chains[0]))));
    assert.deepEqual(derived(), []);
    assert.equal(bench.view.raw.interests().length, 0);
  });

  it('follows each of the fields that it derives from, by itself', () => {
    const { world, group, b } = net();
    const bench = new Workbench(world);
    bench.simulate(tcpFrame(back), b);
    const changes: Record<string, unknown>[] = [
      { fixedIps: ['10.0.0.2', 'fd00::2'] },
      { allowedAddressPairs: [{ ipAddress: '10.9.0.0/24' }] },
      { macAddress: '02:00:00:00:00:0c' },
      { securityGroupIds: [world.put('SecurityGroup', {}), group] },
      { portSecurityEnabled: false },
      { portSecurityEnabled: true },
    ];
    for (const change of changes) {
      world.patch('Port', b, change);
      bench.sync();
      bench.simulate(tcpFrame(back), b);
      const known = [...bench.view.raw.objects].filter(
        ([interest, value]) =>
          value !== null && /^o\/(?:Chain|Rule)\//.test(interest) && !bench.subscribed.has(interest),
      );
      const expected = portSecurityChains(world.get('Port', b)!).flatMap(({ chain, rules }) => [
        [`o/Chain/${chain.id}`, chain],
        ...rules.map((rule) => [`o/Rule/${rule.id}`, rule]),
      ]);
      assert.deepEqual(Object.fromEntries(known), Object.fromEntries(expected), JSON.stringify(change));
    }
    assert.deepEqual(changes.flatMap(Object.keys).slice(0, -1).sort(), PORT_SECURITY_FIELDS.toSorted());
  });

  it('names its rules in explanations, and counts them under ids that are the same on every host', () => {
    const { world, a, b } = net();
    const benches = [new Workbench(world), new Workbench(world)];
    const hits = benches.map((bench) => {
      const out = bench.simulate(tcpFrame({ ...there, dstPort: 81 }), a);
      return Array.from({ length: out.ruleHitCount }, (_, i) => bench.view.id(out.ruleHits[i * RULE_HIT_WORDS]));
    });
    assert.ok(hits[0].length > 0);
    assert.deepEqual(hits[0], hits[1]);
    const names = new Names(benches[0].view, () => '');
    const { rules } = portSecurityChains(world.get('Port', b)!).at(-1)!;
    const last = names.of(rules.at(-1)!.id);
    assert.equal(last.kind, 'rule');
    assert.match(last.name, new RegExp(`^rule ${rules.length} of chain "port security of ${b}: out"$`));
    assert.equal(hits[0].at(-1), last.id);
  });

  it('tells of each change that its chains let through less or more, also while no packet has met them', () => {
    const { world, group, a, b } = net();
    const bench = new Workbench(world);
    bench.subscribe([`o/Port/${b}`]);
    const filters = (fields: object) => {
      world.patch('Port', b, fields as Record<string, unknown>);
      return bench.sync().filters;
    };
    assert.equal(filters({ vifId: 'vm' }), false);
    assert.equal(filters({ fixedIps: ['10.0.0.2', '10.0.0.3'] }), true);
    assert.equal(filters({ securityGroupIds: [] }), true);
    assert.equal(filters({ securityGroupIds: [group] }), true);
    bench.simulate(tcpFrame(there), a);
    bench.sync();
    assert.ok(bench.view.unused(bench.now + 1, () => false).length > 0);
    bench.simulate(tcpFrame(there), a);
    assert.equal(bench.sync().filters, false, 'derived again, the same');
  });

  it('lets nothing through where the port of a newer version cannot be read', () => {
    const { world, a, b } = net();
    world.objects.set(`Port/${b}`, { ...world.get('Port', b), macAddress: { oui: 'new' } });
    const bench = new Workbench(world);
    assert.match(bench.describe(bench.simulate(tcpFrame(there), a)), /^drop filtered/);
    assert.match(bench.describe(bench.simulate(tcpFrame(back), b)), /^drop filtered/);
    for (const interest of bench.subscribed) assert.ok(!interest.includes(securityInChainId(b)), interest);
  });

  it('a chain that a store of an earlier version delivers changes nothing', () => {
    const { world, a, b } = net();
    const bench = new Workbench(world);
    const stored = { ...portSecurityChains(world.get('Port', b)!).at(-1)!.chain, ruleIds: [] };
    const interest = `o/Chain/${stored.id}`;
    const change = {
      interest,
      kind: 'object',
      object: { type: 'Chain', id: stored.id, version: 1, value: stored },
    } as const;
    const passes = () => bench.describe(bench.simulate(tcpFrame({ ...there, dstPort: 81 }), a));
    for (const when of ['before the port', 'behind it']) {
      bench.view.apply([change]);
      assert.match(passes(), /^drop filtered/, when);
    }
    assert.deepEqual(bench.view.forget([interest]), []);
    assert.match(passes(), /^drop filtered/);
  });

  it('a flood passes the security of each port by itself', () => {
    const { world, bridgeId, b } = net();
    const c = boundPort(world, { bridgeId });
    const bench = new Workbench(world);
    const out = bench.simulate(tcpFrame({ ...there, ethDst: 'ff:ff:ff:ff:ff:ff', dstPort: 81 }), c);
    const to = [...out.outputs.slice(0, out.outputCount)].map((handle) => bench.view.id(handle));
    assert.equal(to.length, 1);
    assert.ok(!to.includes(b));
  });
});
