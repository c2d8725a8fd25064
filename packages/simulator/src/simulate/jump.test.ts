/** Chains that lead into others: jump, return, continue; loops; what is counted and logged of it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { udpFrame } from '@weft/packet';
import { RULE_HIT_WORDS, RULE_LOG_WORDS, type Simulation } from '../contract.ts';
import { boundPort, MAC_A, MAC_B } from '../testing/networks.ts';
import { Workbench } from '../testing/workbench.ts';
import { World } from '../testing/world.ts';
import { MAX_DEPTH, MAX_JUMPS } from './chain.ts';

type Value = Record<string, unknown>;

const head = { ethSrc: MAC_A, ethDst: MAC_B, src: '10.0.0.1', dst: '10.0.0.2', srcPort: 1, dstPort: 2 };
const frame = udpFrame({ ...head, payload: new Uint8Array(8) });
const ACTIONS = ['postponed', 'accept', 'drop', 'reject', 'return', 'jump', 'continue'];

/** A bridge with one filter that is made of chains; rules name chains by the letter of their key. */
class Net {
  readonly world = new World();
  readonly ids = new Map<string, string>();
  readonly bench: Workbench;
  readonly port: string;

  constructor(chains: Record<string, Value[]>) {
    const { world, ids } = this;
    for (const name of Object.keys(chains)) ids.set(name, world.put('Chain', {}));
    for (const [name, rules] of Object.entries(chains)) this.fill(name, rules);
    const bridgeId = world.put('Bridge', { inboundFilterId: ids.values().next().value });
    this.port = boundPort(world, { bridgeId });
    boundPort(world, { bridgeId });
    this.bench = new Workbench(world);
  }

  private fill(name: string, rules: Value[]): void {
    const chainId = this.ids.get(name)!;
    const ruleIds = rules.map(({ to, ...rule }, i) => {
      const id = this.world.put('Rule', {
        chainId,
        ...rule,
        ...(to ? { type: 'jump', jumpChainId: this.ids.get(String(to)) } : {}),
      });
      this.ids.set(`${name}${i}`, id);
      return id;
    });
    this.world.patch('Chain', chainId, { ruleIds });
  }

  run(): Simulation {
    return this.bench.simulate(frame, this.port);
  }

  get verdict(): string {
    this.run();
    return this.bench
      .describe()
      .replace(/^forward .*/s, 'accept')
      .replace('drop filtered', 'drop');
  }

  name(handle: number): string {
    const id = this.bench.view.id(handle);
    return [...this.ids].find(([, known]) => known === id)?.[0] ?? id;
  }

  hits(): string[] {
    const out = this.run();
    const words = out.ruleHits.subarray(0, out.ruleHitCount * RULE_HIT_WORDS);
    return Array.from(
      { length: out.ruleHitCount },
      (_, i) => `${this.name(words[i * 2])} ${ACTIONS[words[i * 2 + 1]]}`,
    );
  }

  logs(): string[] {
    const out = this.run();
    const words = out.ruleLogs.subarray(0, out.ruleLogCount * RULE_LOG_WORDS);
    return Array.from({ length: out.ruleLogCount }, (_, i) => {
      const [chain, rule, action] = words.subarray(i * 3, i * 3 + 3);
      return `${this.name(chain)}: ${this.name(rule)} ${ACTIONS[action]}`;
    });
  }
}

const udp = { nwProto: 17 };
const tcp = { nwProto: 6 };

describe('jumps', () => {
  const table: [what: string, chains: Record<string, Value[]>, verdict: string][] = [
    ['a jumped chain decides', { a: [{ to: 'b' }, { type: 'accept' }], b: [{ type: 'drop' }] }, 'drop'],
    [
      'its end goes on behind the jump',
      { a: [{ to: 'b' }, { type: 'drop' }], b: [{ type: 'accept', ...tcp }] },
      'drop',
    ],
    [
      'return goes on behind the jump',
      { a: [{ to: 'b' }, { type: 'drop' }], b: [{ type: 'return' }, { type: 'accept' }] },
      'drop',
    ],
    ['return from the first chain accepts', { a: [{ type: 'return' }, { type: 'drop' }] }, 'accept'],
    ['the end of the first chain accepts', { a: [{ to: 'b' }], b: [] }, 'accept'],
    ['accept in a jumped chain is final', { a: [{ to: 'b' }, { type: 'drop' }], b: [{ type: 'accept' }] }, 'accept'],
    ['a jump that does not match is none', { a: [{ to: 'b', ...tcp }], b: [{ type: 'drop' }] }, 'accept'],
    ['continue decides nothing', { a: [{ type: 'continue' }, { type: 'drop', ...udp }] }, 'drop'],
    [
      'return through two levels returns one',
      { a: [{ to: 'b' }, { type: 'drop' }], b: [{ to: 'c' }, { type: 'accept' }], c: [{ type: 'return' }] },
      'accept',
    ],
    [
      'a chain is visited again',
      { a: [{ to: 'b', ...udp }, { to: 'b' }], b: [{ type: 'return', ...udp }, { type: 'drop' }] },
      'accept',
    ],
    [
      'a chain is visited again behind another',
      { a: [{ to: 'b' }, { to: 'c' }], b: [{ type: 'drop', ...tcp }], c: [{ to: 'b' }, { type: 'drop' }] },
      'drop',
    ],
    ['a jump to itself is passed over', { a: [{ to: 'a' }, { type: 'drop' }] }, 'drop'],
    ['so is one in a circle', { a: [{ to: 'b' }, { type: 'drop' }], b: [{ to: 'a' }] }, 'drop'],
  ];
  for (const [what, chains, verdict] of table) it(what, () => assert.equal(new Net(chains).verdict, verdict));

  it('reject in a jumped chain rejects', () => {
    assert.match(new Net({ a: [{ to: 'b' }], b: [{ type: 'reject' }] }).verdict, /^drop rejected/);
  });

  it(`${MAX_DEPTH} chains inside each other are gone through, one more drops`, () => {
    const nested = (count: number) => {
      const chains: Record<string, Value[]> = {};
      for (let i = 0; i < count; i++) chains[`n${i}.`] = i + 1 < count ? [{ to: `n${i + 1}.` }] : [{ type: 'accept' }];
      return new Net(chains).verdict;
    };
    assert.equal(nested(MAX_DEPTH), 'accept');
    assert.equal(nested(MAX_DEPTH + 1), 'drop chain_limit');
  });

  it(`${MAX_JUMPS} jumps are carried out, one more drops`, () => {
    const jumps = (count: number) => {
      const rules = Array.from({ length: count }, () => ({ to: 'b' }));
      return new Net({ a: [...rules, { type: 'accept' }], b: [] }).verdict;
    };
    assert.equal(jumps(MAX_JUMPS), 'accept');
    assert.equal(jumps(MAX_JUMPS + 1), 'drop chain_limit');
  });

  it('chains that fan out into each other end', () => {
    const chains: Record<string, Value[]> = {};
    for (let i = 0; i < 20; i++) chains[`f${i}.`] = i < 19 ? [{ to: `f${i + 1}.` }, { to: `f${i + 1}.` }] : [];
    const net = new Net(chains);
    assert.equal(net.verdict, 'drop chain_limit');
    assert.ok(net.run().ruleHitCount <= 1024);
  });

  it('a chain that has gone lets nothing through', () => {
    const net = new Net({ a: [{ to: 'b' }, { type: 'accept' }], b: [] });
    assert.equal(net.verdict, 'accept');
    net.world.remove('Chain', net.ids.get('b')!);
    net.bench.sync();
    assert.equal(net.verdict, 'drop');
  });

  it('a rule of a type that is not known lets nothing through', () => {
    const net = new Net({ a: [{ type: 'accept' }] });
    net.world.get('Rule', net.ids.get('a0')!)!.type = 'teleport';
    assert.equal(net.verdict, 'drop');
  });

  it('are warmed up before a packet comes', () => {
    const net = new Net({ a: [{ to: 'b' }], b: [{ to: 'c' }], c: [{ type: 'drop' }] });
    const port = net.bench.view.handle(net.port);
    for (let round = 0; round < 10; round++) net.bench.subscribe(net.bench.view.interestsFor(port));
    assert.deepEqual(net.bench.view.interestsFor(port), []);
    for (const name of ['a', 'b', 'c']) assert.ok(net.bench.subscribed.has(`o/Chain/${net.ids.get(name)}`), name);
  });
});

describe('what is counted and logged', () => {
  const chains = {
    a: [{ type: 'drop', ...tcp }, { type: 'continue' }, { to: 'b' }, { to: 'c' }],
    b: [{ type: 'return', ...udp }, { type: 'drop' }],
    c: [{ type: 'drop' }],
  };

  it('every rule that matched, in order', () => {
    assert.deepEqual(new Net(chains).hits(), ['a1 continue', 'a2 jump', 'b0 return', 'a3 jump', 'c0 drop']);
    assert.deepEqual(new Net({ a: [] }).hits(), []);
  });

  const logger = (net: Net, chain: string, event: string, enabled = true) => {
    const loggingResourceId = net.world.put('LoggingResource', { enabled });
    net.world.put('RuleLogger', { chainId: net.ids.get(chain), event, loggingResourceId });
    net.bench.sync();
    return loggingResourceId;
  };

  it('the deciding rule of each chain that has a logger, by event', () => {
    const table: [chain: string, event: string, logged: string[]][] = [
      ['a', 'all', ['a: a3 drop']],
      ['a', 'drop', ['a: a3 drop']],
      ['a', 'accept', []],
      ['b', 'accept', ['b: b0 return']],
      ['b', 'drop', []],
      ['b', 'all', ['b: b0 return']],
      ['c', 'drop', ['c: c0 drop']],
    ];
    for (const [chain, event, logged] of table) {
      const net = new Net(chains);
      assert.deepEqual(net.logs(), []);
      logger(net, chain, event);
      assert.deepEqual(net.logs(), logged, `${chain} ${event}`);
    }
  });

  it('nothing while the resource is disabled; enabling it concerns the flows of the chain', () => {
    const net = new Net(chains);
    net.run();
    const resource = logger(net, 'b', 'all', false);
    const out = net.run();
    assert.deepEqual(net.logs(), []);
    const held = new Set(out.tags.slice(0, out.tagCount));
    net.world.patch('LoggingResource', resource, { enabled: true });
    assert.ok(net.bench.sync().tags.some((tag) => held.has(tag)));
    assert.deepEqual(net.logs(), ['b: b0 return']);
  });

  it('nothing of a chain that came to its end', () => {
    const net = new Net({ a: [{ type: 'drop', ...tcp }] });
    logger(net, 'a', 'all');
    assert.deepEqual(net.logs(), []);
  });
});
