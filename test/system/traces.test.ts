/** What each check of the default scenario expects of packets, `weft trace` says of them, before any has been sent. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { Trace } from '../../packages/agent/src/index.ts';
import {
  awaitConvergence,
  DEFAULT_SCENARIO,
  exchange,
  type Lab,
  labDown,
  labUp,
  requireVm,
  type VmPlan,
} from '../../packages/lab/src/index.ts';
import { parseScenario } from '../../packages/lab/src/scenario/parse.ts';

const name = 'sys-traces';
const skip = process.getuid?.() === 0 ? false : 'needs root';

/** The fields of checks that say something of packets. */
interface Check {
  readonly name: string;
  readonly kind: string;
  readonly from: string;
  readonly to: string;
  readonly family?: 4 | 6;
  readonly ttl?: number;
  readonly size?: number;
  readonly hops?: readonly string[];
  readonly watch?: string;
  readonly stranger?: string;
  readonly nobody?: readonly string[];
  readonly neighbour?: string;
  readonly mover?: string;
  readonly filtered?: string;
  readonly vlan?: number;
  readonly ethertype?: number;
  readonly by?: 'bridge' | 'router';
}

const checks = parseScenario(readFileSync(DEFAULT_SCENARIO, 'utf8'), DEFAULT_SCENARIO).checks.map(
  ({ reader }) => reader.plain() as Check,
);
let lab: Lab;

/** The packet that `from` would send to an address: the first words name its kind. */
const TRAFFIC: Readonly<Record<string, string>> = {
  tcp: 'tcp,tp_dst=5201',
  transfer: 'tcp,tp_dst=9000',
  upcalls: 'tcp,tp_dst=9001',
  'path-mtu': 'tcp,tp_dst=5201',
  udp: 'udp,tp_dst=5201',
  'gso-udp': 'udp,tp_dst=9002,len=1200',
  'burst-order': 'udp,tp_dst=9003',
  fragments: 'udp,tp_dst=9004,frag=later',
};

/** By kind: what must be said. Kinds that are not here are about packets that reach their VM. */
const JUDGES: Readonly<Record<string, (check: Check) => Promise<void>>> = {
  async trace(check) {
    await reaches(check);
    const { generated, verdict } = await ask(check.from, `${echo(check)},ip_dst=${address(check.to, check)},ip_ttl=1`);
    assert.equal(verdict, 'drop');
    assert.equal(generated.length, 1);
    assert.match(generated[0]!.packet, new RegExp(` ${check.hops![0]} > .*(time|ttl|hop).*exceeded`, 'i'));
    assert.ok(toVm(generated[0]!, vm(check.from)), 'the answer goes back');
  },
  async isolation(check) {
    const told = await ask(check.from, `${echo(check)},ip_dst=${address(check.watch!, check)}`);
    assertStaysWith(told, vm(check.from).tenant);
  },
  async explain(check) {
    await reaches(check);
    for (const ip of check.nobody!) assertStaysWith(await ask(check.from, `icmp,ip_dst=${ip}`), vm(check.from).tenant);
    const nowhere = await ask(check.from, 'icmp,ip_dst=198.51.100.77');
    assert.deepEqual([nowhere.verdict, nowhere.reason], ['drop', 'no_route']);
  },
  async frames(check) {
    const [source, target] = [vm(check.from), vm(check.to)];
    const type = `0x${(check.ethertype ?? 0x88b5).toString(16)}`;
    const tag = check.vlan === undefined ? '' : `vlan=${check.vlan},`;
    const told = await ask(
      check.from,
      `${tag}eth_type=${type},eth_src=${source.interfaces[0]!.mac},eth_dst=${target.interfaces[0]!.mac}`,
    );
    assert.ok(toVm(told, target), told.summary.join(' '));
  },
  async flood(check) {
    const told = await ask(check.from, 'eth_type=0x88b5,eth_dst=02:00:5e:00:53:01');
    const source = vm(check.from);
    for (const other of lab.plan.vms.filter((one) => one !== source && sharesNetwork(one, source))) {
      assert.ok(toVm(told, other), `a copy goes to ${other.name}: ${JSON.stringify(told.destinations)}`);
    }
    assertStaysWith(told, source.tenant);
  },
  async 'too-big'(check) {
    const told = await ask(
      check.from,
      `${check.family === 6 ? 'udp6' : 'udp'},ip_dst=${address(check.to, check)},len=1514`,
    );
    assert.deepEqual([told.verdict, told.reason], ['drop', 'too_big']);
    assert.match(told.generated[0]?.packet ?? '', new RegExp(`mtu ${vm(check.to).mtu}|too big|need`, 'i'));
  },
  'exactly-once': (check) => (check.to === undefined ? JUDGES.flood!(check) : reaches(check)),
  'flood-filtered': (check) => JUDGES.flood!(check),
  spray: (check) => reaches({ ...check, from: check.neighbour! }),
  'mac-moves': (check) => reaches({ ...check, to: check.mover! }),
  async 'host-stack'(check) {
    const host = lab.plan.hosts.find((one) => one.name === vm(check.from).host)!;
    for (const ip of [host.tunnelAddress4, ...host.links.map(({ hostAddress4 }) => hostAddress4)]) {
      const told = await ask(check.from, `arp,arp_tpa=${ip}`);
      assert.equal(told.generated.length, 0, `nobody of Weft answers for ${ip}`);
    }
  },
};

/** Checks of rules: what is said past rules like theirs. */
const RULES: Readonly<Record<string, (check: Check) => Promise<void>>> = {
  reject: (check) =>
    past(
      check,
      [
        { type: 'reject', nwProto: 6 },
        { type: 'reject', nwProto: check.family === 6 ? 58 : 1 },
      ],
      async () => {
        const ip = address(check.to, check);
        for (const [packet, answer] of [
          [check.family === 6 ? 'tcp6' : 'tcp', / TCP \[R/],
          [echo(check), / prohibited /],
        ] as const) {
          const told = await ask(check.from, `${packet},ip_dst=${ip}`);
          assert.deepEqual([told.verdict, told.reason], ['drop', 'rejected']);
          assert.match(told.generated[0]!.packet, answer);
          assert.ok(toVm(told.generated[0]!, vm(check.from)), 'the answer goes back');
        }
      },
    ),
  async 'address-group'(check) {
    const group = await make('/ip_addr_groups', { name: 'traces' });
    await lab.api.post(`/ip_addr_groups/${group}/ip_addrs`, { addr: address(check.to, { ...check, family: 4 }) });
    await past(check, [{ type: 'drop', ipAddrGroupDst: group }], async () => {
      await isDropped(check, `icmp,ip_dst=${address(check.to, { ...check, family: 4 })}`);
      await reaches({ ...check, family: 6 });
    });
    await lab.api.delete(`/ip_addr_groups/${group}`);
  },
  async 'port-group'(check) {
    const group = await make('/port_groups', { name: 'traces' });
    const member = { portId: vm(check.from).interfaces[0]!.portId };
    await lab.api.post(`/port_groups/${group}/ports`, member);
    await past(check, [{ type: 'drop', portGroup: group }], () =>
      isDropped(check, `icmp,ip_dst=${address(check.to, check)}`),
    );
    await past(check, [{ type: 'drop', portGroup: group, invPortGroup: true }], () => reaches(check));
    await lab.api.delete(`/port_groups/${group}`);
  },
  async jump(check) {
    const inner = await make('/chains', { name: 'inner' });
    await lab.api.post(`/chains/${inner}/rules`, { type: 'return' });
    await past(
      check,
      [
        { type: 'jump', jumpChainId: inner },
        { type: 'drop', nwProto: 17 },
      ],
      async () => {
        await isDropped(check, `udp,ip_dst=${address(check.to, check)}`, 2);
        await reaches(check);
      },
    );
    await lab.api.delete(`/chains/${inner}`);
  },
  'vlan-filter': (check) =>
    past(check, [{ type: 'drop', vlan: 7 }], async () => {
      const target = `eth_dst=${vm(check.to).interfaces[0]!.mac}`;
      await isDropped(check, `vlan=7,eth_type=0x88b5,${target}`);
      assert.equal((await ask(check.from, `vlan=8,eth_type=0x88b5,${target}`)).verdict, 'forward');
    }),
};

/** Kinds whose packets no VM sends. */
const NO_PACKET = new Set(['doors', 'hostile-underlay']);

describe('traces of the checks of the default scenario', { skip }, () => {
  before(async () => {
    await labDown(name);
    ({ lab } = await labUp(DEFAULT_SCENARIO, { name }));
  });
  after(() => labDown(name));

  for (const check of checks.filter(({ kind }) => !NO_PACKET.has(kind))) {
    test(check.name, () => (JUDGES[check.kind] ?? reaches)(check));
    const rules = RULES[check.kind];
    if (rules !== undefined) test(`${check.name}, past its rules`, () => rules(check));
  }

  test('every kind of rule check is there', () => {
    for (const kind of Object.keys(RULES))
      assert.ok(
        checks.some((check) => check.kind === kind),
        kind,
      );
  });
});

/** The packets of a check reach its VM, or, on another network, the guest that leads there. */
async function reaches(check: Check): Promise<void> {
  const source = vm(check.from);
  const target = vm(check.to);
  const packet = `${traffic(check)},ip_dst=${address(check.to, check)}`;
  const told = await ask(check.from, packet);
  const ends = [target, ...lab.plan.vms.filter(({ forward }) => forward === true)];
  const end = ends.find((one) => toVm(told, one));
  assert.equal(told.verdict, 'forward', told.summary.join(' '));
  assert.ok(end, `it goes to ${check.to}: ${JSON.stringify(told.destinations)}`);
  assert.ok(end === target || !reachable(source, target), 'only what the virtual network cannot reach takes a guest');
  assertStaysWith(told, source.tenant);
  if (check.ttl !== undefined && end === target) {
    assert.equal(Number(/dec_ttl\((\d+)\)/.exec(told.flow!.action)?.[1] ?? 0), 64 - check.ttl);
  }
}

/** Makes an object, and says its id. */
async function make(path: string, body: object): Promise<string> {
  const { location } = await lab.api.post(path, body);
  return location!.split('/').at(-1)!;
}

/** Runs the body with these rules, in order, in the way of what the VM sends: at its port, or `by` its tenant's router. */
async function past(check: Check, rules: readonly object[], body: () => Promise<void>): Promise<void> {
  const chain = await make('/chains', { name: 'traces' });
  for (const rule of rules.toReversed()) await lab.api.post(`/chains/${chain}/rules`, rule);
  const { tenant, interfaces } = vm(check.from);
  const routers = await lab.api.get<{ id: string }[]>(`/routers?tenant_id=${tenant}`);
  const path = check.by === 'router' ? `/routers/${routers[0]!.id}` : `/ports/${interfaces[0]!.portId}`;
  const before = await lab.api.get<object>(path);
  try {
    await lab.api.put(path, { ...before, inboundFilterId: chain });
    await awaitConvergence(lab.api);
    await body();
  } finally {
    await lab.api.put(path, before);
    await lab.api.delete(`/chains/${chain}`);
    await awaitConvergence(lab.api);
  }
}

/** A rule drops it, and is named. */
async function isDropped(check: Check, packet: string, number = 1): Promise<void> {
  const told = await ask(check.from, packet);
  assert.deepEqual([told.verdict, told.reason], ['drop', 'filtered']);
  assert.equal(told.explanation.decidedBy?.number, number);
}

function traffic(check: Check): string {
  const words = TRAFFIC[check.kind];
  if (words === undefined) return echo(check);
  return check.family === 6 ? words.replace(/^(tcp|udp)/, '$16') : words;
}

function echo({ family }: Check): string {
  return family === 6 ? 'icmp6' : 'icmp';
}

async function ask(from: string, packet: string): Promise<Trace> {
  const source = vm(from);
  const { controlSocket } = lab.plan.paths.host(source.host);
  const body = { port: source.interfaces[0]!.portId, packet };
  const answer = await exchange({ socketPath: controlSocket }, 'POST', '/trace', body);
  assert.equal(answer.status, 200, `${packet}: ${answer.text}`);
  return answer.body as Trace;
}

function vm(name: string): VmPlan {
  return requireVm(lab, name);
}

function address(name: string, { family = 4 }: Check): string {
  return vm(name).interfaces[0]!.addresses.find((one) => one.includes(':') === (family === 6))!;
}

/** A copy goes to the VM: to its port, or to all ports of a bridge on its host. */
function toVm({ destinations }: Pick<Trace, 'destinations'>, target: VmPlan): boolean {
  const host = lab.plan.hosts.find((one) => one.name === target.host)!;
  return destinations.some(({ port, host: at, text }) =>
    port === null || port.kind !== 'port'
      ? at === host.id && /all ports of bridge/.test(text)
      : target.interfaces.some(({ portId }) => portId === port.id),
  );
}

function assertStaysWith({ destinations }: Trace, tenant: string): void {
  for (const { port } of destinations) {
    const owner = lab.plan.vms.find(({ interfaces }) => interfaces.some(({ portId }) => portId === port?.id));
    assert.ok(owner === undefined || owner.tenant === tenant, `a copy goes to ${owner?.name} of ${owner?.tenant}`);
  }
}

function sharesNetwork(a: VmPlan, b: VmPlan): boolean {
  return a.tenant === b.tenant && a.interfaces.some(({ network }) => network === b.interfaces[0]!.network);
}

/** Some network of the target has the tenant's router as its gateway. */
function reachable(source: VmPlan, target: VmPlan): boolean {
  return sharesNetwork(target, source) || target.routes.length === 0;
}
