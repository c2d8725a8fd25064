/** Whoever can put packets on the fabric may send what they like to a host: unless it is right in everything, no VM sees it. */
import { agentRequest } from '../agent-control.ts';
import { awaitFrame, startCapture } from '../capture.ts';
import { run } from '../exec.ts';
import { nftFault } from '../faults/fault.ts';
import { ethernetFrame, sendFrames } from '../frames.ts';
import { ipPacket, udpDatagram } from '../packets.ts';
import { readCapture } from '../pcap.ts';
import { type HostPlan, type LabPlan, tunnelAddress } from '../plan.ts';
import { waitUntil } from '../wait.ts';
import { type CheckContext, defineKind, type Outcome } from './kind.ts';

const INTRUDER = '02:ee:00:00:00:66';
const ETHERTYPE = 0x88bd;
/** Marks what the check sends, for its sabotage. */
const TTL = 77;
const COPIES = 5;
const VXLAN_PORT = 4789;
const [UDP, GRE] = [17, 47];
/** Never allocated by the API in a lab, whose keys begin at 1. */
const NO_SUCH_KEY = 0xfedcba;
const FLOW_STATE_KEY = 0xffffff;
const MORE_FRAGMENTS = 0x2000;

/** What arrives at a host, and the drop reason under which it is counted; undefined: left to the host's own stack, uncounted. */
interface Attack {
  readonly what: string;
  readonly packet: Uint8Array;
  readonly reason: string | undefined;
}

/** A guest's own neighbour probe may fall into the window and make a flow: the exact picture must show in one of so many attempts. */
const ATTEMPTS = 3;

export const hostileUnderlay = defineKind({
  kind: 'hostile-underlay',
  needsApi: true,
  summary: "malformed and foreign tunnel packets to `to`'s host reach no VM, are counted by reason, and leave no trace",
  fields: ['to'],
  read: (fields) => ({ to: fields.vm('to') }),

  async run(context, { to }) {
    let outcome: Outcome | undefined;
    for (let attempt = 0; attempt < ATTEMPTS && !outcome?.ok; attempt++) outcome = await attack(context, to);
    return outcome!;
  },

  sabotage(context, { to }) {
    const host = context.hostOf(context.vm(to));
    const match = context.plan.underlay === 'ipv4' ? `ip ttl ${TTL}` : `ip6 hoplimit ${TTL}`;
    return nftFault(
      `the fabric loses what has a TTL of ${TTL} on its way to ${host.name}`,
      context.plan.fabric,
      `chain out { type filter hook egress device "${host.links[0]!.fabricInterface}" priority 0; ${match} drop; }`,
      'netdev',
    );
  },
});

/** Sends every kind of bad packet and looks at what came of it. */
async function attack(context: CheckContext, to: string): Promise<Outcome> {
  const { plan } = context;
  const target = context.vm(to);
  const host = context.hostOf(target);
  const { tunnelKey } = await context.api.get<{ tunnelKey: number }>(`/ports/${target.interfaces[0]!.portId}`);
  const attacks = makeAttacks(plan, host, target.interfaces[0]!.mac, tunnelKey);
  const right = tunnelPacket(plan, host, { inner: innerFrame(target.interfaces[0]!.mac), key: tunnelKey });
  const filter = `ether src ${INTRUDER}`;
  const victims = plan.vms.filter((vm) => vm.host === host.name);
  const captures = await Promise.all(
    victims.flatMap((vm) =>
      vm.interfaces.map(({ device }) => startCapture(plan.paths.captures, vm.namespace, device, filter)),
    ),
  );
  const names = victims.flatMap((vm) => vm.interfaces.map(() => vm.name));
  try {
    const before = await observe(context, host);
    const send = await sender(context, host);
    for (const { packet } of attacks) send(packet, COPIES);
    const wanted = new Map<string, number>();
    for (const { reason } of attacks) if (reason) wanted.set(reason, (wanted.get(reason) ?? 0) + COPIES);
    let after = before;
    const counted = () => describe(differences(before.drops, after.drops)) === describe(wanted);
    await waitUntil(async () => {
      after = await observe(context, host);
      return counted();
    }, 2000);
    // The last one is flawless: it shows that the others would have been seen.
    send(right, 1);
    await awaitFrame(captures[victims.indexOf(target)]!, filter).catch(() => {});
    const seenAt: string[] = [];
    for (const [i, capture] of captures.entries()) {
      const { length } = await readCapture(await capture.stop());
      if (length > 0) seenAt.push(`${names[i]} ${length}`);
    }
    const traces = [
      ...after.flows.filter((flow) => !before.flows.includes(flow)).map((flow) => `new flow ${flow}`),
      ...(after.macs > before.macs ? [`${after.macs - before.macs} MACs learned`] : []),
      ...(after.errors === before.errors ? [] : [`${after.errors - before.errors} errors`]),
    ];
    return {
      ok: counted() && seenAt.join() === `${to} 1` && traces.length === 0,
      expected: `${attacks.length} kinds: ${describe(wanted)}; frames at VMs: ${to} 1, the flawless one; no trace`,
      seen: `${describe(differences(before.drops, after.drops))}; frames at VMs: ${seenAt.join(', ') || 'none'}; ${traces.join(', ') || 'no trace'}`,
    };
  } finally {
    for (const capture of captures) await capture.stop();
  }
}

function innerFrame(mac: string): Uint8Array {
  return ethernetFrame(mac, INTRUDER, undefined, ETHERTYPE, new Uint8Array(64));
}

interface TunnelOptions {
  readonly inner: Uint8Array;
  readonly key: number;
  readonly source?: string;
  /** First word of VXLAN or GRE, if it is to be wrong. */
  readonly flags?: number;
  /** Last byte of the VXLAN header. */
  readonly reserved?: number;
  readonly encap?: 'gre' | 'vxlan';
  readonly fragment?: number;
  readonly lengthError?: number;
  readonly udpLengthError?: number;
}

/** An outer packet to the host's tunnel address, as one of its peers would send it but for what is asked for. */
function tunnelPacket(plan: LabPlan, host: HostPlan, options: TunnelOptions): Uint8Array {
  const { inner, key, encap = plan.encap } = options;
  const header = Buffer.alloc(8);
  let payload: Uint8Array;
  if (encap === 'vxlan') {
    header.writeUInt32BE(options.flags ?? 0x08000000, 0);
    header.writeUInt32BE(((key << 8) | (options.reserved ?? 0)) >>> 0, 4);
    payload = udpDatagram(50_000, VXLAN_PORT, Buffer.concat([header, inner]), options.udpLengthError);
  } else {
    header.writeUInt32BE(options.flags ?? 0x20006558, 0);
    header.writeUInt32BE(key, 4);
    payload = Buffer.concat([header, inner]);
  }
  const peer = plan.hosts.find((candidate) => candidate !== host) ?? host;
  return ipPacket({
    source: options.source ?? tunnelAddress(plan, peer),
    target: tunnelAddress(plan, host),
    protocol: encap === 'vxlan' ? UDP : GRE,
    payload,
    ttl: TTL,
    fragment: options.fragment ?? 0,
    lengthError: options.lengthError ?? 0,
  });
}

function makeAttacks(plan: LabPlan, host: HostPlan, mac: string, key: number): Attack[] {
  const inner = innerFrame(mac);
  const stranger = plan.underlay === 'ipv4' ? '10.253.0.99' : 'fd00:fffd::99';
  const vxlan = plan.encap === 'vxlan';
  // GRE of others is counted, but the host's own business (SEMANTICS.md of the datapath); nobody else has our UDP port.
  const foreign = vxlan ? 'outer_unknown_peer' : 'foreign_gre';
  const attack = (what: string, reason: string | undefined, options: Partial<TunnelOptions>): Attack => ({
    what,
    reason,
    packet: tunnelPacket(plan, host, { inner, key, ...options }),
  });
  const attacks = [
    attack('a key that nobody has', 'outer_unknown_key', { key: NO_SUCH_KEY }),
    attack('key 0', 'outer_unknown_key', { key: 0 }),
    attack('garbage for flow state', 'malformed', { key: FLOW_STATE_KEY }),
    attack('an inner frame cut in its header', 'inner_malformed', { inner: inner.subarray(0, 9) }),
    attack('no inner frame', 'inner_malformed', { inner: new Uint8Array(0) }),
    attack('an outer packet longer than its frame', 'outer_length', { lengthError: 400 }),
    attack('an outer packet that ends in the tunnel header', 'outer_length', {
      lengthError: -(inner.length + 4),
    }),
    attack('a stranger', foreign, { source: stranger }),
    attack('a stranger with a key that nobody has', foreign, { source: stranger, key: NO_SUCH_KEY }),
    attack("the host's own address", foreign, { source: tunnelAddress(plan, host) }),
    attack('the other encapsulation', undefined, { encap: vxlan ? 'gre' : 'vxlan' }),
    attack('the other encapsulation from a stranger', undefined, { encap: vxlan ? 'gre' : 'vxlan', source: stranger }),
  ];
  if (plan.underlay === 'ipv4') {
    attacks.push(attack('a first fragment', 'outer_fragment', { fragment: MORE_FRAGMENTS }));
    attacks.push(attack('a later fragment', vxlan ? undefined : 'outer_fragment', { fragment: 100 }));
  }
  if (vxlan) {
    attacks.push(
      attack('a wrong UDP length', 'outer_length', { udpLengthError: 8 }),
      attack('no VNI flag', 'outer_flags', { flags: 0 }),
      attack('more flags', 'outer_flags', { flags: 0x0c000000 }),
      attack('a reserved bit', 'outer_flags', { reserved: 1 }),
    );
  } else {
    attacks.push(
      attack('no key flag', 'outer_flags', { flags: 0x00006558 }),
      attack('a checksum flag', 'outer_flags', { flags: 0xa0006558 }),
      attack('IPv4 in GRE', 'outer_flags', { flags: 0x20000800 }),
      attack('a key of 32 bits', 'outer_unknown_key', { key: 0x7f000000 + key }),
    );
  }
  return attacks;
}

/** Sends outer packets over the host's first link. */
async function sender(context: CheckContext, host: HostPlan): Promise<(packet: Uint8Array, copies: number) => void> {
  const { fabric, underlay } = context.plan;
  const [link] = host.links;
  const macOf = async (namespace: string, device: string) => {
    const [shown] = JSON.parse(await run(['ip', '-n', namespace, '-j', 'link', 'show', 'dev', device])) as [
      { address: string },
    ];
    return shown.address;
  };
  const near = await macOf(fabric, link!.fabricInterface);
  const far = await macOf(host.namespace, link!.hostInterface);
  const ethertype = underlay === 'ipv4' ? 0x0800 : 0x86dd;
  return (packet, copies) => {
    const frame = ethernetFrame(far, near, undefined, ethertype, packet);
    sendFrames(fabric, link!.fabricInterface, new Array<Uint8Array>(copies).fill(frame));
  };
}

interface Observation {
  readonly drops: ReadonlyMap<string, number>;
  /** Their matches. */
  readonly flows: readonly string[];
  readonly macs: number;
  readonly errors: number;
}

async function observe(context: CheckContext, host: HostPlan): Promise<Observation> {
  const status = await agentRequest<{ drops: Record<string, number>; learnedMacs: number; errors: number }>(
    context.plan,
    host,
    'GET',
    '/status',
  );
  const { flows } = await agentRequest<{ flows: { match: string }[] }>(context.plan, host, 'GET', '/flows?limit=10000');
  // What arrives by a tunnel is counted under these; others have their own reasons to rise.
  const drops = Object.entries(status.drops).filter(([reason]) =>
    /^(outer|inner|decap|foreign)_|^(no_port|malformed|no_egress_port)$/.test(reason),
  );
  return {
    drops: new Map(drops),
    flows: flows.map(({ match }) => match),
    macs: status.learnedMacs,
    errors: status.errors,
  };
}

function differences(before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): Map<string, number> {
  const changed = [...after].map(([reason, n]) => [reason, n - (before.get(reason) ?? 0)] as const);
  return new Map(changed.filter(([, n]) => n !== 0));
}

function describe(counts: ReadonlyMap<string, number>): string {
  return (
    [...counts]
      .map(([reason, n]) => `${reason} ${n}`)
      .sort()
      .join(', ') || 'nothing counted'
  );
}
