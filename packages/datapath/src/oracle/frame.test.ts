import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex, udpFrame } from '@weft/packet';
import fc from 'fast-check';
import { HEADROOM, MAX_FRAME, WorkFrame } from './index.ts';

const ip = {
  ethSrc: '02:00:00:00:00:01',
  ethDst: '02:00:00:00:00:02',
  src: '10.0.0.1',
  dst: '10.0.0.2',
  srcPort: 1,
  dstPort: 2,
};
const tag = fc.option(fc.oneof(fc.nat(0xffff), fc.tuple(fc.nat(0xffff), fc.nat(0xffff))), { nil: undefined });

test('taking the tag out and putting it back gives the same bytes', () => {
  const work = new WorkFrame();
  fc.assert(
    fc.property(tag, fc.uint8Array({ maxLength: 300 }), (vlan, payload) => {
      const frame = udpFrame({ ...ip, vlan: vlan as number | undefined, payload });
      assert.ok(work.load(frame, 0, frame.length));
      work.untag();
      assert.equal(work.start, HEADROOM, 'the body begins where extraction looks for it');
      assert.equal(work.tagTpid !== 0, vlan !== undefined);
      work.insertTag();
      assert.equal(toHex(work.view()), toHex(frame));
      assert.equal(work.tagTpid, 0);
    }),
  );
});

test('a virtio_net_hdr survives, and its offsets follow the tag', () => {
  const work = new WorkFrame();
  const frame = udpFrame({ ...ip, vlan: 5, payload: new Uint8Array(100) });
  const header = new Uint8Array([1, 5, 42, 0, 20, 0, 38, 0, 6, 0]);
  work.load(frame, 0, frame.length);
  work.readVnetHeader(header, 0);
  work.untag();
  assert.deepEqual([work.partial, work.csumStart, work.csumOffset, work.gsoType, work.gsoSize], [true, 34, 6, 5, 20]);
  work.insertTag();
  const out = new Uint8Array(10);
  work.writeVnetHeader(out, 0);
  assert.deepEqual([...out.subarray(0, 2), ...out.subarray(4)], [1, 5, 20, 0, 38, 0, 6, 0]);
});

test('a header that points outside the frame is ignored, a frame too long refused', () => {
  const work = new WorkFrame();
  work.load(new Uint8Array(60), 0, 60);
  work.readVnetHeader(new Uint8Array([1, 0, 0, 0, 0, 0, 50, 0, 16, 0]), 0);
  assert.equal(work.partial, false);
  assert.equal(work.load(new Uint8Array(MAX_FRAME + 1), 0, MAX_FRAME + 1), false);
});
