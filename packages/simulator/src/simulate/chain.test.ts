import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  F_ETH_DST,
  F_ETH_SRC,
  F_ETHER_TYPE,
  F_IN_PORT,
  F_IP_DST,
  F_IP_FRAG,
  F_IP_PROTO,
  F_IP_SRC,
  F_IP_TOS,
  F_TP_DST,
  F_TP_SRC,
  F_VLAN,
} from '@weft/flow';
import { arpRequest, ethFrame, icmpEcho, tcpFrame, udpFrame } from '@weft/packet';
import { VERDICT_FORWARD } from '../contract.ts';
import { boundPort, MAC_A, MAC_B } from '../testing/networks.ts';
import { Workbench } from '../testing/workbench.ts';
import { World } from '../testing/world.ts';

const L2 = F_IN_PORT | F_ETH_SRC | F_ETH_DST | F_VLAN;

type Rule = Record<string, unknown>;

const udp = (more: Rule = {}) =>
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
const udp6 = udp({ src: 'fd00::1', dst: 'fd00::2' });
const tcp = tcpFrame({ ethSrc: MAC_A, ethDst: MAC_B, src: '10.0.0.1', dst: '10.0.0.2', srcPort: 9, dstPort: 80 });
const echo = icmpEcho({ ethSrc: MAC_A, ethDst: MAC_B, src: '10.0.0.1', dst: '10.0.0.2', id: 1, seq: 1 });
const arp = arpRequest({ senderMac: MAC_A, senderIp: '10.0.0.1', targetIp: '10.0.0.2', ethDst: MAC_B });
const other = ethFrame({ ethSrc: MAC_A, ethDst: MAC_B, type: 0x88b5, payload: new Uint8Array(46) });
const later = udp();
later[14 + 7] = 1;
const first = udp();
first[14 + 6] = 0x20;

/** Does a frame pass an in filter of these rules, and which fields beyond L2 did it read? */
function filter(rules: Rule[], frame: Uint8Array): { passes: boolean; fields: number } {
  const world = new World();
  const bridgeId = world.put('Bridge', {});
  const inboundFilterId = world.chain(rules);
  const a = boundPort(world, { bridgeId, inboundFilterId });
  boundPort(world, { bridgeId });
  const out = new Workbench(world).simulate(frame, a);
  return { passes: out.verdict === VERDICT_FORWARD, fields: out.fields & ~L2 };
}

const drops = (rule: Rule, frame: Uint8Array) => !filter([{ type: 'drop', ...rule }], frame).passes;

describe('chain', () => {
  const table: [name: string, rule: Rule, hits: Uint8Array[], misses: Uint8Array[]][] = [
    ['nothing', {}, [udp(), arp, other], []],
    ['dlType', { dlType: 0x0806 }, [arp], [udp(), other]],
    ['dlType inverted', { dlType: 0x0806, invDlType: true }, [udp(), other], [arp]],
    ['dlSrc', { dlSrc: MAC_A }, [udp()], [udp({ ethSrc: MAC_B })]],
    [
      'dlSrc under a mask',
      { dlSrc: '02:00:00:00:00:ff', dlSrcMask: 'ff:ff:ff:ff:ff:00' },
      [udp()],
      [udp({ ethSrc: '02:00:00:00:01:0a' })],
    ],
    ['dlDst inverted', { dlDst: MAC_B, invDlDst: true }, [udp({ ethDst: MAC_A })], [udp()]],
    ['vlan', { vlan: 5 }, [udp({ vlan: 5 })], [udp(), udp({ vlan: 6 })]],
    ['noVlan', { noVlan: true }, [udp()], [udp({ vlan: 5 })]],
    ['nwSrc', { nwSrc: '10.0.0.0/30' }, [udp(), arp], [udp({ src: '10.0.0.4' }), udp6, other]],
    ['nwSrc /0 is the family', { nwSrc: '0.0.0.0/0' }, [udp(), arp], [udp6, other]],
    ['nwSrc ::/0 is the other', { nwSrc: '::/0' }, [udp6], [udp(), arp, other]],
    [
      'nwDst of IPv6',
      { nwDst: 'fd00::2/127' },
      [udp6, udp({ src: 'fd00::1', dst: 'fd00::3' })],
      [udp({ src: 'fd00::1', dst: 'fd00::4' })],
    ],
    ['nwDst inverted', { nwDst: '10.0.0.2/32', invNwDst: true }, [udp({ dst: '10.0.0.3' }), udp6, other], [udp()]],
    ['nwProto', { nwProto: 6 }, [tcp], [udp(), arp, other]],
    ['nwProto inverted', { nwProto: 6, invNwProto: true }, [udp(), arp], [tcp]],
    ['nwTos', { nwTos: 0x20 }, [udp()], [udp({ tos: 0 }), arp]],
    ['tpDst', { tpDst: { start: 50, end: 60 } }, [udp(), udp6], [tcp, later, arp, other]],
    ['tpDst inverted', { tpDst: { start: 50, end: 60 }, invTpDst: true }, [tcp], [udp(), later]],
    ['tpSrc as ICMP type', { nwProto: 1, tpSrc: { start: 8, end: 8 }, tpDst: { start: 0, end: 0 } }, [echo], [udp()]],
    ['later fragments', { fragmentPolicy: 'nonheader' }, [later], [udp(), first, arp]],
    ['headers', { fragmentPolicy: 'header' }, [udp(), first, arp], [later]],
    ['whole packets', { fragmentPolicy: 'unfragmented' }, [udp(), arp], [later, first]],
    [
      'all inverted',
      { nwProto: 17, nwDst: '10.0.0.2/32', conjunctionInv: true },
      [tcp, udp({ dst: '10.0.0.3' }), arp],
      [udp()],
    ],
    [
      'all inverted, but for fragments',
      { nwProto: 17, conjunctionInv: true, fragmentPolicy: 'header' },
      [tcp],
      [udp(), later],
    ],
  ];
  for (const [name, rule, hits, misses] of table) {
    it(`matches ${name}`, () => {
      for (const [i, frame] of hits.entries()) assert.equal(drops(rule, frame), true, `hit ${i}`);
      for (const [i, frame] of misses.entries()) assert.equal(drops(rule, frame), false, `miss ${i}`);
    });
  }

  it('takes the first rule that matches; the end accepts', () => {
    const rules = [{ type: 'accept', nwProto: 17 }, { type: 'drop' }];
    assert.equal(filter(rules, udp()).passes, true);
    assert.equal(filter(rules, tcp).passes, false);
    assert.equal(filter(rules.toReversed(), udp()).passes, false);
    assert.equal(filter([], tcp).passes, true);
  });

  it('reads only what it compared, in order, up to the first mismatch', () => {
    const read = (rule: Rule, frame: Uint8Array) => filter([{ type: 'drop', ...rule }], frame).fields;
    assert.equal(
      read({ nwDst: '10.9.0.0/16', nwProto: 6, tpDst: { start: 80, end: 80 } }, tcp),
      F_ETHER_TYPE | F_IP_DST,
    );
    assert.equal(
      read({ nwDst: '10.0.0.0/16', nwSrc: '10.9.0.0/16', nwProto: 6 }, tcp),
      F_ETHER_TYPE | F_IP_DST | F_IP_SRC,
    );
    assert.equal(read({ nwProto: 6, tpDst: { start: 80, end: 80 } }, udp()), F_ETHER_TYPE | F_IP_PROTO);
    assert.equal(read({ tpDst: { start: 80, end: 80 } }, udp()), F_ETHER_TYPE | F_IP_PROTO | F_IP_FRAG | F_TP_DST);
    assert.equal(read({ tpSrc: { start: 80, end: 80 } }, udp()), F_ETHER_TYPE | F_IP_PROTO | F_IP_FRAG | F_TP_SRC);
    assert.equal(read({ nwTos: 1 }, udp()), F_ETHER_TYPE | F_IP_TOS);
    assert.equal(read({ nwTos: 1 }, other), F_ETHER_TYPE);
    assert.equal(read({ nwDst: '0.0.0.0/0', nwProto: 99 }, udp()), F_ETHER_TYPE | F_IP_PROTO);
  });

  it('knows the port of entry and the port of departure', () => {
    const world = new World();
    const bridgeId = world.put('Bridge', {});
    const [a, b, c] = [0, 1, 2].map(() => boundPort(world, { bridgeId }));
    world.entry(`mac/${bridgeId}`, MAC_B, c);
    const outboundFilterId = world.chain([{ type: 'drop', inPorts: [a], outPorts: [c] }]);
    world.patch('Bridge', bridgeId, { outboundFilterId });
    const bench = new Workbench(world);
    const verdict = (frame: Uint8Array, port: string) => {
      bench.simulate(frame, port);
      return bench.describe();
    };
    assert.match(verdict(udp(), a), /^drop filtered/);
    assert.match(verdict(udp(), b), /^forward/);
    const ruleId = (world.get('Chain', outboundFilterId) as { ruleIds: string[] }).ruleIds[0];
    world.patch('Rule', ruleId, { invOutPorts: true });
    bench.sync();
    assert.match(verdict(udp(), a), /^forward/);
    assert.match(verdict(udp({ ethDst: '02:00:00:00:00:77' }), a), /^drop filtered/);
  });
});
