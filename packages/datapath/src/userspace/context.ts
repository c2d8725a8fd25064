/** The packet in work: its bytes, its key, where its headers stand, and the upcall that it may become. */
import { FRAG_LATER, K_IP_FRAG, K_IP_PROTO, KEY_SIZE, newFrameLayout } from '@weft/flow';
import { VNET_HEADER_SIZE } from '@weft/sys';
import type { Upcall } from '../contract.ts';
import { WorkFrame } from '../oracle/index.ts';

/** A packet in work with its key; one for arrivals, one for executions, which may happen inside an upcall's handler. */
export class Context {
  frame = new WorkFrame();
  readonly key = new Uint8Array(KEY_SIZE);
  readonly keyWords = new Uint32Array(this.key.buffer);
  readonly layout = newFrameLayout();
  readonly up = new WorkFrame();
  readonly upcall: Upcall = {
    reason: 0,
    inPort: 0,
    key: new Uint8Array(KEY_SIZE),
    frame: this.up.body,
    length: 0,
    segmentLength: 0,
    vnetHeader: new Uint8Array(VNET_HEADER_SIZE),
    time: 0,
    peer: 0,
    mtu: 0,
  };
  /** Offsets of L3 and L4 in `frame.bytes`. */
  l3 = 0;
  l4 = 0;
}

/** An unfragmented or first TCP segment with FIN or RST. */
export function endsConnection(x: Context): boolean {
  if (x.l4 === 0 || x.key[K_IP_PROTO] !== 6 || x.key[K_IP_FRAG] === FRAG_LATER) return false;
  return x.l4 + 14 <= x.frame.end && (x.frame.bytes[x.l4 + 13] & 0x05) !== 0;
}
