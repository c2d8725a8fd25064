/**
 * Two drivers on the same bytes. Each has a testbed of its own; both get the same flows and the same frames, and whatever
 * comes out — frames on every wire, upcalls, counters of drops — must be the same. Order within a wire is the compliance suite's
 * business: here a driver may send by several ways inside the kernel.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  ACTION_SIZE,
  actionReads,
  compileAction,
  DROP_REASONS,
  FLOW_STATE_KEY,
  KEY_FORWARDED,
  OUT_LIST,
  OUT_PORT,
  OUT_TUNNEL,
} from '@weft/flow';
import { arpRequest, describe as describeFrame } from '@weft/packet';
import { setOffloads } from '@weft/sys';
import fc from 'fast-check';
import type { Upcall } from '../contract.ts';
import { Bench } from './bench.ts';
import { onTheWire, openTunnel, payload, tcp, tunnelled, udp, V6, VM3 } from './frames.ts';
import { brokenPackets, type FlowCase, flowCases, fragmentTrains, outerPackets, packets } from './generate.ts';
import { guard } from './suite.ts';
import { type DriverFactory, LOCAL4, LOCAL6, OTHER_PEER4, PEER4, PEER6, Testbed } from './testbed.ts';

export interface DifferentialOptions {
  readonly encap: 'gre' | 'vxlan';
  readonly ipv6: boolean;
  /** Cases of each kind. */
  readonly runs: number;
  /** Default: by the clock; a failing test names it. */
  readonly seed?: number;
}

const CHUNK = 50;

/** What a driver made of a series of frames: sorted lines of text. */
type Outcome = string[];

export function describeDifferential(a: DriverFactory, b: DriverFactory, options: DifferentialOptions): void {
  const skip = a.skip() || b.skip();
  const seed = options.seed ?? Date.now() % 1_000_000;
  const name = `${a.kind} and ${b.kind}: ${options.encap} over IPv${options.ipv6 ? 6 : 4}, seed ${seed}`;
  guard();
  describe(name, { skip }, () => {
    let benches: Bench[] = [];
    const sample = <T>(arbitrary: fc.Arbitrary<T>) => fc.sample(arbitrary, { numRuns: options.runs, seed });
    before(() => {
      benches = [a, b].map((factory) => prepare(factory, options));
    });
    after(() => {
      for (const bench of benches) bench.testbed.close();
    });

    test('flows', () => {
      const cases = sample(flowCases);
      for (let i = 0; i < cases.length; i += CHUNK) {
        const chunk = cases.slice(i, i + CHUNK);
        compare(
          benches,
          (bench) => runFlows(bench, chunk, options),
          () => chunk.map((c) => describeFrame(c.packet.frame)),
        );
      }
    });

    test('packets without a flow, whole and broken', () => {
      const frames = [...sample(packets), ...sample(brokenPackets)];
      for (let i = 0; i < frames.length; i += CHUNK) {
        const chunk = frames.slice(i, i + CHUNK);
        compare(
          benches,
          (bench) => {
            bench.reset();
            for (const p of chunk) bench.testbed.vms[0].send(p.frame, p.vnetHeader);
            return collect(bench, options);
          },
          () => chunk.map((p) => Buffer.from(p.frame).toString('hex')),
        );
      }
    });

    test('trains of fragments, two at a time, from two ports', () => {
      const trains = sample(fragmentTrains);
      for (let i = 0; i < trains.length; i += CHUNK) {
        const chunk = interleave(trains.slice(i, i + CHUNK));
        compare(
          benches,
          (bench) => {
            bench.reset();
            for (const { frame, vm } of chunk) bench.testbed.vms[vm].send(frame);
            return collect(bench, options);
          },
          () => chunk.map(({ frame, vm }) => `${vm}: ${describeFrame(frame)}`),
        );
      }
    });

    test('arrivals from the underlay', () => {
      const mac = benches[0].testbed.underlayMacs[0];
      const addresses = options.ipv6 ? { src: PEER6, dst: LOCAL6 } : { src: PEER4, dst: LOCAL4 };
      const sentOn = [103, 100, FLOW_STATE_KEY].map((key) => (key | KEY_FORWARDED) >>> 0);
      const keys = [100, 101, 102, 103, FLOW_STATE_KEY, ...sentOn];
      const frames = sample(outerPackets(options.encap, { ...addresses, ethDst: mac, keys }));
      for (const inner of truncations()) {
        for (const key of [100, FLOW_STATE_KEY]) {
          const peer = { ...addresses, ethDst: mac, key, tos: inner.length & 3 };
          frames.push(tunnelled(options.encap, inner, peer));
        }
      }
      for (let i = 0; i < frames.length; i += CHUNK) {
        const chunk = frames.slice(i, i + CHUNK);
        compare(
          benches,
          (bench) => {
            bench.reset();
            for (const frame of chunk) bench.testbed.underlay[0].send(frame);
            return collect(bench, options);
          },
          () => chunk.map((f) => Buffer.from(f).toString('hex')),
        );
      }
    });
  });
}

function prepare(factory: DriverFactory, options: DifferentialOptions): Bench {
  const testbed = new Testbed(factory, { encap: options.encap, maxFlows: 4096 });
  testbed.attachAll();
  testbed.inHost(() => setOffloads('u0', { tx: false, tso: false, gso: false }));
  testbed.tunnel(1, options.ipv6 ? PEER6 : PEER4, { mtu: 1000 });
  testbed.tunnel(2, OTHER_PEER4, { mtu: 1500 });
  const [p1, p2, p3] = testbed.ports.map((p) => p.ifindex);
  testbed.driver.setEgress({ key: 100, ports: [p2] });
  testbed.driver.setEgress({ key: 101, ports: [p2, p3] });
  testbed.driver.setEgress({ key: 103, ports: [p3], remotes: [{ peer: 2, key: 14 }] });
  testbed.driver.setEgress({ key: 102, ports: [testbed.underlays[1]] });
  const remotes = [
    { peer: 1, key: 11 },
    { peer: 2, key: 12 },
    { peer: 9, key: 13 },
  ];
  testbed.driver.setList({ id: 1, ports: [p1, p2, p3], remotes });
  return new Bench(testbed);
}

function compare(benches: readonly Bench[], run: (bench: Bench) => Outcome, explain: () => readonly string[]): void {
  const [one, two] = benches.map(run);
  const missing = subtract(one, two);
  const extra = subtract(two, one);
  if (missing.length + extra.length === 0) return;
  const [first, second] = benches.map((b) => b.driver.kind);
  assert.fail(
    [
      `only ${first}:`,
      ...missing.slice(0, 6),
      `only ${second}:`,
      ...extra.slice(0, 6),
      'of the frames:',
      ...explain().slice(0, CHUNK),
    ].join('\n'),
  );
}

/** Lines of `from` that `what` does not have (each as often as it occurs). */
function subtract(from: Outcome, what: Outcome): Outcome {
  const counts = new Map<string, number>();
  for (const line of what) counts.set(line, (counts.get(line) ?? 0) + 1);
  return from.filter((line) => {
    const n = counts.get(line) ?? 0;
    counts.set(line, n - 1);
    return n <= 0;
  });
}

function runFlows(bench: Bench, cases: readonly FlowCase[], options: DifferentialOptions): Outcome {
  const { testbed } = bench;
  const [p1, p2] = testbed.ports;
  bench.reset();
  const out: Outcome = [];
  for (const c of cases) {
    const target = { [OUT_PORT]: p2.ifindex, [OUT_TUNNEL]: 1, [OUT_LIST]: 1 }[c.output] ?? 0;
    const request = { ...c, port: p1, frame: c.packet.frame, outPort: target, tunnelKey: 77 };
    // The mask must hold what the rewrite depends on: that is the agent's promise to the datapath.
    const probe = new Uint8Array(ACTION_SIZE);
    const key = bench.key(c.packet.frame, p1.ifindex);
    const final = key.slice();
    c.rewrite(final);
    if (!compileAction(key, final, probe, { output: c.output, ttlDec: c.ttlDec })) continue;
    bench.flow({ ...request, read: c.read | actionReads(probe) });
    testbed.vms[0].send(c.packet.frame, c.packet.vnetHeader);
    out.push(...collect(bench, options, false));
    bench.deleteAll();
  }
  out.push(...collect(bench, options));
  return out;
}

/** The first two trains frame by frame in turns, then the next two …; every third pair comes by another port. */
function interleave(trains: readonly (readonly Uint8Array[])[]): { frame: Uint8Array; vm: number }[] {
  const out: { frame: Uint8Array; vm: number }[] = [];
  for (let i = 0; i < trains.length; i += 2) {
    const [one, two = []] = [trains[i], trains[i + 1]];
    const vm = i % 6 === 0 ? 1 : 0;
    for (let n = 0; n < Math.max(one.length, two.length); n++) {
      if (n < one.length) out.push({ frame: one[n], vm });
      if (n < two.length) out.push({ frame: two[n], vm });
    }
  }
  return out;
}

/** Frames of every kind, each cut to every length from nothing to a little payload. */
function truncations(): Uint8Array[] {
  const frames = [udp(), tcp(V6), udp({ vlan: 7 }), tcp({ ...V6, vlan: 7 }), udp({ vlan: [7, 8] })];
  frames.push(arpRequest({ senderMac: VM3, senderIp: '10.0.0.9', targetIp: '10.0.0.2' }));
  frames.push(new Uint8Array([...udp().subarray(0, 12), 0x88, 0xcc, ...payload(60)]));
  return frames.flatMap((frame) => {
    const most = Math.min(frame.length, 80);
    return Array.from({ length: most + 1 }, (_, length) => frame.slice(0, length));
  });
}

/** Everything that has come out since the last call. */
function collect(bench: Bench, options: DifferentialOptions, patient = true): Outcome {
  const { testbed } = bench;
  const out: Outcome = [];
  bench.settle(patient ? 60 : 3);
  for (const vm of testbed.vms) {
    for (const a of vm.take()) for (const f of onTheWire(a)) out.push(`${vm.name} ${hex(f)}`);
  }
  for (const wire of testbed.underlay) {
    for (const a of wire.take()) {
      const text = underlayLine(a.frame, options.encap);
      if (text !== '') out.push(`${wire.name} ${text}`);
    }
  }
  for (const u of bench.drainUpcalls()) out.push(upcallLine(u));
  if (patient) {
    const drops = bench.dropsSince();
    DROP_REASONS.forEach((reason, i) => {
      if (drops[i] !== 0) out.push(`drops ${reason} ${drops[i]}`);
    });
  }
  return out;
}

/** A tunnel packet without what drivers may choose (its source port); '' for the host's ICMP. */
function underlayLine(frame: Uint8Array, encap: 'gre' | 'vxlan'): string {
  const v6 = frame[12] === 0x86;
  const proto = frame[v6 ? 20 : 23];
  if (proto === 1 || proto === 58) return '';
  const { inner, sourcePort, ...outer } = openTunnel(frame, encap);
  return `${JSON.stringify(outer)} ${hex(inner)}`;
}

function upcallLine(u: Upcall): string {
  const head = [u.reason, u.length, u.segmentLength, u.peer, u.mtu].join(' ');
  // The ingress port's number is the testbed's own.
  return `upcall ${head} ${hex(u.vnetHeader.subarray(6))} ${hex(u.key.subarray(4))} ${hex(u.frame)}`;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
