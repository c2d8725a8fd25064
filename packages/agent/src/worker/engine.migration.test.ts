/** A VM in the midst of its conversations goes from one host to another. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { MSG_STATE, MSG_SYNC_DATA } from '@weft/flowstate';
import { openEmbeddedArchive } from '@weft/nsdb/archive';
import { TCP_ACK, TCP_RST } from '@weft/packet';
import { fleetHost } from '../testing/fleet.ts';
import { Gateways, type GatewaysOptions, INNER, LEFT, OTHER, RIGHT } from '../testing/gateways.ts';
import type { NatBlock } from './connections/nat-pools.ts';
import { STATE_HEADERS } from './connections/state-frame.ts';

/** Interface of the other host that the VM comes to. */
const VM = 5;

class Moving extends Gateways {
  readonly port: string;

  constructor(options: GatewaysOptions = {}) {
    super(options);
    this.port = this.vms[0].port;
    assert.deepEqual(this.fleet.complaints(), []);
  }

  /** Changes the port as the API does. */
  private change(fields: Record<string, unknown>): void {
    const none = { nextHostId: undefined, nextInterfaceName: undefined, previousHostId: undefined };
    this.world.patch('Port', this.port, { ...none, ...fields });
    this.fleet.changed();
  }

  prepare(): void {
    this.change({ nextHostId: fleetHost(OTHER), nextInterfaceName: `vm${VM}` });
  }

  /** The binding changes, prepared or not. */
  bind(host = OTHER, n = VM, previous = INNER): void {
    this.change({ hostId: fleetHost(host), interfaceName: `vm${n}`, previousHostId: fleetHost(previous) });
  }

  done(): void {
    this.change({});
  }

  /** What a host says of the port's move. */
  notice(host: number): Record<string, unknown> | undefined {
    const text = this.world.tables.get(`moving/${this.port}`)?.get(fleetHost(host));
    return text === undefined ? undefined : (JSON.parse(text) as Record<string, unknown>);
  }

  /** What leaves by an uplink when the VM sends from where it is now, without the uplink's name. */
  sendMoved(frame: Uint8Array, ms = 60): string[] {
    return this.fleet.exchange(OTHER, VM, frame, ms).map((text) => text.replace(/^[12]\/vm0 /, ''));
  }

  get tunnelKey(): number {
    return this.world.get('Port', this.port)!.tunnelKey as number;
  }

  egress(host: number): { ports: readonly number[]; remotes?: readonly unknown[] } | undefined {
    return this.fleet.hosts[host].state.egress.get(this.tunnelKey);
  }
}

/** An established connection, and what its next segment leaves as. */
function connected(net: Moving, srcPort: number, by = LEFT): string {
  net.connect(srcPort, by);
  return net.call(0, net.tcp(0, srcPort, TCP_ACK))[0].replace(/^[12]\/vm0 /, '');
}

describe('prepared', () => {
  it('the next host gets ready: interface, topology, connections of all owners; nothing else changes', () => {
    const net = new Moving();
    const out = connected(net, 2000);
    net.prepare();
    net.fleet.run(2_000);
    const { ready, awaits, connections } = net.notice(OTHER) ?? {};
    assert.deepEqual([ready, awaits], [true, []]);
    assert.equal(connections, (net.notice(INNER) as { connections: number }).connections);
    assert.deepEqual(net.texts(OTHER, 2000), net.texts(INNER, 2000));
    assert.deepEqual(net.fleet.hosts[OTHER].state.ports.has(10 + VM), true);
    // The VM is where it was.
    assert.equal(net.call(0, net.tcp(0, 2000, TCP_ACK))[0].replace(/^[12]\/vm0 /, ''), out);
    assert.deepEqual(net.sendMoved(net.tcp(0, 2000, TCP_ACK)), [], 'and not where it is not yet');
    // What begins now is told, too.
    net.leave(2001);
    assert.equal(net.texts(OTHER, 2001).length, 2);
  });

  it('says what it waits for: an interface that is not there', () => {
    const net = new Moving();
    net.world.patch('Port', net.port, { nextHostId: fleetHost(OTHER), nextInterfaceName: 'vm99' });
    net.fleet.changed();
    net.fleet.run(2_000);
    assert.deepEqual(net.notice(OTHER), {
      role: 'to',
      interfaceName: 'vm99',
      ready: false,
      awaits: ['interface'],
      connections: net.notice(OTHER)!.connections,
    });
  });

  it('without the host that the port is on, the archive that all share makes it ready', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'weft-shared-'));
    const archive = openEmbeddedArchive({ dir, gatherMs: 5 });
    try {
      const net = new Moving({ archive: () => archive });
      connected(net, 2000);
      net.fleet.run(100);
      await archive.flush();
      Object.assign(net.fleet.hosts[INNER], { alive: false, running: false });
      for (const host of [LEFT, RIGHT, OTHER]) net.fleet.restart(host, false, false);
      net.fleet.settle();
      net.prepare();
      net.fleet.run(1_000);
      assert.deepEqual(net.notice(OTHER)?.awaits, ['connections'], 'for a while the other host is given the chance');
      while (net.notice(OTHER)?.ready !== true) {
        net.fleet.run(5);
        await sleep(1);
      }
      assert.equal(net.texts(OTHER, 2000).length, 2);
    } finally {
      await archive.close();
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it('can be given up: all is as before', () => {
    const net = new Moving();
    net.prepare();
    net.fleet.run(1_000);
    net.done();
    net.fleet.run(1_000);
    assert.deepEqual([net.notice(OTHER), net.notice(INNER)], [undefined, undefined]);
    assert.equal(net.egress(OTHER), undefined);
    assert.equal(net.leave(2002) > 0, true);
  });
});

describe('switched', () => {
  it('connections go on from the other host, answers come there, and what still goes to the old one follows', () => {
    const net = new Moving();
    const out = connected(net, 2000);
    net.prepare();
    net.fleet.run(2_000);
    const answer = net.answer(LEFT);
    net.bind();
    net.fleet.run(300);
    assert.deepEqual(net.sendMoved(net.tcp(0, 2000, TCP_ACK)), [out]);
    assert.equal(net.receive(LEFT, answer).join().startsWith(`${OTHER}/vm${VM} tcp `), true);
    const [remote] = net.egress(INNER)?.remotes ?? [];
    assert.deepEqual([net.egress(INNER)?.ports, (remote as { key: number }).key], [[], net.tunnelKey]);
    const arrival = net.fleet.hosts[INNER].harness.engine.arrival({ key: net.tunnelKey, source: '' });
    assert.deepEqual([arrival.verdict, arrival.next], ['forwarded', fleetHost(OTHER)]);
    assert.deepEqual(net.notice(OTHER), undefined);
    // Nobody is asked any more where the VM is: its MAC is still known.
    assert.equal(net.fleet.hosts[OTHER].table.tombstones, 0);
    net.done();
    net.fleet.run(300);
    assert.equal(net.egress(INNER), undefined, 'done: nothing follows any more');
    assert.deepEqual(net.sendMoved(net.tcp(0, 2000, TCP_ACK)), [out]);
  });

  it('connections outlive the host that began them', () => {
    const net = new Moving();
    const out = connected(net, 2000);
    net.prepare();
    net.fleet.run(2_000);
    net.bind();
    net.fleet.run(500);
    Object.assign(net.fleet.hosts[INNER], { alive: false, running: false });
    net.fleet.run(20_000);
    assert.deepEqual(net.sendMoved(net.tcp(0, 2000, TCP_ACK)), [out]);
    assert.equal(net.receive(RIGHT, net.answer(RIGHT)).join().startsWith(`${OTHER}/vm${VM} tcp `), true);
  });
});

describe('the host that a port came from is gone for good', () => {
  const POOL = /^nat\//;
  const portOf = (out: string) => Number(/203\.0\.113\.1:(\d+) /.exec(out)![1]);

  /** The VM's connection goes on from the other host, whose packets are seen from time to time; the first host is given up. */
  function orphaned(): { net: Moving; out: string; block: NatBlock } {
    const net = new Moving({ timeouts: { tcpReset: 5_000 } });
    const out = connected(net, 2000);
    const { bank } = net.fleet;
    const index = Math.floor(portOf(out) / 64);
    const block = bank.heldBy(fleetHost(INNER)).find((one) => one.index === index && POOL.test(one.pool))!;
    net.prepare();
    net.fleet.run(2_000);
    net.bind();
    net.fleet.run(300);
    net.done();
    Object.assign(net.fleet.hosts[INNER], { alive: false, running: false });
    for (let i = 0; i < 4; i++) {
      net.fleet.run(16_000);
      assert.deepEqual(net.sendMoved(net.tcp(0, 2000, TCP_ACK)), [out]);
    }
    return { net, out, block };
  }

  /** Time for a round over all connections. */
  function goOn(net: Moving, out: string): void {
    assert.deepEqual(net.sendMoved(net.tcp(0, 2000, TCP_ACK)), [out]);
    net.fleet.run(31_000);
  }

  const holders = (net: Moving, { pool, index }: NatBlock) =>
    [INNER, LEFT, RIGHT, OTHER].filter((host) =>
      net.fleet.bank.heldBy(fleetHost(host)).some((one) => one.pool === pool && one.index === index),
    );

  it('until it is given up its blocks are its own', () => {
    const { net, out, block } = orphaned();
    goOn(net, out);
    assert.deepEqual(holders(net, block), [INNER]);
    assert.deepEqual(new Set(net.records(OTHER, 2000).map(({ owner }) => owner)), new Set([fleetHost(INNER)]));
  });

  it('the host where it is now takes over the block that it stands on, then the connection; nothing new comes from the block', () => {
    const { net, out, block } = orphaned();
    const { bank } = net.fleet;
    bank.giveUp(fleetHost(INNER));
    goOn(net, out);
    assert.deepEqual(holders(net, block), [OTHER]);
    // Who wants ports now is not given these, and nobody takes the connection's from it.
    const taken = bank.take(fleetHost(LEFT), block.pool, block.index, block.index, 1);
    assert.deepEqual(taken, []);
    goOn(net, out);
    for (const host of [OTHER, LEFT, RIGHT]) {
      const [translated] = net.records(host, 2000).filter(({ text }) => text.startsWith('snat'));
      assert.equal(translated.owner, fleetHost(OTHER), `host ${host}`);
    }
    const choose = (from: number) => {
      for (let n = from; n < from + 80; n++) {
        const [sent] = net.fleet.exchange(OTHER, 0, net.udp(2, n), 20);
        assert.notEqual(Math.floor(portOf(sent) / 64), block.index);
      }
    };
    choose(3000);
    // Nor by its next process.
    net.fleet.restart(OTHER);
    net.fleet.run(1_000);
    choose(4000);
    assert.deepEqual(net.sendMoved(net.tcp(0, 2000, TCP_ACK)), [out]);
    assert.deepEqual(holders(net, block), [OTHER]);

    // When it comes back it has lost the block, and hears whose the connection is.
    net.fleet.hosts[INNER].alive = true;
    net.fleet.restart(INNER);
    net.fleet.run(3_000);
    assert.deepEqual(net.sendMoved(net.tcp(0, 2000, TCP_ACK)), [out]);
    assert.deepEqual(holders(net, block), [OTHER]);
    for (const { owner, text } of net.records(INNER, 2000)) {
      if (text.startsWith('snat')) assert.equal(owner, fleetHost(OTHER), text);
    }
    assert.ok(net.texts(INNER, 2000).some((text) => text.startsWith('snat')));

    net.sendMoved(net.tcp(0, 2000, TCP_RST));
    net.fleet.run(10_000);
    assert.equal(net.texts(OTHER, 2000).length, 0);
  });
});

describe('at once, by a changed binding', () => {
  it('what has not been told is asked of the host that the port was on', () => {
    const net = new Moving();
    const out = connected(net, 2000);
    // Only answers to questions get through.
    net.fleet.lose = ({ from, to, frame }) =>
      from === INNER && to === OTHER && [MSG_STATE, MSG_SYNC_DATA].includes(frame[STATE_HEADERS + 3]);
    net.bind();
    net.fleet.run(300);
    assert.deepEqual(net.texts(OTHER, 2000), []);
    assert.deepEqual(net.sendMoved(net.tcp(0, 2000, TCP_ACK)), [out]);
    assert.equal(net.exchanged(OTHER).asksFound > 0, true);
  });

  it('without the old host the archive that all share knows', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'weft-shared-'));
    const archive = openEmbeddedArchive({ dir, gatherMs: 5 });
    try {
      const net = new Moving({ archive: () => archive });
      const out = connected(net, 2000);
      net.fleet.run(100);
      await archive.flush();
      Object.assign(net.fleet.hosts[INNER], { alive: false, running: false });
      // The others forget what they were told.
      for (const host of [LEFT, RIGHT, OTHER]) net.fleet.restart(host, false, false);
      net.fleet.settle();
      net.bind();
      while (net.events(OTHER, 'archive.read').every(({ port }) => port !== net.port)) {
        net.fleet.run(5);
        await sleep(1);
      }
      net.fleet.run(300);
      assert.deepEqual(net.sendMoved(net.tcp(0, 2000, TCP_ACK), 100), [out]);
      assert.equal(net.receive(LEFT, net.answer(LEFT)).join().startsWith(`${OTHER}/vm${VM} tcp `), true);
    } finally {
      await archive.close();
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
