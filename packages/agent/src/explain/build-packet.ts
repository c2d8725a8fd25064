/** A description with its gaps filled in → the bytes of a frame. */
import {
  arpReply,
  arpRequest,
  cidrContains,
  cidrLast,
  cidrParse,
  ethFrame,
  fragmentFrame,
  ICMP_SIZE,
  type IpOptions,
  icmpEmit,
  ipFormat,
  ipFrame,
  ipIsMulticast,
  ipParse,
  macFormat,
  multicastMac,
  ndNeighborSolicit,
  tcpFrame,
  udpFrame,
} from '@weft/packet';
import { AgentError } from '../errors.ts';
import { MAX_LENGTH, type PacketFields } from './packet-language.ts';

/** A field that was filled in, and why with this. */
export interface Filled {
  readonly field: string;
  readonly value: string | number;
  readonly why: string;
}

/** What is known of the port that the packet is to come from. Reasons are for people. */
export interface Surroundings {
  /** MACs known at the port, best first, and addresses of each. */
  readonly stations: readonly { readonly mac: string; readonly ips: readonly string[] }[];
  /** Routers on the same link: their MAC and prefixes in CIDR form with the router's own address. */
  readonly gateways: readonly { readonly mac: string; readonly subnets: readonly string[]; readonly name: string }[];
  /** MAC of an address on the same link, if known. */
  neighbour(ip: string): string | undefined;
}

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const ARP = 0x0806;
const MADE_UP_MAC = '02:00:5e:00:53:01';

/** Fills in what was not said and builds the frame. @throws AgentError WEFT_AGENT_PACKET */
export function buildPacket(said: PacketFields, around: Surroundings): { frame: Uint8Array; filled: Filled[] } {
  const fields: PacketFields = { ...said };
  const filled: Filled[] = [];
  const fill = <K extends keyof PacketFields>(field: K, value: NonNullable<PacketFields[K]>, why: string): void => {
    if (fields[field] !== undefined) return;
    fields[field] = value;
    filled.push({ field, value: value as string | number, why });
  };
  const type = fields.eth_type ?? IPV4;
  const v6 = type === IPV6;
  if (fields.eth_type === undefined && fields.ip_proto === undefined)
    fill('ip_proto', 1, 'no kind of packet was named');
  const station = stationOf(fields, around, v6);
  if (station !== undefined) fill('eth_src', station.mac, 'known at this port');
  fill('eth_src', MADE_UP_MAC, 'made up: no MAC is known at this port');
  if (type === IPV4 || v6 || type === ARP) addresses(fields, type, station, around, fill);
  fill('eth_dst', 'ff:ff:ff:ff:ff:ff', type === ARP ? 'ARP requests are broadcast' : 'nothing else was said');
  try {
    return { frame: build(fields, type, fill), filled };
  } catch (error) {
    if (error instanceof AgentError) throw error;
    throw new AgentError('WEFT_AGENT_PACKET', `the packet cannot be built: ${(error as Error).message}`);
  }
}

type Fill = <K extends keyof PacketFields>(field: K, value: NonNullable<PacketFields[K]>, why: string) => void;

/** The station at the port that sends: the one that was named, else one with an address of the family. */
function stationOf(
  fields: PacketFields,
  { stations }: Surroundings,
  v6: boolean,
): Surroundings['stations'][0] | undefined {
  if (fields.eth_src !== undefined) return stations.find(({ mac }) => mac === fields.eth_src);
  const source = fields.ip_src ?? fields.arp_spa;
  return (
    stations.find(({ ips }) => source !== undefined && ips.includes(source)) ??
    stations.find(({ ips }) => ips.some((ip) => ip.includes(':') === v6)) ??
    stations[0]
  );
}

function addresses(
  fields: PacketFields,
  type: number,
  station: Surroundings['stations'][0] | undefined,
  around: Surroundings,
  fill: Fill,
): void {
  const v6 = type === IPV6;
  const arp = type === ARP;
  const [src, dst] = arp ? (['arp_spa', 'arp_tpa'] as const) : (['ip_src', 'ip_dst'] as const);
  const subnets = around.gateways.flatMap(({ subnets, mac }) => subnets.map((text) => ({ text, mac })));
  const gateway = subnets.find(({ text }) => text.includes(':') === v6);
  const own = station?.ips.find((ip) => ip.includes(':') === v6 && !ip.startsWith('fe80:'));
  if (own !== undefined) fill(src, own, 'known of this MAC');
  else if (gateway !== undefined) fill(src, guestOf(gateway.text), `made up: in the subnet of ${gateway.text}`);
  else fill(src, v6 ? '2001:db8::1' : '192.0.2.1', 'made up: no address is known at this port');
  if (gateway !== undefined) fill(dst, gateway.text.split('/')[0]!, 'nothing was said: the gateway');
  const to = fields[dst];
  if (to === undefined) throw new AgentError('WEFT_AGENT_PACKET', `say where the packet goes: ${dst}=ADDRESS`);
  if (arp || fields.eth_dst !== undefined) return;
  const bytes = ipParse(to);
  if (fields.nd_target !== undefined && fields.icmp_type === 135) return;
  if (to === '255.255.255.255') fill('eth_dst', 'ff:ff:ff:ff:ff:ff', 'broadcast');
  else if (ipIsMulticast(bytes)) fill('eth_dst', macFormat(multicastMac(bytes)), 'the MAC of the group');
  if (fields.eth_dst !== undefined) return;
  const direct = around.gateways.find(({ subnets: own2 }) => own2.some((text) => text.split('/')[0] === to));
  if (direct !== undefined) fill('eth_dst', direct.mac, `MAC of ${direct.name}`);
  const onLink = subnets.some(({ text }) => contains(text, to)) || around.gateways.length === 0;
  const neighbour = onLink ? around.neighbour(to) : undefined;
  if (neighbour !== undefined) fill('eth_dst', neighbour, `MAC of ${to} on the same network`);
  if (onLink) fill('eth_dst', '02:00:5e:00:53:fe', `made up: the MAC of ${to} is not known on this network`);
  const router = around.gateways.find(({ subnets: list }) => list.some((text) => text.includes(':') === v6));
  if (router !== undefined) fill('eth_dst', router.mac, `MAC of ${router.name}, the way out of this network`);
}

/** Whether the prefix (in CIDR form, host bits kept) holds the address. */
function contains(cidr: string, ip: string): boolean {
  return ip.includes(':') === cidr.includes(':') && cidrContains(cidrParse(cidr, 'clear'), ipParse(ip));
}

/** An address that a guest of the router's subnet might have: the last but one. */
function guestOf(cidr: string): string {
  const last = cidrLast(cidrParse(cidr, 'clear'));
  last[15]! -= 1;
  return ipFormat(last);
}

function build(fields: PacketFields, type: number, fill: Fill): Uint8Array {
  const eth = { ethSrc: fields.eth_src!, ethDst: fields.eth_dst!, vlan: fields.vlan };
  const pad = (head: number): Uint8Array => new Uint8Array(Math.max(0, (fields.len ?? head) - head));
  if (type === ARP) {
    const { arp_sha: sha = fields.eth_src!, arp_spa, arp_tpa, arp_tha } = fields;
    if ((fields.arp_op ?? 1) === 1) {
      return arpRequest({
        senderMac: sha,
        senderIp: arp_spa!,
        targetIp: arp_tpa!,
        ethDst: fields.eth_dst,
        vlan: fields.vlan,
      });
    }
    const targetMac = arp_tha ?? fields.eth_dst!;
    return arpReply({
      senderMac: sha,
      senderIp: arp_spa!,
      targetMac,
      targetIp: arp_tpa!,
      ethDst: fields.eth_dst,
      vlan: fields.vlan,
    });
  }
  if (type !== IPV4 && type !== IPV6)
    return ethFrame({ ...eth, type, payload: pad(14).length > 0 ? pad(14) : new Uint8Array(46) });
  if (fields.nd_target !== undefined && fields.icmp_type === 135) {
    return ndNeighborSolicit({
      mac: fields.eth_src!,
      src: fields.ip_src!,
      target: fields.nd_target,
      vlan: fields.vlan,
    });
  }
  const fragment = fields.frag !== undefined && fields.frag !== 'no';
  const ip: IpOptions = {
    ...eth,
    src: fields.ip_src!,
    dst: fields.ip_dst!,
    ttl: fields.ip_ttl,
    tos: fields.ip_tos,
    ...(fragment ? { dontFragment: false, id: 1 } : {}),
  };
  const head = 14 + (fields.vlan === undefined ? 0 : 4) + (type === IPV4 ? 20 : 40);
  const whole = transport(fields, ip, (size) => (fragment ? new Uint8Array(256) : pad(head + size)), fill);
  if (!fragment) return whole;
  const parts = fragmentFrame(whole, (type === IPV4 ? 20 : 48) + 128, 1);
  return fields.frag === 'first' ? parts[0]! : parts[1]!;
}

function transport(fields: PacketFields, ip: IpOptions, payload: (head: number) => Uint8Array, fill: Fill): Uint8Array {
  const proto = fields.ip_proto ?? 255;
  if (proto === 6 || proto === 17) {
    fill('tp_src', 49_152, 'an ephemeral port');
    fill('tp_dst', proto === 6 ? 80 : 53, 'nothing else was said');
    const ports = { srcPort: fields.tp_src!, dstPort: fields.tp_dst! };
    if (proto === 17) return udpFrame({ ...ip, ...ports, payload: payload(8) });
    if (fields.tcp_flags === undefined) fill('tcp_flags', 2, 'SYN: a connection begins');
    return tcpFrame({ ...ip, ...ports, flags: fields.tcp_flags, payload: payload(20) });
  }
  if (proto === 1 || proto === 58) {
    fill('icmp_type', proto === 1 ? 8 : 128, 'an echo request');
    const echo = [0, 8, 128, 129].includes(fields.icmp_type!);
    if (echo) fill('icmp_id', 1, 'nothing else was said');
    const rest = echo ? (fields.icmp_id ?? 0) * 0x1_0000 + 1 : 0;
    const body = payload(ICMP_SIZE);
    return ipFrame(ip, proto, ICMP_SIZE + body.length, (buf, l4) => {
      icmpEmit({ type: fields.icmp_type!, code: fields.icmp_code ?? 0, rest }, buf, l4);
      buf.set(body, l4 + ICMP_SIZE);
    });
  }
  const body = payload(0);
  const size = Math.min(Math.max(body.length, 12), MAX_LENGTH - 54);
  return ipFrame(ip, proto, size, (buf, l4) => {
    if (proto !== 132) return;
    // SCTP's common header begins with the ports (RFC 9260 §3.1).
    new DataView(buf.buffer).setUint16(l4, fields.tp_src ?? 49_152);
    new DataView(buf.buffer).setUint16(l4 + 2, fields.tp_dst ?? 80);
  });
}
