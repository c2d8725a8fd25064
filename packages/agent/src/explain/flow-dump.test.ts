import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Harness } from '../testing/harness.ts';
import { MemoryState } from '../testing/memory-datapath.ts';
import { RandomNetwork, randomOf } from '../testing/random-network.ts';

function busy(): Harness {
  const net = new RandomNetwork(randomOf(11));
  const host = new Harness(net.world, new MemoryState(1024));
  host.settle();
  for (let i = 0; i < 80; i++) {
    const { ifindex, frame } = net.frame();
    host.datapath.inject(ifindex, frame);
    host.settle();
  }
  return host;
}

test('flows are listed with what the list leaves out, and chosen by port, host and address', () => {
  const host = busy();
  const all = host.engine.flows({ limit: 1000 });
  assert.ok(all.total > 5);
  assert.deepEqual([all.flows.length, all.matching], [all.total, all.total]);
  const two = host.engine.flows({ limit: 2 });
  assert.deepEqual([two.flows.length, two.matching, two.total], [2, all.total, all.total]);

  const { interface: name, port } = all.flows[0];
  const byName = host.engine.flows({ limit: 1000, port: name });
  assert.ok(byName.flows.every((flow) => flow.interface === name) && byName.matching > 0);
  assert.equal(host.engine.flows({ limit: 1000, port }).matching, byName.matching);

  const remote = host.engine.flows({ limit: 1000, host: '192.0.2.2' });
  assert.ok(remote.matching > 0 && remote.matching < all.total);
  assert.ok(remote.flows.every(({ action }) => action.includes('tunnel(peer=')));
  assert.equal(host.engine.flows({ limit: 1000, host: '192.0.2.99' }).matching, 0);

  const address = /dl_src=([0-9a-f:]+)/.exec(all.flows[0].match)?.[1] ?? '';
  assert.ok(host.engine.flows({ limit: 1000, address }).flows.every(({ match }) => match.includes(address)));
});

test('an explained flow says what it stands on, and agrees with what is installed', () => {
  const { flows, unexplained } = busy().engine.flows({ limit: 1000, explain: true });
  const explained = flows.flatMap(({ why }) => why ?? []);
  assert.equal(explained.length + unexplained, flows.length);
  assert.ok(explained.length > 0);
  for (const why of explained) {
    assert.ok(why.agrees && why.resimulated && why.explanation.steps.length > 0);
    assert.ok(
      why.standsOn.some((text) => text.startsWith('enters by vm')),
      why.standsOn.join(),
    );
  }
  const words = explained.flatMap(({ standsOn }) => standsOn);
  const vague = words.filter((text) => / more$/.test(text));
  assert.ok(vague.length < explained.length / 4, `${vague.length} of ${explained.length} have tags without words`);
});
