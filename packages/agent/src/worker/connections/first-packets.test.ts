import assert from 'node:assert/strict';
import { test } from 'node:test';
import { extractKey, FRAG_FIRST, K_IP_DST, K_IP_FRAG, K_TP_SRC, KEY_SIZE, newFrameLayout } from '@weft/flow';
import { KIND_CONNTRACK, RECORD_WORDS, TUPLE_NONE, TUPLE_QUOTE, tupleOfKey } from '@weft/flowstate';
import { icmpEcho, ipFrame, tcpFrame, udpFrame } from '@weft/packet';
import fc from 'fast-check';
import { FirstPackets } from './first-packets.ts';

const CAPACITY = 8;
const DEVICE = 5;
const GRE = 47;

const keyOf = (frame: Uint8Array, inPort = 7): Uint8Array => {
  const key = new Uint8Array(KEY_SIZE);
  assert.ok(extractKey(frame, frame.length, inPort, 0, key, 0, newFrameLayout()));
  return key;
};

const port = fc.nat(0xffff);
const bytes = (n: number) => fc.uint8Array({ minLength: n, maxLength: n });
const mac = bytes(6).map((b) => Array.from(b, (x) => x.toString(16).padStart(2, '0')).join(':'));
const v4 = bytes(4).map((b) => b.join('.'));
const v6 = bytes(2).map((b) => `fd00::${b[0].toString(16)}:${b[1].toString(16)}`);
const headers = fc
  .tuple(
    fc.constantFrom(v4, v6).chain((a) => fc.tuple(a, a)),
    mac,
    mac,
    fc.option(fc.integer({ min: 1, max: 4094 })),
  )
  .map(([[src, dst], ethSrc, ethDst, vlan]) => ({ src, dst, ethSrc, ethDst, ...(vlan === null ? {} : { vlan }) }));
const fields = { headers, tos: fc.nat(255), ttl: fc.nat(255), a: port, b: port, kind: fc.nat(3) };
/** Keys of packets whose tuple says nearly all of them. */
const plain = fc
  .record({ ...fields, inPort: fc.integer({ min: 1, max: 2 ** 31 - 1 }) })
  .map(({ headers, tos, ttl, a, b, kind, inPort }) => {
    const o = { ...headers, tos, ttl };
    const payload = new Uint8Array(8);
    if (kind === 0) return keyOf(udpFrame({ ...o, srcPort: a, dstPort: b, payload }), inPort);
    if (kind === 1) return keyOf(tcpFrame({ ...o, srcPort: a, dstPort: b, flags: 2, payload }), inPort);
    if (kind === 2) return keyOf(icmpEcho({ ...o, id: a, payload }), inPort);
    return keyOf(
      ipFrame(o, GRE, payload.length, () => {}),
      inPort,
    );
  });
/** The same, with something in the key that the tuple does not say. */
const odd = fc.record({ key: plain, at: fc.constantFrom(K_IP_FRAG, K_IP_DST + 15) });

/** The record of a tracked packet with this key. */
function enter(records: Int32Array, record: number, key: Uint8Array): void {
  const found = tupleOfKey(key, 0, KIND_CONNTRACK, DEVICE, records, record * RECORD_WORDS);
  assert.ok(found !== TUPLE_NONE && found !== TUPLE_QUOTE);
}

test('a key is rebuilt from the forward tuple and little else: TCP, UDP, echo, other protocols, IPv4 and IPv6', () => {
  fc.assert(
    fc.property(plain, fc.nat(CAPACITY - 1), (key, record) => {
      const records = new Int32Array(CAPACITY * RECORD_WORDS);
      const firsts = new FirstPackets(records, CAPACITY);
      const out = new Uint8Array(KEY_SIZE).fill(0xff);
      enter(records, record, key);
      assert.ok(!firsts.has(record, 3));
      firsts.keep(record, 3, key);
      assert.ok(firsts.has(record, 3) && !firsts.has(record, 4));
      firsts.read(record, out);
      assert.deepEqual(out, key);
      assert.equal(firsts.whole, 0);
    }),
  );
});

test('whatever is kept and dropped in whatever order: what is read is what was kept', () => {
  const step = fc.record({ record: fc.nat(CAPACITY - 1), key: fc.oneof(plain, odd), drop: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const records = new Int32Array(CAPACITY * RECORD_WORDS);
      const firsts = new FirstPackets(records, CAPACITY);
      const model = new Map<number, { key: Uint8Array; whole: boolean; generation: number }>();
      const out = new Uint8Array(KEY_SIZE);
      steps.forEach(({ record, key, drop }, generation) => {
        if (drop) {
          firsts.drop(record);
          model.delete(record);
        } else {
          const whole = !(key instanceof Uint8Array);
          const first = whole ? key.key.slice() : key;
          enter(records, record, first);
          // As if translated before it was tracked, or as a fragment.
          if (whole) first[key.at] ^= key.at === K_IP_FRAG ? FRAG_FIRST : 1;
          firsts.keep(record, generation, first);
          model.set(record, { key: first, whole, generation });
        }
        for (let i = 0; i < CAPACITY; i++) {
          const kept = model.get(i);
          assert.equal(firsts.has(i, generation), kept?.generation === generation);
          if (kept === undefined) continue;
          assert.ok(firsts.has(i, kept.generation));
          firsts.read(i, out);
          assert.deepEqual(out, kept.key);
        }
        assert.equal(firsts.whole, [...model.values()].filter(({ whole }) => whole).length);
      });
    }),
  );
});

test('an echo reply that nobody asked for is kept whole', () => {
  const records = new Int32Array(CAPACITY * RECORD_WORDS);
  const firsts = new FirstPackets(records, CAPACITY);
  const ends = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02', src: '10.0.0.1', dst: '10.0.0.2' };
  const key = keyOf(icmpEcho({ ...ends, id: 9, reply: true }));
  const out = new Uint8Array(KEY_SIZE);
  assert.equal(key[K_TP_SRC + 1], 0);
  enter(records, 1, key);
  firsts.keep(1, 0, key);
  firsts.read(1, out);
  assert.deepEqual(out, key);
  assert.equal(firsts.whole, 1);
});
