/** What connections may cost, ports for source NAT that run out, and hosts that are not what they were. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BLOCK_PORTS, DATAGRAM_SIZE, newHostKeys } from '@weft/flowstate';
import fc from 'fast-check';
import { BlockBank } from '../testing/block-bank.ts';
import { fleetHost } from '../testing/fleet.ts';
import { answered, Gateways, INNER, LEFT, OTHER, PUBLIC, RIGHT } from '../testing/gateways.ts';
import { STATE_HEADERS, writeStateFrame } from './connections/state-frame.ts';

describe('caps', () => {
  it('a port may cause so many connections; others go on, and it does when some have ended', () => {
    const net = new Gateways({
      limits: { maxConnectionsPerPort: 20 },
      timeouts: { udpUnreplied: 5_000, udpReplied: 5_000 },
    });
    net.fleet.run(20_000);
    let out = 0;
    for (let i = 0; i < 15; i++) out += net.call(0, net.udp(0, 2000 + i)).length;
    // Two records each, one of the VM's port and one of the router.
    assert.equal(out, 10);
    assert.equal(net.drops(INNER).cap_connections, 5);
    assert.equal(net.texts(INNER).length, 20, 'of what found no room nothing is left');
    assert.deepEqual(net.texts(LEFT), net.texts(INNER));
    assert.equal(net.call(1, net.udp(1, 2000)).length, 1, 'another port');
    assert.equal(net.call(0, net.udp(0, 2000)).length, 1, 'a known connection');
    net.fleet.run(10_000);
    assert.deepEqual(net.texts(INNER), []);
    assert.equal(net.call(0, net.udp(0, 3000)).length, 1);
  });

  it('half of what a packet begins is none of it', () => {
    const net = new Gateways({ limits: { maxConnectionsPerPort: 21 }, onChange: 'finish' });
    // An odd number: of each further packet one record finds room, the other does not.
    for (let i = 0; i < 40; i++) net.call(0, net.udp(0, 2000 + i));
    const known = net.texts(INNER).filter((text) => text.includes('10.0.1.10:'));
    assert.equal(known.length, 20);
    // That what is there is to finish is not forgotten with what found no room.
    net.rules(net.from, [{ type: 'drop' }]);
    assert.equal(net.call(0, net.udp(0, 2000)).length, 1);
    assert.equal(net.call(0, net.udp(0, 2030)).length, 0);
  });
});

describe('names', () => {
  it('of rules, ports and filters that are gone are given back, and none is taken for another', () => {
    const net = new Gateways({ uuids: 40, timeouts: { udpUnreplied: 3_000, udpReplied: 3_000 } });
    const stays = net.leave(2000);
    const out = net.lastOut();
    for (let i = 0; i < 40; i++) {
      // A filter with rules of its own, each with a name in the table as long as connections live that they let begin.
      const chain = net.world.chain([{ type: 'accept', matchReturnFlow: true }, { type: 'accept' }]);
      net.world.patch('Port', net.vms[1].port, { inboundFilterId: chain });
      net.fleet.settle();
      const sent = net.call(1, net.udp(1, 3000 + i));
      assert.equal(sent.length, 1, `${i}: ${JSON.stringify(net.drops(INNER))}`);
      const [text] = net.receive(LEFT, net.answer(LEFT));
      assert.equal(text, `0/vm1 udp 198.51.100.7:53 > 10.0.1.11:${3000 + i}`);
      assert.equal(net.leave(2000), stays);
      assert.deepEqual(net.receive(RIGHT, net.answer(RIGHT, out)), answered(2000));
      net.fleet.run(1_000);
      const { uuids } = net.fleet.hosts[INNER].table;
      assert.ok(uuids.size < uuids.capacity, `${i}: ${uuids.size}`);
    }
    for (const host of [INNER, LEFT, RIGHT]) {
      assert.equal(net.status(host).errors, 0);
      for (const { audience, owner } of net.records(host, 2000)) {
        assert.equal(owner, fleetHost(INNER));
        assert.equal(audience.length, 2);
      }
    }
  });
});

describe('ports for source NAT', () => {
  it('run out after it was told, and come back with what ends', () => {
    const bank = new BlockBank(1);
    const net = new Gateways({ bank, ports: [1024, 1024 + 4 * BLOCK_PORTS - 1], timeouts: { udpUnreplied: 5_000 } });
    net.fleet.run(20_000);
    const used = new Set<number>();
    let told = -1;
    for (let i = 0; i < BLOCK_PORTS; i++) {
      const port = net.leave(2000 + i);
      assert.ok(!used.has(port));
      used.add(port);
      if (told < 0 && net.events(INNER, 'nat.low').length > 0) told = i;
    }
    assert.ok(told >= 0 && told < BLOCK_PORTS - 8, `told at ${told}`);
    assert.deepEqual(net.call(0, net.udp(0, 3000)), []);
    assert.ok(net.drops(INNER).nat_exhausted > 0);
    assert.equal(net.status(INNER).natIdlePorts, 0);
    net.fleet.run(20_000);
    assert.ok(used.has(net.leave(4000)));
  });

  it('hosts never give two connections the same, and a block that went to another host fences what it was', () => {
    const net = new Gateways({ ports: [1024, 1024 + 2 * BLOCK_PORTS - 1], bank: new BlockBank() });
    const first = net.leave(2000);
    const out = net.lastOut();
    assert.deepEqual(net.receive(LEFT, net.answer(LEFT, out)), answered(2000));
    // The host of VM d takes what the first one is said to have lost.
    net.fleet.bank.giveUp(fleetHost(INNER));
    net.fleet.bank.giveUp(fleetHost(OTHER));
    net.fleet.restart(OTHER);
    net.fleet.run(1_000);
    let other = 0;
    for (let i = 0; i < 2 * BLOCK_PORTS && other !== first; i++) {
      const [text] = net.call(2, net.udp(2, 5000 + i));
      other = Number(/203\.0\.113\.1:(\d+)/.exec(text)?.[1]);
    }
    assert.equal(other, first);
    net.fleet.run(500);
    const fresh = net.lastOut();
    const [text] = net.receive(LEFT, net.answer(LEFT, fresh), 100);
    assert.match(text, /^3\/vm0 udp 198\.51\.100\.7:53 > 10\.0\.1\.13:/);
  });

  it('a host that starts while the state database is away has the blocks of its last life', () => {
    const net = new Gateways();
    const port = net.leave(2000);
    net.fleet.run(1_200);
    const blocks = net.status(INNER).natBlocks;
    assert.ok(blocks > 0);
    net.fleet.storeAway = true;
    net.fleet.restart(INNER, false);
    net.fleet.run(200);
    assert.equal(net.status(INNER).natBlocks, blocks);
    assert.equal(net.leave(2000), port);
    assert.ok(net.leave(2001) > 0);
  });
});

describe('what comes under the key of flow state', () => {
  it('replays and garbage are counted, change nothing and are not answered', () => {
    const net = new Gateways();
    const recorded: { frame: Uint8Array; to: number }[] = [];
    net.fleet.lose = ({ frame, to }) => {
      recorded.push({ frame, to });
      return false;
    };
    net.leave(2000);
    net.fleet.run(300);
    net.fleet.lose = () => false;
    const before = net.texts(LEFT);
    const { errors } = net.status(LEFT);
    const refused = (): Record<string, number> => net.exchanged(LEFT).refused as unknown as Record<string, number>;
    const allRefused = (): number => Object.values(refused()).reduce((sum, n) => sum + n, 0);
    const sent = net.exchanged(LEFT).sentDatagrams;
    const replays = recorded.filter(({ to }) => to === LEFT);
    assert.ok(replays.length > 1);
    for (const { frame } of replays) net.fleet.arriveState(LEFT, frame);
    assert.equal(allRefused(), 0);
    net.fleet.run(10);
    assert.deepEqual([refused().replay, allRefused()], [replays.length, replays.length]);

    const frame = new Uint8Array(STATE_HEADERS + DATAGRAM_SIZE);
    const garbage = fc.sample(fc.uint8Array({ maxLength: 200 }), { numRuns: 50, seed: 1 });
    for (const bytes of garbage) {
      net.fleet.arriveState(LEFT, frame.slice(0, writeStateFrame(bytes, bytes.length, frame)));
      net.fleet.arriveState(LEFT, bytes);
    }
    // A bit of a true one.
    for (const { frame: good } of replays) {
      const damaged = good.slice();
      damaged[damaged.length - 20] ^= 1;
      net.fleet.arriveState(LEFT, damaged);
    }
    net.fleet.run(10);
    assert.equal(refused().authentication, replays.length);
    assert.equal(allRefused(), 2 * replays.length + garbage.length);
    assert.equal(net.drops(LEFT).malformed, garbage.length, 'what is no datagram at all');
    assert.equal(net.status(LEFT).errors, errors);
    assert.deepEqual(net.texts(LEFT), before);
    assert.ok(net.exchanged(LEFT).sentDatagrams - sent <= 6, 'heartbeats, no answers');
  });
});

describe('other hosts', () => {
  it('a host with new keys and without its memory is believed, and told again', () => {
    const net = new Gateways();
    const port = net.leave(2000);
    const { state } = net.fleet.hosts[LEFT];
    const answer = net.answer(LEFT);
    state.identity = { ...newHostKeys(), incarnation: state.identity!.incarnation };
    state.connections = null;
    net.fleet.restart(LEFT, false);
    assert.deepEqual(net.texts(LEFT), []);
    net.fleet.run(2_000);
    assert.equal(net.texts(LEFT, 2000).length, 2);
    assert.deepEqual(net.receive(LEFT, answer), answered(2000));
    assert.equal(net.leave(2000), port);
    net.leave(2001);
    assert.equal(net.texts(LEFT, 2001).length, 2);
  });

  it('what a gateway sees of a connection all others get to know', () => {
    const net = new Gateways({ timeouts: { udpUnreplied: 10_000, udpReplied: 100_000 } });
    net.leave(2000);
    net.receive(LEFT, net.answer(LEFT));
    net.fleet.run(50);
    for (const host of [INNER, LEFT, RIGHT]) {
      for (const { remaining, text } of net.records(host, 2000)) assert.ok(remaining > 90_000, `${host} ${text}`);
    }
  });

  it('what a gateway saw and could not tell the other one, the owner tells with the next packets', () => {
    const net = new Gateways({ timeouts: { udpUnreplied: 10_000, udpReplied: 100_000 } });
    net.leave(2000);
    net.fleet.lose = ({ from, to }) => from === RIGHT && to === LEFT;
    net.receive(RIGHT, net.answer(RIGHT));
    net.fleet.run(50);
    assert.equal(net.records(LEFT, 2000)[0].bits, 0);
    // Its next life has forgotten what it had sent.
    net.fleet.restart(RIGHT);
    net.fleet.lose = () => false;
    net.fleet.send(INNER, 0, net.udp(0, 2000));
    net.fleet.run(1_200);
    assert.deepEqual(
      net.records(LEFT, 2000).map(({ bits }) => bits),
      net.records(INNER, 2000).map(({ bits }) => bits),
    );
    assert.notEqual(net.records(LEFT, 2000)[0].bits, 0);
  });

  it('a gateway that neither says anything nor answers is passed over while there is another; alone it is used', () => {
    const net = new Gateways();
    const ways = (): Set<string> => {
      const seen = new Set<string>();
      for (let i = 0; i < 30; i++) for (const text of net.call(0, net.udp(0, 2000 + i, 80 + i), 10)) seen.add(text[0]);
      return seen;
    };
    assert.deepEqual(ways(), new Set(['1', '2']));
    // Its agent is being restarted: its kernel answers, and forwards.
    net.fleet.hosts[LEFT].running = false;
    net.fleet.run(5_000);
    assert.deepEqual(net.events(INNER, 'peer.lost'), []);
    assert.deepEqual(ways(), new Set(['1', '2']));
    net.fleet.hosts[LEFT].alive = false;
    net.fleet.run(1_000);
    assert.deepEqual(net.events(INNER, 'peer.lost'), [{ host: fleetHost(LEFT) }]);
    assert.deepEqual(ways(), new Set(['2']));
    // Also what went by it before, as what it was.
    net.fleet.hosts[RIGHT].alive = false;
    net.fleet.run(1_000);
    assert.equal(net.status(INNER).peersLost, 2);
    const before = net.drops(INNER).no_route ?? 0;
    assert.deepEqual(ways(), new Set());
    assert.equal(net.drops(INNER).no_route ?? 0, before, 'it is sent to whom nobody hears');
    net.fleet.hosts[LEFT].alive = true;
    net.fleet.hosts[LEFT].running = true;
    net.fleet.run(1_000);
    assert.equal(net.status(INNER).peersLost, 1);
    assert.deepEqual(ways(), new Set(['1']));
  });

  it('the translation stays when the way out changes', () => {
    const net = new Gateways();
    const ports = new Map<number, number>();
    for (let i = 0; i < 10; i++) ports.set(2000 + i, net.leave(2000 + i));
    net.fleet.hosts[LEFT].alive = false;
    net.fleet.run(1_500);
    for (const [srcPort, port] of ports) {
      assert.equal(net.leave(srcPort), port);
      assert.deepEqual(net.receive(RIGHT, net.answer(RIGHT)), answered(srcPort));
    }
    assert.ok(net.texts(RIGHT).every((text) => !text.includes('snat') || text.includes(PUBLIC)));
  });
});
