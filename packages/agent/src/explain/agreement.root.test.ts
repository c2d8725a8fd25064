/**
 * Trace, installed flow and the frames on the wire say the same, on real datapaths: for random topologies and packets the
 * trace comes first; then the packet is sent and what leaves the host is caught; then it is sent again, for the flow alone.
 */
import assert from 'node:assert/strict';
import { describe as group, test } from 'node:test';
import { UserspaceDatapath } from '@weft/datapath';
import { createEbpf, type DriverFactory, guard, needsEbpf, VM_COUNT } from '@weft/datapath/compliance';
import {
  ACTION_SIZE,
  compileAction,
  extractKey,
  K_ETH_DST,
  K_ETH_SRC,
  K_ICMP_ID,
  K_IP_DST,
  K_IP_SRC,
  K_TP_DST,
  K_TP_SRC,
  KEY_SIZE,
  newFrameLayout,
  OUT_PORT,
} from '@weft/flow';
import { describe, ipParse, macFormat, macParse, toHex, vlanPush } from '@weft/packet';
import fc from 'fast-check';
import { AgentError } from '../errors.ts';
import { carriedOut } from '../testing/carry-out.ts';
import { RandomNetwork, randomOf } from '../testing/random-network.ts';
import { type Departure, sorted, WiredHost } from '../testing/wired-host.ts';
import type { Destination, Trace } from './trace.ts';

const PACKETS = 24;

const DRIVERS: readonly (DriverFactory & { readonly runs: number })[] = [
  { kind: 'ebpf', create: (options) => createEbpf(options), skip: needsEbpf, adopts: true, runs: 7 },
  {
    kind: 'userspace',
    create: (options) => new UserspaceDatapath(options),
    skip: () => (process.geteuid?.() === 0 ? false : 'needs root (CAP_NET_RAW, CAP_NET_ADMIN, CAP_SYS_ADMIN)'),
    adopts: false,
    runs: 8,
  },
];

guard();
for (const driver of DRIVERS) {
  group(`${driver.kind}: a trace and the wire`, { skip: driver.skip() }, () => {
    test('agree for random topologies and packets', () => {
      const seen = { forward: 0, drop: 0, postpone: 0, flows: 0, answers: 0, tagged: 0 };
      fc.assert(
        fc.property(fc.nat(2 ** 31), (seed) => oneNetwork(driver, seed, seen)),
        { numRuns: Number(process.env.WEFT_PROPERTY_RUNS ?? driver.runs), endOnFailure: true },
      );
      const { forward, drop, flows, answers, tagged } = seen;
      assert.ok(forward > 10 && drop > 5 && flows > 10 && answers > 0 && tagged > 0, JSON.stringify(seen));
    });
  });
}

function oneNetwork(driver: DriverFactory, seed: number, seen: Record<string, number>): void {
  const random = randomOf(seed);
  const net = new RandomNetwork(random);
  if (random() < 0.5) net.equip();
  const host = new WiredHost(net.world, driver);
  try {
    host.harness.settle();
    for (let i = 0; i < PACKETS; i++) {
      for (let n = Math.floor(random() * 3); n > 0; n--) net.change();
      host.harness.settle();
      const { ifindex, frame: plain } = net.frame();
      const frame = random() < 0.15 ? vlanPush(plain, 5) : plain;
      const vm = ifindex - 10;
      if (vm < VM_COUNT && isLive(host, vm)) onePacket(host, vm, frame, seen);
    }
    assert.deepEqual(host.harness.complaints, []);
  } finally {
    host.close();
  }
}

function onePacket(host: WiredHost, vm: number, frame: Uint8Array, seen: Record<string, number>): void {
  const told = trace(host, vm, frame);
  const context = () => `${describe(frame)} from vm${vm}\n${JSON.stringify(told, null, 1)}`;
  // A link without a port is no place where frames can be caught.
  const goes = told.destinations.map(placeOf);
  const answers = told.generated.flatMap(({ packet, destinations }) =>
    destinations.map((to) => `${placeOf(to)} ${bare(packet)}`),
  );
  const before = simulations(host);
  const out = host.send(vm, frame, goes.length + answers.length).filter(isNoChatter);
  if (told.installed !== null) {
    assert.equal(told.installed.agrees, true, context());
    assert.equal(simulations(host), before, `the installed flow takes it: ${context()}`);
  }
  seen[told.verdict]!++;
  if (frame[12] === 0x81) seen.tagged!++;
  if (told.verdict === 'postpone') {
    assert.ok(!out.some((one) => toHex(one.frame) === toHex(frame)), `it waits: ${context()}`);
    return;
  }
  assert.deepEqual(
    wordsOf(out, told, frame),
    [...goes.map((where) => `${where} the packet`), ...answers].sort(),
    context(),
  );
  if (answers.length > 0) seen.answers!++;
  if (told.flow === null) return;
  seen.flows!++;
  const now = trace(host, vm, frame);
  assert.equal(now.installed?.agrees, true, context());
  if (now.flow?.action !== told.flow.action) {
    assert.ok(
      told.explanation.steps.some(({ step }) => step === 'learns'),
      `only what the packet taught changes its way: ${context()}`,
    );
    return;
  }
  const between = simulations(host);
  const again = host.send(vm, frame, goes.length).filter(isNoChatter);
  assert.equal(simulations(host), between, `the flow takes the next one: ${context()}`);
  assert.deepEqual(sorted(again), sorted(out), `the flow does what was done to the first: ${context()}`);
}

/** Packets that were simulated so far: flags that end a connection come up beside what a flow does. */
function simulations(host: WiredHost): number {
  return (host.harness.engine.status() as { simulations: number }).simulations;
}

function isLive(host: WiredHost, vm: number): boolean {
  const { ports } = host.harness.engine.status() as { ports: { interfaceName: string; live: boolean }[] };
  return ports.some(({ interfaceName, live }) => interfaceName === `vm${vm}` && live);
}

function trace(host: WiredHost, vm: number, frame: Uint8Array): Trace {
  let answer: Trace | AgentError | undefined;
  host.harness.engine.trace({ port: `vm${vm}`, frame: toHex(frame) }, (a) => {
    answer = a;
  });
  for (let i = 0; answer === undefined && i < 20; i++) host.harness.settle();
  assert.ok(answer !== undefined, 'the trace is answered');
  if (answer instanceof AgentError) throw answer;
  return answer;
}

/** As {@link WiredHost.departures} says it. */
function placeOf(to: Destination): string {
  return to.via === 'interface' ? String(to.interface) : `${to.remote}/0x${to.key!.toString(16)}`;
}

/** Not what the host's own interfaces say for themselves, nor a router's request for a neighbour that earlier packets wait for. */
function isNoChatter({ frame }: Departure): boolean {
  const sender = toHex(frame.subarray(6, 12));
  if (sender.startsWith('accaba')) return !/ARP who-has|ICMP6 who-has/.test(describe(frame));
  return sender.startsWith('0200000000');
}

/** Each frame that left: the packet as the flow rewrites it, or else what it is. */
function wordsOf(out: readonly Departure[], told: Trace, frame: Uint8Array): string[] {
  const wanted = toHex(rewritten(frame, told.flow?.action ?? ''));
  return out
    .map(({ where, frame: left }) => `${where} ${toHex(left) === wanted ? 'the packet' : bare(describe(left))}`)
    .sort();
}

/** A packet in words without what routers on its way change: an answer is told as its device made it. */
function bare(text: string): string {
  return text.replace(/^\S+ > \S+, /, '').replace(/ (?:hlim|ttl) \d+$/, '');
}

/** The frame after the rewrites that an action names. Of a tagged one only MACs are rewritten here. */
function rewritten(frame: Uint8Array, action: string): Uint8Array {
  const value = (name: string): string | undefined => new RegExp(`${name}=([0-9a-f:.]+)`).exec(action)?.[1];
  if (frame[12] === 0x81) {
    const out = frame.slice();
    for (const [name, at] of [
      ['set_dl_dst', 0],
      ['set_dl_src', 6],
    ] as const) {
      out.set(macParse(value(name) ?? macFormat(frame, at)), at);
    }
    return out;
  }
  const key = new Uint8Array(KEY_SIZE);
  assert.ok(extractKey(frame, frame.length, 0, 0, key, 0, newFrameLayout()));
  const to = key.slice();
  const set = (name: string, at: number, bytes: (text: string) => Uint8Array): void => {
    const text = value(name);
    if (text !== undefined) to.set(bytes(text), at);
  };
  const number = (text: string): Uint8Array => Uint8Array.of(Number(text) >> 8, Number(text) & 0xff);
  set('set_dl_src', K_ETH_SRC, macParse);
  set('set_dl_dst', K_ETH_DST, macParse);
  set('set_nw_src', K_IP_SRC, ipParse);
  set('set_nw_dst', K_IP_DST, ipParse);
  set('set_tp_src', K_TP_SRC, number);
  set('set_tp_dst', K_TP_DST, number);
  set('set_icmp_id', K_ICMP_ID, number);
  const compiled = new Uint8Array(ACTION_SIZE);
  const ttlDec = Number(/dec_ttl\((\d+)\)/.exec(action)?.[1] ?? 0);
  assert.ok(compileAction(key, to, compiled, { output: OUT_PORT, ttlDec }));
  return carriedOut(frame, compiled);
}
