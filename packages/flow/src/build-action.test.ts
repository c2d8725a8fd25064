import assert from 'node:assert/strict';
import { test } from 'node:test';
import { icmpEcho, ipParse, tcpFrame, u16, udpFrame } from '@weft/packet';
import fc from 'fast-check';
import {
  A_COUNTER_SLOT,
  A_CSUM_PAYLOAD,
  A_CSUM_PSEUDO,
  A_OUTPUT,
  A_OWNER_CLASS,
  A_OWNER_PORT,
  A_REASON,
  A_REWRITE,
  A_TTL_DEC,
  A_VLAN_TCI,
  ACTION_SIZE,
  actionId,
  actionIntact,
  actionReads,
  compileAction,
  dropReason,
  extractKey,
  F_IP_FRAG,
  F_IP_PROTO,
  F_IP_SRC,
  F_TP_DST,
  F_VLAN,
  FRAG_LATER,
  K_ARP_OP,
  K_ETH_DST,
  K_ETHER_TYPE,
  K_ICMP_ID,
  K_IN_PORT,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_IP_TOS,
  K_IP_TTL,
  K_MASK_CLASS,
  K_TP_DST,
  K_TP_SRC,
  K_VLAN,
  KEY_SIZE,
  newFrameLayout,
  OUT_DROP,
  OUT_PORT,
  RW_DSCP,
  RW_ETH_DST,
  RW_ICMP_ID,
  RW_IP_DST,
  RW_IP_SRC,
  RW_TP_DST,
  RW_TP_SRC,
  RW_TTL,
  RW_VLAN_POP,
  RW_VLAN_PUSH,
  readU32le,
  setActionId,
  VLAN_PRESENT,
  writeU16,
} from './index.ts';

const ETH = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02' };
const V4 = { ...ETH, src: '10.0.0.1', dst: '10.0.0.2' };
const V6 = { ...ETH, src: 'fd00::1', dst: 'fd00::2' };

function keyOf(frame: Uint8Array, inPort = 4): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  assert.ok(extractKey(frame, frame.length, inPort, 0, key, 0, newFrameLayout()));
  return key;
}

const tcp4 = keyOf(tcpFrame({ ...V4, srcPort: 1, dstPort: 2 }));
const udp6 = keyOf(udpFrame({ ...V6, srcPort: 1, dstPort: 2 }));
const echo4 = keyOf(icmpEcho({ ...V4, id: 5 }));
const echo6 = keyOf(icmpEcho({ ...V6, id: 5 }));

function compile(from: Uint8Array, change: (key: Uint8Array) => void, options: { ttlDec?: number } = {}) {
  const to = from.slice();
  change(to);
  // Leftovers of a former use must not show through.
  const out = new Uint8Array(ACTION_SIZE).fill(0xee);
  const ok = compileAction(from, to, out, { output: OUT_PORT, outPort: 9, ...options });
  return { ok, out, rewrite: out[A_REWRITE] | (out[A_REWRITE + 1] << 8) };
}

test('nothing differs, nothing is rewritten', () => {
  const { ok, out, rewrite } = compile(tcp4, (k) => {
    k[K_IP_TTL] = 1;
    k[K_IN_PORT] = 77;
    k[K_MASK_CLASS] = 3;
  });
  assert.ok(ok);
  assert.equal(rewrite, 0);
  assert.equal(readU32le(out, A_CSUM_PSEUDO), 0);
  assert.equal(readU32le(out, A_CSUM_PAYLOAD), 0);
});

test('each field has its bit', () => {
  const cases: [Uint8Array, (key: Uint8Array) => void, number][] = [
    [tcp4, (k) => (k[K_ETH_DST] = 4), RW_ETH_DST],
    [tcp4, (k) => k.set(ipParse('1.2.3.4'), K_IP_SRC), RW_IP_SRC],
    [udp6, (k) => k.set(ipParse('fd00::9'), K_IP_DST), RW_IP_DST],
    [tcp4, (k) => writeU16(k, K_TP_SRC, 99), RW_TP_SRC],
    [udp6, (k) => writeU16(k, K_TP_DST, 99), RW_TP_DST],
    [echo4, (k) => writeU16(k, K_ICMP_ID, 99), RW_ICMP_ID],
    [echo6, (k) => writeU16(k, K_ICMP_ID, 99), RW_ICMP_ID],
    [tcp4, (k) => (k[K_IP_TOS] = 0x20), RW_DSCP],
    [tcp4, (k) => writeU16(k, K_VLAN, VLAN_PRESENT | 7), RW_VLAN_PUSH],
  ];
  for (const [from, change, bit] of cases) {
    const { ok, rewrite } = compile(from, change);
    assert.ok(ok);
    assert.equal(rewrite, bit);
  }
  const tagged = tcp4.slice();
  writeU16(tagged, K_VLAN, 0xe000 | VLAN_PRESENT | 7);
  assert.equal(compile(tagged, (k) => writeU16(k, K_VLAN, 0)).rewrite, RW_VLAN_POP);
  const changed = compile(tagged, (k) => writeU16(k, K_VLAN, 0x4000 | VLAN_PRESENT | 8));
  assert.equal(changed.rewrite, RW_VLAN_POP | RW_VLAN_PUSH);
  assert.equal(changed.out[A_VLAN_TCI] | (changed.out[A_VLAN_TCI + 1] << 8), 0x4008);
  const ttl = compile(tcp4, () => {}, { ttlDec: 2 });
  assert.equal(ttl.rewrite, RW_TTL);
  assert.equal(ttl.out[A_TTL_DEC], 2);
});

test('the fields that a rewrite depends on', () => {
  const nat = compile(tcp4, (k) => {
    k.set(ipParse('1.2.3.4'), K_IP_SRC);
    writeU16(k, K_TP_DST, 80);
  });
  assert.equal(actionReads(nat.out), F_IP_SRC | F_TP_DST | F_IP_PROTO | F_IP_FRAG);
  assert.equal(actionReads(compile(tcp4, (k) => (k[K_ETH_DST] = 4), { ttlDec: 1 }).out), 0);
  assert.equal(actionReads(compile(tcp4, (k) => writeU16(k, K_VLAN, VLAN_PRESENT)).out), F_VLAN);
});

test('what no action can express is refused, and what is left drops', () => {
  const sctp = tcp4.slice();
  sctp[K_IP_PROTO] = 132;
  const arp = tcp4.slice();
  writeU16(arp, K_ETHER_TYPE, 0x0806);
  const cases: [Uint8Array, (key: Uint8Array) => void, { ttlDec?: number }?][] = [
    [tcp4, (k) => writeU16(k, K_ETHER_TYPE, 0x86dd)],
    [tcp4, (k) => (k[K_IP_PROTO] = 17)],
    [tcp4, (k) => (k[K_IP_FRAG] = 1)],
    [tcp4, (k) => (k[K_ARP_OP] = 1)],
    [tcp4, (k) => (k[K_IP_TOS] = 0x01)],
    [tcp4, (k) => k.set(ipParse('fd00::1'), K_IP_SRC)],
    [echo4, (k) => writeU16(k, K_TP_SRC, 0)],
    [tcp4, (k) => writeU16(k, K_ICMP_ID, 1)],
    [sctp, (k) => writeU16(k, K_TP_SRC, 9)],
    [arp, (k) => k.set(ipParse('1.2.3.4'), K_IP_SRC)],
    [arp, () => {}, { ttlDec: 1 }],
    [tcp4, () => {}, { ttlDec: 256 }],
  ];
  for (const [from, change, options] of cases) {
    const { ok, out, rewrite } = compile(from, change, options);
    assert.equal(ok, false);
    assert.equal(out[A_OUTPUT], OUT_DROP);
    assert.equal(rewrite, 0);
    assert.equal(out[A_REASON], dropReason('rewrite_failed'));
  }
  assert.ok(compile(sctp, (k) => k.set(ipParse('1.2.3.4'), K_IP_SRC)).ok, 'addresses are not in SCTP’s checksum');
});

test('owner, slot and ids; an action may stand anywhere in a buffer', () => {
  const out = new Uint8Array(300).fill(0x55);
  const id = 2 ** 52 + 12_345;
  const options = { output: OUT_PORT, flowId: id, ownerPort: 0xfffffffe, ownerClass: 6, counterSlot: 123_456 };
  assert.ok(compileAction(tcp4, tcp4, out, options, 100));
  assert.equal(actionId(out, 100), id);
  assert.ok(actionIntact(out, 100));
  assert.equal(readU32le(out, 100 + A_OWNER_PORT), 0xfffffffe);
  assert.equal(out[100 + A_OWNER_CLASS], 6);
  assert.equal(readU32le(out, 100 + A_COUNTER_SLOT), 123_456);
  assert.ok(out.subarray(0, 100).every((b) => b === 0x55) && out.subarray(212).every((b) => b === 0x55));
  out[100] ^= 1;
  assert.ok(!actionIntact(out, 100));
  setActionId(out, 7, 100);
  assert.ok(actionIntact(out, 100));
});

test('later fragments: addresses change, ports and checksums do not', () => {
  const later = tcp4.slice();
  later[K_IP_FRAG] = FRAG_LATER;
  const { ok, out, rewrite } = compile(later, (k) => {
    k.set(ipParse('1.2.3.4'), K_IP_DST);
    writeU16(k, K_TP_DST, 80);
  });
  assert.ok(ok);
  assert.equal(rewrite, RW_IP_DST);
  assert.equal(readU32le(out, A_CSUM_PSEUDO), 0);
  assert.equal(readU32le(out, A_CSUM_PAYLOAD), 0);
});

/** Checksum after a delta in memory order, by RFC 1624 eqn. 3. */
function apply(checksum: number, delta: number): number {
  const swapped = ((delta & 0xff) << 8) | (delta >>> 8);
  let s = (~checksum & 0xffff) + swapped;
  while (s > 0xffff) s = (s & 0xffff) + (s >>> 16);
  return ~s & 0xffff;
}

const port = fc.integer({ min: 0, max: 0xffff });
const v4 = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((b) => b.join('.'));
const v6 = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { minLength: 6, maxLength: 6 })
  .map((w) => `2001:db8:${w.map((x) => x.toString(16)).join(':')}`);

test('the deltas turn the old checksum into the one that a full sum gives', () => {
  const address = fc
    .boolean()
    .chain((six) =>
      fc.tuple(...([0, 1, 2, 3].map(() => (six ? v6 : v4)) as [typeof v4, typeof v4, typeof v4, typeof v4])),
    );
  fc.assert(
    fc.property(
      fc.constantFrom('tcp', 'udp', 'echo'),
      address,
      fc.tuple(port, port, port, port),
      fc.uint8Array({ maxLength: 40 }),
      (proto, [src, dst, src2, dst2], [sp, dp, sp2, dp2], payload) => {
        const make = (s: string, d: string, a: number, b: number) =>
          proto === 'tcp'
            ? tcpFrame({ ...ETH, src: s, dst: d, srcPort: a, dstPort: b, payload })
            : proto === 'udp'
              ? udpFrame({ ...ETH, src: s, dst: d, srcPort: a, dstPort: b, payload })
              : icmpEcho({ ...ETH, src: s, dst: d, id: a, payload });
        const from = make(src, dst, sp, dp);
        const to = make(src2, dst2, sp2, dp2);
        const l4 = src.includes(':') ? 54 : 34;
        const field = l4 + { tcp: 16, udp: 6, echo: 2 }[proto];
        const out = new Uint8Array(ACTION_SIZE);
        assert.ok(compileAction(keyOf(from), keyOf(to), out, { output: OUT_PORT }));
        const pseudo = readU32le(out, A_CSUM_PSEUDO);
        const payloadDelta = readU32le(out, A_CSUM_PAYLOAD);
        assert.ok(pseudo <= 0xffff && payloadDelta <= 0xffff);
        const got = apply(apply(u16(from, field), pseudo), payloadDelta);
        const same = (a: number, b: number) => a % 0xffff === b % 0xffff;
        assert.ok(same(got, u16(to, field)), `${got.toString(16)} instead of ${u16(to, field).toString(16)}`);
      },
    ),
  );
});
