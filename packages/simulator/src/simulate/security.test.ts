/** Port security: its chains stand outside of the port's own filters, and are known before a packet comes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TAG_CHAIN, tag } from '@weft/flow';
import { arpRequest, tcpFrame } from '@weft/packet';
import { securityInChainId, securityOutChainId } from '@weft/topology';
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
  return { world, bridgeId, a, b };
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

  it('is warmed up with the port, and given back with it', () => {
    const { world, b } = net();
    const bench = new Workbench(world);
    for (let round = 0; round < 10; round++) {
      const wanted = bench.view.interestsFor(bench.view.handle(b));
      if (wanted.length === 0) break;
      bench.subscribe(wanted);
    }
    const cached = bench.view.interests();
    for (const id of [securityInChainId(b), securityOutChainId(b)]) assert.ok(cached.includes(`o/Chain/${id}`));
    const { size } = bench.subscribed;
    bench.simulate(arpRequest({ senderMac: MAC_B, senderIp: '10.0.0.2', targetIp: '10.0.0.1' }), b);
    assert.equal(bench.subscribed.size, size);
    assert.deepEqual(bench.view.unused(bench.now + 1, () => false).sort(), bench.view.interests().sort());
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
