import assert from 'node:assert/strict';
import { test } from 'node:test';
import { extractKey, K_ETHER_TYPE, K_IP_PROTO, KEY_SIZE, newFrameLayout, readU16 } from '@weft/flow';
import { fromHex, tcpFrame, toHex, udpFrame } from '@weft/packet';
import {
  VIRTIO_NET_HDR_GSO_TCPV4,
  VIRTIO_NET_HDR_GSO_TCPV6,
  VIRTIO_NET_HDR_GSO_UDP,
  VIRTIO_NET_HDR_GSO_UDP_L4,
} from '@weft/sys';
import fc from 'fast-check';
import { completeChecksum, crc32c, Segmenter, segmentLength, WorkFrame } from './index.ts';

const ETH = { ethSrc: '02:00:00:00:00:01', ethDst: '02:00:00:00:00:02', srcPort: 5, dstPort: 6 };
const V4 = { ...ETH, src: '10.0.0.1', dst: '10.0.0.2' };
const V6 = { ...ETH, src: 'fd00::1', dst: 'fd00::2' };

function load(frame: Uint8Array, gsoType: number, gsoSize: number) {
  const work = new WorkFrame();
  work.load(frame, 0, frame.length);
  work.gsoType = gsoType;
  work.gsoSize = gsoSize;
  const key = new Uint8Array(KEY_SIZE);
  const layout = newFrameLayout();
  assert.ok(extractKey(frame, frame.length, 1, 0, key, 0, layout));
  const l3 = work.start + layout.l3;
  const l4 = work.start + layout.l4;
  return { work, l3, l4, ipv4: readU16(key, K_ETHER_TYPE) === 0x0800, proto: key[K_IP_PROTO] };
}

test('segments are the frames that the sender would have sent one by one', () => {
  const cutter = new Segmenter();
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.boolean(),
      fc.uint8Array({ minLength: 1, maxLength: 700 }),
      fc.integer({ min: 40, max: 400 }),
      fc.integer({ min: 0, max: 0xffffffff }),
      fc.nat(0xffff),
      fc.constantFrom(0x10, 0x18, 0x11, 0x90, 0x98),
      fc.option(fc.nat(0xffff), { nil: undefined }),
      (six, tcp, payload, size, seq, id, flags, vlan) => {
        const ip = six ? V6 : V4;
        const ids = (n: number) => (six ? {} : { id: (id + n) & 0xffff });
        const options = new Uint8Array([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        const make = (data: Uint8Array, i: number, n: number) =>
          tcp
            ? tcpFrame({
                ...ip,
                ...ids(i),
                vlan,
                payload: data,
                options,
                seq: (seq + i * size) % 2 ** 32,
                flags: flags & (i < n - 1 ? ~0x09 : 0xff) & (i > 0 ? ~0x80 : 0xff),
              })
            : udpFrame({ ...ip, ...ids(i), vlan, payload: data });
        const whole = make(payload, 0, 1);
        const gsoType = tcp ? (six ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4) : VIRTIO_NET_HDR_GSO_UDP_L4;
        const { work, l3, l4, ipv4, proto } = load(whole, gsoType, size);
        const n = cutter.begin(work, l3, l4, ipv4, proto);
        assert.equal(n, Math.ceil(payload.length / size));
        let largest = 0;
        for (let i = 0; i < n; i++) {
          cutter.build(i);
          const expected = make(payload.subarray(i * size, (i + 1) * size), i, n);
          assert.equal(toHex(cutter.out.view()), toHex(expected));
          largest = Math.max(largest, expected.length - (l3 - work.start));
        }
        assert.equal(segmentLength(work, l3, l4, proto), largest);
      },
    ),
    { numRuns: 500 },
  );
});

test('what cannot be cut is refused', () => {
  const cutter = new Segmenter();
  for (const type of [VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6]) {
    const { work, l3, l4, ipv4, proto } = load(udpFrame({ ...V4, payload: new Uint8Array(900) }), type, 100);
    assert.equal(cutter.begin(work, l3, l4, ipv4, proto), 0);
  }
  const { work, l3, l4 } = load(tcpFrame(V4), VIRTIO_NET_HDR_GSO_TCPV4, 100);
  work.bytes[l4 + 12] = 0xf0; // a header of 60 bytes in 20
  assert.equal(cutter.begin(work, l3, l4, true, 6), 0);
});

test('CRC32c: RFC 3720 appendix B.4', () => {
  assert.equal(crc32c(new Uint8Array(32), 0, 32), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff), 0, 32), 0x62a8ab43);
  const scsi = fromHex(
    '01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018 28000000 00000000 02000000 00000000',
  );
  assert.equal(crc32c(scsi, 0, scsi.length), 0xd9963a56);
});

test('a partial SCTP checksum is a CRC, least significant byte first', () => {
  const work = new WorkFrame();
  const sctp = new Uint8Array(34 + 32);
  work.load(sctp, 0, sctp.length);
  work.partial = true;
  work.csumStart = 34;
  work.csumOffset = 8;
  completeChecksum(work, 132);
  assert.equal(toHex(work.view().subarray(42, 46)), 'aa36918a');
  assert.equal(work.partial, false);
});
