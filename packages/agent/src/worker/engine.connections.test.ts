/** Connections through two gateways: what each host knows when, and what becomes of packets, answers and flows. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, tcpFrame } from '@weft/packet';
import { fleetHost, ZONE } from '../testing/fleet.ts';
import {
  answered,
  Gateways,
  type GatewaysOptions,
  INNER,
  LEFT,
  OTHER,
  OUTSIDE,
  PUBLIC,
  RIGHT,
  setTcpFlags,
} from '../testing/gateways.ts';

const GATEWAYS = [LEFT, RIGHT] as const;

function start(options: GatewaysOptions = {}): Gateways {
  const net = new Gateways(options);
  assert.deepEqual(net.fleet.complaints(), []);
  return net;
}

const dropped = (net: Gateways, host: number): number => Object.values(net.drops(host)).reduce((sum, n) => sum + n, 0);

describe('who is told', () => {
  it('exactly those by whom answers may come, and before the packet leaves', () => {
    const net = start();
    net.fleet.departures.length = 0;
    const port = net.leave(2000);
    const [first] = net.fleet.departures.filter((text) => text.startsWith(`${INNER} `));
    assert.equal(first, `${INNER} state`);
    const packet = net.fleet.departures.indexOf(`${INNER} packet`);
    const states = net.fleet.departures.slice(0, packet).filter((text) => text === `${INNER} state`);
    assert.equal(states.length, 2, 'one datagram to each of the gateways');
    assert.equal(net.fleet.departures.indexOf(`${INNER} state`, packet), -1, 'and none later');
    const expected = [
      `snat udp 10.0.1.10:2000>${OUTSIDE}:53 as ${PUBLIC}:${port}`,
      `track udp 10.0.1.10:2000>${OUTSIDE}:53`,
    ];
    for (const host of [INNER, LEFT, RIGHT]) {
      assert.deepEqual(net.texts(host, 2000), expected);
      for (const { owner, audience } of net.records(host, 2000)) {
        assert.equal(owner, fleetHost(INNER));
        const others = [INNER, LEFT, RIGHT].filter((other) => other !== host).map(fleetHost);
        assert.deepEqual(audience, others, `host ${host}`);
      }
    }
    assert.deepEqual(net.texts(OTHER, 2000), [], 'who is not concerned knows nothing');
  });

  it('a packet that begins nothing new tells nothing', () => {
    const net = start();
    net.leave(2000);
    const before = net.exchanged(INNER).sentRecords;
    for (let i = 0; i < 5; i++) net.leave(2000);
    assert.equal(net.exchanged(INNER).sentRecords, before);
  });

  it('who becomes a member of a stateful group gets all that the members know', () => {
    const net = start();
    const ports = [2000, 2001, 2002].map((srcPort) => net.leave(srcPort));
    assert.deepEqual(net.texts(OTHER, 2000), []);
    // Host 3 becomes a gateway, too.
    const portMac = 'ac:ca:ba:00:00:13';
    const uplink = { routerId: net.router, hostId: fleetHost(OTHER), interfaceName: 'vm1', portMac };
    const port = net.world.put('Port', { ...uplink, portSubnet: ['198.18.3.1/24'], portGroupIds: [net.group] });
    net.rules(net.natIn, [{ type: 'rev_snat', inPorts: [...net.uplinks, port] }]);
    net.fleet.run(500);
    ports.forEach((translated, i) => {
      assert.ok(net.texts(OTHER, 2000 + i)[0].endsWith(`as ${PUBLIC}:${translated}`), `${net.texts(OTHER)}`);
    });
    const answer = net.answer(LEFT);
    answer.set([0xac, 0xca, 0xba, 0x00, 0x00, 0x13], 0);
    net.fleet.exchange(OTHER, 1, answer);
    assert.deepEqual(net.fleet.exchange(OTHER, 1, answer), answered(2002));
    // And what begins from now on.
    net.leave(2003);
    assert.equal(net.texts(OTHER, 2003).length, 2);
  });
});

describe('a host that no tunnel leads to', () => {
  it('hears nothing, and is greeted when there is one', () => {
    const { fleet } = start();
    const { world } = fleet;
    world.patch('TunnelZone', ZONE, { type: 'gre' });
    fleet.settle();
    fleet.departures.length = 0;
    const exchanged = () =>
      fleet.hosts.map(({ harness }) => harness.engine.status().stateExchange as Record<string, number>);
    const before = exchanged();
    fleet.run(5_000);
    assert.deepEqual(fleet.departures, []);
    for (const [i, { sentDatagrams, unsentDatagrams }] of exchanged().entries()) {
      assert.deepEqual([sentDatagrams, unsentDatagrams], [before[i]!.sentDatagrams, before[i]!.unsentDatagrams]);
    }
    world.patch('TunnelZone', ZONE, { type: 'vxlan' });
    fleet.settle();
    fleet.run(100);
    for (const [i, { sentDatagrams }] of exchanged().entries()) {
      assert.ok(sentDatagrams >= before[i]!.sentDatagrams + fleet.hosts.length - 1, `host ${i}`);
    }
    assert.deepEqual(
      fleet.complaints().filter((text) => !text.includes('peer.lost')),
      [],
    );
  });
});

describe('hosts that are heard', () => {
  it('are vouched for several times a second, so that the shortest grace time outlasts two that get lost; silent ones are not', () => {
    const { fleet } = start();
    fleet.run(1_000);
    const { vouched } = fleet.hosts[INNER]!.harness;
    const others = [LEFT, RIGHT, OTHER].map(fleetHost);
    const since = fleet.now;
    fleet.run(1_000);
    const last = vouched.filter(({ at }) => at > since);
    assert.ok(last.length >= 4, `${last.length} times`);
    for (const { hosts } of last) assert.deepEqual([...hosts].sort(), others);
    fleet.hosts[OTHER]!.alive = false;
    fleet.run(5_000);
    assert.deepEqual([...vouched.at(-1)!.hosts].sort(), others.slice(0, 2));
  });
});

describe('answers', () => {
  it('come in by either gateway, also by both in turns; others do not', () => {
    const net = start();
    net.leave(2000);
    const out = net.lastOut();
    for (const by of [LEFT, RIGHT, LEFT, RIGHT]) {
      assert.deepEqual(net.receive(by, net.answer(by, out)), answered(2000));
    }
    const stray = net.answer(LEFT, out);
    // From another port of the peer: nobody has asked that one.
    stray[14 + 20 + 1] ^= 1;
    assert.deepEqual(net.receive(LEFT, stray), []);
  });

  it('a gateway that has not been told asks the other, and the answer passes within 50 ms', () => {
    const net = start();
    net.fleet.lose = ({ from, to }) => from === INNER && to === LEFT;
    net.leave(2000);
    assert.deepEqual(net.texts(LEFT, 2000), []);
    assert.deepEqual(net.receive(LEFT, net.answer(LEFT), 50), answered(2000));
    assert.ok(net.exchanged(LEFT).asked > 0);
    assert.equal(net.exchanged(LEFT).asksFound, net.exchanged(LEFT).asked);
    const { asked } = net.exchanged(LEFT);
    assert.deepEqual(net.receive(LEFT, net.answer(LEFT), 50), answered(2000));
    assert.equal(net.exchanged(LEFT).asked, asked, 'once');
  });

  it('an ask whose datagrams are lost once is asked again', () => {
    const net = start();
    let lost = 0;
    net.fleet.lose = ({ from, to }) => {
      if (from === INNER && to === LEFT) return true;
      return from === LEFT && to === RIGHT && lost++ === 0;
    };
    net.leave(2000);
    lost = 0;
    assert.deepEqual(net.receive(LEFT, net.answer(LEFT), 110), answered(2000));
    assert.ok(lost > 1);
  });

  it('of a packet that looks up several things all are asked about before it is judged', () => {
    const net = start();
    // The router tracks, too: an answer needs its record and the translation.
    net.rules(net.natIn, [
      { type: 'continue', inPorts: net.uplinks, matchReturnFlow: true, traversedDevice: net.router },
      { type: 'rev_snat', inPorts: net.uplinks },
    ]);
    net.rules(net.natOut, [
      { type: 'continue', matchForwardFlow: true },
      {
        type: 'snat',
        outPorts: net.uplinks,
        natTargets: [{ addressFrom: PUBLIC, portFrom: 1024, portTo: 65_535 }],
      },
    ]);
    net.leave(2500);
    assert.equal(net.texts(INNER, 2500).length, 3, `${net.texts(INNER, 2500)}`);
    // Of the asks of the gateway the first is lost; the second is answered at once: it is nothing to go by.
    let asks = 0;
    net.fleet.lose = ({ from, to }) => {
      if (from === INNER && to === LEFT) return true;
      return from === LEFT && to === RIGHT && ++asks === 1;
    };
    net.leave(2000);
    asks = 0;
    assert.deepEqual(net.texts(LEFT, 2000), []);
    assert.deepEqual(net.receive(LEFT, net.answer(LEFT), 110), answered(2000));
  });

  it('what nobody knows is dropped for a second at most; what comes late counts at once', () => {
    const net = start();
    net.fleet.lose = ({ from }) => from === INNER;
    net.leave(2000);
    const answer = net.answer(RIGHT);
    assert.deepEqual(net.receive(RIGHT, answer, 150), []);
    const { flows } = net.status(RIGHT);
    assert.deepEqual(net.receive(RIGHT, answer, 20), []);
    assert.equal(dropped(net, RIGHT), 1, 'the second met the flow');
    net.fleet.run(900);
    assert.equal(net.status(RIGHT).flows, flows - 1, 'the drop flow is gone');
    assert.deepEqual(net.receive(RIGHT, answer, 100), []);
    // What is missing is sent again.
    net.fleet.lose = () => false;
    net.fleet.run(400);
    assert.equal(net.texts(RIGHT, 2000).length, 2);
    assert.deepEqual(net.receive(RIGHT, answer, 20), answered(2000));
  });

  it('the opening of a TCP connection from outside is asked about by nobody', () => {
    const net = start();
    const syn = { ethSrc: '02:00:00:00:00:f1', ethDst: 'ac:ca:ba:00:00:11', src: OUTSIDE, dst: PUBLIC };
    assert.deepEqual(net.receive(LEFT, tcpFrame({ ...syn, srcPort: 80, dstPort: 2000, flags: TCP_SYN })), []);
    assert.equal(net.exchanged(LEFT).asked, 0);
    assert.deepEqual(net.receive(LEFT, tcpFrame({ ...syn, srcPort: 80, dstPort: 2001, flags: TCP_ACK })), []);
    assert.equal(net.exchanged(LEFT).asked, 1);
  });
});

describe('a restart', () => {
  for (const [what, flows] of [
    ['with the flows that stand', true],
    ['with flows flushed', false],
  ] as const) {
    for (const [who, hosts] of [
      ['of the host of the VM', [INNER]],
      ['of a gateway', [LEFT]],
      ['of all at once', [INNER, LEFT, RIGHT, OTHER]],
    ] as const) {
      it(`${who}, ${what}, changes no translation`, () => {
        const net = start();
        const port = net.leave(2000);
        const answer = GATEWAYS.map((by) => net.answer(by));
        net.fleet.run(1_000);
        for (const host of hosts) net.fleet.restart(host, flows);
        net.fleet.run(1_500);
        assert.equal(net.leave(2000), port);
        for (const [i, by] of GATEWAYS.entries()) assert.deepEqual(net.receive(by, answer[i]), answered(2000));
        // New ones get other ports.
        assert.notEqual(net.leave(2001), port);
        for (const host of [INNER, LEFT, RIGHT]) {
          assert.equal(net.texts(host, 2000).length, 2);
          assert.equal(net.status(host).errors, 0);
          assert.deepEqual(net.status(host).unverified, 0);
        }
        const audience = net.records(INNER, 2000).map((record) => record.audience);
        assert.deepEqual(audience, [GATEWAYS.map(fleetHost), GATEWAYS.map(fleetHost)]);
      });
    }
  }

  it('without its memory the host of the VM gets back what the gateways know', () => {
    const net = start();
    const port = net.leave(2000);
    const { hosts } = net.fleet;
    hosts[INNER].state.connections = null;
    net.fleet.restart(INNER, false);
    assert.deepEqual(net.texts(INNER), []);
    net.fleet.run(1_500);
    assert.equal(net.texts(INNER, 2000).length, 2);
    assert.equal(net.leave(2000), port);
  });
});

describe('the life of a connection', () => {
  it('FIN of both sides and RST shorten it on all hosts, though flows hide them', () => {
    const net = start({
      timeouts: { tcpEstablished: 600_000, tcpClosing: 60_000, tcpClosed: 20_000, tcpReset: 5_000 },
    });
    const remaining = (host: number, srcPort: number): number =>
      Math.max(...net.records(host, srcPort).map((record) => record.remaining));
    const back = net.connect(3000, LEFT);
    // What flows carry is seen by their counters.
    net.fleet.run(1_200);
    for (const host of [INNER, LEFT, RIGHT]) assert.ok(remaining(host, 3000) > 500_000, `host ${host}`);
    net.call(0, net.tcp(0, 3000, TCP_FIN | TCP_ACK));
    for (const host of [INNER, LEFT, RIGHT]) assert.ok(remaining(host, 3000) <= 60_000, `host ${host}`);
    assert.ok(remaining(INNER, 3000) > 20_000);
    setTcpFlags(back, TCP_FIN | TCP_ACK);
    net.receive(LEFT, back, 100);
    for (const host of [INNER, LEFT, RIGHT]) assert.ok(remaining(host, 3000) <= 20_000, `host ${host}`);

    const other = net.connect(3001, RIGHT);
    setTcpFlags(other, TCP_RST);
    net.receive(RIGHT, other, 100);
    for (const host of [INNER, LEFT, RIGHT]) assert.ok(remaining(host, 3001) <= 5_000, `host ${host}`);
  });

  it('a RST that comes up with the SYN before it counts, too', () => {
    const net = start({ timeouts: { tcpOpening: 60_000, tcpReset: 5_000 } });
    const { host, n } = net.vms[0];
    net.fleet.send(host, n, net.tcp(0, 3000));
    net.fleet.send(host, n, net.tcp(0, 3000, TCP_RST));
    net.fleet.run(50);
    const found = net.records(INNER, 3000);
    assert.equal(found.length, 2);
    for (const { remaining } of found) assert.ok(remaining <= 5_000, `${remaining}`);
  });

  it('packets that flows carry keep it alive, on all hosts; when they end it goes, and its flows are decided anew', () => {
    const net = start({ timeouts: { udpUnreplied: 6_000, udpReplied: 12_000 } });
    const port = net.leave(2000);
    const out = net.lastOut();
    const answer = net.answer(LEFT, out);
    assert.deepEqual(net.receive(LEFT, answer), answered(2000));
    const { upcalls } = net.status(INNER);
    for (let i = 0; i < 40; i++) {
      net.fleet.send(INNER, 0, net.udp(0, 2000));
      net.fleet.run(1_000);
      for (const host of [INNER, LEFT, RIGHT]) assert.equal(net.texts(host, 2000).length, 2, `host ${host}, ${i} s`);
    }
    assert.ok(net.status(INNER).upcalls - upcalls < 60, 'flows have carried them');
    assert.deepEqual(net.receive(LEFT, answer), answered(2000), 'the flow of answers stands by the same record');
    net.fleet.run(20_000);
    for (const host of [INNER, LEFT, RIGHT]) assert.deepEqual(net.texts(host, 2000), [], `host ${host}`);
    assert.deepEqual(net.receive(LEFT, answer, 150), [], 'nobody has asked for this any more');
    const again = net.leave(2000);
    assert.equal(net.texts(RIGHT, 2000).length, 2);
    if (again !== port) assert.deepEqual(net.receive(RIGHT, net.answer(RIGHT, out), 150), []);
  });

  it('answers alone keep it alive, too', () => {
    const net = start({ timeouts: { udpUnreplied: 6_000, udpReplied: 12_000 } });
    net.leave(2000);
    const answer = net.answer(RIGHT);
    for (let i = 0; i < 40; i++) {
      net.fleet.send(RIGHT, 0, answer);
      net.fleet.run(1_000);
      for (const host of [INNER, LEFT, RIGHT]) assert.equal(net.texts(host, 2000).length, 2, `host ${host}, ${i} s`);
    }
  });

  it('packets that are dropped do not', () => {
    const net = start({ timeouts: { udpUnreplied: 6_000, udpReplied: 12_000 } });
    net.leave(2000);
    const answer = net.answer(RIGHT);
    assert.deepEqual(net.receive(RIGHT, answer), answered(2000));
    // From now on no answer comes through; they are translated back before that shows.
    net.rules(net.to, [{ type: 'drop' }]);
    for (let i = 0; i < 30; i++) {
      net.fleet.send(RIGHT, 0, answer);
      net.fleet.run(1_000);
    }
    for (const host of [INNER, LEFT, RIGHT]) assert.deepEqual(net.texts(host, 2000), [], `host ${host}`);
  });
});
