/** A description of packets as a filter: does a frame agree with everything that was said? */
import {
  extractKey,
  FRAG_FIRST,
  FRAG_LATER,
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
  KEY_SIZE,
  newFrameLayout,
  readU16,
} from '@weft/flow';
import { ipFormat, macFormat } from '@weft/packet';
import { AgentError } from '../errors.ts';
import type { PacketFields } from './packet-language.ts';

const FRAGMENTS = { no: 0, first: FRAG_FIRST, later: FRAG_LATER } as const;

type Test = (key: Uint8Array, frame: Uint8Array, length: number) => boolean;
type Tests = { readonly [K in keyof PacketFields]?: (wanted: NonNullable<PacketFields[K]>) => Test };

const mac = (offset: number) => (wanted: string) => (key: Uint8Array) => macFormat(key, offset) === wanted;
const ip = (offset: number) => (wanted: string) => (key: Uint8Array) => ipFormat(key, offset) === wanted;
const byte = (offset: number) => (wanted: number) => (key: Uint8Array) => key[offset] === wanted;
const word = (offset: number) => (wanted: number) => (key: Uint8Array) => readU16(key, offset) === wanted;

const TESTS: Tests = {
  eth_src: mac(K_ETH_SRC),
  eth_dst: mac(K_ETH_DST),
  eth_type: word(K_ETHER_TYPE),
  vlan: (wanted) => (key) => readU16(key, K_VLAN) !== 0 && (readU16(key, K_VLAN) & 0xfff) === wanted,
  ip_src: ip(K_IP_SRC),
  ip_dst: ip(K_IP_DST),
  arp_spa: ip(K_IP_SRC),
  arp_tpa: ip(K_IP_DST),
  arp_op: byte(K_ARP_OP),
  ip_proto: byte(K_IP_PROTO),
  ip_ttl: byte(K_IP_TTL),
  ip_tos: byte(K_IP_TOS),
  tp_src: word(K_TP_SRC),
  tp_dst: word(K_TP_DST),
  icmp_type: word(K_TP_SRC),
  icmp_code: word(K_TP_DST),
  icmp_id: word(K_ICMP_ID),
  frag: (wanted) => (key) => key[K_IP_FRAG] === FRAGMENTS[wanted],
  len: (wanted) => (_key, _frame, length) => length === wanted,
};

export class PacketFilter {
  private readonly tests: readonly Test[];
  private readonly sources: ReadonlySet<string>;
  private readonly key = new Uint8Array(KEY_SIZE);
  private readonly layout = newFrameLayout();

  /**
   * @param sources source addresses of which one is wanted; none: any
   * @throws AgentError WEFT_AGENT_PACKET: a field that cannot be filtered by
   */
  constructor(fields: PacketFields, sources: readonly string[] = []) {
    this.tests = Object.entries(fields).map(([name, wanted]) => {
      const test = TESTS[name as keyof PacketFields] as ((wanted: unknown) => Test) | undefined;
      if (test === undefined) throw new AgentError('WEFT_AGENT_PACKET', `${name} is no field to filter by`);
      return test(wanted);
    });
    this.sources = new Set(sources);
  }

  /** @param length bytes of the whole frame, of which `frame` may be the beginning */
  matches(frame: Uint8Array, length: number): boolean {
    if (!extractKey(frame, length, 0, 0, this.key, 0, this.layout)) return false;
    if (this.sources.size > 0 && !this.sources.has(ipFormat(this.key, K_IP_SRC))) return false;
    return this.tests.every((test) => test(this.key, frame, length));
  }
}
