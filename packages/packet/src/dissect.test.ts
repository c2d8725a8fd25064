import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as p from './index.ts';

const eth = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02' };
const v4 = { ...eth, src: '10.0.0.1', dst: '10.0.0.2' };
const v6 = { ...eth, src: 'fd00::1', dst: 'fd00::2' };
const layers = new p.Layers();

test('offsets and lengths for each kind of frame, with 0, 1 and 2 tags', () => {
  const payload = new Uint8Array(11);
  for (const vlan of [undefined, 5, [6, 7]] as const) {
    const tags = vlan === undefined ? 0 : typeof vlan === 'number' ? 1 : 2;
    for (const [ip, size] of [
      [v4, 20],
      [v6, 40],
    ] as const) {
      const frame = p.padFrame(p.udpFrame({ ...ip, vlan, srcPort: 1, dstPort: 2, payload }), 100);
      assert.equal(p.dissect(frame, 0, frame.length, layers), 0);
      const l3 = 14 + 4 * tags;
      assert.equal(layers.vlans, tags);
      assert.equal(layers.outerTci, [0, 5, 6][tags]);
      assert.equal(layers.innerTci, [0, 0, 7][tags]);
      assert.equal(layers.ethertype, size === 20 ? 0x0800 : 0x86dd);
      assert.equal(layers.l3, l3);
      assert.equal(layers.l4, l3 + size);
      assert.equal(layers.payload, l3 + size + 8);
      assert.equal(layers.l3End, l3 + size + 19, 'padding is not payload');
      assert.equal(layers.protocol, p.IPPROTO_UDP);
      assert.equal(layers.fragment, p.FRAGMENT_NONE);
    }
  }
});

test('frames that are not IP', () => {
  const arp = p.padFrame(p.arpRequest({ senderMac: 1, senderIp: '10.0.0.1', targetIp: '10.0.0.2' }));
  assert.equal(p.dissect(arp, 0, arp.length, layers), 0);
  assert.deepEqual([layers.ethertype, layers.l3, layers.l3End, layers.l4, layers.protocol], [0x0806, 14, 42, -1, -1]);
  const llc = p.ethFrame({ ...eth, type: 3, payload: p.fromHex('424203') });
  assert.equal(p.dissect(llc, 0, llc.length, layers), 0);
  assert.equal(layers.ethertype, 0);
  const three = p.vlanPush(p.vlanPush(p.vlanPush(arp, 1), 2), 3);
  assert.equal(p.dissect(three, 0, three.length, layers), 0);
  assert.deepEqual([layers.vlans, layers.ethertype, layers.l4], [2, 0x8100, -1]);
});

test('faults name their layer and keep what was found before', () => {
  const frame = p.tcpFrame({ ...v4, vlan: 5, srcPort: 1, dstPort: 2 });
  const at = (end: number): string => `${p.dissect(frame, 0, end, layers)} ${layers.layer}`;
  assert.equal(at(13), '-1 ethernet');
  assert.equal(at(17), '-1 vlan');
  assert.equal(at(20), '-1 ipv4');
  assert.equal(layers.ethertype, 0x0800);
  assert.equal(at(frame.length - 1), '-1 ipv4');
  p.setU16(frame, 18 + p.IPV4_TOTAL_LENGTH, 39);
  assert.equal(at(frame.length), '-1 tcp');
  assert.deepEqual([layers.protocol, layers.l4, layers.l3], [6, -1, 18]);
});

test('fragments: the first has an L4 header, later ones do not', () => {
  const payload = Uint8Array.from({ length: 3000 }, (_, i) => i);
  for (const ip of [{ ...v4, dontFragment: false, id: 77 }, v6]) {
    const whole = p.udpFrame({ ...ip, srcPort: 1000, dstPort: 2000, payload });
    const pieces = p.fragmentFrame(whole, 1400, 99);
    const got: number[] = [];
    pieces.forEach((piece, i) => {
      assert.equal(p.dissect(piece, 0, piece.length, layers), 0);
      assert.ok(layers.l3End - layers.l3 <= 1400);
      assert.deepEqual(p.verifyChecksums(piece), []);
      assert.equal(layers.protocol, p.IPPROTO_UDP);
      assert.equal(layers.fragment, i === 0 ? p.FRAGMENT_FIRST : p.FRAGMENT_LATER);
      assert.equal(layers.l4 >= 0, i === 0);
      assert.equal(layers.fragmentOffset, got.length);
      const data = i === 0 ? layers.l4 : layers.payload;
      got.push(...piece.subarray(data, layers.l3End));
    });
    assert.equal(pieces.length, 3);
    assert.deepEqual(Uint8Array.from(got), whole.subarray(whole.length - 3008));
  }
  assert.throws(() => p.fragmentFrame(p.udpFrame({ ...v4, srcPort: 1, dstPort: 2, payload }), 1400), /don't fragment/);
  const small = p.udpFrame({ ...v6, srcPort: 1, dstPort: 2 });
  assert.deepEqual(p.fragmentFrame(small, 1400), [small]);
});

test('fragmenting IPv4 copies only the options that say so; a fragment can be split again', () => {
  const ipOptions = p.fromHex('94040000 07070400000000 00');
  const payload = new Uint8Array(100).fill(1);
  const whole = p.udpFrame({ ...v4, ipOptions, dontFragment: false, srcPort: 1, dstPort: 2, payload });
  const pieces = p.fragmentFrame(whole, 84);
  assert.equal(p.ipv4HeaderSize(pieces[0], 14), 32);
  assert.equal(p.ipv4HeaderSize(pieces[1], 14), 24);
  assert.ok(p.ipv4Option(pieces[1], 14, p.IPV4_OPTION_ROUTER_ALERT) > 0);
  assert.equal(p.ipv4Option(pieces[1], 14, p.IPV4_OPTION_RECORD_ROUTE), -1);
  const again = pieces.flatMap((piece) => p.fragmentFrame(piece, 48));
  const offsets = again.map((f) => p.ipv4FragmentOffset(f, 14));
  const sizes = again.map((f) => p.ipv4TotalLength(f, 14) - p.ipv4HeaderSize(f, 14));
  let at = 0;
  sizes.forEach((size, i) => {
    assert.equal(offsets[i], at);
    at += size;
  });
  assert.equal(at, 108);
  assert.equal(again.filter((f) => (p.ipv4FlagsFragment(f, 14) & p.IPV4_MF) === 0).length, 1);
});

test('a quoted packet may be cut short behind eight bytes of L4', () => {
  for (const [ip, size] of [
    [v4, 20],
    [v6, 40],
  ] as const) {
    const frame = p.tcpFrame({ ...ip, srcPort: 1234, dstPort: 80, payload: new Uint8Array(100) });
    const packet = frame.subarray(14, 14 + size + 8);
    assert.equal(p.dissectIp(packet, 0, packet.length, layers), p.FAULT_TRUNCATED);
    assert.equal(p.dissectIp(packet, 0, packet.length, layers, true), 0);
    assert.equal(layers.l2, -1);
    assert.equal(p.tcpSrcPort(packet, layers.l4), 1234);
    assert.equal(p.dissectIp(packet, 0, packet.length - 1, layers, true), p.FAULT_TRUNCATED);
  }
  assert.equal(p.dissectIp(p.fromHex('50'), 0, 1, layers), p.FAULT_MALFORMED);
  assert.equal(p.dissectIp(new Uint8Array(0), 0, 0, layers), p.FAULT_MALFORMED);
});
