/** Probes and their answers as bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checksum, pseudoSum4, pseudoSum6, sumBytes, sumFold } from '@weft/packet';
import fc from 'fast-check';
import { acknowledgedSize, buildProbe, headerBytes, readIcmp, readReset } from './probe-packets.ts';

const FAMILIES = [
  { family: 4, target: { local: '10.254.0.1', remote: '10.254.0.2', port: 4789 }, least: 576 },
  { family: 6, target: { local: 'fd00::1', remote: 'fd00::2', port: 4789 }, least: 1280 },
] as const;

for (const { family, target, least } of FAMILIES) {
  const at = headerBytes(family);
  const sizes = fc.integer({ min: least, max: 9000 });
  const ids = fc.integer({ min: 49_152, max: 65_535 });

  test(`a TCP probe over IPv${family} has right checksums and may not be fragmented`, () => {
    fc.assert(
      fc.property(sizes, ids, (size, id) => {
        const packet = buildProbe('tcp', target, id, size);
        assert.equal(packet.length, size);
        const pseudo = family === 4 ? pseudoSum4(packet, 12, 6, size - at) : pseudoSum6(packet, 8, 6, size - at);
        assert.equal(sumFold(sumBytes(packet, at, size - at, pseudo)), 0xffff);
        if (family === 4) {
          assert.equal(checksum(packet, 0, 20), 0);
          assert.equal(packet[6]! & 0x40, 0x40);
        }
      }),
    );
  });

  test(`the reset of a peer tells over IPv${family} which size arrived`, () => {
    fc.assert(
      fc.property(sizes, ids, (size, id) => {
        const probe = new DataView(buildProbe('tcp', target, id, size).buffer);
        // RFC 9293 §3.5.2: SEG.ACK = SEG.SEQ + SEG.LEN, SYN counted.
        const reset = new Uint8Array(20);
        const view = new DataView(reset.buffer);
        view.setUint16(0, target.port);
        view.setUint16(2, id);
        view.setUint32(8, probe.getUint32(at + 4) + 1 + (size - at - 20));
        reset[13] = 0x14;
        const answer = readReset(reset, 0, target.port);
        assert.deepEqual(
          answer && { ...answer, bytes: acknowledgedSize((answer as { bytes: number }).bytes, family) },
          {
            kind: 'passed',
            id,
            bytes: size,
          },
        );
      }),
    );
  });

  for (const kind of ['tcp', 'echo'] as const) {
    test(`a router's packet-too-big about a ${kind} probe over IPv${family} is read`, () => {
      const probe = buildProbe(kind, target, 50_000, 1500);
      const error = new Uint8Array(8 + at + 8);
      error[0] = family === 4 ? 3 : 2;
      error[1] = family === 4 ? 4 : 0;
      new DataView(error.buffer).setUint16(6, 1400);
      error.set(probe.subarray(0, at + 8), 8);
      assert.deepEqual(readIcmp(error, 0, family, target.remote), { kind: 'too-big', id: 50_000, mtu: 1400 });
      const other = family === 4 ? '10.254.0.3' : 'fd00::3';
      assert.equal(readIcmp(error, 0, family, other), undefined, 'of another destination it is not');
      for (let length = 0; length < error.length; length++) {
        assert.equal(readIcmp(error.slice(0, length), 0, family, target.remote), undefined, `cut to ${length} bytes`);
      }
    });
  }

  test(`an echo reply over IPv${family} is read`, () => {
    const reply = buildProbe('echo', target, 50_001, 1500).slice(at);
    reply[0] = family === 4 ? 0 : 129;
    assert.deepEqual(readIcmp(reply, 0, family, target.remote), { kind: 'passed', id: 50_001, bytes: 1500 });
  });
}

test('any bytes are read without an exception', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.constantFrom(4 as const, 6 as const), (bytes, family) => {
      readReset(bytes, 0, 4789);
      readIcmp(bytes, 0, family, family === 4 ? '10.0.0.1' : 'fd00::1');
    }),
  );
});
