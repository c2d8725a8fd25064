/** Whom connections are told to: when that becomes known, changes, or was only half known. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConnectionRecord, FlowStateTable, KIND_CONNTRACK, setTuple, TUPLE_WORDS, tupleMeta } from '@weft/flowstate';
import { ipOf } from '@weft/packet';
import { newSimulation } from '@weft/simulator';
import { uuid } from '@weft/simulator/testing';
import { AudienceKeeper } from './audience-keeper.ts';
import { Numbers, uuidBytes } from './numbers.ts';

const SELF = uuid(1);
const PEER = uuid(2);
const OTHER = uuid(3);
const THIRD = uuid(4);

/** A topology of ports on hosts, of which some are not here yet. */
class Bench {
  readonly table: FlowStateTable;
  readonly numbers: Numbers;
  readonly keeper: AudienceKeeper;
  /** Hosts by port; absent: not here. */
  readonly hosts = new Map<string, readonly string[]>();
  readonly wanted: string[] = [];
  readonly published: number[] = [];
  readonly synced: string[] = [];
  private readonly ids = [''];
  private source = 0;

  constructor(capacity = 16_384) {
    const self = uuidBytes(SELF);
    this.table = new FlowStateTable({ self, incarnation: 1, capacity, uuids: 256, blocks: 1, now: 0, seed: [1, 2] });
    const view = { id: (handle: number) => this.ids[handle], handle: (id: string) => this.handle(id) };
    this.numbers = new Numbers(this.table, view);
    this.keeper = new AudienceKeeper({
      table: this.table,
      numbers: this.numbers,
      view: {
        audience: (port, needs) => {
          const hosts = this.hosts.get(this.ids[port]);
          if (hosts === undefined) needs.push(`o/Port/${this.ids[port]}`);
          return hosts?.map((host) => this.handle(host));
        },
      },
      exchange: {
        publish: (record) => this.published.push(record),
        sync: (peer) => this.synced.push(this.table.uuids.text(peer)),
      },
      want: (interests) => this.wanted.push(...interests),
    });
  }

  handle(id: string): number {
    if (!this.ids.includes(id)) this.ids.push(id);
    return this.ids.indexOf(id);
  }

  /** A record between two ports. @param owner another host tells of it */
  record(ingress: string, egress: string, owner = SELF): number {
    const words = new Int32Array(TUPLE_WORDS);
    const device = this.table.uuids.intern(uuidBytes(uuid(50)));
    const port = ++this.source;
    const meta = tupleMeta(KIND_CONNTRACK, device, 17);
    setTuple(words, 0, meta, ipOf('10.0.0.1'), 0, ipOf(`10.1.0.${port >> 15}`), 0, port & 0x7fff, 53);
    const record = new ConnectionRecord().begin(words, 0);
    record.ingress = ingress === '' ? 0 : this.numbers.ofId(ingress);
    record.egress = egress === '' ? 0 : this.numbers.ofId(egress);
    if (owner === SELF) return this.table.insert(record, 0);
    record.owner = this.numbers.ofId(owner);
    record.epoch = 1;
    record.version = 1;
    record.remaining = 1_000;
    this.table.apply(record, 0);
    return this.table.last;
  }

  audience(record: number): string[] {
    const { audiences, uuids } = this.table;
    return audiences
      .members(this.table.audience(record))
      .map((n) => uuids.text(n))
      .sort();
  }
}

const A = uuid(0x10);
const B = uuid(0x11);

test('the hosts of both ports, without this one', () => {
  const bench = new Bench();
  bench.hosts.set(A, [SELF]).set(B, [PEER, OTHER]);
  const sim = newSimulation();
  sim.outputs[0] = bench.handle(B);
  sim.outputCount = 1;
  const { members } = bench.table.audiences;
  const of = (origin: string): string[] =>
    members
      .call(bench.table.audiences, bench.keeper.of(sim, bench.handle(origin)))
      .map((n) => bench.table.uuids.text(n))
      .sort();
  assert.deepEqual(of(A), [PEER, OTHER]);
  sim.outputs[1] = bench.handle(A);
  sim.outputCount = 2;
  bench.hosts.set(A, [THIRD]);
  assert.deepEqual(of(B), [PEER, OTHER, THIRD], 'of a flood all that it reaches');
});

test('of this host’s own connections what is missing is asked for; when it is known all are told everything', () => {
  const bench = new Bench();
  const record = bench.record(A, B);
  bench.keeper.renewOne(record);
  assert.deepEqual(bench.wanted, [`o/Port/${A}`, `o/Port/${B}`], 'all of it at once');
  assert.deepEqual([bench.published, bench.audience(record)], [[], []]);
  bench.hosts.set(A, [SELF]).set(B, [PEER, OTHER]);
  bench.keeper.changed();
  bench.keeper.renew();
  assert.deepEqual(bench.audience(record), [PEER, OTHER]);
  assert.deepEqual([bench.published, bench.synced.sort()], [[record], [PEER, OTHER]]);
  bench.keeper.changed();
  bench.keeper.renew();
  assert.deepEqual(bench.published, [record], 'nothing has changed');
  bench.hosts.set(B, [PEER, OTHER, THIRD]);
  bench.keeper.changed();
  bench.keeper.renew();
  assert.deepEqual(bench.synced.slice(2), [THIRD], 'only the new one');
});

test('of others’ connections nothing is asked for until a packet of them is seen, which is told when it is known to whom', () => {
  const bench = new Bench();
  const record = bench.record(A, B, PEER);
  bench.keeper.renewOne(record);
  assert.deepEqual(bench.wanted, []);
  bench.keeper.renewOne(record, true);
  assert.deepEqual(bench.wanted, [`o/Port/${A}`, `o/Port/${B}`]);
  bench.hosts.set(A, [PEER]).set(B, [SELF, OTHER]);
  bench.keeper.changed();
  bench.keeper.renew();
  assert.deepEqual([bench.published, bench.synced], [[record], []]);
  assert.deepEqual(bench.audience(record), [PEER, OTHER]);
});

test('whom a flood has reached stays told', () => {
  const bench = new Bench();
  bench.hosts.set(A, [SELF]);
  const record = bench.record(A, '');
  bench.table.setAudience(record, bench.table.audiences.of([bench.numbers.ofId(PEER)]));
  bench.keeper.changed();
  bench.keeper.renew();
  assert.deepEqual(bench.audience(record), [PEER]);
  bench.hosts.set(A, [SELF, OTHER]);
  bench.keeper.changed();
  bench.keeper.renew();
  assert.deepEqual(bench.audience(record), [PEER, OTHER]);
});

test('records that come while all are worked out anew keep none from its turn, nor do further changes', () => {
  const bench = new Bench();
  bench.hosts.set(A, [SELF]).set(B, [PEER]);
  const records: number[] = [];
  for (let i = 0; i < 6_000; i++) records.push(bench.record(A, B));
  bench.keeper.changed();
  // A step does not reach the end of the table; meanwhile it grows, and something changes again and again.
  for (let round = 0; round < 6; round++) {
    bench.keeper.renew();
    for (let i = 0; i < 500; i++) bench.record(A, '');
    if (round % 2 === 0) bench.keeper.changed();
  }
  bench.hosts.set(B, [PEER, OTHER]);
  bench.keeper.changed();
  for (let i = 0; i < 500; i++) bench.record(A, '');
  for (let round = 0; round < 4; round++) bench.keeper.renew();
  for (const record of records) assert.deepEqual(bench.audience(record), [PEER, OTHER]);
});

test('a change that comes more often than the table is walked through starves no record', () => {
  const bench = new Bench();
  bench.hosts.set(A, [SELF]).set(B, [PEER]);
  const records: number[] = [];
  for (let i = 0; i < 10_000; i++) records.push(bench.record(A, B));
  for (let round = 0; round < 3; round++) {
    bench.keeper.changed();
    bench.keeper.renew();
  }
  for (const record of records) assert.deepEqual(bench.audience(record), [PEER]);
});
