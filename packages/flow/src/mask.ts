/**
 * Mask classes: the few fixed masks that installed flows may have. The simulator says which fields it read; the narrowest
 * class that holds them all is the flow's. Rounding up is always sound (the flow is at most too specific), and the kernel
 * never has to probe one table per rule.
 */
import {
  F_ARP_OP,
  F_ETH_DST,
  F_ETH_SRC,
  F_ETHER_TYPE,
  F_ICMP_ID,
  F_IN_PORT,
  F_IP_DST,
  F_IP_FRAG,
  F_IP_PROTO,
  F_IP_SRC,
  F_IP_TOS,
  F_IP_TTL,
  F_TP_DST,
  F_TP_SRC,
  F_VLAN,
  K_MASK_CLASS,
  KEY_FIELDS,
  KEY_SIZE,
} from './key.ts';

const L2 = F_IN_PORT | F_ETH_SRC | F_ETH_DST | F_ETHER_TYPE | F_VLAN;
const L3 = L2 | F_IP_SRC | F_IP_DST;
const PROTO = L3 | F_IP_PROTO | F_IP_FRAG;
const L4 = PROTO | F_TP_SRC | F_TP_DST;

/** Field sets from the most general to the exact one; each holds the one before it, so the first that fits is the narrowest. */
export const MASK_CLASSES = [
  { name: 'l2', fields: L2 },
  { name: 'dst', fields: L2 | F_IP_DST },
  { name: 'l3', fields: L3 },
  { name: 'proto', fields: PROTO },
  { name: 'service', fields: PROTO | F_TP_DST },
  { name: 'l4', fields: L4 },
  { name: 'l4id', fields: L4 | F_ICMP_ID | F_IP_TOS },
  { name: 'exact', fields: L4 | F_ICMP_ID | F_IP_TOS | F_IP_TTL | F_ARP_OP },
] as const;

export const MASK_CLASS_COUNT = MASK_CLASSES.length;

/** The byte mask of each class: 8 × 64 bytes. Byte 63 (the class number itself) is 0 in the mask. */
export const MASK_BYTES: Uint8Array = buildMaskBytes();

function buildMaskBytes(): Uint8Array {
  const out = new Uint8Array(MASK_CLASS_COUNT * KEY_SIZE);
  MASK_CLASSES.forEach((cls, c) => {
    KEY_FIELDS.forEach(([name, offset, size], bit) => {
      if (name !== 'maskClass' && cls.fields & (1 << bit))
        out.fill(0xff, c * KEY_SIZE + offset, c * KEY_SIZE + offset + size);
    });
  });
  return out;
}

/** Narrowest class whose mask holds all fields of `read` (a set of F_ bits; F_PAYLOAD is ignored). */
export function classFor(read: number): number {
  for (let c = 0; c < MASK_CLASS_COUNT; c++) if ((read & 0x7fff & ~MASK_CLASSES[c].fields) === 0) return c;
  return MASK_CLASS_COUNT - 1;
}

/** Writes `key` under the mask of class `c` to `out`, with the class number in its last byte: the form in which a flow is stored. */
export function maskKey(key: Uint8Array, keyBase: number, c: number, out: Uint8Array, outBase: number): void {
  const m = c * KEY_SIZE;
  for (let i = 0; i < KEY_SIZE; i++) out[outBase + i] = key[keyBase + i] & MASK_BYTES[m + i];
  out[outBase + K_MASK_CLASS] = c;
}

/** Whether a packet with this key is one of the flow that is stored under `masked` (with class byte; of an unknown class none is). */
export function keyFits(key: Uint8Array, keyBase: number, masked: Uint8Array, maskedBase: number): boolean {
  const c = masked[maskedBase + K_MASK_CLASS];
  if (c >= MASK_CLASS_COUNT) return false;
  const m = c * KEY_SIZE;
  for (let i = 0; i < K_MASK_CLASS; i++) {
    if ((key[keyBase + i] & MASK_BYTES[m + i]) !== masked[maskedBase + i]) return false;
  }
  return true;
}
