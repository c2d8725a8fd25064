/** Ports for later fragments, as `bpf/fragment.h` keeps them: see SEMANTICS.md, "Fragments". */
import {
  FRAG_FIRST,
  FRAG_NONE,
  type FrameLayout,
  K_ETHER_TYPE,
  K_IP_FRAG,
  K_IP_PROTO,
  K_TP_SRC,
  keyInPort,
  readU16,
  readU32le,
} from '@weft/flow';
import { u16, u32 } from '@weft/packet';

/** Datagrams that one port has remembered at most. */
export const FRAGMENT_SLOTS = 256;
/** Datagrams of all ports. */
export const FRAGMENT_ENTRIES = 32_768;
/** How long a first fragment is remembered, in ns. */
export const FRAGMENT_LIFETIME = 30e9;
/** A fragment header of IPv6 that begins further behind the IP header's first byte is not looked for. */
const FARTHEST_HEADER = 1020;

/** What says which datagram it is: the key from its ethertype to its protocol (bytes 16 … 52). */
const DATAGRAM = K_IP_PROTO + 1 - K_ETHER_TYPE;
/** Of a row: the datagram, padding, its identification, the key's last word. */
const ROW = 48;
const R_ID = 37;
const R_L4 = 41;
/** Ports, ICMP id and ARP operation: the key from K_TP_SRC to its mask class. */
const L4_BYTES = 7;

class PortRows {
  readonly bytes = new Uint8Array(FRAGMENT_SLOTS * ROW);
  /** When the first fragment came, in ns; -Infinity: never. */
  readonly time = new Float64Array(FRAGMENT_SLOTS).fill(Number.NEGATIVE_INFINITY);
}

/** Of every port its latest datagrams. A port pushes out only entries of its own. */
export class FragmentTable {
  readonly #ports = new Map<number, PortRows>();

  /**
   * To be called for fragments that came by a port, with their extracted key: a first one is remembered, a later one's key gets
   * the ports (or ICMP type, code and id) of its first one if that has passed within the lifetime.
   * @param now monotonic time in ns.
   */
  track(key: Uint8Array, frame: Uint8Array, layout: FrameLayout, now: number): void {
    if (key[K_IP_FRAG] === FRAG_NONE) return;
    const v4 = readU16(key, K_ETHER_TYPE) === 0x0800;
    if (!v4 && layout.fragmentId - 4 - layout.l3 > FARTHEST_HEADER) return;
    const id = v4 ? u16(frame, layout.fragmentId) : u32(frame, layout.fragmentId);
    const slot = fragmentSlot(key, id);
    const rows = this.#rowsOf(keyInPort(key), key[K_IP_FRAG] === FRAG_FIRST);
    if (rows === undefined) return;
    const at = slot * ROW;
    if (key[K_IP_FRAG] === FRAG_FIRST) {
      for (let i = 0; i < DATAGRAM; i++) rows.bytes[at + i] = key[K_ETHER_TYPE + i];
      for (let i = 0; i < 4; i++) rows.bytes[at + R_ID + i] = id >>> (8 * i);
      for (let i = 0; i < L4_BYTES; i++) rows.bytes[at + R_L4 + i] = key[K_TP_SRC + i];
      rows.time[slot] = now;
      return;
    }
    if (now - rows.time[slot] > FRAGMENT_LIFETIME || readU32le(rows.bytes, at + R_ID) !== id) return;
    for (let i = 0; i < DATAGRAM; i++) if (rows.bytes[at + i] !== key[K_ETHER_TYPE + i]) return;
    for (let i = 0; i < L4_BYTES; i++) key[K_TP_SRC + i] = rows.bytes[at + R_L4 + i];
  }

  #rowsOf(port: number, create: boolean): PortRows | undefined {
    const known = this.#ports.get(port);
    if (known !== undefined || !create) return known;
    // As many ports as fill the table; one more takes the place of the one that has been there longest.
    if (this.#ports.size >= FRAGMENT_ENTRIES / FRAGMENT_SLOTS) this.forget(this.#ports.keys().next().value!);
    const rows = new PortRows();
    this.#ports.set(port, rows);
    return rows;
  }

  /** The port is gone. */
  forget(port: number): void {
    this.#ports.delete(port);
  }
}

/** Consecutive identifications take consecutive slots: a sender that counts has its latest datagrams known. */
export function fragmentSlot(key: Uint8Array, id: number): number {
  let sum = key[K_IP_PROTO];
  for (let at = K_ETHER_TYPE; at < K_IP_PROTO; at += 4) sum = (sum + readU32le(key, at)) | 0;
  return ((Math.imul(sum, 0x9e3779b1) >>> 24) + id) % FRAGMENT_SLOTS;
}
