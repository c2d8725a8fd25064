/**
 * What tests of killed starts share: a host whose flows forward, and starts of two builds over them in processes of their own. The builds
 * differ in the size of the flow table: enough for tables, programs and a directory of their own.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { OUT_LIST, OUT_PORT } from '@weft/flow';
import { Bench, hex } from '../../compliance/bench.ts';
import { openTunnel, tunnelled, udp } from '../../compliance/frames.ts';
import { LOCAL4, PEER4, Testbed } from '../../compliance/testbed.ts';
import type { Wire } from '../../compliance/wire.ts';
import { createEbpf, needsEbpf, pinsFor } from '../testing.ts';
import type { Found, Place, Start } from './killed.child.ts';

const CHILD = join(import.meta.dirname, 'killed.child.ts');
/** Sizes of the builds' flow tables. */
const BUILDS = [64, 128] as const;
/** Which of them. */
export type Build = 0 | 1;

/** Longest wait for a frame. */
const PATIENCE_MS = 3_000;
const KEY = 77;
const PEER = 1;
const LIST = 5;

/** Changes of a start, and what it found; undefined: it was killed. */
export interface Outcome {
  readonly changes: readonly string[];
  readonly found: Found | undefined;
}

export class KillBench {
  readonly testbed: Testbed;
  private readonly stateDir: string;
  private readonly local = udp({ srcPort: 4_001 });
  private readonly flooded = udp({ srcPort: 4_002 });
  private readonly arriving = udp({ srcPort: 4_003 });
  /** Packets that each flow has forwarded. */
  private count = 0;
  /** Whose start was the last one that ended. */
  private live: Build = 0;

  /** A flow from port to port, one into a list with a tunnel in it, a tunnel key that leads to a port; and nobody there. */
  constructor() {
    const factory = { kind: 'ebpf', skip: needsEbpf, adopts: true, create: createEbpf } as const;
    const testbed = new Testbed(factory, { encap: 'vxlan', maxFlows: BUILDS[0] });
    this.testbed = testbed;
    this.stateDir = pinsFor(testbed.options);
    testbed.attachAll();
    testbed.tunnel(PEER, PEER4);
    const [p1, p2, p3] = testbed.ports;
    testbed.driver.setEgress({ key: KEY, ports: [p2.ifindex] });
    testbed.driver.setList({ id: LIST, ports: [p3.ifindex], remotes: [{ peer: PEER, key: 9 }] });
    const bench = new Bench(testbed);
    bench.reset();
    bench.flow({ port: p1, frame: this.local, output: OUT_PORT, outPort: p2.ifindex });
    bench.flow({ port: p1, frame: this.flooded, output: OUT_LIST, outPort: LIST });
    testbed.driver.close();
    this.forwards('before any start');
  }

  /** A start of a build over what is there. @param place where it is killed; null: nowhere */
  start(build: Build, place: Place | null): Outcome {
    const options = { ...this.testbed.options, stateDir: this.stateDir, maxFlows: BUILDS[build] };
    const told: Start = { options, underlays: this.testbed.underlays, place };
    const { stdout, stderr, status, signal } = this.testbed.inHost(() =>
      spawnSync(process.execPath, [CHILD, JSON.stringify(told)], { encoding: 'utf8' }),
    );
    const lines = stdout.split('\n').slice(0, -1);
    if (signal === 'SIGKILL' && place !== null) return { changes: lines, found: undefined };
    assert.equal(status, 0, stderr);
    return { changes: lines.slice(0, -1), found: JSON.parse(lines.at(-1)!) as Found };
  }

  /** Packets of everything that is known are forwarded, whoever is there. */
  forwards(when: string): void {
    const { vms, underlay, underlayMacs } = this.testbed;
    this.count++;
    vms[0].send(this.local);
    arrives(vms[1], this.local, `a flow to a port, ${when}`);
    vms[0].send(this.flooded);
    arrives(vms[2], this.flooded, `a flow to the port of a list, ${when}`);
    const outside = openTunnel(next(underlay[0], `a flow to the tunnel of a list, ${when}`), 'vxlan');
    assert.deepEqual([hex(outside.inner), outside.key], [hex(this.flooded), 9]);
    const outer = { src: PEER4, dst: LOCAL4, ethDst: underlayMacs[0], key: KEY };
    underlay[0].send(tunnelled('vxlan', this.arriving, outer));
    arrives(vms[1], this.arriving, `what came by a tunnel, ${when}`);
  }

  /** A start that nobody disturbs ends well: all is there, all was counted, nothing came up, nothing of another build is left. */
  ends(build: Build, when: string): void {
    const { found } = this.start(build, null);
    const { directory, ...rest } = found!;
    const flows = [1, 2].map((id) => [id, this.count]);
    assert.deepEqual(rest, { ports: 3, flows, drops: {}, upcalls: 0 }, when);
    assert.deepEqual(readdirSync(this.stateDir), [basename(directory)], when);
    this.forwards(when);
    this.live = build;
  }

  /**
   * The build that is not live starts, and is killed: all goes on, and the next start ends well.
   * @param next whose start that is: the killed one's build `again`, or the one from before (`back`)
   */
  killed(place: Place, next: 'again' | 'back'): void {
    const when = `killed behind ${place.times} × ${place.what ?? 'anything'}, then ${next}`;
    const before = this.live;
    const build: Build = before === 0 ? 1 : 0;
    assert.equal(this.start(build, place).found, undefined, `${when}: it was not killed`);
    this.forwards(when);
    this.ends(next === 'again' ? build : before, when);
  }

  /** Where the start of the build that is not live can be killed; of many changes of a kind in a row, the first and the last one. */
  places(): Place[] {
    const build: Build = this.live === 0 ? 1 : 0;
    const { changes } = this.start(build, null);
    this.live = build;
    const times = new Map<string, number>();
    return changes.flatMap((what, i) => {
      times.set(what, (times.get(what) ?? 0) + 1);
      return changes[i - 1] === what && changes[i + 1] === what ? [] : [{ what, times: times.get(what)! }];
    });
  }

  close(): void {
    this.testbed.driver = this.testbed.create();
    this.testbed.close();
  }
}

/** The next frame at a wire; nobody needs to do anything for it to come. */
function next(wire: Wire, what: string): Uint8Array {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const [first, more] = wire.take();
    assert.equal(more, undefined, `one frame: ${what}`);
    if (first) return first.frame;
    assert.ok(performance.now() < deadline, `nothing came: ${what}`);
  }
}

function arrives(wire: Wire, frame: Uint8Array, what: string): void {
  assert.equal(hex(next(wire, what)), hex(frame), what);
}
