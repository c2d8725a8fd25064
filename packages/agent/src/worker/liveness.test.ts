/** When a host counts as lost, and when not: by what its agent and its kernel say. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TunnelSpec } from '@weft/datapath';
import { ipFormat, ipOf } from '@weft/packet';
import { Liveness } from './liveness.ts';

const TICK = 50;

/** Hosts with agents that are heard and kernels that answer, as the test says. */
class Bench {
  now = 1_000;
  readonly tunnels: TunnelSpec[] = [];
  readonly heard = new Map<string, number>();
  /** Addresses whose kernels answer. */
  readonly answering = new Set<string>();
  readonly pings: string[] = [];
  readonly events: string[] = [];
  readonly marks: string[] = [];
  readonly liveness: Liveness;
  private answers: string[] = [];

  constructor() {
    const pinger = {
      ping: ({ remote }: TunnelSpec) => {
        const address = ipFormat(remote);
        this.pings.push(address);
        if (this.answering.has(address)) this.answers.push(address);
      },
      poll: (heard: (address: string) => void) => {
        for (const address of this.answers.splice(0)) heard(address);
      },
      close: () => {},
    };
    this.liveness = new Liveness(
      { list: () => this.tunnels },
      pinger,
      { log: (event, fields) => this.events.push(`${event} ${fields?.host}`) },
      (host) => this.heard.get(host) ?? Number.NEGATIVE_INFINITY,
      (host, lost) => this.marks.push(`${host} ${lost}`),
    );
  }

  add(hostId: string, address: string): void {
    const remote = ipOf(address);
    this.tunnels.push({ peer: 1, hostId, local: remote, remote, ifindexes: [1], gateways: [null], mtu: 1500 });
  }

  /** Lets time pass. @param talking hosts whose agents are heard */
  run(ms: number, ...talking: string[]): void {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += TICK;
      for (const host of talking) this.heard.set(host, this.now);
      this.liveness.tick(this.now);
    }
  }
}

test('a host that is heard is not asked', () => {
  const bench = new Bench();
  bench.add('b', '192.0.2.2');
  bench.run(5_000, 'b');
  assert.deepEqual([bench.pings, bench.events, bench.liveness.lost], [[], [], 0]);
});

test('a host that falls silent is asked soon, and lost when its kernel does not answer either', () => {
  const bench = new Bench();
  bench.add('b', '192.0.2.2');
  bench.run(500, 'b');
  bench.run(300);
  assert.equal(bench.pings.length, 0);
  bench.run(100);
  assert.ok(bench.pings.length >= 1);
  assert.deepEqual(bench.events, []);
  bench.run(350);
  assert.deepEqual([bench.events, bench.marks, bench.liveness.lost], [['peer.lost b'], ['b true'], 1]);
  bench.run(5_000);
  assert.equal(bench.events.length, 1, 'told once');
  bench.run(50, 'b');
  assert.deepEqual([bench.events.at(-1), bench.marks.at(-1), bench.liveness.lost], ['peer.found b', 'b false', 0]);
});

test('while its kernel answers a host is there, though its agent is being restarted', () => {
  const bench = new Bench();
  bench.add('b', '192.0.2.2');
  bench.answering.add('192.0.2.2');
  bench.run(500, 'b');
  bench.run(60_000);
  assert.deepEqual(bench.events, []);
  bench.answering.clear();
  bench.run(1_100);
  assert.deepEqual(bench.events, ['peer.lost b']);
  bench.answering.add('192.0.2.2');
  bench.run(200);
  assert.deepEqual(bench.events.at(-1), 'peer.found b', 'a lost host is asked on');
});

test('it is asked ten times a second at most', () => {
  const bench = new Bench();
  bench.add('b', '192.0.2.2');
  bench.run(10_000);
  assert.ok(bench.pings.length <= 101, `${bench.pings.length}`);
});

test('of a host that was never heard nothing is known: its routes are used', () => {
  const bench = new Bench();
  bench.add('b', '192.0.2.2');
  bench.run(10_000);
  assert.deepEqual([bench.events, bench.marks, bench.liveness.lost], [[], [], 0]);
});

test('a lost host that leaves the tunnel zone is not marked any more', () => {
  const bench = new Bench();
  bench.add('b', '192.0.2.2');
  bench.run(500, 'b');
  bench.run(1_000);
  assert.deepEqual(bench.marks, ['b true']);
  bench.tunnels.length = 0;
  bench.run(50);
  assert.deepEqual([bench.marks, bench.liveness.lost], [['b true', 'b false'], 0]);
  bench.add('b', '192.0.2.2');
  bench.run(50);
  assert.equal(bench.marks.at(-1), 'b true', 'it has been silent all the time');
});

test('a host that gets another address is known by that one', () => {
  const bench = new Bench();
  bench.add('b', '192.0.2.2');
  bench.answering.add('192.0.2.2').add('192.0.2.9');
  bench.run(500, 'b');
  bench.run(2_000);
  bench.tunnels.length = 0;
  bench.add('b', '192.0.2.9');
  bench.add('c', '192.0.2.2');
  bench.run(5_000);
  assert.deepEqual(bench.events, []);
  bench.answering.delete('192.0.2.9');
  bench.run(1_000);
  assert.deepEqual(bench.events, ['peer.lost b'], 'answers of its old address are another host’s');
});
