/** Flow keys and actions in words, close to those of ovs-ofctl(8), for people and tests. */
import { ipFormat, macFormat } from '@weft/packet';
import {
  A_ETH_DST,
  A_ETH_SRC,
  A_FLAGS,
  A_ICMP_ID,
  A_IP_DST,
  A_IP_SRC,
  A_MTU,
  A_OUT_PORT,
  A_OUTPUT,
  A_REASON,
  A_REWRITE,
  A_TOS,
  A_TP_DST,
  A_TP_SRC,
  A_TTL_DEC,
  A_TUNNEL_KEY,
  A_VLAN_TCI,
  AF_PEER,
  DROP_REASONS,
  OUT_DROP,
  OUT_LIST,
  OUT_PORT,
  OUT_TUNNEL,
  RW_DSCP,
  RW_ETH_DST,
  RW_ETH_SRC,
  RW_ICMP_ID,
  RW_IP_DST,
  RW_IP_SRC,
  RW_TP_DST,
  RW_TP_SRC,
  RW_TTL,
  RW_VLAN_POP,
  RW_VLAN_PUSH,
} from './action.ts';
import { readU32le } from './build-action.ts';
import {
  F_ARP_OP,
  F_ETH_DST,
  F_ETH_SRC,
  F_ETHER_TYPE,
  F_ICMP_ID,
  F_IP_DST,
  F_IP_FRAG,
  F_IP_PROTO,
  F_IP_SRC,
  F_IP_TOS,
  F_IP_TTL,
  F_TP_DST,
  F_TP_SRC,
  F_VLAN,
  K_ARP_OP,
  K_ETH_DST,
  K_ETH_SRC,
  K_ETHER_TYPE,
  K_ICMP_ID,
  K_IP_DST,
  K_IP_FRAG,
  K_IP_PROTO,
  K_IP_SRC,
  K_IP_TOS,
  K_IP_TTL,
  K_TP_DST,
  K_TP_SRC,
  K_VLAN,
  keyInPort,
  readU16,
} from './key.ts';
import { MASK_CLASSES } from './mask.ts';

const FRAGMENTS = ['no', 'first', 'later'];
const ETHER_TYPES: Record<number, string> = { 2048: 'ip', 2054: 'arp', 34525: 'ipv6' };
const PROTOCOLS: Record<number, string> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp6', 132: 'sctp' };

function readU16le(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

/** The fields of a key that mask class `cls` keeps, e.g. `in_port=7,ip,dl_src=…,nw_dst=10.0.0.2`. Omitting `cls` prints all. */
export function printKey(key: Uint8Array, cls = MASK_CLASSES.length - 1): string {
  const has = (field: number): boolean => (MASK_CLASSES[cls].fields & field) !== 0;
  const type = readU16(key, K_ETHER_TYPE);
  const isIp = type === 0x0800 || type === 0x86dd;
  const isArp = type === 0x0806 && key[K_ARP_OP] !== 0;
  const proto = key[K_IP_PROTO];
  const out: string[] = [`in_port=${keyInPort(key)}`];
  const add = (wanted: boolean, text: () => string): void => {
    if (wanted) out.push(text());
  };
  add(has(F_ETHER_TYPE), () => ETHER_TYPES[type] ?? `dl_type=0x${type.toString(16)}`);
  add(has(F_VLAN) && readU16(key, K_VLAN) !== 0, () => `dl_vlan=${readU16(key, K_VLAN) & 0xfff}`);
  add(has(F_ETH_SRC), () => `dl_src=${macFormat(key, K_ETH_SRC)}`);
  add(has(F_ETH_DST), () => `dl_dst=${macFormat(key, K_ETH_DST)}`);
  add(has(F_IP_SRC) && (isIp || isArp), () => `${isArp ? 'arp_spa' : 'nw_src'}=${ipFormat(key, K_IP_SRC)}`);
  add(has(F_IP_DST) && (isIp || isArp), () => `${isArp ? 'arp_tpa' : 'nw_dst'}=${ipFormat(key, K_IP_DST)}`);
  add(has(F_IP_PROTO) && isIp, () => PROTOCOLS[proto] ?? `nw_proto=${proto}`);
  add(has(F_IP_FRAG) && isIp, () => `nw_frag=${FRAGMENTS[key[K_IP_FRAG]] ?? key[K_IP_FRAG]}`);
  const icmp = proto === 1 || proto === 58;
  add(has(F_TP_SRC) && isIp, () => `${icmp ? 'icmp_type' : 'tp_src'}=${readU16(key, K_TP_SRC)}`);
  add(has(F_TP_DST) && isIp, () => `${icmp ? 'icmp_code' : 'tp_dst'}=${readU16(key, K_TP_DST)}`);
  add(has(F_ICMP_ID) && isIp && icmp, () => `icmp_id=${readU16(key, K_ICMP_ID)}`);
  add(has(F_IP_TOS) && isIp, () => `nw_tos=${key[K_IP_TOS]}`);
  add(has(F_IP_TTL) && isIp, () => `nw_ttl=${key[K_IP_TTL]}`);
  add(has(F_ARP_OP) && isArp, () => `arp_op=${key[K_ARP_OP]}`);
  return out.join(',');
}

/** A compiled action at the start of `action`, e.g. `dec_ttl(1),set_dl_dst=…,tunnel(peer=2,key=0x11)`. */
export function printAction(action: Uint8Array): string {
  const rewrite = readU16le(action, A_REWRITE);
  const out: string[] = [];
  const add = (bit: number, text: () => string): void => {
    if (rewrite & bit) out.push(text());
  };
  add(RW_VLAN_POP, () => 'pop_vlan');
  add(RW_VLAN_PUSH, () => `push_vlan(${readU16le(action, A_VLAN_TCI) & 0xfff})`);
  add(RW_TTL, () => `dec_ttl(${action[A_TTL_DEC]})`);
  add(RW_ETH_SRC, () => `set_dl_src=${macFormat(action, A_ETH_SRC)}`);
  add(RW_ETH_DST, () => `set_dl_dst=${macFormat(action, A_ETH_DST)}`);
  add(RW_IP_SRC, () => `set_nw_src=${ipFormat(action, A_IP_SRC)}`);
  add(RW_IP_DST, () => `set_nw_dst=${ipFormat(action, A_IP_DST)}`);
  add(RW_TP_SRC, () => `set_tp_src=${readU16(action, A_TP_SRC)}`);
  add(RW_TP_DST, () => `set_tp_dst=${readU16(action, A_TP_DST)}`);
  add(RW_ICMP_ID, () => `set_icmp_id=${readU16(action, A_ICMP_ID)}`);
  add(RW_DSCP, () => `set_dscp=${action[A_TOS] >> 2}`);
  if (readU16le(action, A_MTU) !== 0) out.push(`mtu(${readU16le(action, A_MTU)})`);
  out.push(printOutput(action));
  return out.join(',');
}

function printOutput(action: Uint8Array): string {
  const port = readU32le(action, A_OUT_PORT);
  switch (action[A_OUTPUT]) {
    case OUT_DROP:
      return `drop(${DROP_REASONS[readU16le(action, A_REASON)] ?? readU16le(action, A_REASON)})`;
    case OUT_PORT:
      return readU16le(action, A_FLAGS) & AF_PEER ? `output:${port}(peer)` : `output:${port}`;
    case OUT_TUNNEL:
      return `tunnel(peer=${port},key=0x${readU32le(action, A_TUNNEL_KEY).toString(16)})`;
    case OUT_LIST:
      return `list:${port}`;
    default:
      return 'upcall';
  }
}
