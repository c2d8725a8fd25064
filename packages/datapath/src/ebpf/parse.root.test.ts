/** The C parser against `extractKey` and `FragmentTable`: the same frames, the same keys, the same verdict on malformed ones. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { dropReason, extractKey, FRAG_LATER, K_IP_FRAG, K_TP_SRC, KEY_SIZE, newFrameLayout } from '@weft/flow';
import { fragmentFrame } from '@weft/packet';
import { testRun } from '@weft/sys';
import { tcp, udp, V6 } from '../compliance/frames.ts';
import { Testbed } from '../compliance/testbed.ts';
import { FragmentTable } from '../oracle/index.ts';
import type { EbpfDatapath } from './index.ts';
import { createEbpf, needsEbpf } from './testing.ts';

const skip = needsEbpf();
let testbed: Testbed;
let driver: EbpfDatapath;
const fragments = new FragmentTable();
let laterWithPorts = 0;

before(() => {
  if (skip) return;
  testbed = new Testbed(
    {
      kind: 'ebpf',
      skip: needsEbpf,
      adopts: true,
      create: (options) => (driver = createEbpf(options)),
    },
    { encap: 'vxlan' },
  );
  testbed.attachAll();
  testbed.driver.attachPort({ ...testbed.ports[0], upcallRate: 1e9, upcallBurst: 1e6 });
});
after(() => testbed?.close());

/** A small linear congruential generator: a failure names its seed. */
function random(seed: number): (below: number) => number {
  let s = seed >>> 0;
  return (below) => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return Math.floor((s / 0x1_0000_0000) * below);
  };
}

const EXTENSIONS = [0, 43, 60, 51, 44];

/** An IPv6 packet with up to nine extension headers. */
function withExtensions(next: (below: number) => number): Uint8Array {
  const base = udp(V6);
  const headers: number[] = [];
  const count = next(10);
  const kinds = Array.from({ length: count }, () => EXTENSIONS[next(EXTENSIONS.length)]);
  kinds.forEach((kind, i) => {
    const following = i + 1 < count ? kinds[i + 1] : 17;
    if (kind === 44) headers.push(following, 0, 0, next(4) === 0 ? 8 : next(2), 0, 0, 0, next(3));
    else if (kind === 51) headers.push(following, 4, ...new Array<number>(22).fill(0));
    else {
      const words = next(20) === 0 ? 30 : next(2);
      headers.push(following, words, ...new Array<number>(words * 8 + 6).fill(0));
    }
  });
  const out = new Uint8Array([...base.subarray(0, 54), ...headers, ...base.subarray(54)]);
  out[20] = count > 0 ? kinds[0] : 17;
  const payload = out.length - 54;
  out[18] = payload >>> 8;
  out[19] = payload;
  return out;
}

/** An IPv6 packet one of whose addresses is, or almost is, an IPv4-mapped one. */
function v4Mapped(next: (below: number) => number): { frame: Uint8Array; mapped: boolean } {
  const frame = [udp(V6), tcp(V6), withExtensions(next)][next(3)].slice();
  const at = next(2) === 0 ? 22 : 38;
  frame.fill(0, at, at + 10);
  frame.fill(0xff, at + 10, at + 12);
  frame.set([next(256), next(256), next(256), next(256)], at + 12);
  const mapped = next(3) > 0;
  if (!mapped) frame[at + next(12)] ^= 1 << next(8);
  return { frame, mapped };
}

/** A valid frame with a few bytes changed, cut, padded or tagged. */
function mutate(next: (below: number) => number): Uint8Array {
  const pieces = fragmentFrame(udp({ payload: new Uint8Array(600), dontFragment: false }), 300);
  const frames = [udp(), tcp(), udp(V6), tcp(V6), udp({ vlan: 5 }), withExtensions(next), ...pieces.slice(0, 2)];
  let f = frames[next(frames.length)].slice();
  if (next(12) === 0) f.set([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, next(256)], 12);
  const changes = next(4);
  for (let i = 0; i < changes; i++) f[12 + next(Math.min(f.length - 12, 60))] = next(256);
  if (next(3) === 0) f = f.slice(0, 14 + next(f.length - 13));
  if (next(5) === 0) f = new Uint8Array([...f, ...new Uint8Array(next(20))]);
  return f;
}

/** Runs a frame through both parsers, which must agree. @returns true if it is well formed */
function agree(frame: Uint8Array, what: string): boolean {
  const port = testbed.ports[0].ifindex;
  const expected = new Uint8Array(KEY_SIZE);
  const malformed = dropReason('malformed');
  const layout = newFrameLayout();
  const ok = extractKey(frame, frame.length, port, 0, expected, 0, layout);
  if (ok) fragments.track(expected, frame, layout, performance.now() * 1e6);
  if (ok && expected[K_IP_FRAG] === FRAG_LATER && expected[K_TP_SRC] !== 0) laterWithPorts++;
  const before = driver.stats().drops[malformed];
  testbed.inHost(() => testRun(driver.object.program.weft_port, frame, { ifindex: port }));
  const keys: string[] = [];
  driver.poll(0, 8, (u) => {
    keys.push(Buffer.from(u.key).toString('hex'));
  });
  const detail = `${what}: ${Buffer.from(frame).toString('hex')}`;
  assert.deepEqual(keys, ok ? [Buffer.from(expected).toString('hex')] : [], detail);
  assert.equal(driver.stats().drops[malformed] - before, ok ? 0 : 1, detail);
  return ok;
}

test('the C parser and extractKey agree on 4000 frames', { skip }, () => {
  const seed = 20_251_120;
  const next = random(seed);
  let wellFormed = 0;
  for (let i = 0; i < 4000; i++) {
    const frame = i % 4 === 0 ? withExtensions(next) : mutate(next);
    // Test runs refuse IP packets without a whole header; a wire does not (the compliance suite sends such).
    const type = (frame[12] << 8) | frame[13];
    if (frame.length < 14 + (type === 0x86dd ? 40 : type === 0x0800 ? 20 : 1)) continue;
    if (agree(frame, `seed ${seed}, frame ${i}`)) wellFormed++;
  }
  assert.ok(wellFormed > 1000 && wellFormed < 3900, `${wellFormed} of 4000 well formed`);
  assert.ok(laterWithPorts > 100, `${laterWithPorts} later fragments whose first one was known`);
});

test('a fragment header far behind the IPv6 header: up to 1020 bytes it is found', { skip }, () => {
  const base = udp(V6);
  for (const [words, found] of [
    [121, true], // 40 + 976 = 1016 bytes
    [122, false], // 1024
  ] as const) {
    const options = [44, words, ...new Array<number>(words * 8 + 6).fill(0)];
    const later: string[] = [];
    for (const offset of [1, 8]) {
      const frame = new Uint8Array([
        ...base.subarray(0, 54),
        ...options,
        17,
        0,
        0,
        offset,
        0,
        0,
        9,
        words,
        ...base.subarray(54),
      ]);
      frame[20] = 60;
      frame[18] = (frame.length - 54) >>> 8;
      frame[19] = frame.length - 54;
      laterWithPorts = 0;
      assert.ok(agree(frame, `${words} words`));
      later.push(String(laterWithPorts));
    }
    assert.deepEqual(later, ['0', found ? '1' : '0']);
  }
});

test('both call an IPv6 packet with an IPv4-mapped address malformed, and none that only looks like it', {
  skip,
}, () => {
  const seed = 20_251_121;
  const next = random(seed);
  let [refused, taken] = [0, 0];
  for (let i = 0; i < 600; i++) {
    const { frame, mapped } = v4Mapped(next);
    const ok = agree(frame, `seed ${seed}, frame ${i}`);
    assert.ok(!(mapped && ok), `frame ${i} was taken: ${Buffer.from(frame).toString('hex')}`);
    if (mapped) refused++;
    else if (ok) taken++;
  }
  assert.ok(refused > 300 && taken > 80, `${refused} refused, ${taken} taken`);
});
