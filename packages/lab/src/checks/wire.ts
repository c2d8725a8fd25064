/** What travels on the fabric is what the design says: right keys, nothing fragmentable, no VLAN tag, no needless ARP or ND. */
import { type Capture, type DecodedFrame, decode, startCapture } from '../capture.ts';
import { inNetns, tryRun } from '../exec.ts';
import { type Fault, nftFault } from '../faults/fault.ts';
import { type HostPlan, tunnelAddress, type VmPlan } from '../plan.ts';
import { iperf } from './iperf.ts';
import { type CheckContext, defineKind } from './kind.ts';

const PORT = 5203;
const STREAMS = 6;

const FIELDS = [
  'ip.src',
  'ip.dst',
  'ipv6.src',
  'ipv6.dst',
  'ip.flags.df',
  'ip.dsfield.dscp',
  'ipv6.tclass.dscp',
  'vlan.id',
  'gre.key',
  'vxlan.vni',
  'udp.srcport',
  'arp.opcode',
  'icmpv6.type',
  'icmp.type',
  'tcp.port',
  '_ws.malformed',
  'frame.number',
] as const;

export const wire = defineKind({
  kind: 'wire',
  needsApi: true,
  summary: 'frames between two VMs on different hosts travel the fabric as specified (tshark decodes each)',
  fields: ['from', 'to', 'family'],
  read: (fields) => ({ from: fields.vm('from'), to: fields.vm('to'), family: fields.family('family') }),

  async run(context, { from, to, family }) {
    const source = context.vm(from);
    const target = context.vm(to);
    const address = context.address(target, family);
    const far = context.hostOf(target);
    if (source.host === target.host) {
      const skipped = `${from} and ${to} are both on ${source.host}: nothing crosses the fabric`;
      return { ok: false, expected: 'frames on the fabric', seen: 'none', skipped };
    }
    for (const vm of [source, target]) await tryRun(['ip', '-n', vm.namespace, 'neigh', 'flush', 'dev', 'eth0']);

    const captures: Capture[] = [];
    try {
      for (const link of far.links) {
        captures.push(await startCapture(context.plan.paths.captures, context.plan.fabric, link.fabricInterface, ''));
      }
      await tryRun(
        inNetns(source.namespace, ['ping', `-${family}`, '-n', '-c', '5', '-i', '0.05', '-W', '2', address]),
      );
      await iperf({ from: source, to: target, address, port: PORT, client: ['-n', '2M', '-P', STREAMS] });
      const frames: DecodedFrame[] = [];
      for (const capture of captures) frames.push(...(await decode(await capture.stop(), FIELDS)));
      return judge(frames, await expectations(context, source, target));
    } finally {
      for (const capture of captures) await capture.stop();
    }
  },

  async sabotage(context, { from, to }): Promise<Fault> {
    const { toKey } = await expectations(context, context.vm(from), context.vm(to));
    const { encap, underlay, fabric } = context.plan;
    // The first 24 bits after flags and reserved bits (VXLAN), or the key field (GRE).
    const match = encap === 'vxlan' ? `udp dport 4789 @ih,32,24 ${toKey}` : `meta l4proto gre @th,32,32 ${toKey}`;
    const change = underlay === 'ipv4' ? 'ip frag-off set 0' : 'ip6 dscp set af11';
    const family = underlay === 'ipv4' ? 'meta nfproto ipv4' : 'meta nfproto ipv6';
    return nftFault(
      `the fabric changes the outer headers of what is sent to ${to}`,
      fabric,
      `chain fw { type filter hook forward priority mangle; ${family} ${match} ${change}; }`,
    );
  },
});

interface Expectations {
  /** Key of frames towards the far host. */
  readonly toKey: number;
  readonly fromKey: number;
  readonly near: string;
  readonly far: string;
  readonly vxlan: boolean;
}

async function expectations(context: CheckContext, source: VmPlan, target: VmPlan): Promise<Expectations> {
  const key = async (path: string) => (await context.api.get<{ tunnelKey: number }>(path)).tunnelKey;
  const { plan } = context;
  const address = (host: HostPlan) => tunnelAddress(plan, host);
  return {
    toKey: await key(`/ports/${target.interfaces[0]!.portId}`),
    fromKey: await key(`/ports/${source.interfaces[0]!.portId}`),
    near: address(context.hostOf(source)),
    far: address(context.hostOf(target)),
    vxlan: plan.encap === 'vxlan',
  };
}

function judge(frames: readonly DecodedFrame[], wanted: Expectations): { ok: boolean; expected: string; seen: string } {
  const faults: string[] = [];
  const sourcePorts = new Set<string>();
  let forward = 0;
  let backward = 0;
  for (const frame of frames) {
    const all = (name: (typeof FIELDS)[number]) => frame.get(name)!;
    const complain = (what: string) => faults.push(`frame ${all('frame.number')[0]}: ${what}`);
    if (all('_ws.malformed').length > 0) complain('malformed');
    if (all('vlan.id').length > 0 && all('vxlan.vni').length + all('gre.key').length === 0)
      complain('802.1Q on the fabric');
    const keyText = all(wanted.vxlan ? 'vxlan.vni' : 'gre.key')[0];
    if (keyText === undefined) continue;
    const key = Number(keyText);
    const outerSource =
      all('ip.src')[0] === wanted.near || all('ip.src')[0] === wanted.far ? all('ip.src')[0] : all('ipv6.src')[0];
    const outerDf = all('ip.flags.df')[0];
    const towardsFar = outerSource === wanted.near;
    if (!towardsFar && outerSource !== wanted.far) continue; // Another host's traffic with the far one.

    // The check's own packets must carry the right key. Others, such as a neighbour probe of the other tenant, must not be
    // judged by it, and those with a key of these two ports are theirs.
    const own =
      all('tcp.port').includes(String(PORT)) ||
      all('icmp.type').some((type) => type === '8' || type === '0') ||
      all('icmpv6.type').some((type) => type === '128' || type === '129');
    const right = key === (towardsFar ? wanted.toKey : wanted.fromKey);
    if (own && !right) complain(`key ${key}`);
    if (!own && !right) continue;
    if (outerSource === all('ip.src')[0]) {
      if (outerDf !== 'True' && outerDf !== '1') complain('outer DF not set');
      if (Number(all('ip.dsfield.dscp')[0]) !== 0) complain('outer DSCP not 0');
    } else if (Number(all('ipv6.tclass.dscp')[0]) !== 0) complain('outer DSCP not 0');
    if (all('arp.opcode').length > 0) complain('tenant ARP for a known address');
    if (all('icmpv6.type').some((type) => type === '135' || type === '136')) complain('tenant ND for a known address');
    if (towardsFar) {
      forward++;
      if (wanted.vxlan) sourcePorts.add(all('udp.srcport')[0]!);
    } else backward++;
  }
  // Seven flows (one per stream, one for control) on fewer than three ports would be no entropy.
  const entropy = !wanted.vxlan || sourcePorts.size >= 3;
  if (!entropy) faults.push(`only ${sourcePorts.size} outer source ports`);
  return {
    ok: faults.length === 0 && forward > STREAMS && backward > STREAMS,
    expected: `every frame with key ${wanted.toKey} (back: ${wanted.fromKey}), DF, DSCP 0, no tag, no ARP or ND${wanted.vxlan ? ', source port by flow' : ''}`,
    seen: `${forward} frames, ${backward} back; ${faults.length === 0 ? 'all as expected' : `${faults.length} faults: ${faults.slice(0, 3).join('; ')}`}`,
  };
}
