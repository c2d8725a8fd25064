import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TCP_ACK, TCP_FIN, TCP_SYN } from '@weft/packet';
import fc from 'fast-check';
import { ConnectionRecord, FLAG_TOMBSTONE } from '../record.ts';
import { recordOf, tuple } from '../testing/fixtures.ts';
import { type Host, Network } from '../testing/network.ts';
import { KIND_SNAT } from '../tuple.ts';

const HOSTS = 4;
const CONNECTIONS = 24;
const MONTH = 0x7fffffff;
/** Nothing expires: what differs in the end was not told. */
const TIMEOUTS = Object.fromEntries(
  [
    'tcpOpening',
    'tcpEstablished',
    'tcpClosing',
    'tcpClosed',
    'tcpReset',
    'udpUnreplied',
    'udpReplied',
    'icmp',
    'other',
    'sticky',
    'tombstone',
  ].map((name) => [name, MONTH]),
);

/** Who is told of connection `c`: two or three of the hosts. All of them may make it. */
function membersOf(c: number): number[] {
  const first = (c % HOSTS) + 1;
  const others = [1, 2, 3].map((step) => ((first - 1 + step) % HOSTS) + 1);
  return [first, others[c % 3], ...(c % 2 ? [others[(c + 1) % 3]] : [])];
}

function forward(host: Host, c: number): Int32Array {
  return tuple(host.table, KIND_SNAT, c % 2 ? 6 : 17, '10.0.0.1', 1000 + c, '1.1.1.1', 80);
}

/** The answers to what host `owner` made of connection `c`. */
function back(host: Host, c: number, owner: number): Int32Array {
  return tuple(host.table, KIND_SNAT, c % 2 ? 6 : 17, '1.1.1.1', 80, '2.2.2.2', 5000 + c * 8 + owner);
}

function connectionOf(record: ConnectionRecord): number {
  return (record.words[1] >>> 16) - 1000;
}

const scratch = new ConnectionRecord();

/** One version of a connection, as every host reads it. */
function version(host: Host, at: number): string {
  const r = host.table.read(at, 0, scratch);
  const owner = new Uint8Array(16);
  host.table.uuids.write(r.owner, owner);
  const ports = r.words[10] >>> 0;
  return `${connectionOf(r)} ${r.epoch}.${r.version} by ${owner[15]}, ${ports & 0xffff}, ${r.flags & FLAG_TOMBSTONE}`;
}

/** All that a host holds, with what was seen of it. */
function image(host: Host): string[] {
  const lines: string[] = [];
  const { table } = host;
  for (let at = table.nextRecord(0); at >= 0; at = table.nextRecord(at + 1)) {
    const text = version(host, at);
    table.read(at, 0, scratch);
    lines.push(`${text}, bits ${scratch.bits}, until ${scratch.remaining}, since ${scratch.age}`);
  }
  return lines.sort();
}

const anyHost = fc.integer({ min: 1, max: HOSTS });
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ op: fc.constant('insert' as const), c: fc.nat(CONNECTIONS - 1), who: fc.nat(2) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('touch' as const),
      c: fc.nat(CONNECTIONS - 1),
      who: fc.nat(2),
      reply: fc.boolean(),
      flags: fc.constantFrom(TCP_SYN, TCP_ACK, TCP_FIN),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('bury' as const), c: fc.nat(CONNECTIONS - 1), who: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('restart' as const), host: anyHost, keep: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('part' as const), host: anyHost }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('cut' as const), host: anyHost }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('heal' as const) }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('run' as const), ms: fc.constantFrom(10, 30, 200, 1500) }) },
);

/** A network on which steps are taken; it knows every version that was ever made. */
class World {
  readonly made = new Set<string>();
  readonly network: Network;

  constructor(seed: number, loss: number) {
    this.network = new Network(
      HOSTS,
      { table: { timeouts: TIMEOUTS }, onApplied: (host, record) => this.setAudience(host, record) },
      seed,
    );
    Object.assign(this.network, { loss, repeat: 0.1, delay: 40 });
  }

  /** Everybody reaches everybody. */
  heal(): void {
    this.network.groups.clear();
    for (const host of this.network.hosts) this.network.setPaths(host, true);
  }

  setAudience(host: Host, record: number): void {
    const c = connectionOf(host.table.read(record, 0, scratch));
    host.table.setAudience(record, host.audience(membersOf(c)));
  }

  take(s: typeof step extends fc.Arbitrary<infer T> ? T : never): void {
    const { network } = this;
    if (s.op === 'run') network.run(s.ms);
    else if (s.op === 'heal') this.heal();
    else if (s.op === 'cut') network.setPaths(network.host(s.host), false);
    else if (s.op === 'part') network.groups.set(s.host, s.host);
    else if (s.op === 'restart') {
      const host = network.host(s.host);
      host.restart(s.keep);
      for (let at = host.table.nextRecord(0); at >= 0; at = host.table.nextRecord(at + 1)) this.setAudience(host, at);
    } else {
      const members = membersOf(s.c);
      const host = network.host(members[s.who % members.length]);
      const { table, exchange } = host;
      const { now } = network;
      if (s.op === 'insert') {
        const record = recordOf(forward(host, s.c)).setReturn(back(host, s.c, host.id), 0);
        const at = table.insert(record, now, host.audience(members));
        if (at < 0) return;
        this.made.add(version(host, at));
        exchange.publish(at);
      } else {
        const match = table.find(forward(host, s.c), 0);
        if (match < 0) return;
        const at = match >>> 1;
        if (s.op === 'touch') {
          table.touch(at, s.reply, s.flags, now);
          exchange.publish(at);
        } else {
          table.bury(at, now, scratch);
          this.made.add(version(host, at));
          exchange.publish(at);
        }
      }
      exchange.flush(now);
    }
    this.checkAlways();
  }

  /** At all times: only members hold a connection, only in versions that were made, and lookups find it by both tuples. */
  checkAlways(): void {
    for (const host of this.network.hosts) {
      const { table } = host;
      for (let at = table.nextRecord(0); at >= 0; at = table.nextRecord(at + 1)) {
        const text = version(host, at);
        const c = connectionOf(scratch);
        assert.ok(membersOf(c).includes(host.id), `host ${host.id} holds ${text}`);
        assert.ok(this.made.has(text), `host ${host.id} holds ${text}, which nobody made`);
        const owner = (scratch.words[10] & 0xffff) - 5000 - c * 8;
        const found = [forward(host, c), back(host, c, owner)].map((words) => table.find(words, 0));
        const wanted = scratch.flags & FLAG_TOMBSTONE ? [-1, -1] : [at << 1, (at << 1) | 1];
        assert.deepEqual(found, wanted, `host ${host.id} finds ${text}`);
      }
    }
  }

  /** Connections of which the members do not hold the same, the greatest version. */
  differences(): string[] {
    const differing: string[] = [];
    for (let c = 0; c < CONNECTIONS; c++) {
      const held = membersOf(c).map((id) => {
        const host = this.network.host(id);
        const at = host.table.locate(forward(host, c), 0);
        return at < 0 ? 'nothing' : version(host, at);
      });
      if (new Set(held).size > 1) differing.push(`${c}: ${membersOf(c)} hold ${held.join('; ')}`);
    }
    return differing;
  }
}

test('whatever is lost, cut off or restarted: in the end all members hold the same, others nothing, and replays change nothing', () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 10, maxLength: 60 }),
      fc.integer(),
      fc.constantFrom(0, 0.1, 0.3),
      fc.boolean(),
      (steps, seed, loss, keep) => {
        const world = new World(seed, loss);
        const { network } = world;
        network.run(100);
        for (const s of steps) world.take(s);
        world.heal();
        const same = network.runUntil(() => world.differences().length === 0, 180_000);
        assert.ok(same, world.differences().join('\n'));
        world.checkAlways();

        // What was received is sent again, in another order, also after a restart: nothing changes, not even what was seen.
        network.loss = 1;
        const received = network.recorded.filter(({ delivered }) => delivered).reverse();
        const before = network.hosts.map(image);
        replay(network, received);
        assert.deepEqual(network.hosts.map(image), before);
        const all = network.recorded.slice().reverse();
        network.host(1).restart(keep);
        network.host(2).restart(true);
        const restarted = [1, 2].map((id) => image(network.host(id)));
        replay(
          network,
          all.filter(({ to }) => to <= 2),
        );
        assert.deepEqual(
          [1, 2].map((id) => image(network.host(id))),
          restarted,
        );
        for (const id of [1, 2]) {
          const { exchange } = network.host(id);
          for (const { lastHeard, acquainted } of exchange.peers()) {
            assert.equal(lastHeard, Number.NEGATIVE_INFINITY);
            assert.equal(acquainted, false);
          }
        }
      },
    ),
    { numRuns: 60 },
  );
});

function replay(network: Network, datagrams: readonly { to: number; bytes: Uint8Array }[]): void {
  for (const { to, bytes } of datagrams) network.host(to).exchange.receive(bytes, bytes.length, network.now);
}
