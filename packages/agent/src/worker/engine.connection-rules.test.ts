/** Rules that change under connections: cut on all hosts, or let finish. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { answered, Gateways, INNER, LEFT, OTHER, OUTSIDE, PUBLIC, RIGHT } from '../testing/gateways.ts';

const PORTS = { portFrom: 1024, portTo: 65_535 };
const FROM = [{ type: 'accept', matchReturnFlow: true }];

describe('onChange reevaluate', () => {
  for (const [what, flowsGoOn] of [
    ['while its packets flow', true],
    ['while it is idle and has no flow', false],
  ] as const) {
    it(`a connection whose rule is gone is cut on all hosts, ${what}`, () => {
      const net = new Gateways({ timeouts: { udpUnreplied: 180_000 } });
      net.leave(2000);
      net.leave(2001);
      const answer = net.answer(LEFT);
      assert.deepEqual(net.receive(LEFT, answer), answered(2001));
      if (!flowsGoOn) net.fleet.run(62_000);
      else assert.deepEqual(net.receive(RIGHT, net.answer(RIGHT)), answered(2001));
      for (const host of [INNER, LEFT, RIGHT]) assert.equal(net.texts(host, 2001).length, 2);
      // The port may still send, but not from there.
      net.rules(net.from, [
        ...FROM,
        { type: 'drop', nwProto: 17, tpSrc: { start: 2001, end: 2001 } },
        { type: 'accept' },
      ]);
      net.fleet.run(200);
      for (const host of [INNER, LEFT, RIGHT]) {
        const left = net.texts(host, 2001).filter((text) => text.startsWith('track'));
        assert.deepEqual(left, [], `host ${host}`);
        assert.equal(net.texts(host, 2000).length, 2, `host ${host}`);
      }
      assert.deepEqual(net.receive(LEFT, answer, 200), [], 'answers do not come through any more');
      assert.deepEqual(net.call(0, net.udp(0, 2001)), []);
      assert.equal(net.call(0, net.udp(0, 2000)).length, 1);
    });
  }

  it('is not cut by late news of a gateway, nor by a restart without memory', () => {
    const net = new Gateways();
    net.leave(2001);
    const answer = net.answer(LEFT);
    net.receive(LEFT, answer);
    // One gateway does not hear of it.
    net.fleet.lose = ({ from, to }) => to === RIGHT || from === RIGHT;
    net.rules(net.from, [...FROM, { type: 'drop' }]);
    net.fleet.run(100);
    assert.deepEqual(
      net.texts(INNER, 2001).filter((text) => text.startsWith('track')),
      [],
    );
    assert.equal(net.texts(RIGHT, 2001).length, 2);
    // The other one begins anew and is told by both.
    net.fleet.hosts[LEFT].state.connections = null;
    net.fleet.restart(LEFT, false);
    net.fleet.lose = () => false;
    net.fleet.run(3_000);
    for (const host of [INNER, LEFT, RIGHT]) {
      const left = net.texts(host, 2001).filter((text) => text.startsWith('track'));
      assert.deepEqual(left, [], `host ${host}`);
    }
    assert.deepEqual(net.receive(RIGHT, net.answer(RIGHT), 200), []);
  });

  it('a translation whose rule is gone is made by none any more, and by another one anew', () => {
    const net = new Gateways();
    const port = net.leave(2000);
    net.rules(net.natOut, [
      { type: 'snat', outPorts: net.uplinks, natTargets: [{ addressFrom: '203.0.113.9', ...PORTS }] },
    ]);
    const [text] = net.call(0, net.udp(0, 2000), 300);
    // The translation is known: its rule was to be found by that.
    assert.match(text, new RegExp(`203\\.0\\.113\\.(?:1:${port}|9:\\d+) > ${OUTSIDE}:53$`));
    net.rules(net.natOut, []);
    assert.deepEqual(
      net.call(0, net.udp(0, 2000), 300).map((one) => one.slice(6)),
      [`udp 10.0.1.10:2000 > ${OUTSIDE}:53`],
    );
  });
});

describe('onChange finish', () => {
  it('what has begun goes on, also without any rule that asks; nothing new begins', () => {
    const net = new Gateways({ onChange: 'finish' });
    const port = net.leave(2000);
    const out = net.lastOut();
    net.rules(net.from, [{ type: 'drop' }]);
    net.rules(net.natOut, [{ type: 'drop', outPorts: net.uplinks }]);
    net.fleet.run(500);
    assert.equal(net.leave(2000), port);
    for (const by of [LEFT, RIGHT]) assert.deepEqual(net.receive(by, net.answer(by, out)), answered(2000));
    assert.deepEqual(net.call(0, net.udp(0, 2001)), []);
    for (const host of [INNER, LEFT, RIGHT]) assert.equal(net.texts(host, 2000).length, 2, `host ${host}`);
    // Also over a restart, with the flows gone.
    net.fleet.restart(INNER, false);
    net.fleet.run(1_000);
    assert.equal(net.leave(2000), port);
    assert.deepEqual(net.call(0, net.udp(0, 2001)), []);
  });

  it('where a flow stood without asking, it asks when a connection comes that is to finish', () => {
    const net = new Gateways({ onChange: 'finish' });
    net.leave(2000);
    const out = net.lastOut();
    net.rules(net.from, [{ type: 'drop' }]);
    // The VM moves with its port to another host, whose agent knows nothing of its connections yet.
    const { port, mac } = net.vms[0];
    net.fleet.lose = ({ to }) => to === OTHER;
    net.world.patch('Port', port, { hostId: net.fleet.hosts[OTHER].id, interfaceName: 'vm2' });
    net.fleet.settle();
    net.world.entry(`mac/${net.bridge}`, mac, port);
    net.fleet.settle();
    net.fleet.run(1_000);
    assert.deepEqual(net.fleet.exchange(OTHER, 2, net.udp(0, 2000), 100), [], 'it is refused there');
    net.fleet.lose = () => false;
    net.fleet.run(2_000);
    assert.equal(net.texts(OTHER, 2000).length, 2, 'it is told now');
    const sent = net.fleet.exchange(OTHER, 2, net.udp(0, 2000), 100);
    assert.equal(sent.length, 1, 'and lets it finish');
    assert.match(sent[0], new RegExp(`udp ${PUBLIC}:`));
    assert.deepEqual(
      net.receive(LEFT, net.answer(LEFT, out), 100).map((text) => text.slice(0, 5)),
      ['3/vm2'],
    );
  });
});
