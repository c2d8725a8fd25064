/** What the chains of port security do to packets, by the simulator, which derives them from the port. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arpRequest, ethFrame, type IpOptions, icmpEcho, ipFrame, tcpFrame, udpFrame } from '@weft/packet';
import { VERDICT_FORWARD } from '@weft/simulator';
import { boundPort, Workbench, World } from '@weft/simulator/testing';

const MAC = '02:00:00:00:00:05';
const OTHER_MAC = '02:00:00:00:00:06';
const [OWN, OWN6, LINK_LOCAL] = ['10.0.0.5', 'fd00::5', 'fe80::ff:fe00:5'];

type Options = Partial<Pick<IpOptions, 'ethSrc' | 'ethDst' | 'src' | 'dst'>>;
const udp = (srcPort: number, dstPort: number, more: Options = {}) =>
  udpFrame({ ethSrc: MAC, ethDst: OTHER_MAC, src: OWN, dst: '10.0.0.6', srcPort, dstPort, ...more });
const icmpv6 = (type: number, more: Options = {}) => {
  const eth = { ethSrc: MAC, ethDst: OTHER_MAC, src: OWN6, dst: 'fd00::6', ...more };
  return ipFrame(eth, 58, 8, (buf, off) => void (buf[off] = type));
};
const arp = (senderMac: string, senderIp: string) => arpRequest({ senderMac, senderIp, targetIp: '10.0.0.6' });
const back: Options = { ethSrc: OTHER_MAC, ethDst: MAC, src: '10.0.0.6', dst: OWN };

/** A secured port and one without security on a bridge. */
function network(rules: object[], port: object = {}) {
  const world = new World();
  const bridgeId = world.put('Bridge', {});
  const group = world.put('SecurityGroup', { rules });
  const secured = boundPort(world, {
    bridgeId,
    portSecurityEnabled: true,
    macAddress: MAC,
    fixedIps: [OWN, OWN6],
    securityGroupIds: [group],
    ...port,
  });
  const open = boundPort(world, { bridgeId });
  const bench = new Workbench(world);
  const passes = (frame: Uint8Array, from: string) => {
    bench.sync();
    const out = bench.simulate(frame, from);
    const passed = out.verdict === VERDICT_FORWARD;
    if (passed) bench.state.commit(out);
    return passed;
  };
  return {
    world,
    group,
    secured,
    sends: (frame: Uint8Array) => passes(frame, secured),
    gets: (frame: Uint8Array) => passes(frame, open),
  };
}

const ALL_OUT = [
  { direction: 'egress', etherType: 'ipv4' },
  { direction: 'egress', etherType: 'ipv6' },
];

test('only its own addresses send', () => {
  const pairs = [{ ipAddress: '10.9.0.0/24' }, { ipAddress: '10.0.0.100', macAddress: '00:00:5e:00:01:07' }];
  const { sends } = network(ALL_OUT, { allowedAddressPairs: pairs });
  const table: [what: string, frame: Uint8Array, passes: boolean][] = [
    ['IPv4', udp(1000, 53), true],
    ['IPv6', udp(1000, 53, { src: OWN6, dst: 'fd00::6' }), true],
    ['its link-local address', udp(1000, 53, { src: LINK_LOCAL, dst: 'fe80::6' }), true],
    ['ARP', arp(MAC, OWN), true],
    ['ARP probe', arp(MAC, '0.0.0.0'), true],
    ['an allowed prefix', udp(1000, 53, { src: '10.9.0.77' }), true],
    ['an allowed pair', udp(1000, 53, { ethSrc: '00:00:5e:00:01:07', src: '10.0.0.100' }), true],
    ['neighbour discovery', icmpv6(135), true],
    ['duplicate address detection', icmpv6(135, { src: '::', dst: 'ff02::1:ff00:5' }), true],
    ['listener report without an address', icmpv6(143, { src: '::', dst: 'ff02::16' }), true],
    ['DHCP', udp(68, 67, { src: '0.0.0.0', dst: '255.255.255.255', ethDst: 'ff:ff:ff:ff:ff:ff' }), true],
    ["another's MAC", udp(1000, 53, { ethSrc: OTHER_MAC }), false],
    ["another's address", udp(1000, 53, { src: '10.0.0.7' }), false],
    ["another's IPv6 address", udp(1000, 53, { src: 'fd00::7', dst: 'fd00::6' }), false],
    ["another's link-local address", udp(1000, 53, { src: 'fe80::7', dst: 'fe80::6' }), false],
    ["another's address in ARP", arp(MAC, '10.0.0.6'), false],
    ["another's MAC in ARP's frame", arp(OTHER_MAC, OWN), false],
    ["a pair's MAC with its own address", udp(1000, 53, { ethSrc: '00:00:5e:00:01:07' }), false],
    ["a pair's address with its own MAC", udp(1000, 53, { src: '10.0.0.100' }), false],
    ['router advertisement', icmpv6(134, { src: LINK_LOCAL, dst: 'ff02::1' }), false],
    ['DHCP reply', udp(67, 68), false],
    ['DHCPv6 reply', udp(547, 546, { src: LINK_LOCAL, dst: 'fe80::6' }), false],
    ['anything without an address but DHCP', udp(1000, 53, { src: '0.0.0.0', dst: '255.255.255.255' }), false],
    [
      'another ethertype',
      ethFrame({ ethSrc: MAC, ethDst: OTHER_MAC, type: 0x88b5, payload: new Uint8Array(46) }),
      false,
    ],
  ];
  for (const [what, frame, expected] of table) assert.equal(sends(frame), expected, what);
});

test('what the groups do not allow is dropped, but for what a machine needs, and answers', () => {
  const { sends, gets } = network([
    { direction: 'ingress', protocol: 'tcp', portMin: 80, portMax: 90 },
    { direction: 'ingress', protocol: 'icmp', portMin: 8, remotePrefix: '10.0.0.6/32' },
    { direction: 'egress', protocol: 'udp', portMin: 53 },
  ]);
  const tcp = (dstPort: number) =>
    tcpFrame({ ethSrc: OTHER_MAC, ethDst: MAC, src: '10.0.0.6', dst: OWN, srcPort: 9, dstPort });
  const echo = (src: string) => icmpEcho({ ethSrc: OTHER_MAC, ethDst: MAC, src, dst: OWN, id: 1, seq: 1 });
  const solicit = icmpv6(135, { ethSrc: OTHER_MAC, ethDst: MAC, src: 'fd00::6', dst: OWN6 });
  const arriving: [what: string, frame: Uint8Array, passes: boolean][] = [
    ['an allowed port', tcp(80), true],
    ['the last of them', tcp(90), true],
    ['another port', tcp(91), false],
    ['ping from the prefix', echo('10.0.0.6'), true],
    ['ping from elsewhere', echo('10.0.0.7'), false],
    ['ARP', arpRequest({ senderMac: OTHER_MAC, senderIp: '10.0.0.6', targetIp: OWN }), true],
    ['neighbour discovery', solicit, true],
    ['router advertisement', icmpv6(134, { ethSrc: OTHER_MAC, ethDst: MAC, src: 'fe80::6', dst: OWN6 }), true],
    ['DHCP reply', udp(67, 68, back), true],
    ['an answer to nothing', udp(53, 1000, back), false],
  ];
  for (const [what, frame, expected] of arriving) assert.equal(gets(frame), expected, what);
  assert.equal(sends(udp(1000, 54)), false, 'a port that egress does not allow');
  assert.equal(sends(udp(1000, 53)), true);
  assert.equal(gets(udp(53, 1000, back)), true, 'the answer');
  assert.equal(gets(udp(53, 1001, back)), false, 'an answer to another');
  const reply = tcpFrame({ ethSrc: MAC, ethDst: OTHER_MAC, src: OWN, dst: '10.0.0.6', srcPort: 80, dstPort: 9 });
  assert.equal(sends(reply), true, 'the answer to what ingress has let in');
  const alone = tcpFrame({ ethSrc: MAC, ethDst: OTHER_MAC, src: OWN, dst: '10.0.0.6', srcPort: 80, dstPort: 10 });
  assert.equal(sends(alone), false);
});

test('a remote group is the addresses of its ports', () => {
  const { world, group, secured, gets } = network([]);
  const remote = world.put('SecurityGroup', { rules: [] });
  world.patch('SecurityGroup', group, { rules: [{ direction: 'ingress', remoteGroupId: remote }] });
  assert.equal(gets(udp(1000, 53, back)), false);
  const bridgeId = world.get('Port', secured)!.bridgeId as string;
  boundPort(world, {
    bridgeId,
    portSecurityEnabled: true,
    macAddress: OTHER_MAC,
    fixedIps: ['10.0.0.6'],
    securityGroupIds: [remote],
  });
  assert.equal(gets(udp(1000, 54, back)), true);
  assert.equal(gets(udp(1000, 54, { ...back, src: '10.0.0.7' })), false);
});
