import assert from 'node:assert/strict';
import { test } from 'node:test';
import { extractKey, KEY_SIZE, newFrameLayout } from '@weft/flow';
import {
  dissect,
  fragmentFrame,
  ICMP_TIME_EXCEEDED,
  icmpEcho,
  icmpError,
  Layers,
  tcpFrame,
  udpFrame,
} from '@weft/packet';
import { DIR_FORWARD, DIR_RETURN } from './table.ts';
import { address, newTable, recordOf, tuple } from './testing/fixtures.ts';
import {
  KIND_SNAT,
  stateTag,
  TUPLE_NONE,
  TUPLE_PORTS,
  TUPLE_QUOTE,
  TUPLE_WORDS,
  tupleOfKey,
  tupleOfQuote,
} from './tuple.ts';
import { addressToWords } from './words.ts';

const macs = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02' };

function keyOf(frame: Uint8Array): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  assert.equal(extractKey(frame, frame.length, 1, 0, key, 0, newFrameLayout()), true);
  return key;
}

test('packets give tuples by ports, by identifier, or belong to a quoted packet', () => {
  const table = newTable();
  const words = new Int32Array(TUPLE_WORDS);
  const wanted = tuple(table, KIND_SNAT, 6, '10.0.0.1', 1000, '1.1.1.1', 80);
  const device = wanted[0] & 0xfffff;
  const frame = tcpFrame({ ...macs, src: '10.0.0.1', dst: '1.1.1.1', srcPort: 1000, dstPort: 80 });
  assert.equal(tupleOfKey(keyOf(frame), 0, KIND_SNAT, device, words, 0), TUPLE_PORTS);
  assert.deepEqual(words, wanted);
  const echo = icmpEcho({ ...macs, src: 'fd00::1', dst: 'fd00::2', id: 9, seq: 1 });
  assert.equal(tupleOfKey(keyOf(echo), 0, KIND_SNAT, device, words, 0), TUPLE_PORTS);
  assert.deepEqual(words, tuple(table, KIND_SNAT, 58, 'fd00::1', 9, 'fd00::2', 9));
  assert.notEqual(stateTag(words, 0), stateTag(wanted, 0));
  const payload = new Uint8Array(3000);
  const large = udpFrame({
    ...macs,
    src: '10.0.0.1',
    dst: '1.1.1.1',
    srcPort: 5,
    dstPort: 6,
    payload,
    dontFragment: false,
  });
  const [first, later] = fragmentFrame(large, 1500);
  assert.equal(tupleOfKey(keyOf(first), 0, KIND_SNAT, device, words, 0), TUPLE_PORTS);
  assert.equal(tupleOfKey(keyOf(later), 0, KIND_SNAT, device, words, 0), TUPLE_NONE);
});

test('an ICMP error belongs to the connection of the packet that it quotes, in either direction', () => {
  const table = newTable();
  const record = recordOf(tuple(table, KIND_SNAT, 17, '10.0.0.1', 1000, '1.1.1.1', 53));
  const outside = new Int32Array(4);
  addressToWords(address('2.2.2.2'), 0, outside, 0);
  const at = table.insert(record.translateSource(outside, 0, 5000), 0);
  const layers = new Layers();
  const words = new Int32Array(TUPLE_WORDS);
  const device = record.device;
  const lookUp = (src: string, srcPort: number, dst: string, dstPort: number, reversed = true) => {
    const frame = udpFrame({ ...macs, src, dst, srcPort, dstPort, payload: new Uint8Array(20) });
    dissect(frame, 0, frame.length, layers);
    const error = icmpError({
      ...macs,
      packet: frame,
      ip: layers.l3,
      src: '9.9.9.9',
      type: ICMP_TIME_EXCEEDED,
      code: 0,
    });
    assert.equal(tupleOfKey(keyOf(error), 0, KIND_SNAT, device, words, 0), TUPLE_QUOTE);
    const quoted = 14 + 20 + 8;
    const result = tupleOfQuote(error, quoted, error.length, reversed, KIND_SNAT, device, layers, words, 0);
    assert.equal(result, TUPLE_PORTS);
    for (let end = quoted; end < quoted + 24; end++) {
      assert.equal(
        tupleOfQuote(error, quoted, end, reversed, KIND_SNAT, device, new Layers(), words.slice(), 0),
        TUPLE_NONE,
      );
    }
    return table.find(words, 0);
  };
  // From a router outside about what left; it travels as answers do.
  assert.equal(lookUp('2.2.2.2', 5000, '1.1.1.1', 53), (at << 1) | DIR_RETURN);
  // From inside about an answer that was translated back.
  assert.equal(lookUp('1.1.1.1', 53, '10.0.0.1', 1000), (at << 1) | DIR_FORWARD);
  assert.equal(lookUp('1.1.1.1', 53, '2.2.2.2', 5000, false), (at << 1) | DIR_RETURN);
  assert.equal(lookUp('2.2.2.2', 5001, '1.1.1.1', 53), -1);
});
