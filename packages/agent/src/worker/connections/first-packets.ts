/**
 * The first packets of the connections that began on this host, as flow keys, to be simulated again when filters have changed. Mostly the
 * record's forward tuple says all but a few fields, and only those are kept: 20 bytes a record. The few whose key does not follow
 * from it (translated before they were tracked, fragments, ICMP that is no echo request) are kept whole, in a pool that grows.
 *
 * Per record five words: ingress interface (or -1 - place in the pool), MACs (3 words), VLAN | TOS << 16 | TTL << 24.
 */
import {
  FRAG_NONE,
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
  keyInPort,
  readU16,
  setKeyInPort,
  writeU16,
} from '@weft/flow';
import {
  hasPorts,
  RECORD_WORDS,
  T_DST,
  T_META,
  T_PORTS,
  T_SRC,
  tupleProtocol,
  wordsAreV4,
  wordsToAddress,
} from '@weft/flowstate';
import {
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ICMP_ECHO_REQUEST,
  ICMPV6_ECHO_REQUEST,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
} from '@weft/packet';

const HEAD_WORDS = 5;
const NONE = -1;
const START = 64;

export class FirstPackets {
  /** The table's records. */
  private readonly records: Int32Array;
  private readonly heads: Int32Array;
  /** Generation of the record's place; NONE: nothing is kept. */
  private readonly generations: Int32Array;
  private readonly rebuilt = new Uint8Array(KEY_SIZE);
  private pool = new Uint8Array(0);
  /** Places of the pool that can be taken again. */
  private readonly free: number[] = [];
  private used = 0;

  /** @param records words of the table's records @param capacity of the table */
  constructor(records: Int32Array, capacity: number) {
    this.records = records;
    this.heads = new Int32Array(capacity * HEAD_WORDS);
    this.generations = new Int32Array(capacity).fill(NONE);
  }

  /** Connections whose key is kept whole. */
  get whole(): number {
    return this.used - this.free.length;
  }

  /** Whether the first packet of this very record is known. */
  has(record: number, generation: number): boolean {
    return this.generations[record] === generation;
  }

  /** Keeps the key of the packet that began a record. The record must be in the table. */
  keep(record: number, generation: number, key: Uint8Array): void {
    this.drop(record);
    this.generations[record] = generation;
    const { heads } = this;
    const at = record * HEAD_WORDS;
    heads[at] = keyInPort(key);
    for (let i = 0; i < 3; i++) {
      const mac = K_ETH_SRC + i * 4;
      heads[at + 1 + i] = key[mac] | (key[mac + 1] << 8) | (key[mac + 2] << 16) | (key[mac + 3] << 24);
    }
    heads[at + 4] = readU16(key, K_VLAN) | (key[K_IP_TOS] << 16) | (key[K_IP_TTL] << 24);
    this.rebuild(record, this.rebuilt);
    for (let i = 0; i < KEY_SIZE; i++) {
      if (this.rebuilt[i] === key[i]) continue;
      const place = this.take();
      for (let j = 0; j < KEY_SIZE; j++) this.pool[place * KEY_SIZE + j] = key[j];
      heads[at] = -1 - place;
      return;
    }
  }

  /** Forgets what is kept of a record. */
  drop(record: number): void {
    if (this.generations[record] === NONE) return;
    this.generations[record] = NONE;
    const inPort = this.heads[record * HEAD_WORDS];
    if (inPort < 0) this.free.push(-1 - inPort);
  }

  /** Writes the key of the packet that began a record, of which {@link has} is true, to `out`. */
  read(record: number, out: Uint8Array): void {
    const inPort = this.heads[record * HEAD_WORDS];
    if (inPort >= 0) this.rebuild(record, out);
    else for (let i = 0, from = (-1 - inPort) * KEY_SIZE; i < KEY_SIZE; i++) out[i] = this.pool[from + i];
  }

  /** Writes the key that head and forward tuple tell, to `out`. */
  private rebuild(record: number, out: Uint8Array): void {
    const { heads, records } = this;
    const at = record * HEAD_WORDS;
    const tuple = record * RECORD_WORDS;
    const protocol = tupleProtocol(records[tuple + T_META]);
    const ports = records[tuple + T_PORTS];
    out.fill(0, 0, KEY_SIZE);
    setKeyInPort(out, heads[at]);
    for (let i = 0; i < K_ETHER_TYPE - K_ETH_SRC; i++) out[K_ETH_SRC + i] = heads[at + 1 + (i >> 2)] >>> ((i & 3) * 8);
    const isV4 = wordsAreV4(records, tuple + T_SRC) && wordsAreV4(records, tuple + T_DST);
    writeU16(out, K_ETHER_TYPE, isV4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
    writeU16(out, K_VLAN, heads[at + 4] & 0xffff);
    wordsToAddress(records, tuple + T_SRC, out, K_IP_SRC);
    wordsToAddress(records, tuple + T_DST, out, K_IP_DST);
    out[K_IP_PROTO] = protocol;
    out[K_IP_TOS] = heads[at + 4] >>> 16;
    out[K_IP_TTL] = heads[at + 4] >>> 24;
    out[K_IP_FRAG] = FRAG_NONE;
    if (hasPorts(protocol)) {
      writeU16(out, K_TP_SRC, ports >>> 16);
      writeU16(out, K_TP_DST, ports & 0xffff);
    } else if (protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6) {
      writeU16(out, K_TP_SRC, protocol === IPPROTO_ICMP ? ICMP_ECHO_REQUEST : ICMPV6_ECHO_REQUEST);
      writeU16(out, K_ICMP_ID, ports & 0xffff);
    }
  }

  /** A free place of the pool. */
  private take(): number {
    const { free } = this;
    if (free.length > 0) return free.pop()!;
    if ((this.used + 1) * KEY_SIZE > this.pool.length) {
      const grown = new Uint8Array(Math.max(START * KEY_SIZE, this.pool.length * 2));
      grown.set(this.pool);
      this.pool = grown;
    }
    return this.used++;
  }
}
