import assert from 'node:assert/strict';
import { test } from 'node:test';
import { extractKey, K_IP_FRAG, K_TP_SRC, KEY_SIZE, newFrameLayout, readU16 } from '@weft/flow';
import { fragmentFrame, setU16 } from '@weft/packet';
import fc from 'fast-check';
import { payload, tcp, udp, V6 } from '../compliance/frames.ts';
import { FRAGMENT_ENTRIES, FRAGMENT_LIFETIME, FRAGMENT_SLOTS, FragmentTable } from './fragments.ts';
import { flowHash } from './outer.ts';

function pieces(frame: Uint8Array, id: number): Uint8Array[] {
  const whole = frame.slice();
  if (whole[14] >>> 4 === 4) setU16(whole, 18, id);
  return fragmentFrame(whole, 600, id);
}

const big = (srcPort: number, changes = {}) =>
  udp({ srcPort, payload: payload(1400), dontFragment: false, ...changes });

/** The key with which a frame is looked up; its source port is 0 if none is known. */
function look(table: FragmentTable, frame: Uint8Array, now: number, port = 1): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  const layout = newFrameLayout();
  assert.ok(extractKey(frame, frame.length, port, 0, key, 0, layout));
  table.track(key, frame, layout, now);
  return key;
}

const sourcePort = (table: FragmentTable, frame: Uint8Array, now: number, port = 1) =>
  readU16(look(table, frame, now, port), K_TP_SRC);

test('a first fragment is forgotten after its lifetime', () => {
  const table = new FragmentTable();
  const [first, later] = pieces(big(5), 1);
  look(table, first, 1000);
  assert.equal(sourcePort(table, later, 1000 + FRAGMENT_LIFETIME), 5);
  assert.equal(sourcePort(table, later, 1001 + FRAGMENT_LIFETIME), 0);
  look(table, first, 2000 + FRAGMENT_LIFETIME);
  assert.equal(sourcePort(table, later, 2000 + FRAGMENT_LIFETIME), 5);
});

test('whole packets leave no trace and take nothing', () => {
  const table = new FragmentTable();
  const [first, later] = pieces(big(5), 0);
  assert.equal(sourcePort(table, first, 1), 5);
  // The same addresses, protocol and identification, but whole.
  assert.equal(sourcePort(table, udp({ srcPort: 6 }), 2), 6);
  assert.equal(sourcePort(table, later, 3), 5);
});

test('the table is bounded: of more ports than it holds, the one that came first makes room', () => {
  const table = new FragmentTable();
  const ports = FRAGMENT_ENTRIES / FRAGMENT_SLOTS;
  const [first, later] = pieces(big(5), 1);
  for (let port = 1; port <= ports + 1; port++) look(table, first, 1, port);
  assert.equal(sourcePort(table, later, 1, 1), 0);
  assert.equal(sourcePort(table, later, 1, 2), 5);
  assert.equal(sourcePort(table, later, 1, ports + 1), 5);
});

test('ports are those of the last first fragment of the same datagram, whatever else comes between', () => {
  const arrivals = fc.array(
    fc.record({ source: fc.constantFrom(7, 8, 9), id: fc.nat(3), kind: fc.nat(2), piece: fc.nat(2), port: fc.nat(1) }),
    { maxLength: 60 },
  );
  const make = [
    (s: number) => big(s),
    (s: number) => big(s, V6),
    (s: number) => tcp({ srcPort: s, payload: payload(1400), dontFragment: false }),
  ];
  fc.assert(
    fc.property(arrivals, (sequence) => {
      const table = new FragmentTable();
      const known = new Map<string, number>();
      for (const { source, id, kind, piece, port } of sequence) {
        const frame = pieces(make[kind](source), id)[piece];
        const datagram = `${port} ${kind} ${id}`;
        if (piece === 0) known.set(datagram, source);
        const key = look(table, frame, 1, port);
        assert.equal(readU16(key, K_TP_SRC), known.get(datagram) ?? 0);
        assert.equal(key[K_IP_FRAG], piece === 0 ? 1 : 2, 'the class stays what it is');
      }
    }),
    { numRuns: 200 },
  );
});

test('the hash that picks the way does not see ports of fragments', () => {
  const table = new FragmentTable();
  const [first, later] = pieces(big(5), 1);
  const unknown = flowHash(look(table, later, 1));
  assert.equal(flowHash(look(table, first, 1)), unknown);
  assert.equal(flowHash(look(table, later, 1)), unknown);
});
